"""Sequential Monte Carlo over rules: many observations in one batch, terms that may be absent, and the evidence.

Particles drawn from the prior are reweighted, resampled and moved while the likelihood is raised from power 0 to
1 (Del Moral, Doucet & Jasra 2006), each observation at its own pace. Moves are differential evolution with
crossover among the particles of one observation (DREAM; ter Braak & Vrugt 2008, Vrugt et al. 2009), and, under a
prior that lets terms be absent, switches of terms. At the whole likelihood they go on until particles have forgotten where they
were (as Buchholz, Chopin & Jacob 2021 advise), by the coefficient that forgets last.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.samplers.modes import Reference
from sbirules.samplers.particle_scale import FromReference, LogLikelihood, Scale, finite
from sbirules.support import arguments
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed_class

__all__ = ["FEWEST", "Particles", "SamplerSettings", "run_smc"]

OF_A_PARTICLE = 256  # bytes in memory at least, with its proposals
RENEWED = 0.95  # share of particles with a fresh draw from the reference at which no more moves are needed
NEAR = 0.1  # share of effective particles that a reference leaves the whole likelihood, from which on its draws renew particles
FORGOTTEN = (
    0.2  # correlation with where particles were as the last power was reached, below which they have moved enough
)
FURTHEST = 12  # times num_moves that they move for that at most
WORTH = 0.05  # share of fresh draws accepted below which no more are offered
FEWEST = 20  # particles with a likelihood above zero below which an observation is given up


@typed_class
@dataclass(frozen=True)
class SamplerSettings:
    """Settings of sequential Monte Carlo.

    Arguments:
        num_runs: Independent runs for one posterior; their R-hat tells whether they agree.
        num_particles: Particles of each run; raised if more draws are wanted.
        num_moves: Moves of each particle at every power of the likelihood; up to twelve times as many at the last.
        ess: Share of effective particles that one step of the power leaves.
        r_hat: While the runs disagree by more than this, they are repeated with twice the particles and moves.
        max_doublings: How often at most; then a warning says that they still disagree.
        num_candidates: Draws of the prior, at most, among which particles with a likelihood above zero are sought.
        time_limit: Seconds after which there is a warning and what there is by then; None for as long as it takes.
    """

    num_runs: int = 4
    num_particles: int = 1024
    num_moves: int = 16
    ess: float = 0.5
    r_hat: float = 1.03
    max_doublings: int = 2
    num_candidates: int = 200_000
    time_limit: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_runs", "num_moves", "num_candidates"):
            arguments.whole(name, getattr(self, name), 1)
        arguments.whole("num_particles", self.num_particles, 4 * FEWEST)
        arguments.whole("max_doublings", self.max_doublings, 0)
        room = free_memory()
        refuse_beyond("num_runs", self.num_runs, lambda n: n * OF_A_PARTICLE, room, "memory", "particles")
        particles = self.num_runs * OF_A_PARTICLE
        refuse_beyond("num_particles", self.num_particles, lambda n: n * particles, room, "memory", "particles")
        refuse_beyond("num_candidates", self.num_candidates, lambda n: n * OF_A_PARTICLE, room, "memory")
        arguments.share("ess", self.ess)
        arguments.above("r_hat", self.r_hat, 1.0)
        if self.time_limit is not None:
            arguments.above("time_limit", self.time_limit, 0.0)


@dataclass(frozen=True)
class Particles:
    """Draws by observation.

    Arguments:
        theta: `(B, P, D)`; NaN for an observation that was given up.
        log_evidence: Log of the mean likelihood under the prior, `(B,)`; NaN if time ran out.
        power: Power of the likelihood that was reached, `(B,)`: 1 unless time ran out, NaN if given up.
        acceptance: Share of moves accepted at the last power, `(B,)`.
        possible: Share of draws of the prior with a likelihood above zero, `(B,)`.
        memory: Correlation of particles with where they were when the last power was reached, of the coefficient that forgot
            least, `(B,)`; 0 where draws of a good reference renewed them.
        near: Whether they started from a reference that is nearly the posterior, `(B,)`.
    """

    theta: Tensor
    log_evidence: Tensor
    power: Tensor
    acceptance: Tensor
    possible: Tensor
    memory: Tensor
    near: Tensor


@dataclass
class _Cloud:
    """Particles on the way: on the free scale, with log-prior there and log-likelihood."""

    free: Tensor
    theta: Tensor
    log_prior: Tensor
    value: Tensor

    def take(self, rows: Tensor) -> _Cloud:
        return _Cloud(self.free[rows], self.theta[rows], self.log_prior[rows], self.value[rows])

    def put(self, rows: Tensor, part: _Cloud) -> None:
        """Writes rows back."""
        for name in ("free", "theta", "log_prior", "value"):
            getattr(self, name)[rows] = getattr(part, name)

    def resampled(self, weight: Tensor) -> _Cloud:
        """Systematic resampling of each row by weights `(B, P)`."""
        n = weight.shape[1]
        ends = weight.double().cumsum(dim=1)
        places = (torch.arange(n) + torch.rand(len(weight), 1, dtype=torch.float64)) / n * ends[:, -1:]
        index = torch.searchsorted(ends, places).clamp(max=n - 1)
        # in random order, so that copies do not stay neighbours in one half
        index = index.gather(1, torch.rand(index.shape).argsort(dim=1))
        wide = index[:, :, None].expand_as(self.theta)
        return _Cloud(
            self.free.gather(1, wide),
            self.theta.gather(1, wide),
            self.log_prior.gather(1, index),
            self.value.gather(1, index),
        )


def run_smc(
    log_likelihood: LogLikelihood,
    prior: Distribution,
    num_observations: int,
    settings: SamplerSettings,
    *,
    seed: int,
    hold: Mapping[int, float] | None = None,
    reference: Reference | None = None,
    progress: bool = False,
) -> Particles:
    """Draws from the posterior of each of many observations.

    Arguments:
        log_likelihood: Of rules `(B, P, D)`, for the observations with the numbers `(B,)`; -inf where impossible.
        prior: Torch distribution over theta; one with `propose_switch` has terms that may be absent.
        num_observations: How many.
        settings: Of the sampler.
        seed: Makes the draws repeatable.
        hold: Columns of theta that are fixed, and at what; see `held_at`.
        reference: What to start from in place of the prior.
        progress: Whether to show a progress bar.

    An observation that too few rules can explain does not hold up the others: its draws are NaN.
    """
    from tqdm.auto import tqdm

    s, n = settings, num_observations
    deadline = math.inf if s.time_limit is None else time.monotonic() + s.time_limit
    with seeded(seed, Stream.SAMPLING), torch.no_grad(), tqdm(total=n, desc="sample", disable=not progress) as bar:
        if reference is None:
            scale = Scale(prior, hold or {})
        else:
            scale = elsewhere = FromReference(prior, reference)
            log_likelihood = elsewhere.against(log_likelihood)
        cloud, possible = _first(log_likelihood, scale, n, s)
        power, acceptance, memory = torch.zeros(n), torch.zeros(n), torch.zeros(n)
        log_evidence = torch.log(possible)
        lost = (possible * s.num_candidates < FEWEST) & (torch.isfinite(cloud.value).sum(dim=1) < FEWEST)
        still = torch.arange(n)[~lost]
        # a reference that is too narrow would offer no way to where it has no mass
        near = reference is not None and bool((_effective(cloud.value, torch.ones(n)) >= NEAR * s.num_particles).all())
        while len(still) and time.monotonic() < deadline:
            part = cloud.take(still)
            step = _step(part.value, 1.0 - power[still], s.ess)
            tilt = torch.where(torch.isfinite(part.value), step[:, None] * part.value, -math.inf)
            alive = torch.isfinite(part.value).sum(dim=1)
            log_evidence[still] += torch.logsumexp(tilt, dim=1) - torch.log(alive)
            part = part.resampled(torch.softmax(tilt, dim=1))
            power[still] = power[still] + step
            done = power[still] >= 1 - 1e-6
            accepted, moves, most = torch.zeros(len(still)), 0, s.num_moves * (FURTHEST if bool(done.any()) else 1)
            fresh, jumps = torch.zeros(part.value.shape, dtype=torch.bool), reference is not None
            start, kept = part.free.clone(), torch.zeros(len(still))
            while moves < most and (moves == 0 or time.monotonic() < deadline):
                if jumps:
                    jumped = _jump(part, power[still], still, scale, log_likelihood)
                    fresh |= jumped
                    jumps = float(jumped.float().mean()) > WORTH
                accepted += _move(part, moves, power[still], still, scale, log_likelihood)
                moves += 1
                if near and bool((fresh.float().mean(dim=1) > RENEWED).all()):
                    break
                if most > s.num_moves and moves % s.num_moves == 0:
                    kept = _memory(start, part.free)
                    if bool((kept[done] < FORGOTTEN).all()):
                        break
            acceptance[still], memory[still] = accepted / moves, kept
            cloud.put(still, part)
            bar.n = round(min(float(power.double().sum()), n), 2)  # rounding of the steps could lead above the whole
            bar.update(0)
            still = still[~done]
        if len(still):  # out of time: none of the draws may be impossible
            part = cloud.take(still)
            cloud.put(still, part.resampled(torch.isfinite(part.value).double()))
            log_evidence[still] = math.nan  # what was reached is that of a weaker likelihood
    cloud.theta[lost] = math.nan
    log_evidence[lost] = -math.inf
    power = torch.where(lost, math.nan, power)
    return Particles(cloud.theta, log_evidence, power, acceptance, possible, memory, torch.full((n,), near))


def _first(log_likelihood: LogLikelihood, scale: Scale, n: int, s: SamplerSettings) -> tuple[_Cloud, Tensor]:
    """Draws of the prior, and the share of them `(n,)` with a likelihood above zero.

    Where that is few, more are drawn until half of the particles have one.
    """
    every = torch.arange(n)
    theta = scale.sample(n, s.num_particles)
    value = finite(log_likelihood(theta, every))
    kept, tried = torch.isfinite(value).sum(dim=1), torch.full((n,), s.num_particles)
    for _ in range(s.num_candidates // s.num_particles):
        few = every[kept < s.num_particles // 2]
        if not len(few):
            break
        new = scale.sample(len(few), s.num_particles)
        found = finite(log_likelihood(new, few))
        for row, more, which in zip(few.tolist(), new, torch.isfinite(found), strict=True):
            free = (~torch.isfinite(value[row])).nonzero()[:, 0][: int(which.sum())]
            take = which.nonzero()[:, 0][: len(free)]
            theta[row, free] = more[take]
            value[row, free] = found[few == row][0, take]
            kept[row] += int(which.sum())
        tried[few] += s.num_particles
    free_ = scale.free(theta)
    return _Cloud(free_, theta, scale.log_prior(free_, theta), value), kept / tried


def _step(value: Tensor, most: Tensor, ess: float) -> Tensor:
    """The largest step of the power, at most `most` `(B,)`, that leaves so large a share of effective particles."""
    wanted = ess * torch.isfinite(value).sum(dim=1)
    low, high = torch.zeros(len(value), dtype=torch.float64), most.double()
    whole = _effective(value, high) >= wanted
    for _ in range(40):
        middle = (low + high) / 2
        enough = _effective(value, middle) >= wanted
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    # a likelihood so steep that no step is found would never end
    return torch.where(whole, most.double(), low.clamp(min=1e-9)).float()


def _effective(value: Tensor, step: Tensor) -> Tensor:
    """Effective number of particles `(B,)` after a step of the power."""
    weight = torch.softmax(torch.where(torch.isfinite(value), step[:, None] * value, -math.inf), dim=1)
    return 1.0 / (weight**2).sum(dim=1)


def _memory(before: Tensor, now: Tensor) -> Tensor:
    """Correlation over particles of where they are with where they were, `(B,)`: that of the coefficient that kept most."""
    a, b = (x.double() - x.double().mean(dim=1, keepdim=True) for x in (before, now))
    scale = (a.square().mean(dim=1) * b.square().mean(dim=1)).sqrt()
    kept = torch.where(scale > 0, (a * b).mean(dim=1) / scale, 0.0)
    return kept.max(dim=1).values.float()


def _move(
    cloud: _Cloud, move: int, power: Tensor, which: Tensor, scale: Scale, log_likelihood: LogLikelihood
) -> Tensor:
    """Moves each half of the particles once, given the other; returns the share accepted, `(B,)`."""
    half = cloud.theta.shape[1] // 2
    accepted = torch.zeros(len(which))
    for mine, other in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        free, theta = cloud.free[:, mine], cloud.theta[:, mine]
        if scale.sparse is not None and move % 2:
            new_theta, log_ratio = scale.sparse.propose_switch(theta)
            new_free = new_theta
            new_prior = scale.log_prior(new_free, new_theta)
        elif move % 2 and not scale.switches:
            # where the prior has bounds a posterior that is straight in theta is bent on the free scale, where differences of
            # particles leave it
            proposed = _evolved(theta, cloud.theta[:, other], False)
            new_theta, new_free, new_prior, of_theta = scale.moved(proposed, theta)
            log_ratio = of_theta - cloud.log_prior[:, mine] - scale.stretch(theta, free)
        else:
            new_free = _evolved(free, cloud.free[:, other], scale.switches)
            new_theta = scale.theta(new_free)
            new_prior = scale.log_prior(new_free, new_theta)
            log_ratio = new_prior - cloud.log_prior[:, mine]
        value = finite(log_likelihood(new_theta, which))
        log_accept = power[:, None] * (value - cloud.value[:, mine]) + log_ratio
        yes = _taken(cloud, mine, log_accept, _Cloud(new_free, new_theta, new_prior, value))
        accepted += yes.float().mean(dim=1) / 2
    return accepted


def _jump(cloud: _Cloud, power: Tensor, which: Tensor, scale: Scale, log_likelihood: LogLikelihood) -> Tensor:
    """Offers each particle a fresh draw of what they started from; returns which took it, `(B, P)`."""
    theta = scale.sample(*cloud.value.shape)
    free = scale.free(theta)
    value = finite(log_likelihood(theta, which))
    new = _Cloud(free, theta, scale.log_prior(free, theta), value)
    return _taken(cloud, slice(None), power[:, None] * (value - cloud.value), new)


def _taken(cloud: _Cloud, mine: slice, log_accept: Tensor, new: _Cloud) -> Tensor:
    """Puts new particles in the place of old ones where that is accepted; returns where, `(B, P)`."""
    yes = torch.log(torch.rand(log_accept.shape)) < torch.nan_to_num(log_accept, nan=-math.inf)
    for name in ("log_prior", "value"):
        old = getattr(cloud, name)
        old[:, mine] = torch.where(yes, getattr(new, name), old[:, mine])
    for name in ("free", "theta"):
        old = getattr(cloud, name)
        old[:, mine] = torch.where(yes[:, :, None], getattr(new, name), old[:, mine])
    return yes


def _evolved(mine: Tensor, others: Tensor, switches: bool) -> Tensor:
    """Each particle moved along the difference of two of the others, in a random subset of the coefficients."""
    rows, n, dim = mine.shape
    count = others.shape[1]
    a = torch.randint(count, (rows, n))
    b = (a + torch.randint(1, count, (rows, n))) % count
    pick = [others.gather(1, k[:, :, None].expand(rows, n, dim)) for k in (a, b)]
    crossover = torch.tensor([0.5, 1.0, 1.0])[torch.randint(3, (rows, n, 1))]
    mask = torch.rand(rows, n, dim) < crossover
    mask |= torch.nn.functional.one_hot(torch.randint(dim, (rows, n)), dim).bool()
    if switches:
        mask &= mine != 0
    size = 2.38 / torch.sqrt(2.0 * mask.sum(dim=2, keepdim=True).clamp(min=1))
    # now and then the whole difference: from one mode to another
    size = torch.where(torch.rand(rows, n, 1) < 0.1, 1.0, size * (0.4 + 0.8 * torch.rand(rows, n, 1)))
    return torch.where(mask, mine + size * (pick[0] - pick[1]), mine)
