"""What a prior may offer beyond torch's `Distribution`, and questions put to it.

Any torch distribution over vectors is a prior. Those of `sbirules.priors` know more, each of it a small protocol that
callers ask for here, so that a user's own prior may offer it as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, MultivariateNormal, constraints

from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, seeded

__all__ = [
    "Factorised",
    "Named",
    "ShownPrior",
    "Sparse",
    "Written",
    "bounds_of",
    "components_of",
    "ends_of",
    "held_at",
    "is_normalised",
    "log_prior_of",
    "log_scale_of",
    "names_of",
    "prior_draws",
    "support_ends",
    "written",
]


@runtime_checkable
class Named(Protocol):
    """A prior that knows the names of theta's columns."""

    @property
    def names(self) -> tuple[str, ...]: ...


@runtime_checkable
class Factorised(Protocol):
    """A prior of independent coefficients: its components by name, in the order of theta's columns."""

    @property
    def components(self) -> Mapping[str, Distribution]: ...


class ShownPrior(Shown):
    """How priors of ours look: their coefficients, and where 95 % of each lie."""

    def __repr__(self) -> str:
        names = names_of(self)
        return (
            f"{type(self).__name__}({names[0]})"
            if len(names) == 1
            else (f"{type(self).__name__}({len(names)} coefficients, {names[0]} to {names[-1]})")
        )

    def _card(self) -> Card:
        import pandas as pd

        title = f"{type(self).__name__}: {len(names_of(self))} coefficients"
        if not isinstance(self, Distribution):
            return Card(title)
        draws = prior_draws(self, 4000).double()
        low, middle, high = torch.quantile(draws, torch.tensor([0.025, 0.5, 0.975]).double(), dim=0)
        columns = {"2.5 %": low, "median": middle, "97.5 %": high}
        if isinstance(self, Sparse):
            columns["present with probability"] = torch.tensor(
                [self.inclusion.get(name, 1.0) for name in names_of(self)]
            )
        table = pd.DataFrame(
            {k: v.tolist() for k, v in columns.items()}, index=pd.Index(names_of(self), name="coefficient")
        )
        return Card(title, table=table, caption="Quantiles of 4000 draws.")


@runtime_checkable
class Sparse(Protocol):
    """A prior under which terms may be absent, their coefficients exactly 0.

    `slab` is the prior of the coefficients of present terms, `optional` `(D,)` says which terms may be absent,
    `inclusion` with which probability each of those is present. `propose_switch` is a move over which terms there
    are: rules `(..., D)` to rules proposed and log of prior ratio times proposal ratio `(...)`.
    """

    @property
    def slab(self) -> Factorised: ...

    @property
    def optional(self) -> Tensor: ...

    @property
    def inclusion(self) -> Mapping[str, float]: ...

    def propose_switch(self, theta: Tensor) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class Written(Protocol):
    """A prior with a plain form, for manifests and files."""

    def config(self) -> Mapping[str, object]: ...


@runtime_checkable
class _Scaled(Protocol):
    @property
    def log_scale(self) -> tuple[bool, ...]: ...


def names_of(prior: object, otherwise: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of theta's columns, where the prior knows them."""
    return tuple(prior.names) if isinstance(prior, Named) else tuple(otherwise)


def log_scale_of(prior: object) -> tuple[bool, ...] | None:
    """Which columns are best seen on a log scale; None where the prior does not say."""
    return tuple(prior.log_scale) if isinstance(prior, _Scaled) else None


def is_normalised(prior: object) -> bool:
    """Whether its density is known to integrate to one: not of classes of a user's own, which may leave out a constant.

    What a prior is made of counts, wherever it holds it.
    """
    known = type(prior).__module__.partition(".")[0] in ("torch", "pyro", "sbi", "sbirules")
    return known and all(map(is_normalised, _densities_in(list(getattr(prior, "__dict__", {}).values()))))


def _densities_in(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Mapping):
            yield from _densities_in(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _densities_in(value)
        elif isinstance(value, Distribution) or callable(getattr(value, "log_prob", None)):
            yield value


def components_of(prior: object) -> Mapping[str, Distribution]:
    """Independent components by name, those of the slab where terms may be absent; empty for any other prior."""
    part = prior.slab if isinstance(prior, Sparse) else prior
    return part.components if isinstance(part, Factorised) else {}


def ends_of(component: Distribution) -> tuple[float, float]:
    """Ends of a univariate distribution's support, infinite where they are not known."""
    support: object = component.support  # torch's constraints have one end, both or none
    return float(getattr(support, "lower_bound", -math.inf)), float(getattr(support, "upper_bound", math.inf))


def bounds_of(prior: object, names: Sequence[str]) -> list[tuple[float, float]]:
    """Ends of each coefficient's support, infinite where they are not known."""
    parts = components_of(prior)
    if parts or not isinstance(prior, Distribution):
        return [ends_of(parts[name]) if name in parts else (-math.inf, math.inf) for name in names]
    return _ends_of_support(prior, len(names))


def _ends_of_support(prior: Distribution, columns: int) -> list[tuple[float, float]]:
    try:
        support: object = prior.support
    except NotImplementedError:
        return [(-math.inf, math.inf)] * columns
    return support_ends(support, columns)


def support_ends(support: object, columns: int) -> list[tuple[float, float]]:
    """Ends of each column of one of torch's supports, infinite where they are not known."""
    base: object = getattr(support, "base_constraint", support)  # of torch's `independent`
    if isinstance(base, constraints.cat):
        return [pair for part, width in zip(base.cseq, base.lengths, strict=True) for pair in support_ends(part, width)]
    if isinstance(base, constraints.stack):
        return [pair for part in base.cseq for pair in support_ends(part, 1)]
    ends = [getattr(base, side, end) for side, end in (("lower_bound", -math.inf), ("upper_bound", math.inf))]
    low, high = (torch.as_tensor(end).expand(columns).tolist() for end in ends)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def log_prior_of(prior: Distribution, names: Sequence[str], hold: Mapping[int, float]) -> float:
    """Log-density of some columns of theta under the prior, whatever the others are.

    Raises:
        ValueError: Unless coefficients are independent or jointly Gaussian: of other priors it is not known.
    """
    columns = list(hold)
    values = torch.tensor(list(hold.values()))
    if isinstance(prior, MultivariateNormal):
        rows = torch.tensor(columns)
        covariance = prior.covariance_matrix[rows][:, rows]
        marginal: Distribution = MultivariateNormal(prior.loc[rows], covariance, validate_args=False)
        return float(marginal.log_prob(values))
    parts = components_of(prior)
    if not parts:
        raise ValueError(
            "conditioned needs a prior whose coefficients are independent, such as uniform or spike_and_slab, or jointly "
            "Gaussian."
        )
    total = 0.0
    for column, value in zip(columns, values, strict=True):
        part = parts[names[column]]
        low, high = ends_of(part)
        density = float(part.log_prob(value)) if low <= float(value) <= high else -math.inf
        if isinstance(prior, Sparse) and bool(prior.optional[column]):
            chance = prior.inclusion[names[column]]
            density = math.log1p(-chance) if float(value) == 0 else density + math.log(chance)
        total += density if not math.isnan(density) else -math.inf
    return total


def held_at(prior: Distribution, theta: Tensor, hold: Mapping[int, float]) -> Tensor:
    """Draws of the prior `(..., D)` as draws given that some columns are fixed; the prior is one that `log_prior_of` takes."""
    out = theta.clone()
    if not hold:
        return out
    columns, values = list(hold), torch.tensor(list(hold.values())).to(theta)
    if isinstance(prior, MultivariateNormal):  # Matheron's rule
        covariance = prior.covariance_matrix
        gain = torch.linalg.solve(covariance[columns][:, columns], covariance[columns])  # (fixed, D)
        out = out + (values - out[..., columns]) @ gain
    out[..., columns] = values
    return out


def written(prior: object) -> Mapping[str, object] | None:
    """A prior's plain form; None where it has none."""
    return prior.config() if isinstance(prior, Written) else None


def prior_draws(prior: Distribution, n: int) -> Tensor:
    """n draws of a prior to hold a posterior against, `(n, D)`; always the same ones."""
    with seeded(0, Stream.PRIOR_SPREAD):
        return torch.as_tensor(prior.sample(Size((n,))))
