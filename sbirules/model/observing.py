r"""How a model's variable becomes a recorded value: Gaussian, Poisson and overdispersed noise, with their coefficients.

Means and noise are in units of a scale, the root mean square of the recorded values, so that one prior suits dF/F, Hz and counts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import LogNormal, Uniform

from sbirules.model.recordings import Recordings
from sbirules.model.rules import Coefficient
from sbirules.support import arguments

__all__ = ["OBSERVATIONS", "Gaussian", "NegativeBinomial", "Observation", "Poisson", "observation_of"]

SMALLEST = 1e-6  # mean count, so that an impossible one has a finite log-probability
COUNTS = ("", "counts", "count", "spikes")


class Observation(ABC):
    """How values scatter around a model's mean.

    A subclass names its coefficients, which are nuisance coefficients of the simulator.
    """

    name: str  # in study files
    coefficients: tuple[Coefficient, ...] = ()

    @abstractmethod
    def log_prob(self, value: Tensor, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        """Log-density of values given their means, elementwise.

        Arguments:
            value: What was recorded.
            mean: What the model says, in the unit of values; shapes broadcast.
            theta: The coefficients by name, of shapes that broadcast.
            scale: What noise is measured in.
        """

    @abstractmethod
    def sample(self, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        """Values around these means, from torch's global stream."""

    def check(self, recordings: Recordings) -> None:  # noqa: B027 - most take any values
        """Raises ValueError if these values cannot come from this model of noise."""


class Gaussian(Observation):
    r"""Values y ~ N(m, s^2) with s^2 = noise^2 + (growth m)^2.

    Arguments:
        growing: Whether noise grows with the mean; else growth is 0 and no coefficient.
    """

    name = "gaussian"

    def __init__(self, growing: bool = True) -> None:
        self.growing = growing
        self.name = "gaussian" if growing else "constant_gaussian"
        noise = LogNormal(-1.5, 1.0, validate_args=False)
        self.coefficients = (
            Coefficient("noise", low=0.0, linear=False, unit="scales", log=True, default=0.2, prior=noise),
        )
        if growing:
            growth = Uniform(0.0, 1.5, validate_args=False)
            self.coefficients += (Coefficient("noise_growth", low=0.0, linear=False, unit="shares", prior=growth),)

    def sd(self, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        """S.d. of values around these means."""
        constant = theta["noise"] * scale
        return torch.hypot(constant, theta["noise_growth"] * mean) if self.growing else constant

    def log_prob(self, value: Tensor, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        sd = self.sd(mean, theta, scale)
        return -0.5 * ((value - mean) / sd).square() - sd.log() - 0.5 * math.log(2 * math.pi)

    def sample(self, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        return mean + self.sd(mean, theta, scale) * torch.randn_like(mean)


class Poisson(Observation):
    """Counts y ~ Poisson(m)."""

    name = "poisson"

    def log_prob(self, value: Tensor, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        rate = mean.clamp(min=SMALLEST)
        return value * rate.log() - rate - torch.lgamma(value + 1)

    def sample(self, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        return torch.poisson(mean.clamp(min=0.0))

    def check(self, recordings: Recordings) -> None:
        value = recordings.values[torch.isfinite(recordings.values)]
        wrong = (value < 0) | (value != value.floor())
        if bool(wrong.any()):
            raise ValueError(
                f"observation = {self.name!r} is of counts, whole numbers of at least 0, but the recordings hold "
                f"{float(value[wrong][0]):g}{' ' + recordings.unit if recordings.unit else ''}; take 'gaussian', or bin spikes "
                f"to counts."
            )
        if recordings.unit.lower() not in COUNTS:
            raise ValueError(
                f"observation = {self.name!r} is of counts, but the unit of the recordings is {recordings.unit!r}; give "
                f'unit="counts", or take "gaussian".'
            )


class NegativeBinomial(Poisson):
    r"""Counts with mean m and variance m + overdispersion m^2."""

    name = "negative_binomial"

    def __init__(self) -> None:
        prior = LogNormal(-2.0, 1.5, validate_args=False)
        self.coefficients = (Coefficient("overdispersion", low=0.0, linear=False, log=True, default=0.1, prior=prior),)

    def log_prob(self, value: Tensor, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        rate, alpha = mean.clamp(min=SMALLEST), theta["overdispersion"]
        size = 1.0 / alpha
        of_size = torch.lgamma(value + size) - torch.lgamma(size) - torch.lgamma(value + 1)
        return of_size - size * torch.log1p(alpha * rate) + value * (rate.log() - torch.log(rate + size))

    def sample(self, mean: Tensor, theta: Mapping[str, Tensor], scale: float) -> Tensor:
        size = (1.0 / theta["overdispersion"]).expand_as(mean)
        rate = mean.clamp(min=SMALLEST)
        return torch.poisson(torch._standard_gamma(size) * rate / size)


OBSERVATIONS = {
    "gaussian": lambda: Gaussian(growing=True),
    "constant_gaussian": lambda: Gaussian(growing=False),
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}


def observation_of(value: str | Observation) -> Observation:
    """An observation model by its name, or the given one."""
    if isinstance(value, Observation):
        return value
    arguments.known("observation", value, tuple(OBSERVATIONS))
    made: Observation = OBSERVATIONS[value]()
    return made
