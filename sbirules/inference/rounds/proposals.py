"""What a filter round draws its rules from: the prior, cut or tilted to where success was predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.model.constraints import Constraints
from sbirules.model.prior import Sparse
from sbirules.neural_nets.classifiers import EventProbability, fit_event_probability
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.samplers.chains import draw_chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support.streams import Stream, child, generator, seeded

__all__ = ["Proposal", "WarmStart", "fit_stages"]

FLOOR = 0.05  # share of each tilted round that is drawn from the prior: bounds the weights
DRAWS = 100_000  # draws of the prior for a proposal's normalising constant
ENOUGH, FEWEST = 10, 50  # networks that a stage must tell from others, and of both kinds together
WARM = 0.5  # share of a warm round that is drawn around points; the rest, from the prior, bounds the weights
WIDTH = 0.3  # s.d. around a point, in s.d. of the prior
POOL, TRIES = 20_000, 100  # draws of the prior at a time, and how often, before sampling gives way to SMC


@dataclass
class Proposal:
    """A density over rules relative to the prior: 1, an indicator, or a mixture of 1 and P(A | theta)."""

    stages: list[EventProbability] = field(default_factory=list)  # P(A | theta) is their product
    threshold: float | None = None
    log_mean: float = 0.0  # log of the prior mean of what is not normalised

    def log_success(self, theta: Tensor) -> Tensor:
        """log P(A | theta), `(n,)`."""
        with torch.no_grad():
            parts = torch.split(theta, 20_000)
            return torch.cat([torch.stack([s.log_prob(part) for s in self.stages]).sum(dim=0) for part in parts])

    def log_tilt(self, theta: Tensor) -> Tensor:
        """Log of what multiplies the prior, before it is normalised."""
        if not self.stages:
            return torch.zeros(len(theta))
        log_p = self.log_success(theta)
        if self.threshold is None:
            return log_p
        return torch.where(log_p >= self.threshold, 0.0, -math.inf)

    def log_ratio(self, theta: Tensor) -> Tensor:
        """Log of proposal / prior."""
        if not self.stages:
            return torch.zeros(len(theta))
        ratio = self.log_tilt(theta) - self.log_mean
        if self.threshold is not None:
            return ratio
        return torch.logaddexp(ratio + math.log1p(-FLOOR), torch.full_like(ratio, math.log(FLOOR)))

    def normalise(self, prior: Distribution, *, seed: int) -> None:
        """Sets the normalising constant from draws of the prior."""
        with seeded(seed, Stream.POOL):
            pool = prior.sample(Size((DRAWS,))).float()
        self.log_mean = float(torch.logsumexp(self.log_tilt(pool).double(), dim=0)) - math.log(DRAWS)

    def sample(self, prior: Distribution, n: int, *, seed: int) -> Tensor:
        """Rules `(n, D)`."""
        with seeded(seed, Stream.PRIOR):
            if not self.stages:
                return prior.sample(Size((n,))).float()
            if self.threshold is not None:
                kept: list[Tensor] = []
                for _ in range(TRIES):
                    pool = prior.sample(Size((POOL,))).float()
                    kept.append(pool[self.log_tilt(pool) == 0])
                    if sum(map(len, kept)) >= n:
                        return torch.cat(kept)[:n]
                    if not sum(map(len, kept)) and len(kept) == TRIES // 10:
                        break
            plain = 0
            if self.threshold is None:
                plain = int(torch.rand(n, generator=generator(seed, Stream.FLOOR)).lt(FLOOR).sum())
            outside = prior.sample(Size((plain,))).float()
        chains = draw_chains(self.log_tilt, prior, n - plain, SamplerSettings(max_doublings=1), seed=seed)
        inside = chains.draws.flatten(0, 1)[: n - plain]
        with seeded(seed, Stream.SHUFFLE):
            return torch.cat([inside, outside])[torch.randperm(n)]


@dataclass
class WarmStart:
    """A density over rules: half the prior, half normal distributions around points, cut to the prior's support.

    Arguments:
        points: `(K, D)`.
        prior: It must have a density.

    Raises:
        ValueError: If the prior has none, or hardly any of it lies around a point.
    """

    points: Tensor
    prior: Distribution
    log_mean: float = 0.0  # it keeps all of the prior

    def __post_init__(self) -> None:
        if isinstance(self.prior, Sparse):
            raise ValueError("start needs a prior with a density; under spike-and-slab terms are absent or present.")
        with seeded(0, Stream.PRIOR_SPREAD):
            self.scale = WIDTH * self.prior.sample(Size((POOL,))).float().std(dim=0)
        shares = []
        for k, point in enumerate(self.points):
            share = float(self._inside(self._around(point, POOL, generator(0, Stream.AROUND, k))).float().mean())
            if share < 0.01:
                raise ValueError(
                    f"start: the prior hardly reaches the neighbourhood of point {k} ({100 * share:.1f} % of it lies "
                    f"inside); widen the prior, or leave that point out."
                )
            shares.append(share)
        self.log_share = torch.tensor(shares).log()

    def _around(self, point: Tensor, n: int, stream: torch.Generator) -> Tensor:
        return point + self.scale * torch.randn(n, len(point), generator=stream)

    def _inside(self, theta: Tensor) -> Tensor:
        return torch.isfinite(self.prior.log_prob(theta))

    def log_ratio(self, theta: Tensor) -> Tensor:
        """Log of proposal / prior."""
        gap = (theta[:, None] - self.points) / self.scale
        each = -0.5 * (gap**2 + math.log(2 * math.pi)).sum(dim=2) - self.scale.log().sum() - self.log_share
        around = torch.logsumexp(each, dim=1) - math.log(len(self.points))
        ratio = around - self.prior.log_prob(theta)
        return torch.logaddexp(ratio + math.log(WARM), torch.full_like(ratio, math.log1p(-WARM)))

    def sample(self, prior: Distribution, n: int, *, seed: int) -> Tensor:
        """Rules `(n, D)`."""
        which = torch.randint(len(self.points), (n,), generator=generator(seed, Stream.POINTS))
        warm = torch.rand(n, generator=generator(seed, Stream.OUTSIDE)) < WARM
        with seeded(seed, Stream.PRIOR):
            theta = prior.sample(Size((n,))).float()
        for k, point in enumerate(self.points):
            rows = (warm & (which == k)).nonzero()[:, 0]
            near, stream = theta[:0], generator(seed, Stream.AROUND, k)
            while len(near) < len(rows):
                pool = self._around(point, POOL, stream)
                near = torch.cat([near, pool[self._inside(pool)]])
            theta[rows] = near[: len(rows)]
        return theta


def fit_stages(
    theta: Tensor, x: Tensor, names: Sequence[str], constraints: Constraints, standardiser: Standardiser, *, seed: int
) -> tuple[list[EventProbability], Tensor]:
    """P(A | theta) as a product: not failing, then one constraint after another given those before it.

    A rare event is learned badly from the few rows where it happened; each of these stages happens often among the
    rows that it is learned from. The most common constraint comes first. Of the first that hardly any row meets, the
    nearest tenth of rows stands for it: that is what to climb by.

    Returns:
        The factors, and the rows that passed them all, `(n,)`.
    """
    met = torch.ones(len(x), dtype=torch.bool)
    stages: list[EventProbability] = []
    left = dict(constraints.intervals)
    asked = [list(names).index(name) for name in constraints.intervals]
    event, last = torch.isfinite(x[:, asked]).all(dim=1), False  # a failed network's summaries are NaN
    while True:
        if int((met & event).sum()) < ENOUGH or int(met.sum()) < FEWEST:
            return stages, met
        if bool((met & ~event).any()):
            rows = met.nonzero()[:, 0]
            stages.append(
                fit_event_probability(
                    theta[rows], event[rows], standardiser, seed=child(seed, Stream.STAGE, len(stages))
                )
            )
        met = met & event
        if last or not left:
            return stages, met
        holds = {name: Constraints({name: pair}).satisfied(x, names) for name, pair in left.items()}
        name = max(holds, key=lambda name: int((met & holds[name]).sum()))
        event, (low, high) = holds[name], left.pop(name)
        if int((met & event).sum()) < ENOUGH:
            column, last = x[:, list(names).index(name)], True
            distance = torch.maximum(low - column, column - high).clamp(min=0)
            event = distance <= torch.quantile(distance[met], 0.1)
