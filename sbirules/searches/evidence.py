"""Fit, evidence and predictions of a rule whose likelihood is exact, by importance sampling around its mode.

In coordinates in which the prior is standard normal the mode is found by damped steps, with the curvature that the gradients
of single animals tell (Berndt, Hall, Hall & Hausman 1974). Draws come from a Student-t about it (Laplace's approximation with
heavier tails), and their weights correct what the approximation gets wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, Uniform

from sbirules.support.streams import Stream, child

__all__ = ["Fitted", "fit_mode"]

DRAWS = 256
FREEDOM = 8  # degrees of freedom of the proposal
WIDER = 1.3  # than Laplace's covariance, since earlier choices alone tell less than all of them
ENOUGH = 0.1  # effective share of draws; with less, the proposal is fitted to its own weighted draws
AGAIN = 3  # times at most
STEP = 1e-4  # of the numerical second derivatives
STEPS = 60  # of the climb at most
CLOSE = 0.01  # nats that a step of the climb must promise
FARTHEST = 1.0  # a step goes at most, in s.d. of the prior

Slope = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Fitted:
    """What a table says of one rule family.

    Arguments:
        values: Most probable coefficients, by name.
        log_evidence: Log-probability of all choices, rules averaged under the prior.
        evidence_se: Its Monte Carlo error.
        predicted: Log-probability of the choices that were held out given the others.
        effective: Effective share of the draws.
    """

    values: Mapping[str, float]
    log_evidence: float
    evidence_se: float
    predicted: float
    effective: float


def fit_mode(
    names: Sequence[str],
    priors: Mapping[str, Distribution],
    slope: Slope,
    value: Callable[[Tensor], Tensor],
    before: Callable[[Tensor], Tensor],
    start: Mapping[str, float],
    seed: int,
) -> Fitted:
    """Fits coefficients and integrates over them.

    Arguments:
        names: Of the columns of theta.
        priors: Of each, independent, uniform or normal.
        slope: Log-likelihood of all choices by animal, `(n, A)`, and its gradient `(n, A, D)`, of theta `(n, D)`.
        value: Log-likelihood of all choices, `(n,)`.
        before: The same of those before what is held out.
        start: Values to start from, by name, beside the middle of the prior.
        seed: Of the draws.
    """
    if not names:  # nothing to fit
        none = torch.zeros(1, 0, dtype=torch.float64)
        sure = float(value(none)[0])
        return Fitted({}, sure, 0.0, sure - float(before(none)[0]), 1.0)
    space = _Normal(names, priors)
    starts = torch.stack([space.placed({}), *([space.placed(start)] if start else [])])
    mode = _climbed(starts, space, slope)
    centre, chol = mode, torch.linalg.cholesky(_covariance(mode, space, slope))
    rng = torch.Generator().manual_seed(child(seed, Stream.SAMPLING) % 2**63)
    for k in range(AGAIN + 1):
        u, log_q = _student(centre, chol, rng)
        every = value(space.theta(u))
        base = space.log_prior(u) - log_q
        weight = torch.nan_to_num(base + every, nan=-math.inf)
        share = torch.softmax(weight, dim=0)
        effective = float(1.0 / share.square().sum() / len(share))
        if effective >= ENOUGH or k == AGAIN:
            break
        wide = torch.softmax(weight * min(1.0, 0.3 + 0.2 * k), dim=0)
        centre = wide @ u
        away = u - centre
        chol = _cholesky((wide[:, None] * away).T @ away + 1e-6 * torch.eye(len(centre), dtype=u.dtype))
    evidence = float(torch.logsumexp(weight, 0)) - math.log(len(weight))
    earlier = torch.nan_to_num(base + before(space.theta(u)), nan=-math.inf)
    se = math.sqrt(max(0.0, (1.0 / effective - 1.0) / len(weight)))
    values = dict(zip(names, space.theta(mode[None])[0].tolist(), strict=True))
    predicted = evidence + math.log(len(weight)) - float(torch.logsumexp(earlier, 0))
    return Fitted(values, evidence, se, predicted, effective)


class _Normal:
    """Coordinates whose prior is standard normal: theta = low + (high - low) Phi(u), or mean + s.d. u."""

    def __init__(self, names: Sequence[str], priors: Mapping[str, Distribution]) -> None:
        self.names, self.uniform, self.first, self.size = tuple(names), [], [], []
        for name in names:
            p = priors[name]
            if isinstance(p, Uniform):
                first, size = float(p.low), float(p.high) - float(p.low)
            elif isinstance(p, Normal):
                first, size = float(p.loc), float(p.scale)
            else:
                raise ValueError(f"the prior of {name} must be uniform or normal, got {type(p).__name__}.")
            self.uniform.append(isinstance(p, Uniform))
            self.first.append(first)
            self.size.append(size)
        self.flat = torch.tensor(self.uniform)
        self.low, self.width = (torch.tensor(v, dtype=torch.float64) for v in (self.first, self.size))

    def placed(self, values: Mapping[str, float]) -> Tensor:
        """Coordinates of values by name, not far out; 0 of what is not named."""
        theta = torch.tensor([values.get(n, 0.0) for n in self.names], dtype=torch.float64)
        inside = (theta - self.low) / self.width
        u = torch.where(self.flat, torch.special.ndtri(inside.clamp(1e-3, 1 - 1e-3)), inside)
        known = torch.tensor([n in values for n in self.names])
        return torch.where(known, u, 0.0)

    def theta(self, u: Tensor) -> Tensor:
        return self.low + self.width * torch.where(self.flat, torch.special.ndtr(u), u)

    def log_prior(self, u: Tensor) -> Tensor:
        """Density of u, `(n,)`."""
        return -0.5 * (u.square() + math.log(2 * math.pi)).sum(dim=1)

    def log_posterior(self, u: Tensor, slope: Slope) -> tuple[Tensor, Tensor, Tensor]:
        """Up to a constant, `(n,)`; its gradient `(n, D)`; and the gradient of each animal's likelihood, `(n, A, D)`."""
        value, gradient = slope(self.theta(u))
        density = torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi)
        by_animal = gradient * (self.width * torch.where(self.flat, density, 1.0))[:, None]
        total = torch.nan_to_num(self.log_prior(u) + value.sum(dim=1), nan=-math.inf)
        return total, by_animal.sum(dim=1) - u, by_animal


def _climbed(starts: Tensor, space: _Normal, slope: Slope) -> Tensor:
    """The mode that is reached from the better of some starts."""
    values, gradients, each = space.log_posterior(starts, slope)
    k = int(values.argmax())
    at, best, gradient, by_animal = starts[k], float(values[k]), gradients[k], each[k]
    damping = 0.01
    eye = torch.eye(len(at), dtype=at.dtype)
    for _ in range(STEPS):
        curvature = by_animal.T @ by_animal + eye
        step = torch.linalg.solve(curvature + damping * torch.diag(curvature.diagonal()), gradient)
        if float(gradient @ step) * (1 + damping) < CLOSE:
            break
        step = step * min(1.0, FARTHEST / float(step.abs().max()))
        found, slopes, rows = space.log_posterior((at + step)[None], slope)
        if float(found[0]) > best:
            at, best, gradient, by_animal = at + step, float(found[0]), slopes[0], rows[0]
            damping = max(damping / 5, 1e-4)
        else:
            damping *= 6
            if damping > 1e6:
                break
    return at


def _covariance(mode: Tensor, space: _Normal, slope: Slope) -> Tensor:
    """Of Laplace's approximation, widened; from differences of the gradient."""
    steps = STEP * torch.eye(len(mode), dtype=mode.dtype)
    _, gradient, _ = space.log_posterior(torch.cat([mode[None], mode + steps]), slope)
    hessian = (gradient[:1] - gradient[1:]) / STEP
    values, vectors = torch.linalg.eigh(torch.nan_to_num((hessian + hessian.T) / 2))
    # no direction is wider than the prior
    scale = 1.0 / values.clamp(min=1.0)
    out: Tensor = WIDER * (vectors * scale) @ vectors.T
    return out


def _cholesky(matrix: Tensor) -> Tensor:
    out: Tensor = torch.linalg.cholesky(WIDER * (matrix + matrix.T) / 2)
    return out


def _student(centre: Tensor, chol: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws of a multivariate Student-t `(DRAWS, D)`, and their log-density."""
    dim = len(centre)
    z = torch.randn(DRAWS, dim, generator=rng, dtype=torch.float64)
    chi = torch.randn(DRAWS, FREEDOM, generator=rng, dtype=torch.float64).square().sum(dim=1) / FREEDOM
    t = z / chi.sqrt()[:, None]
    half = (FREEDOM + dim) / 2
    log = (
        math.lgamma(half)
        - math.lgamma(FREEDOM / 2)
        - dim / 2 * math.log(FREEDOM * math.pi)
        - float(chol.diagonal().log().sum())
    )
    return centre + t @ chol.T, log - half * torch.log1p(t.square().sum(dim=1) / FREEDOM)
