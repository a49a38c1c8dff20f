"""Where a smooth posterior has its modes: a distribution to start sequential Monte Carlo from that is nearly the posterior.

Particles from the prior need many steps of the power where the likelihood is sharp. Particles from multivariate t
distributions at the modes, with the curvature there, and some from the prior, need few. The path goes from that mixture to
the posterior, so draws and evidence are as right as from the prior; modes that were not found are left to the prior's part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.support.curvature import climbed, curvature
from sbirules.support.scale import Transform, log_prior_on, unconstrained
from sbirules.support.streams import Stream, seeded
from sbirules.support.student import log_student

__all__ = ["Reference", "reference_of"]

FIRST, STARTS, STEPS = 64, 6, 40  # draws of the prior, the best of them to climb from, and Newton steps from each
FREEDOM = 4.0  # degrees of freedom of the t distributions
WIDER = 1.3  # by so much than the curvature says
OF_PRIOR = 0.2  # share of the prior
FAR = 20.0  # nats below the best mode from which on one is forgotten
SAME = 0.5  # s.d. within which two modes are one


@dataclass(frozen=True)
class Reference:
    """A mixture on the unconstrained scale: t distributions at the modes, and the prior.

    Arguments:
        prior: The prior.
        transform: To its unconstrained scale.
        modes: `(M, D)`.
        factors: Factors of the covariances, lower triangular, `(M, D, D)`.
    """

    prior: Distribution
    transform: Transform
    modes: Tensor
    factors: Tensor

    def sample(self, n: int) -> Tensor:
        """Draws `(n, D)` on the unconstrained scale; from torch's global stream."""
        dim = self.modes.shape[1]
        which = torch.randint(len(self.modes), (n,))
        normal, chi = torch.randn(n, dim, dtype=torch.float64), torch.distributions.Chi2(FREEDOM)
        heavy = (chi.sample(Size((n, 1))).double() / FREEDOM).rsqrt()
        near = self.modes[which] + heavy * (self.factors[which] @ normal[:, :, None])[:, :, 0]
        far = self.transform(self.prior.sample(Size((n,)))).double()
        return torch.where(torch.rand(n, 1) < OF_PRIOR, far, near)

    def log_prob(self, free: Tensor) -> Tensor:
        """Log-density `(n,)` on the unconstrained scale."""
        return self._mixed(free, self.log_prior(free))

    def log_prior_ratio(self, free: Tensor) -> Tensor:
        """Log of the prior over this `(n,)`, on the unconstrained scale."""
        prior = self.log_prior(free)
        return prior - self._mixed(free, prior)

    def _mixed(self, free: Tensor, log_prior: Tensor) -> Tensor:
        """The log-density, of which the prior's part is known already."""
        off = torch.linalg.solve_triangular(
            self.factors, (free[None] - self.modes[:, None]).transpose(1, 2), upper=False
        )
        scale = self.factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        each = log_student(off.square().sum(dim=1), scale[:, None], free.shape[1], FREEDOM)
        near = torch.logsumexp(each, dim=0) - math.log(len(self.modes))
        return torch.logaddexp(math.log(1 - OF_PRIOR) + near, math.log(OF_PRIOR) + log_prior)

    def log_prior(self, free: Tensor) -> Tensor:
        """The prior's log-density `(n,)` on the unconstrained scale."""
        return log_prior_on(self.prior, self.transform, free)


def reference_of(log_likelihood: Callable[[Tensor], Tensor], prior: Distribution, *, seed: int) -> Reference | None:
    """The mixture for a likelihood with gradients, `(n,)` of theta `(n, D)`; None where no mode was found."""
    transform = unconstrained(prior)

    def density(free: Tensor) -> Tensor:
        return log_likelihood(transform.inv(free)).double() + log_prior_on(prior, transform, free)

    def slope(free: Tensor) -> Tensor:
        own = free.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            value = density(own)
            (by_free,) = torch.autograd.grad(torch.where(torch.isfinite(value), value, 0.0).sum(), own)
        return torch.nan_to_num(by_free)

    def value(free: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.nan_to_num(density(free), nan=-math.inf)

    with seeded(seed, Stream.POINTS):
        first = transform(prior.sample(Size((FIRST,)))).double()
    ends, heights = climbed(value, slope, first[value(first).topk(STARTS).indices], STEPS)
    best = float(heights.max())
    modes: list[Tensor] = []
    factors: list[Tensor] = []
    for k in heights.argsort(descending=True).tolist():
        at = ends[k]
        if not math.isfinite(best) or heights[k] < best - FAR:
            continue
        if any(bool((torch.linalg.solve(f, at - m).abs() < SAME).all()) for m, f in zip(modes, factors, strict=True)):
            continue
        values, vectors = curvature(slope, at[None])
        values, vectors = values[0], vectors[0]
        # along a direction in which nothing was learned the prior's own spread is of order one
        covariance = vectors @ torch.diag(WIDER**2 / values.clamp(min=0.25)) @ vectors.T
        modes.append(at)
        factors.append(torch.linalg.cholesky(covariance))
    return Reference(prior, transform, torch.stack(modes), torch.stack(factors)) if modes else None
