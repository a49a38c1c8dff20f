"""The scale on which a prior's support is all real numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.support.borrowed import torch_as_found
from sbirules.support.streams import Stream, seeded

__all__ = ["Transform", "log_prior_on", "unconstrained"]

DRAWS = 4001  # of a prior without finite moments


class Transform(Protocol):
    """A torch transform, whose own methods have no types: theta to the free scale."""

    @property
    def inv(self) -> Callable[[Tensor], Tensor]: ...

    def __call__(self, x: Tensor, /) -> Tensor: ...

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor, /) -> Tensor: ...


def unconstrained(prior: Distribution) -> Transform:
    """sbi's `mcmc_transform` of a prior; by quantiles where its mean or s.d. is not finite, as the horseshoe's."""
    with torch_as_found():
        from sbi.utils import mcmc_transform

    with seeded(0, Stream.SHAPES), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The passed")  # that moments come from draws
        found: Transform = mcmc_transform(prior if _has_moments(prior) else _Quantiles(prior))
        return found


def log_prior_on(prior: Distribution, transform: Transform, free: Tensor) -> Tensor:
    """A prior's log-density `(n,)` on its free scale, of rules there `(n, D)`."""
    theta = transform.inv(free)
    return prior.log_prob(theta.float()).double() - transform.log_abs_det_jacobian(theta, free)


def _has_moments(prior: Distribution) -> bool:
    try:
        return bool(torch.isfinite(prior.mean).all() and torch.isfinite(prior.stddev).all())
    except (NotImplementedError, AttributeError):
        return True  # sbi takes them from draws


class _Quantiles:
    """What `mcmc_transform` asks of a prior, with median and scaled interquartile range as its moments."""

    def __init__(self, prior: Distribution) -> None:
        self.inner, self.support = prior, prior.support
        draws = prior.sample(Size((DRAWS,)))
        low, self.mean, high = torch.quantile(draws, torch.tensor([0.25, 0.5, 0.75]), dim=0)
        self.stddev = ((high - low) / 1.349).clamp(min=torch.finfo(draws.dtype).tiny)

    def sample(self, shape: Size) -> Tensor:
        return self.inner.sample(shape)
