"""The evidence by bridge sampling, from draws of a posterior in several independent runs.

The product of sequential Monte Carlo's steps inherits what any of them missed: particles that had not yet spread along a
narrow ridge count as all there is of it. Draws of the posterior itself, once they have spread, say it again: they are set
against draws of a distribution of known mass (Meng & Wong 1996, as Gronau et al. 2017 advise for posteriors). That
distribution is half a t on the scale of theta, where ridges of likelihoods are straight, and half one on the free scale, where
posteriors at bounds of the prior are not cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.prior import Sparse, is_normalised
from sbirules.samplers.particle_scale import Scale, finite
from sbirules.support.streams import Stream, seeded
from sbirules.support.student import log_student

__all__ = ["bridged", "evidence_of", "of_steps"]

FREEDOM = 5.0  # degrees of freedom of the t distributions
ROUNDS, CLOSE = 1000, 1e-9  # of the fixed point, and when it is reached
GOOD = 0.1  # nats of error


def evidence_of(
    log_likelihood: Callable[[Tensor], Tensor],
    prior: Distribution,
    draws: Tensor,
    by_steps: Tensor,
    *,
    ess: float,
    seed: int,
) -> tuple[float, float]:
    """Log-evidence and its standard error: by bridge sampling, or by the sampler's steps where that has a large error.

    Arguments:
        log_likelihood: `(n,)` of theta `(n, D)`; -inf where impossible.
        prior: The prior; where terms may be absent, or its density may lack a constant, there are the steps only.
        draws: Of the posterior, `(runs, n, D)`.
        by_steps: Log-evidence of each run by the sampler's steps, `(runs,)`.
        ess: Effective number of draws in all.
        seed: Of the draws of the known distribution.
    """
    steps = of_steps(by_steps)
    known = not isinstance(prior, Sparse) and is_normalised(prior)
    if not known or not bool(torch.isfinite(by_steps).all()):
        return steps
    # particles are in no order, so that halves of a single run are two runs of their own
    half = draws.shape[1] // 2
    parts = draws if len(draws) > 1 else torch.cat([draws[:, :half], draws[:, -half:]])
    value, own = bridged(log_likelihood, Scale(prior, {}), parts, ess=ess, seed=seed)
    # what the runs' spread says is uncertain itself, of few runs
    between, within = float(value.std()), float(own.square().mean().sqrt())
    error = max(between, within) / math.sqrt(len(parts))
    # runs agree on what all of them missed, so that of two good ones it is not the smaller error that counts
    return (float(value.mean()), error) if error < max(GOOD, steps[1]) else steps


def of_steps(values: Tensor) -> tuple[float, float]:
    """Log-evidence of several runs by the sampler's steps: the log of their mean, which is right on average; and its error."""
    whole = float(_log_mean(values.double()))
    return whole, float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def bridged(
    log_likelihood: Callable[[Tensor], Tensor], scale: Scale, draws: Tensor, *, ess: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Log-evidence and its standard error, `(runs,)`: draws of each run beside t distributions fitted to all the others'.

    Arguments:
        log_likelihood: `(n,)` of theta `(n, D)`; -inf where impossible.
        scale: Of the prior, no coefficient held and no term absent.
        draws: Of the posterior, `(runs, n, D)`, two runs or more.
        ess: Effective number of draws in all.
        seed: Of the draws of the t distributions.

    NaN where draws do not span all coefficients or the fixed point was not reached.
    """
    runs, n = draws.shape[:2]
    theta = draws.float()
    free = scale.free(theta)
    out = torch.full((2, runs), math.nan, dtype=torch.float64)
    with seeded(seed, Stream.BRIDGE), torch.no_grad():
        for k in range(runs):
            others = [j for j in range(runs) if j != k]
            straight = _T.fitted(theta[others].flatten(0, 1).double())
            bent = _T.fitted(free[others].flatten(0, 1).double())
            if straight is None or bent is None:
                return out[0], out[1]
            mine, there = straight.sample(n // 2), scale.theta(bent.sample(n - n // 2).float()[None])[0]
            ratios = []
            for points in (theta[k], torch.cat([mine.float(), there])):
                at, at_free, _, log_prior = scale.moved(points[None], theta[k][None])
                bend = scale.stretch(at, at_free)[0]
                known = torch.logaddexp(straight.log_prob(at[0].double()), bent.log_prob(at_free[0].double()) + bend)
                ratio = finite(log_likelihood(at[0])) + log_prior[0] - known + math.log(2)
                ratios.append(torch.where(torch.isfinite(log_prior[0]), finite(ratio), -math.inf))
            out[:, k] = torch.tensor(_fixed_point(ratios[0], ratios[1], min(ess / runs, n)))
    return out[0], out[1]


def _fixed_point(of_posterior: Tensor, of_known: Tensor, ess: float) -> tuple[float, float]:
    """Log of the mass and its standard error: logs of posterior over known density at draws of the two.

    The error is that of Frühwirth-Schnatter (2004), by the delta method.
    """
    if not bool(torch.isfinite(of_posterior).all()):
        return math.nan, math.nan
    n = len(of_known)
    mine, theirs = math.log(ess / (ess + n)), math.log(n / (ess + n))
    value = float(of_posterior.median())
    for _ in range(ROUNDS):
        share = torch.tensor(theirs + value, dtype=torch.float64)
        top, bottom = of_known - torch.logaddexp(mine + of_known, share), -torch.logaddexp(mine + of_posterior, share)
        before, value = value, float(_log_mean(top) - _log_mean(bottom))
        if not math.isfinite(value):
            break
        if abs(value - before) < CLOSE:
            return value, math.sqrt(_relative_variance(top) / n + _relative_variance(bottom) / ess)
    return math.nan, math.nan


def _log_mean(logs: Tensor) -> Tensor:
    return torch.logsumexp(logs, dim=0) - math.log(len(logs))


def _relative_variance(logs: Tensor) -> float:
    """Variance of numbers known by their logs, over their squared mean."""
    return float(torch.exp(logs - _log_mean(logs)).var())


@dataclass(frozen=True)
class _T:
    """A multivariate t: its centre `(D,)` and the factor of its scale `(D, D)`, lower triangular."""

    centre: Tensor
    factor: Tensor

    @classmethod
    def fitted(cls, points: Tensor) -> _T | None:
        """By mean and covariance; None where they do not span the space."""
        factor, failed = torch.linalg.cholesky_ex(torch.cov(points.T).reshape(points.shape[1], -1))
        whole = not bool(failed) and bool(torch.isfinite(factor).all()) and bool((factor.diagonal() > 0).all())
        return cls(points.mean(dim=0), factor) if whole else None

    def sample(self, n: int) -> Tensor:
        dim = len(self.centre)
        chi = torch.distributions.Chi2(torch.tensor(FREEDOM, dtype=torch.float64)).sample((n, 1))
        return self.centre + (chi / FREEDOM).rsqrt() * torch.randn(n, dim, dtype=torch.float64) @ self.factor.T

    def log_prob(self, points: Tensor) -> Tensor:
        off = torch.linalg.solve_triangular(self.factor, (points - self.centre).T, upper=False).square().sum(dim=0)
        return log_student(off, self.factor.diagonal().log().sum(), len(self.centre), FREEDOM)
