"""Fit, evidence and predictions of a rule whose likelihood is exact, by importance sampling around its mode.

In coordinates in which the prior is standard normal the mode is found by damped steps, with the curvature that the gradients
of single animals tell (Berndt, Hall, Hall & Hausman 1974). Draws come from a Student-t about it (Laplace's approximation with
heavier tails), and their weights correct what the approximation gets wrong. Where they do not, as with several modes, draws come
from sequential Monte Carlo, which starts from the prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, Uniform

from sbirules.samplers.particle_scale import LogLikelihood
from sbirules.samplers.smc import SamplerSettings, run_smc
from sbirules.support.streams import Stream, child

__all__ = ["Fitted", "fit_mode"]

DRAWS = 256
FREEDOM = 8  # degrees of freedom of the proposal
WIDER = 1.3  # than Laplace's covariance, since earlier choices alone tell less than all of them
ENOUGH = 0.05  # effective share of draws; with less, the proposal is fitted to its own weighted draws
AGAIN = 3  # times at most
SPREAD = 64  # points spread over the prior, of which the best is climbed from, too
STEP = 1e-4  # of the numerical second derivatives
STEPS = 60  # of the climb at most
CLOSE = 0.01  # nats that a step of the climb must promise
FARTHEST = 1.0  # a step goes at most, in s.d. of the prior

RUNS = 2  # of sequential Monte Carlo, whose evidences tell the error
SETTINGS = SamplerSettings(num_particles=96, num_moves=4)

Slope = Callable[[Tensor], tuple[Tensor, Tensor]]
Values = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Fitted:
    """What a table says of one rule family.

    Arguments:
        values: Most probable coefficients, by name.
        log_evidence: Log-probability of all choices, rules averaged under the prior.
        evidence_se: Its Monte Carlo error.
        predicted: Log-probability of the choices that were held out given the others.
        effective: Effective share of the draws; 0 where they are those of sequential Monte Carlo.
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
    value: Values,
    start: Mapping[str, float],
    seed: int,
) -> Fitted:
    """Fits coefficients and integrates over them.

    Arguments:
        names: Of the columns of theta.
        priors: Of each, independent, uniform or normal.
        slope: Log-likelihood of all choices by animal, `(n, A)`, and its gradient `(n, A, D)`, of theta `(n, D)`.
        value: Log-likelihood of all choices, and of those before what is held out, `(n,)` each.
        start: Values to start from, by name, beside the middle of the prior.
        seed: Of the draws.
    """
    if not names:  # nothing to fit
        none = torch.zeros(1, 0, dtype=torch.float64)
        sure, before = (float(v[0]) for v in value(none))
        return Fitted({}, sure, 0.0, sure - before, 1.0)
    space = _Normal(names, priors)
    own = child(seed, Stream.SAMPLING) % 2**63
    starts = [space.placed({}), *([space.placed(start)] if start else [])]
    mode = _highest(starts, space, slope, value, own)
    centre, root = mode, _laplace(mode, space, slope)
    rng = torch.Generator().manual_seed(own)
    for k in range(AGAIN + 1):
        found = _weighted(centre, root, space, value, rng)
        if found.effective >= ENOUGH or k == AGAIN:
            break
        centre, root = _shape(found.u, torch.softmax(found.weight * min(1.0, 0.3 + 0.2 * k), dim=0))
    values = dict(zip(names, space.theta(mode[None])[0].tolist(), strict=True))
    if found.effective < ENOUGH:
        drawn = run_smc(space.likelihood(value), space.prior, RUNS, SETTINGS, seed=own)
        evidences = drawn.log_evidence
        if bool(torch.isfinite(evidences).all()):
            u = drawn.theta.flatten(0, 1).double()
            again = _weighted(*_shape(u, torch.full((len(u),), 1.0 / len(u), dtype=u.dtype)), space, value, rng)
            if again.effective < ENOUGH:
                return _annealed(names, u, evidences, space, value)
            found = again
    predicted = float(torch.logsumexp(found.weight, 0) - torch.logsumexp(found.earlier, 0))
    return Fitted(values, found.evidence, found.error, predicted, found.effective)


@dataclass(frozen=True)
class _Weighted:
    """Draws, and the logs of their weights for all choices and for those before what is held out."""

    u: Tensor
    weight: Tensor
    earlier: Tensor

    @property
    def effective(self) -> float:
        return float(1.0 / torch.softmax(self.weight, dim=0).square().sum() / len(self.weight))

    @property
    def evidence(self) -> float:
        return float(torch.logsumexp(self.weight, 0)) - math.log(len(self.weight))

    @property
    def error(self) -> float:
        return math.sqrt(max(0.0, (1.0 / self.effective - 1.0) / len(self.weight)))


def _weighted(centre: Tensor, root: Tensor, space: _Normal, value: Values, rng: torch.Generator) -> _Weighted:
    u, log_q = _student(centre, root, rng)
    base = space.log_prior(u) - log_q
    return _Weighted(u, *(torch.nan_to_num(base + v, nan=-math.inf) for v in value(space.theta(u))))


def _annealed(
    names: Sequence[str],
    u: Tensor,
    evidences: Tensor,
    space: _Normal,
    value: Values,
) -> Fitted:
    """From draws of the posterior itself, `(n, D)`, and the evidences of the runs that made them."""
    theta = space.theta(u)
    every, before = value(theta)
    k = int((every + space.log_prior(u)).argmax())
    evidence = float(torch.logsumexp(evidences.double(), 0)) - math.log(len(evidences))
    error = float(evidences.std()) / math.sqrt(len(evidences))
    predicted = math.log(len(u)) - float(torch.logsumexp(before - every, 0))
    return Fitted(dict(zip(names, theta[k].tolist(), strict=True)), evidence, error, predicted, 0.0)


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

    @property
    def prior(self) -> Distribution:
        """Of u."""
        size = len(self.names)
        return Independent(Normal(torch.zeros(size), torch.ones(size)), 1)

    def likelihood(self, value: Values) -> LogLikelihood:
        """Of rules `(B, P, D)`, as samplers ask for it."""
        return lambda u, which: value(self.theta(u.flatten(0, 1).double()))[0].reshape(u.shape[:2])

    def log_posterior(self, u: Tensor, slope: Slope) -> tuple[Tensor, Tensor, Tensor]:
        """Up to a constant, `(n,)`; its gradient `(n, D)`; and the gradient of each animal's likelihood, `(n, A, D)`."""
        value, gradient = slope(self.theta(u))
        density = torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi)
        by_animal = gradient * (self.width * torch.where(self.flat, density, 1.0))[:, None]
        total = torch.nan_to_num(self.log_prior(u) + value.sum(dim=1), nan=-math.inf)
        return total, by_animal.sum(dim=1) - u, by_animal


def _highest(starts: Sequence[Tensor], space: _Normal, slope: Slope, value: Values, seed: int) -> Tensor:
    """The mode that is reached from the best of some starts and of points spread over the prior."""
    sobol = torch.quasirandom.SobolEngine(len(space.names), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    spread = sobol.draw(SPREAD, dtype=torch.float64)
    every = torch.cat([torch.stack(list(starts)), torch.special.ndtri(spread.clamp(1e-3, 1 - 1e-3))])
    there = torch.nan_to_num(value(space.theta(every))[0] + space.log_prior(every), nan=-math.inf)
    return _climbed(every[int(there.argmax())], space, slope)


def _climbed(at: Tensor, space: _Normal, slope: Slope) -> Tensor:
    """The mode that is reached from a point."""
    values, gradients, each = space.log_posterior(at[None], slope)
    best, gradient, by_animal = float(values[0]), gradients[0], each[0]
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


def _laplace(mode: Tensor, space: _Normal, slope: Slope) -> Tensor:
    """Root of the covariance of Laplace's approximation, widened; from differences of the gradient."""
    steps = STEP * torch.eye(len(mode), dtype=mode.dtype)
    _, gradient, _ = space.log_posterior(torch.cat([mode[None], mode + steps]), slope)
    hessian = (gradient[:1] - gradient[1:]) / STEP
    values, vectors = torch.linalg.eigh(torch.nan_to_num((hessian + hessian.T) / 2))
    # no direction is wider than the prior
    return torch.as_tensor(vectors * (WIDER / values.clamp(min=1.0)).sqrt())


def _shape(u: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of weighted draws, and a root of their covariance, widened."""
    centre = share @ u
    away = u - centre
    values, vectors = torch.linalg.eigh((share[:, None] * away).T @ away)
    return centre, vectors * (WIDER * values.clamp(min=0.0) + 1e-6).sqrt()


def _student(centre: Tensor, root: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
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
        - float(torch.linalg.slogdet(root)[1])
    )
    return centre + t @ root.T, log - half * torch.log1p(t.square().sum(dim=1) / FREEDOM)
