"""The scale on which particles move: that of the prior, or of a reference that takes its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.model.prior import Sparse, held_at
from sbirules.samplers.modes import Reference
from sbirules.support.scale import Transform, unconstrained

__all__ = ["FromReference", "LogLikelihood", "Scale", "finite"]

# log-likelihood (B, P) of theta (B, P, D) for the observations numbered (B,)
LogLikelihood = Callable[[Tensor, Tensor], Tensor]


def finite(value: Tensor) -> Tensor:
    """Values with -inf in place of NaN."""
    return torch.where(torch.isnan(value), -math.inf, value).double()


class Scale:
    """sbi's unconstrained scale of the prior's support; theta itself where terms may be absent."""

    def __init__(self, prior: Distribution, hold: Mapping[int, float], transform: Transform | None = None) -> None:
        self.prior, self.hold = prior, hold
        self.sparse = prior if isinstance(prior, Sparse) else None
        self.switches = self.sparse is not None
        if not self.switches:
            self.transform = unconstrained(prior) if transform is None else transform

    def sample(self, *shape: int) -> Tensor:
        """Draws of the prior `(*shape, D)`, held coefficients at their values."""
        theta = self.prior.sample(Size(shape)).float()
        return held_at(self.prior, theta, self.hold)

    def free(self, theta: Tensor) -> Tensor:
        return theta if self.switches else self.transform(theta.flatten(0, 1)).float().reshape(theta.shape)

    def theta(self, free: Tensor) -> Tensor:
        if self.switches:
            return free
        theta = self.transform.inv(free.flatten(0, 1)).float().reshape(free.shape)
        # what is held stays what it is, to the last digit
        theta[..., list(self.hold)] = theta.new_tensor(list(self.hold.values()))
        return theta

    def log_prior(self, free: Tensor, theta: Tensor) -> Tensor:
        """Log-prior density on the free scale, `(B, P)`."""
        flat = theta.flatten(0, 1)
        value = self.prior.log_prob(flat)
        if not self.switches:
            value = value - self.transform.log_abs_det_jacobian(flat, free.flatten(0, 1))
        return finite(value).reshape(theta.shape[:2]).float()

    def moved(self, theta: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rules as they are where the prior allows them, else others, `(B, P, D)`, which on the free scale would be at a bound.

        Returns:
            theta and free, and log-priors on the free scale and on that of theta, `(B, P)`; the last is -inf of the others.
        """
        # a prior of one's own need not know what to say of rules outside its support
        inside = self._supports(theta)
        there = torch.where(inside[:, :, None], theta, otherwise)
        of_theta = finite(self.prior.log_prob(there.flatten(0, 1))).reshape(theta.shape[:2])
        of_theta = torch.where(inside, of_theta, -math.inf)
        there = torch.where(torch.isfinite(of_theta)[:, :, None], there, otherwise)
        free = self.free(there)
        return there, free, (of_theta - self.stretch(there, free)).float(), of_theta

    def _supports(self, theta: Tensor) -> Tensor:
        """Whether the prior's support holds rules, `(B, P)`."""
        support: Any = self.prior.support
        inside: Tensor = support.check(theta.flatten(0, 1))
        return (inside if inside.ndim == 1 else inside.all(dim=1)).reshape(theta.shape[:2])

    def stretch(self, theta: Tensor, free: Tensor) -> Tensor:
        """Log of the volume on the free scale of a unit of volume of theta, `(B, P)`."""
        out: Tensor = self.transform.log_abs_det_jacobian(theta.flatten(0, 1), free.flatten(0, 1))
        return out.reshape(theta.shape[:2])


class FromReference(Scale):
    """The scale on which a reference takes the prior's place, and its ratio to the prior that of the likelihood."""

    def __init__(self, prior: Distribution, reference: Reference) -> None:
        super().__init__(prior, {}, reference.transform)
        self.reference = reference

    def sample(self, *shape: int) -> Tensor:
        free = self.reference.sample(math.prod(shape))
        return self.transform.inv(free).float().reshape(*shape, -1)

    def log_prior(self, free: Tensor, theta: Tensor) -> Tensor:
        return finite(self.reference.log_prob(free.flatten(0, 1).double())).reshape(theta.shape[:2]).float()

    def moved(self, theta: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        there, free, _, of_prior = super().moved(theta, otherwise)
        log_prior = self.log_prior(free, there)
        of_theta = log_prior + self.stretch(there, free)
        return there, free, log_prior, torch.where(torch.isfinite(of_prior), of_theta, -math.inf)

    def against(self, log_likelihood: LogLikelihood) -> LogLikelihood:
        """The likelihood times prior over reference."""

        def value(theta: Tensor, which: Tensor) -> Tensor:
            free = self.free(theta).flatten(0, 1)
            tilt = self.reference.log_prior_ratio(free.double())
            return log_likelihood(theta, which).double() + tilt.reshape(theta.shape[:2])

        return value
