"""Priors that prefer few terms: spike-and-slab, in which terms may be absent, and the horseshoe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution, HalfCauchy, Normal, constraints

from sbirules.model.prior import ShownPrior
from sbirules.model.rules import RuleFamily
from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.typed import typed, typed_class

from ._supports import interval, within
from .independent import REBUILT, Component, IndependentPrior, build

__all__ = ["Horseshoe", "SpikeAndSlab", "TwoSided", "horseshoe", "spike_and_slab", "two_sided"]


@typed_class
class TwoSided(Distribution):
    """Uniform on [-high, -low] and [low, high]: a term that is present has at least some size.

    Arguments:
        low: Smallest size, at least 0.
        high: Largest size.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self, low: float, high: float) -> None:
        low, high = arguments.at_least("two_sided: low", low, 0.0), arguments.finite("two_sided: high", high)
        if not low < high:
            raise ValueError(f"two_sided: low must be less than high, got {low:g} and {high:g}.")
        self.low, self.high = torch.tensor(low), torch.tensor(high)
        super().__init__(validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return interval(-self.high, self.high)

    @property
    def mean(self) -> Tensor:
        return torch.zeros(())

    @property
    def variance(self) -> Tensor:
        return (self.high**3 - self.low**3) / (3 * (self.high - self.low))

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        size = self.low + (self.high - self.low) * torch.rand(arguments.shape("sample_shape", sample_shape))
        return torch.where(torch.rand(size.shape) < 0.5, -size, size)

    def log_prob(self, value: Tensor) -> Tensor:
        value = arguments.floating(value)
        inside = (value.abs() >= self.low) & (value.abs() <= self.high)
        return torch.where(inside, -math.log(2 * float(self.high - self.low)), -math.inf)


@typed_class
class Horseshoe(Distribution):
    r"""A normal whose s.d. is `scale` times a half-Cauchy variable: a pole at zero and heavy tails.

    The density is exp(s) E_1(s) / sqrt(2 pi^3) / scale with s = x^2 / (2 scale^2) (Carvalho, Polson & Scott 2010).

    Arguments:
        scale: The global scale tau.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom
    support = constraints.real

    def __init__(self, scale: float) -> None:
        self.scale = torch.tensor(arguments.above("horseshoe: scale", scale, 0.0))
        super().__init__(validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros(())

    @property
    def variance(self) -> Tensor:
        return torch.tensor(math.inf)

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        cauchy: Distribution = HalfCauchy(1.0)
        return (
            self.scale
            * cauchy.sample(arguments.shape("sample_shape", sample_shape))
            * torch.randn(arguments.shape("sample_shape", sample_shape))
        )

    def log_prob(self, value: Tensor) -> Tensor:
        # the pole is cut at a millionth of the scale, where next to no mass lies
        s = (value.double().abs() / float(self.scale)).clamp(min=1e-6).square() / 2
        log = _log_scaled_exp1(s)
        return (log - 0.5 * math.log(2 * math.pi**3) - math.log(self.scale)).to(value.dtype)


class _LogScaledExp1(torch.autograd.Function):
    """log(exp(s) E_1(s)), by scipy, with its derivative 1 - 1 / (s exp(s) E_1(s))."""

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        from scipy.special import exp1

        x = s.detach().numpy()
        near, far = np.minimum(x, 600.0), np.maximum(x, 600.0)
        series = np.log1p(-1 / far + 2 / far**2 - 6 / far**3) - np.log(far)  # where E_1 underflows
        out = torch.as_tensor(np.where(x < 600.0, near + np.log(exp1(near)), series))
        ctx.save_for_backward(s, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        s, out = ctx.saved_tensors
        gradient: Tensor = grads[0] * (1 - torch.exp(-out) / s)
        return gradient


_log_scaled_exp1: Callable[[Tensor], Tensor] = _LogScaledExp1.apply


REBUILT[TwoSided], REBUILT[Horseshoe] = ("low", "high"), ("scale",)


@typed_class
class SpikeAndSlab(ShownPrior, Distribution):
    """Each term is absent, its coefficient exactly 0, or present with a coefficient from the slab.

    The density is taken against the mixed measure: a point at 0 beside the line. Posteriors under this prior are
    sampled over presence and coefficients jointly (`posterior.inclusion_probabilities()`).

    Arguments:
        slab: Prior of the coefficients of present terms.
        inclusion: Probability that a term is present, by coefficient name; coefficients not named always are.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self, slab: IndependentPrior, inclusion: Mapping[str, float]) -> None:
        if not inclusion:
            raise ValueError("inclusion must name at least one coefficient.")
        for name, p in inclusion.items():
            arguments.known("inclusion", name, slab.names)
            if not 0 < p < 1:
                raise ValueError(
                    f"inclusion of {name} must lie between 0 and 1, got {p!r}; leave it out to keep it in."
                )
        self.slab, self.inclusion = slab, dict(inclusion)
        self.chance = torch.tensor([inclusion.get(name, 1.0) for name in slab.names])
        self.optional = torch.tensor([name in inclusion for name in slab.names])
        super().__init__(event_shape=Size([len(slab.names)]), validate_args=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return self.slab.names

    @property
    def log_scale(self) -> tuple[bool, ...]:
        """Which columns are best seen on a log scale."""
        return self.slab.log_scale

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real_vector

    @property
    def mean(self) -> Tensor:
        return self.chance * self.slab.mean

    @property
    def variance(self) -> Tensor:
        return self.chance * (self.slab.variance + self.slab.mean**2) - self.mean**2

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        theta = self.slab.sample(sample_shape)
        return torch.where(torch.rand(theta.shape) < self.chance, theta, 0.0)

    def log_prob(self, value: Tensor) -> Tensor:
        value = arguments.theta_columns(value, self.names)
        total = torch.zeros(value.shape[:-1])
        for k, component in enumerate(self.slab.components.values()):
            column = value[..., k]
            inside = within(component, column)
            density = torch.where(inside, component.log_prob(torch.where(inside, column, component.mean)), -math.inf)
            if self.optional[k]:
                p = float(self.chance[k])
                density = torch.where(column == 0, math.log1p(-p), density + math.log(p))
            total = total + density
        return total

    def propose_switch(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """A move over structures for MCMC, for rules `(..., D)`.

        Half of the rules have one term switched on or off, a quarter one term exchanged for another, and a quarter
        the coefficient of one present term drawn anew. New coefficients come from the slab.

        Returns:
            The rules proposed, and log of prior ratio times proposal ratio `(...)`; the slab's densities cancel.
        """
        theta = arguments.theta_columns(theta, self.names)
        shape = theta.shape[:-1]
        fresh = self.slab.sample(shape)
        logit = torch.where(self.optional, torch.log(self.chance / (1 - self.chance)), 0.0)
        on = theta != 0
        kind = torch.rand(shape)
        switched = _one_of(self.optional.expand(theta.shape))
        out_going, in_coming = _one_of(on & self.optional), _one_of(~on & self.optional)
        possible = out_going.any(-1) & in_coming.any(-1)
        swap = ((kind >= 0.5) & (kind < 0.75) & possible)[..., None]
        anew = (kind >= 0.75)[..., None]
        flip = (kind < 0.5)[..., None] & switched
        off = (flip & on) | (swap & out_going)
        come = (flip & ~on) | (swap & in_coming)
        drawn = come | (anew & out_going)
        new = torch.where(drawn, fresh, torch.where(off, 0.0, theta))
        return new, torch.where(come, logit, 0.0).sum(-1) - torch.where(off, logit, 0.0).sum(-1)

    def config(self) -> dict[str, object]:
        """Plain types for the manifest."""
        return {"slab": self.slab.config(), "inclusion": self.inclusion}

    @classmethod
    def from_config(cls, config: Plain) -> SpikeAndSlab:
        """The prior that gave this `config()`."""
        with arguments.plain_form("a spike-and-slab prior"):
            return cls(IndependentPrior.from_config(config["slab"]), config["inclusion"])


def _one_of(candidates: Tensor) -> Tensor:
    """One of the true entries of each row `(..., D)`, all with the same probability; none where there is none."""
    score = torch.where(candidates, torch.rand(candidates.shape), -1.0)
    best = torch.nn.functional.one_hot(score.argmax(-1), candidates.shape[-1]).bool()
    return best & candidates


@typed
def two_sided(low: float, high: float) -> TwoSided:
    """Uniform on [-high, -low] and [low, high]."""
    return TwoSided(low, high)


@typed
def spike_and_slab(
    family: RuleFamily,
    inclusion: float | Mapping[str, float] = 0.5,
    slab: Component | None = None,
    **special: Component,
) -> SpikeAndSlab:
    """Terms that are present with some probability, in natural units.

    Arguments:
        family: The rule family.
        inclusion: Probability that a term is present, for all linear coefficients or by name.
        slab: Prior of a coefficient whose term is present: `(low, high)` or a univariate torch distribution;
            by default Normal(0, 0.5).
        special: Other slabs by coefficient name; time constants need one, and are always present.

    Examples:
        >>> prior = spike_and_slab(PolynomialRule(degree=2), inclusion=2 / 9, slab=two_sided(0.4, 1.0))
    """
    whole = build(family, Normal(0.0, 0.5, validate_args=False) if slab is None else slab, special)
    if not isinstance(inclusion, Mapping):
        inclusion = {p.name: inclusion for p in family.parameters if p.linear}
    return SpikeAndSlab(whole, inclusion)


@typed
def horseshoe(family: RuleFamily, scale: float = 0.1, **special: Component) -> IndependentPrior:
    """Most coefficients near zero, few large, in natural units.

    Arguments:
        family: The rule family.
        scale: Global scale: about the size below which a coefficient is shrunk away.
        special: Other priors by coefficient name, as for `uniform`.
    """
    return build(family, Horseshoe(scale), special)
