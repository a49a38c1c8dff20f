"""Fit, evidence and predictions of a rule whose likelihood is exact, by importance sampling around its mode.

In coordinates in which the prior is standard normal the mode is found by damped steps, with the curvature that the gradients
of single animals tell (Berndt, Hall, Hall & Hausman 1974). Draws come from the prior, from a Student-t about the mode (Laplace's
approximation with heavier tails), and from more of them while one draw outweighs many. Weights against the whole mixture correct
what the approximation gets wrong. Where too few draws count, they come from sequential Monte Carlo, which starts from the prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, Uniform

from sbirules.samplers.bridge import evidence_of
from sbirules.samplers.chains import agreement
from sbirules.samplers.particle_scale import LogLikelihood
from sbirules.samplers.smc import Particles, SamplerSettings, run_smc
from sbirules.support.streams import Stream, child
from sbirules.support.student import log_student

__all__ = ["Fitted", "fit_mode"]

SPREAD = 96  # draws of the prior
DRAWS = 160  # about the mode
FURTHER = 96  # about another mode, or where weights are heavy
MORE = 4  # times at most
HEAVY = 0.05  # share of one draw in all weights from which more are drawn
APART = 1.0  # s.d. of the prior from which a draw may belong to another mode
FEWEST = 10  # effective draws
FREEDOM = 8  # degrees of freedom of the proposals
WIDER = 1.3  # than Laplace's covariance, since earlier choices alone tell less than all of them
STEP = 1e-4  # of the numerical second derivatives
STEPS = 60  # of the climb at most
CLOSE = 0.05  # nats that a step of the climb must promise
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
    rng = torch.Generator().manual_seed(own)
    draws = _Draws(space, value, rng, own)
    begin = torch.stack([space.placed({}), *([space.placed(start)] if start else [])])
    there = _sums(value(space.theta(begin)), space.log_prior(begin))[0]
    best = draws.best if float(there.max()) < draws.height else begin[int(there.argmax())]
    mode = _climbed(best, space, slope)
    draws.add(mode, _laplace(mode, space, slope), DRAWS)
    for k in range(MORE):
        every, earlier = draws.weights()
        if _largest(every) > HEAVY:  # one draw outweighs many: another mode, or a ridge
            at = draws.u[int(every.argmax())]
            if k == 0 and float((at - mode).abs().max()) > APART:
                other = _climbed(at, space, slope)
                draws.add(other, _laplace(other, space, slope), FURTHER)
            else:
                draws.add(*_shape(draws.u, every), FURTHER)
        elif _largest(earlier) > HEAVY:  # what came before tells less: its posterior is wider
            draws.add(*_shape(draws.u, earlier), FURTHER)
        else:
            break
    every, earlier = draws.weights()
    mode = draws.best
    values = dict(zip(names, space.theta(mode[None])[0].tolist(), strict=True))
    if not bool(torch.isfinite(every).any()):
        return Fitted(values, -math.inf, math.nan, -math.inf, 0.0)
    found, before = _mean(every), _mean(earlier)
    if _effective(every) * len(every) < FEWEST:
        drawn = run_smc(space.likelihood(value), space.prior, RUNS, SETTINGS, seed=own)
        if bool(torch.isfinite(drawn.log_evidence).all()):
            return _annealed(names, drawn, space, value, own)
    return Fitted(values, found, _error(every), found - before, _effective(every))


class _Draws:
    """Draws of a mixture of proposals, the prior among them, weighted by all of it (Owen & Zhou 2000; Cornuet et al. 2012).

    The prior's share bounds the weights, so that mass elsewhere cannot go unnoticed in few coefficients.
    """

    def __init__(self, space: _Normal, value: Values, rng: torch.Generator, seed: int) -> None:
        self.space, self.value, self.rng = space, value, rng
        self.parts: list[tuple[Tensor, Tensor, int]] = []
        self.u = torch.zeros(0, len(space.names), dtype=torch.float64)
        self.every = self.earlier = self.u.new_zeros(0)
        sobol = torch.quasirandom.SobolEngine(len(space.names), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        points = sobol.draw(SPREAD, dtype=torch.float64)  # of the prior, spread evenly
        self._take(torch.special.ndtri(points.clamp(1e-6, 1 - 1e-6)))

    def add(self, centre: Tensor, root: Tensor, count: int) -> None:
        """Draws of a Student-t."""
        z = torch.randn(count, len(centre), generator=self.rng, dtype=torch.float64)
        chi = torch.randn(count, FREEDOM, generator=self.rng, dtype=torch.float64).square().sum(dim=1) / FREEDOM
        self.parts.append((centre, root, count))
        self._take(centre + (z / chi.sqrt()[:, None]) @ root.T)

    def _take(self, u: Tensor) -> None:
        every, earlier = _sums(self.value(self.space.theta(u)), self.space.log_prior(u))
        self.u = torch.cat([self.u, u])
        self.every, self.earlier = torch.cat([self.every, every]), torch.cat([self.earlier, earlier])

    def weights(self) -> tuple[Tensor, Tensor]:
        """Logs of the weights of all choices, and of those before what is held out."""
        parts = [math.log(SPREAD) + self.space.log_prior(self.u)]
        parts += [math.log(count) + _log_student(self.u, centre, root) for centre, root, count in self.parts]
        mixture = torch.logsumexp(torch.stack(parts), dim=0) - math.log(len(self.u))
        return self.every - mixture, self.earlier - mixture

    @property
    def best(self) -> Tensor:
        """The draw with the highest density."""
        return self.u[int(self.every.argmax())]

    @property
    def height(self) -> float:
        """Its density times the prior."""
        return float(self.every.max())


def _sums(values: tuple[Tensor, Tensor], base: Tensor) -> tuple[Tensor, Tensor]:
    """Log-likelihoods and a log-density, -inf where they are not numbers."""
    every, earlier = (torch.nan_to_num(base + v, nan=-math.inf, neginf=-math.inf) for v in values)
    return every, earlier


def _mean(weight: Tensor) -> float:
    return float(torch.logsumexp(weight, 0)) - math.log(len(weight))


def _largest(weight: Tensor) -> float:
    """Share of the heaviest draw."""
    return float(torch.softmax(weight, dim=0).nan_to_num().max())


def _effective(weight: Tensor) -> float:
    """Effective share of the draws."""
    return float(1.0 / torch.softmax(weight, dim=0).square().sum() / len(weight))


def _error(weight: Tensor) -> float:
    """Standard error of the log of their mean."""
    return math.sqrt(max(0.0, (1.0 / _effective(weight) - 1.0) / len(weight)))


def _annealed(names: Sequence[str], drawn: Particles, space: _Normal, value: Values, seed: int) -> Fitted:
    """From draws of the posterior itself, by several runs."""
    u = drawn.theta.flatten(0, 1).double()
    theta = space.theta(u)
    every, before = value(theta)
    k = int((every + space.log_prior(u)).argmax())
    evidence, error = evidence_of(
        lambda rules: value(space.theta(rules.double()))[0],
        space.prior,
        drawn.theta,
        drawn.log_evidence,
        ess=agreement(drawn.theta, {})[1],
        seed=seed,
    )
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


def _shape(u: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of weighted draws, and a root of their covariance, widened; weights are evened out until they are of many draws."""
    power = 1.0
    while _largest(power * weight) > HEAVY and power > 1e-3:
        power *= 0.7
    share = torch.softmax(power * weight, dim=0)
    centre = share @ u
    away = u - centre
    values, vectors = torch.linalg.eigh((share[:, None] * away).T @ away)
    return centre, vectors * (WIDER * values.clamp(min=0.0) + 1e-6).sqrt()


def _log_student(u: Tensor, centre: Tensor, root: Tensor) -> Tensor:
    """Log-density of a multivariate Student-t, `(n,)`."""
    squared = torch.linalg.solve(root, (u - centre).T).square().sum(dim=0)
    return log_student(squared, float(torch.linalg.slogdet(root)[1]), len(centre), FREEDOM)
