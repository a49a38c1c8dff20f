"""Priors under which coefficients are independent, in natural units, as torch distributions with names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Size, Tensor
from torch.distributions import (
    Beta,
    Cauchy,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Laplace,
    LogNormal,
    Normal,
    StudentT,
    Uniform,
    Weibull,
    constraints,
)

from sbirules.model.prior import ShownPrior, ends_of
from sbirules.model.rules import Coefficient, RuleFamily
from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.streams import lastingly
from sbirules.support.typed import typed, typed_class

from ._supports import independent, interval, stack, support_of, within

__all__ = ["IndependentPrior", "LogUniform", "log_uniform", "normal", "uniform"]

Component = Distribution | tuple[float, float]


@typed_class
class LogUniform(Distribution):
    """Density proportional to 1/x on [low, high]: uniform in log x.

    Arguments:
        low: Lower end, above 0.
        high: Upper end.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom
    has_rsample = True

    def __init__(self, low: float, high: float) -> None:
        low, high = _ordered("log_uniform", low, high)
        if low <= 0:
            raise ValueError(f"log_uniform: low must be greater than 0, got {low:g}.")
        self.low, self.high = torch.tensor(low), torch.tensor(high)
        super().__init__(validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high - self.low) / torch.log(self.high / self.low)

    @property
    def variance(self) -> Tensor:
        return (self.high**2 - self.low**2) / (2 * torch.log(self.high / self.low)) - self.mean**2

    def rsample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        u = torch.rand(arguments.shape("sample_shape", sample_shape))
        return (torch.log(self.low) + u * torch.log(self.high / self.low)).exp().clamp(self.low, self.high)

    def log_prob(self, value: Tensor) -> Tensor:
        value = arguments.floating(value)
        inside = (value >= self.low) & (value <= self.high)
        density = -torch.log(value.clamp(min=1e-30)) - torch.log(torch.log(self.high / self.low))
        return torch.where(inside, density, -math.inf)


@typed_class
class IndependentPrior(ShownPrior, Distribution):
    """Independent univariate distributions, one per coefficient.

    Drops into `sbi` as a prior over theta `(batch, D)`.

    Arguments:
        components: Univariate torch distributions by coefficient name, in the order of theta's columns.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self, components: Mapping[str, Distribution]) -> None:
        if not components:
            raise ValueError("a prior needs at least one component.")
        for name, component in components.items():
            if not isinstance(component, Distribution) or component.batch_shape or component.event_shape:
                raise ValueError(
                    f"{name}: a component must be a univariate torch distribution, "
                    f"got {component!r}; use for instance Normal(0.0, 1.0)."
                )
        self.components = dict(components)
        super().__init__(event_shape=Size([len(components)]), validate_args=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return tuple(self.components)

    @property
    def log_scale(self) -> tuple[bool, ...]:
        """Which columns are best seen on a log scale."""
        return tuple(isinstance(c, LogUniform) for c in self.components.values())

    @property
    def support(self) -> constraints.Constraint:
        supports = [support_of(c) for c in self.components.values()]
        if all(isinstance(s, constraints.interval) for s in supports):
            ends = [ends_of(c) for c in self.components.values()]
            low, high = torch.tensor(ends, dtype=torch.float32).unbind(dim=1)
            return independent(interval(low, high), 1)
        if all(s is constraints.real for s in supports):
            return independent(constraints.real, 1)
        return stack(supports, -1)

    @property
    def mean(self) -> Tensor:
        return torch.stack([torch.as_tensor(c.mean) for c in self.components.values()])

    @property
    def variance(self) -> Tensor:
        return torch.stack([torch.as_tensor(c.variance) for c in self.components.values()])

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        shape = arguments.shape("sample_shape", sample_shape)
        return torch.stack([c.sample(shape) for c in self.components.values()], dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density `(...)` of theta `(..., D)`; -inf outside the support."""
        value = arguments.theta_columns(value, self.names)
        parts = []
        boxed, low, high = self._boxes
        if boxed:  # all uniform ones at once: samplers ask often
            columns = value[..., boxed]
            inside = ((columns >= low) & (columns < high)).all(dim=-1)
            parts.append(torch.where(inside, -torch.log(high - low).sum(), -math.inf))
        for k, (component, column) in enumerate(zip(self.components.values(), value.unbind(dim=-1), strict=True)):
            if k in boxed:
                continue
            # torch distributions raise or extrapolate outside their support, depending on a global switch
            inside = within(component, column)
            safe = torch.where(inside, column, torch.as_tensor(component.mean).to(column))
            parts.append(torch.where(inside, component.log_prob(safe), -math.inf))
        return torch.stack(parts).sum(dim=0)

    @cached_property
    def _boxes(self) -> tuple[list[int], Tensor, Tensor]:
        """Which components are uniform, and their bounds."""
        found = {k: c for k, c in enumerate(self.components.values()) if type(c) is Uniform}
        if not found:
            return [], torch.zeros(0), torch.zeros(0)
        low, high = (torch.stack([torch.as_tensor(getattr(c, end)) for c in found.values()]) for end in ("low", "high"))
        return list(found), low, high

    def config(self) -> dict[str, object]:
        """Plain types for the manifest."""
        return {name: _describe(c) for name, c in self.components.items()}

    @classmethod
    def from_config(cls, config: Plain) -> IndependentPrior:
        """The prior that gave this `config()`."""
        with arguments.plain_form("an independent prior"):
            return cls({name: _rebuild(name, numbers) for name, numbers in config.items()})


# components that a config() can bring back, and their arguments; other modules add theirs
REBUILT: dict[type[Distribution], tuple[str, ...]] = {
    LogUniform: ("low", "high"),
    Uniform: ("low", "high"),
    Normal: ("loc", "scale"),
    LogNormal: ("loc", "scale"),
    Cauchy: ("loc", "scale"),
    Laplace: ("loc", "scale"),
    Gumbel: ("loc", "scale"),
    StudentT: ("df", "loc", "scale"),
    HalfNormal: ("scale",),
    HalfCauchy: ("scale",),
    Exponential: ("rate",),
    Gamma: ("concentration", "rate"),
    InverseGamma: ("concentration", "rate"),
    Beta: ("concentration1", "concentration0"),
    Weibull: ("scale", "concentration"),
}


def _describe(component: Distribution) -> dict[str, object]:
    """The class of a component and its numbers."""
    name = type(component).__name__
    if type(component) in REBUILT:
        return {"name": name, **{key: float(getattr(component, key)) for key in REBUILT[type(component)]}}
    with lastingly(0):  # tells any other distribution from one with other parameters
        return {"name": name, "draws": component.sample(Size((8,))).tolist()}


def _rebuild(name: str, config: Plain) -> Distribution:
    kinds: dict[str, Callable[..., Distribution]] = {kind.__name__: kind for kind in REBUILT}
    arguments.known(f"prior of {name}", config["name"], tuple(kinds))
    numbers = {k: float(v) for k, v in config.items() if k != "name"}
    kind = kinds[config["name"]]
    # torch's own check their arguments, and raise outside their support, where a global switch says so
    options = {"validate_args": False} if kind.__module__.startswith("torch.") else {}
    return kind(**numbers, **options)


def _ordered(what: str, low: float, high: float) -> tuple[float, float]:
    arguments.finite(f"{what}: low", low)
    arguments.finite(f"{what}: high", high)
    if not low < high:
        raise ValueError(f"{what}: low must be less than high, got low={low:g}, high={high:g}; swap them?")
    return float(low), float(high)


@typed
def log_uniform(low: float, high: float) -> LogUniform:
    """Uniform in the logarithm on [low, high]; for time constants, in their own unit (ms, trials)."""
    return LogUniform(low, high)


def build(family: RuleFamily, default: Component | None, special: Mapping[str, Component]) -> IndependentPrior:
    for name in special:
        arguments.known("prior of", name, family.names)
    components: dict[str, Distribution] = {}
    for p in family.parameters:
        given: Component | None = special.get(p.name, default if p.linear else p.prior)
        if given is None and not p.linear:
            raise ValueError(
                f"{p.name} is not measured in natural units and needs a prior of its own, "
                f"for instance {p.name}={_suggested(p)}."
            )
        if isinstance(given, tuple):
            given = Uniform(*_ordered(p.name, *given), validate_args=False)
        if not isinstance(given, Distribution):
            raise ValueError(f"{p.name}: a prior must be (low, high) or a univariate torch distribution.")
        low, high = ends_of(given)
        # a linear coefficient is in natural units here, of which only the sign is known
        legal = (
            (p.low, p.high) if not p.linear else (0.0 if p.low >= 0 else -math.inf, 0.0 if p.high <= 0 else math.inf)
        )
        if low < legal[0] or high > legal[1]:
            raise ValueError(
                f"{p.name} must lie in [{legal[0]:g}, {legal[1]:g}], but its prior covers [{low:g}, {high:g}]."
            )
        components[p.name] = given
    return IndependentPrior(components)


def _suggested(p: Coefficient) -> str:
    """A prior that a coefficient may have, as code."""
    if p.log:
        return "log_uniform(50, 5000)"
    low, high = (p.default - 1 if math.isinf(p.low) else p.low, p.default + 1 if math.isinf(p.high) else p.high)
    return f"({low:g}, {high:g})"


@typed
def uniform(family: RuleFamily, low: float = -1.0, high: float = 1.0, **special: Component) -> IndependentPrior:
    """Uniform over a box, in natural units.

    Arguments:
        family: The rule family.
        low: Lower end for every coefficient.
        high: Upper end.
        special: Other priors by coefficient name: `(low, high)` or a univariate torch distribution, such
            as `tau_e=log_uniform(50, 5000)`. Time constants need one.

    Examples:
        >>> prior = uniform(PolynomialRule(degree=2, infer=["tau_e"]), -1, 1, tau_e=log_uniform(50, 5000))
    """
    low, high = _ordered("uniform", low, high)
    return build(family, Uniform(low, high, validate_args=False), special)


@typed
def normal(family: RuleFamily, mean: float = 0.0, sd: float = 1.0, **special: Component) -> IndependentPrior:
    """Independent normals, in natural units; `special` as for `uniform`."""
    arguments.finite("normal: mean", mean)
    arguments.above("normal: sd", sd, 0.0)
    return build(family, Normal(float(mean), float(sd), validate_args=False), special)
