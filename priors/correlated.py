"""Priors under which coefficients depend on each other: a correlated Gaussian, and any Pyro model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, MultivariateNormal, constraints

from sbirules.model.prior import ShownPrior
from sbirules.model.rules import RuleFamily
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.borrowed import torch_as_found
from sbirules.support.files import Plain
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed, typed_class

from ._supports import stack, within

__all__ = ["CorrelatedNormal", "PyroPrior", "correlated_normal", "from_pyro"]


@typed_class
class CorrelatedNormal(ShownPrior, MultivariateNormal):
    """A Gaussian with names for its columns.

    Arguments:
        names: Names of the columns of theta.
        mean: `(D,)`.
        covariance: `(D, D)`, symmetric and positive definite.
    """

    def __init__(self, names: tuple[str, ...], mean: Tensor, covariance: Tensor) -> None:
        self.names = tuple(names)
        d = len(self.names)
        if tuple(mean.shape) != (d,) or tuple(covariance.shape) != (d, d):
            raise ValueError(
                f"mean must have shape ({d},) and covariance ({d}, {d}), got {tuple(mean.shape)} and {tuple(covariance.shape)}."
            )
        finite = bool(mean.isfinite().all()) and bool(covariance.isfinite().all())
        if not finite or int(torch.linalg.cholesky_ex(covariance).info):
            raise ValueError("mean must be finite, and covariance symmetric and positive definite.")
        super().__init__(mean, covariance_matrix=covariance, validate_args=False)

    def config(self) -> dict[str, object]:
        """Plain types for the manifest."""
        return {"names": list(self.names), "mean": self.loc.tolist(), "covariance": self.covariance_matrix.tolist()}

    @classmethod
    def from_config(cls, config: Plain) -> CorrelatedNormal:
        """The prior that gave this `config()`."""
        with arguments.plain_form("a correlated normal"):
            return cls(config["names"], torch.tensor(config["mean"]), torch.tensor(config["covariance"]))


@typed
def correlated_normal(family: RuleFamily, covariance: ArrayLike, mean: ArrayLike = 0.0) -> CorrelatedNormal:
    """A Gaussian over the coefficients of a family, in natural units.

    Arguments:
        family: The rule family, linear in all its coefficients.
        covariance: `(D, D)`.
        mean: `(D,)`, or one number for all.

    Raises:
        ValueError: If a shape is wrong, or the covariance not symmetric and positive definite.
    """
    for p in family.parameters:
        if not p.linear:
            raise ValueError(f"{p.name} is positive, which a Gaussian is not; leave it out of infer.")
    matrix = torch.as_tensor(covariance, dtype=torch.float32)
    centre = torch.as_tensor(mean, dtype=torch.float32)
    d = family.dim
    if tuple(matrix.shape) != (d, d) or centre.shape not in (Size(), Size([d])):
        raise ValueError(
            f"covariance must have shape ({d}, {d}) and mean ({d},), got {tuple(matrix.shape)} and "
            f"{tuple(centre.shape)}; the coefficients are {arguments.listed(family.names)}."
        )
    if not bool(matrix.isfinite().all()) or not bool(centre.isfinite().all()):
        raise ValueError("covariance and mean must be finite.")
    if not torch.allclose(matrix, matrix.T, atol=1e-6) or float(torch.linalg.eigvalsh(matrix)[0]) <= 0:
        raise ValueError("covariance must be symmetric and positive definite.")
    return CorrelatedNormal(family.names, centre.expand(d).clone(), matrix)


@typed_class
class PyroPrior(ShownPrior, Distribution):
    """The distribution of the sites of a Pyro model that are named like coefficients; made by `from_pyro`."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self, model: Callable[[], object], names: tuple[str, ...], draws: int, seed: int) -> None:
        self.model, self.names = model, names
        arguments.whole("draws", draws, 2, 10**6)
        with seeded(seed, Stream.SHAPES):
            sites = self._trace({}, draws)
        missing = [name for name in names if name not in sites]
        if missing:
            raise ValueError(f"the model has no site {missing[0]!r}; it has {arguments.listed(sites)}.")
        for name, site in sites.items():
            if tuple(site["value"].shape) != (draws,):
                raise ValueError(
                    f"site {name!r} has shape {tuple(site['value'].shape)} for {draws} rules; each site must be one "
                    f"number, drawn by its own pyro.sample, and the model must run inside a plate."
                )
        supports: list[Any] = [sites[name]["fn"].support for name in names]
        for name, support in zip(names, supports, strict=True):
            if any(torch.is_tensor(v) and len(torch.unique(v)) > 1 for v in vars(support).values()):
                raise ValueError(
                    f"the bounds of site {name!r} depend on another site; give it bounds that are always the same."
                )
        self._support = stack(supports, -1)
        self.sites = tuple(sites[name]["fn"] for name in names)
        # hyperparameters: the prior is the mixture over these draws of them
        self.hyper = {name: site["value"] for name, site in sites.items() if name not in names}
        super().__init__(event_shape=Size([len(names)]), validate_args=False)

    def _trace(self, data: Mapping[str, Tensor], rules: int, hyper: int | None = None) -> dict[str, Any]:
        """The sample sites of a run for so many rules, with some of them given."""
        import pyro

        with torch_as_found():
            from pyro import poutine

        model: Any = poutine.condition(self.model, data=dict(data))
        model = pyro.plate("_rules", rules, dim=-1)(model)
        if hyper is not None:
            model = pyro.plate("_hyper", hyper, dim=-2)(model)
        nodes = poutine.trace(model).get_trace().nodes
        return {
            name: node
            for name, node in nodes.items()
            if node["type"] == "sample" and not name.startswith("_") and type(node["fn"]).__name__ != "_Subsample"
        }

    @property
    def support(self) -> constraints.Constraint:
        return self._support

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        n = arguments.shape("sample_shape", sample_shape).numel()
        data = {}
        if self.hyper:
            row = torch.randint(len(next(iter(self.hyper.values()))), (n,))
            data = {name: values[row] for name, values in self.hyper.items()}
        sites = self._trace(data, n)
        theta = torch.stack([sites[name]["value"].detach() for name in self.names], dim=-1)
        return theta.reshape(*arguments.shape("sample_shape", sample_shape), len(self.names))

    def log_prob(self, value: Tensor) -> Tensor:
        value = arguments.theta_columns(value, self.names)
        shape = value.shape[:-1]
        flat = value.reshape(-1, len(self.names))
        return torch.cat([self._density(part) for part in torch.split(flat, 2000)]).reshape(shape)

    def _density(self, theta: Tensor) -> Tensor:
        inside = within(self, theta)
        inside = inside if inside.ndim == 1 else inside.all(dim=-1)
        out = torch.full((len(theta),), -math.inf)
        if not bool(inside.any()):
            return out
        kept = theta[inside]
        data: dict[str, Tensor] = dict(zip(self.names, kept.T, strict=True))
        count = len(next(iter(self.hyper.values()))) if self.hyper else 1
        data |= {name: values[:, None] for name, values in self.hyper.items()}
        sites = self._trace(data, len(kept), count)
        each = torch.stack([sites[n]["fn"].log_prob(sites[n]["value"]).expand(count, -1) for n in self.names]).sum(
            dim=0
        )
        out[inside] = torch.logsumexp(each, dim=0) - math.log(count)
        return out


@typed
def from_pyro(
    model: Callable[[], object], family: RuleFamily, *, hyperparameter_draws: int = 512, seed: int = 0
) -> PyroPrior:
    """The prior that a Pyro model describes.

    Arguments:
        model: Without arguments; one `pyro.sample` of a single number for each coefficient, named like it, in
            natural units (time constants in their own). Coefficients may depend on each other in the order in
            which they are drawn, their bounds may not.
        family: The rule family.
        hyperparameter_draws: Other sites are hyperparameters; the prior is the mixture over so many draws of them,
            so that its density is exact.
        seed: Of those draws.

    Raises:
        ValueError: If a coefficient has no site, or a site is not one number.

    Examples:
        >>> def model():
        ...     scale = pyro.sample("scale", dist.HalfNormal(0.5))
        ...     for name in family.names:
        ...         pyro.sample(name, dist.Normal(0.0, scale))
        >>> prior = from_pyro(model, family)
    """
    if not callable(model):
        raise ValueError(f"model must be a function with pyro.sample statements, got {model!r}.")
    arguments.whole("hyperparameter_draws", hyperparameter_draws, 2, 10**6)
    return PyroPrior(model, family.names, hyperparameter_draws, seed)
