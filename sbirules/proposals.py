"""What a filter round draws its rules from: the prior, cut or tilted to where success was predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.classifier import EventProbability
from sbirules.sampling import draw_chains
from sbirules.smc import SamplerSettings
from sbirules.streams import generator, seeded

__all__ = ["Proposal"]

FLOOR = 0.05  # share of each tilted round that is drawn from the prior: bounds the weights
DRAWS = 100_000  # draws of the prior for a proposal's normalising constant
POOL, TRIES = 20_000, 100  # draws of the prior at a time, and how often, before sampling gives way to SMC


@dataclass
class Proposal:
    """A density over rules relative to the prior: 1, an indicator, or a mixture of 1 and P(A | theta)."""

    success: EventProbability | None = None
    threshold: float | None = None
    log_mean: float = 0.0  # log of the prior mean of what is not normalised

    def log_tilt(self, theta: Tensor) -> Tensor:
        """Log of what multiplies the prior, before it is normalised."""
        if self.success is None:
            return torch.zeros(len(theta))
        with torch.no_grad():
            log_p = torch.cat([self.success.log_prob(part) for part in theta.split(20_000)])
        if self.threshold is None:
            return log_p
        return torch.where(log_p >= self.threshold, 0.0, -math.inf)

    def log_ratio(self, theta: Tensor) -> Tensor:
        """Log of proposal / prior."""
        if self.success is None:
            return torch.zeros(len(theta))
        ratio = self.log_tilt(theta) - self.log_mean
        if self.threshold is not None:
            return ratio
        return torch.logaddexp(ratio + math.log1p(-FLOOR), torch.full_like(ratio, math.log(FLOOR)))

    def normalise(self, prior: Distribution, *, seed: int) -> None:
        """Sets the normalising constant from draws of the prior."""
        with seeded(seed, 1):
            pool = prior.sample(Size((DRAWS,))).float()
        self.log_mean = float(torch.logsumexp(self.log_tilt(pool).double(), dim=0)) - math.log(DRAWS)

    def sample(self, prior: Distribution, n: int, *, seed: int) -> Tensor:
        """Rules `(n, D)`."""
        with seeded(seed, 2):
            if self.success is None:
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
                plain = int(torch.rand(n, generator=generator(seed, 3)).lt(FLOOR).sum())
            outside = prior.sample(Size((plain,))).float()
        chains = draw_chains(self.log_tilt, prior, n - plain, SamplerSettings(max_doublings=1), seed=seed)
        inside = chains.draws.flatten(0, 1)[: n - plain]
        with seeded(seed, 4):
            return torch.cat([inside, outside])[torch.randperm(n)]
