"""Priors that people bring: torch distributions, lists of them, sbi's joint ones; each becomes one prior with names.

A distribution of torch's may be batch-shaped, of double precision, and have a density outside its support where its
checks are switched off. `as_prior` makes of it, or of a list, a distribution over vectors whose density is zero there,
and leaves the original alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal, Transform, constraints

from sbirules.model.prior import Named, ShownPrior, Sparse, support_ends
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.files import Plain
from sbirules.support.scale import unconstrained
from sbirules.support.streams import Stream, lastingly, seeded
from sbirules.support.typed import typed_class

from ._supports import independent, interval, stack, support_of
from .correlated import CorrelatedNormal
from .independent import REBUILT

__all__ = ["BroughtPrior", "PriorLike", "as_prior"]

PriorLike = Distribution | Sequence[Distribution]

TAKES = (
    "a prior is a torch distribution over vectors, such as torch.distributions.Independent(Uniform(low, high), 1), a list of "
    "one for each coefficient, or one of sbirules.priors"
)


@typed_class
class BroughtPrior(ShownPrior, Distribution):
    """A prior over theta `(batch, D)` of parts that are independent of each other; made by `as_prior`.

    Arguments:
        names: Names of the columns of theta.
        parts: Torch distributions over one column or several each, in the order of the columns; they are copied.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self, names: Sequence[str], parts: Sequence[Distribution]) -> None:
        self.names, self.parts = tuple(names), tuple(_own(part) for part in parts)
        self.widths = tuple(part.event_shape.numel() for part in self.parts)
        if not self.parts or sum(self.widths) != len(self.names):
            raise ValueError(f"parts must have {len(self.names)} columns, one per name, got {sum(self.widths)}.")
        super().__init__(event_shape=Size([len(self.names)]), validate_args=False)
        with seeded(0, Stream.SHAPES):
            self._inside = self.sample()  # a rule to put in the place of those outside, whose density is not asked

    @property
    def components(self) -> Mapping[str, Distribution]:
        """Independent components by name; empty where some depend on each other."""
        found = [one for part in self.parts for one in _univariate(part)]
        return dict(zip(self.names, found, strict=True)) if len(found) == len(self.names) else {}

    @property
    def support(self) -> constraints.Constraint:
        if len(self.parts) == 1:
            only = _support(self.parts[0])
            return only if only.event_dim else independent(only, 1)
        supports = [_support(part) for part in self.parts]
        bare = [getattr(s, "base_constraint", s) for s in supports]  # without the sum over columns
        if all(s is constraints.real for s in bare):
            return independent(constraints.real, 1)
        if all(isinstance(s, constraints.interval) for s in bare):
            ends = [pair for s, w in zip(bare, self.widths, strict=True) for pair in support_ends(s, w)]
            low, high = torch.tensor(ends).unbind(dim=1)
            return independent(interval(low, high), 1)
        if all(w == 1 for w in self.widths):
            return stack([_scalar(s) for s in bare], -1)
        joined: Callable[..., constraints.Constraint] = constraints.cat
        return independent(joined(bare, -1, self.widths), 1)

    @property
    def mean(self) -> Tensor:
        return torch.cat([torch.as_tensor(part.mean).reshape(-1) for part in self.parts])

    @property
    def variance(self) -> Tensor:
        return torch.cat([torch.as_tensor(part.variance).reshape(-1) for part in self.parts])

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        shape = arguments.shape("sample_shape", sample_shape)
        drawn = [part.sample(shape).reshape(*shape, w) for part, w in zip(self.parts, self.widths, strict=True)]
        return torch.cat(drawn, dim=-1).float()

    def log_prob(self, value: ArrayLike) -> Tensor:
        """Log-density `(...)` of theta `(..., D)`; -inf outside the support."""
        value = arguments.theta_columns(value, self.names, argument="value")
        total, at = torch.zeros(value.shape[:-1]), 0
        for part, width in zip(self.parts, self.widths, strict=True):
            columns = slice(at, at + width)
            total = total + self._density(part, value[..., columns], self._inside[columns])
            at += width
        return total

    def _density(self, part: Distribution, value: Tensor, fallback: Tensor) -> Tensor:
        shape = value.shape[:-1]
        flat = value.reshape(-1, value.shape[-1])
        flat = flat if part.event_shape else flat[:, 0]
        check: Callable[[Tensor], Tensor] = _support(part).check
        inside = check(flat)
        inside = inside if inside.ndim == 1 else inside.all(dim=-1)
        safe = torch.where(inside[:, None] if flat.ndim == 2 else inside, flat, fallback.to(flat))
        density = part.log_prob(safe).reshape(-1)
        return torch.where(inside & ~torch.isnan(density), density, -math.inf).reshape(shape)

    def config(self) -> dict[str, object]:
        """Plain types for the manifest; of a part without a plain form, draws that tell it from others."""
        return {"names": list(self.names), "parts": [_described(part) for part in self.parts]}

    @classmethod
    def from_config(cls, config: Plain) -> BroughtPrior:
        """The prior that gave this `config()`.

        Raises:
            ValueError: If one of its parts has no plain form.
        """
        with arguments.plain_form("a prior of parts"):
            return cls(config["names"], [_rebuilt(part) for part in config["parts"]])


def as_prior(given: Any, names: Sequence[str], argument: str = "prior") -> Distribution:
    """What was given as a prior, as one distribution over vectors of these coefficients; nothing is changed in place.

    Arguments:
        given: One of `sbirules.priors`, which is returned as it is; a torch distribution, with one column for each
            coefficient in its event or its batch; sbi's `MultipleIndependent`; or a list of distributions.
        names: Names of the columns of theta.
        argument: What it is called in messages.

    Raises:
        ValueError: If it is none of these, has another number of columns, or a support that is no product of intervals.
    """
    if isinstance(given, Named) and isinstance(given, Distribution):  # its names are held against others by callers
        if given.batch_shape or len(given.event_shape) != 1:
            raise ValueError(f"{argument} must be one distribution over vectors, {_shapes(given)}.")
        return given
    parts = _parts(given, len(names), argument)
    width = sum(part.event_shape.numel() for part in parts)
    if width != len(names):
        raise ValueError(
            f"{argument} must have one column per coefficient ({arguments.listed(names)}), {len(names)}, got {width}."
        )
    try:
        prior = BroughtPrior(names, parts)
        with seeded(0, Stream.SHAPES):
            draws = prior.sample(Size((64,)))
        fine = bool(torch.isfinite(draws).all() and torch.isfinite(prior.log_prob(draws)).all())
    except Exception as error:  # whatever a distribution of one's own may raise
        raise ValueError(f"{argument} cannot be drawn from or evaluated: {type(error).__name__}: {error}.") from error
    if not fine:
        raise ValueError(f"{argument} must give finite draws with a finite log-density.")
    _check_scale(prior, draws, argument)
    only = prior.parts[0]
    if type(only) is MultivariateNormal and len(prior.parts) == 1:  # of which there is more to say
        return CorrelatedNormal(prior.names, only.loc, only.covariance_matrix)
    return prior


def _parts(given: Any, columns: int, argument: str) -> list[Distribution]:
    """Distributions over one column, or over vectors."""
    if isinstance(given, (list, tuple)):
        if not given:
            raise ValueError(f"{argument} must not be an empty list.")
        return [part for k, one in enumerate(given) for part in _parts(one, 1, f"{argument}[{k}]")]
    if not isinstance(given, Distribution):
        kind = type(given).__name__
        if type(given).__module__.startswith("scipy."):
            inner = getattr(getattr(given, "dist", None), "name", kind)
            raise ValueError(
                f"{argument} must be a torch distribution, got scipy's {inner}, which has no gradient; give that of "
                f"torch.distributions with the same parameters."
            )
        if all(callable(getattr(given, method, None)) for method in ("sample", "log_prob")):
            raise ValueError(
                f"{argument} must be a torch distribution, got {kind}, which has sample and log_prob: "
                f"make it one with sbi.utils.user_input_checks.process_prior({argument})[0]."
            )
        raise ValueError(f"{argument} must be a torch Distribution, got {kind}; {TAKES}.")
    inner = _of_sbi(given)
    if inner is not None:
        return [part for one in inner for part in _parts(one, columns, argument)]
    if given.batch_shape == Size() and len(given.event_shape) <= 1:
        if not given.event_shape and columns > 1:
            raise ValueError(
                f"{argument} is over one number, but there are {columns} coefficients: give a list of one distribution for "
                f"each."
            )
        whole = given
    elif len(given.batch_shape) == 1 and not given.event_shape:
        whole = Independent(given, 1, validate_args=False)
    else:
        raise ValueError(f"{argument} must be one distribution over vectors, {_shapes(given)}; {TAKES}.")
    if isinstance(given, Sparse):
        raise ValueError(f"{argument} must be continuous; spike_and_slab is a prior over all coefficients.")
    if _support(given).is_discrete:
        kind = type(given.base_dist if isinstance(given, Independent) else given).__name__
        raise ValueError(f"{argument} must be continuous: {kind} is over whole numbers.")
    return [whole]


def _of_sbi(given: Distribution) -> list[Distribution] | None:
    """What sbi has wrapped; None for anything else."""
    if not type(given).__module__.startswith("sbi."):
        return None
    from sbi.utils import MultipleIndependent
    from sbi.utils.user_input_checks_utils import OneDimPriorWrapper, PytorchReturnTypeWrapper

    if isinstance(given, MultipleIndependent):
        return list(given.dists)
    if isinstance(given, (OneDimPriorWrapper, PytorchReturnTypeWrapper)):
        return [given.prior]
    return None


def _shapes(given: Distribution) -> str:
    return f"got batch shape {tuple(given.batch_shape)} and event shape {tuple(given.event_shape)}"


def _own(part: Distribution) -> Distribution:
    """A copy in single precision on the CPU that takes any argument, since torch's checks raise outside the support."""
    out = copy.deepcopy(part)
    _prepare(out)
    return out


def _prepare(thing: Any) -> Any:
    """Goes through a distribution and what it is made of."""
    if isinstance(thing, Tensor):
        return thing.detach().cpu().float() if thing.is_floating_point() else thing.cpu()
    if isinstance(thing, (list, tuple)) and not isinstance(thing, Size):
        return type(thing)(_prepare(one) for one in thing)
    if isinstance(thing, (Distribution, Transform)):
        for name, value in vars(thing).items():
            thing.__dict__[name] = _prepare(value)
        if isinstance(thing, Distribution):
            thing._validate_args = False
    return thing


def _support(part: Distribution) -> constraints.Constraint:
    """A part's support; all numbers where a class of one's own does not say."""
    if isinstance(part, MixtureSameFamily):  # of which torch does not say that it is simple
        inner: object = part.component_distribution.support
        if getattr(inner, "base_constraint", inner) is constraints.real:
            return constraints.real_vector if part.event_shape else constraints.real
    try:
        return support_of(part)
    except NotImplementedError:
        return constraints.real_vector if part.event_shape else constraints.real


def _scalar(support: constraints.Constraint) -> constraints.Constraint:
    """The support of one column, whose bounds may stand in a vector of one."""
    ends = {k: v.reshape(()) for k, v in vars(support).items() if isinstance(v, Tensor) and v.numel() == 1}
    if not ends:
        return support
    out = copy.copy(support)
    vars(out).update(ends)
    return out


def _univariate(part: Distribution) -> list[Distribution]:
    """The independent components of a part; empty where they are not known."""
    base: Distribution = part.base_dist if isinstance(part, Independent) else part
    if type(base) not in REBUILT or len(base.batch_shape) > 1:
        return [part] if not part.event_shape else []
    numbers = {key: _numbers(base, key) for key in REBUILT[type(base)]}
    return [_made(type(base), {k: v[i] for k, v in numbers.items()}) for i in range(part.event_shape.numel())]


def _numbers(base: Distribution, key: str) -> list[float]:
    value: Tensor = torch.as_tensor(getattr(base, key)).double()
    return [float(v) for v in value.expand(base.batch_shape).reshape(-1)]


def _made(kind: type[Distribution], numbers: Mapping[str, Any]) -> Distribution:
    make: Callable[..., Distribution] = kind
    out = make(**numbers)
    out._validate_args = False
    return out


def _described(part: Distribution) -> dict[str, object]:
    base: Distribution = part.base_dist if isinstance(part, Independent) else part
    name = type(base).__name__
    if type(base) in REBUILT and len(base.batch_shape) <= 1:
        return {"name": name, **{key: _numbers(base, key) for key in REBUILT[type(base)]}}
    if type(part) is MultivariateNormal:
        return {"name": name, "loc": part.loc.tolist(), "covariance_matrix": part.covariance_matrix.tolist()}
    with lastingly(0):
        return {"name": name, "draws": part.sample(Size((8,))).tolist()}


def _rebuilt(content: Plain) -> Distribution:
    numbers = {k: torch.tensor(v) for k, v in content.items() if k != "name"}
    if content["name"] == "MultivariateNormal":
        return MultivariateNormal(**numbers, validate_args=False)
    kinds = {kind.__name__: kind for kind in REBUILT}
    arguments.known("part of a prior", content["name"], tuple(kinds))
    kind = kinds[content["name"]]
    if kind.__module__.startswith("torch."):
        return Independent(_made(kind, numbers), 1, validate_args=False)
    return _made(kind, {k: float(v) for k, v in numbers.items()})


def _check_scale(prior: BroughtPrior, draws: Tensor, argument: str) -> None:
    """Raises ValueError unless the prior's support can be mapped to all vectors of the same length and back."""
    try:
        scale = unconstrained(prior)
        there = scale(draws)
        back = there.shape == draws.shape and torch.allclose(scale.inv(there), draws, rtol=1e-2, atol=1e-2)
        summed = scale.log_abs_det_jacobian(draws, there).shape == draws.shape[:1]
    except Exception:
        back = summed = False
    if not (back and summed):
        raise ValueError(
            f"{argument} must have a support in which each coefficient has an interval of its own; that of "
            f"{arguments.listed(type(part).__name__ for part in prior.parts)} is not one."
        )
