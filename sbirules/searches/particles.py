"""A posterior over structures by sequential Monte Carlo: particles of structures, coefficients integrated out.

Particles drawn from the grammar's prior are reweighted, resampled and moved by its reversible moves while the evidence is
raised from power 0 to 1 (Del Moral, Doucet & Jasra 2006). A structure's evidence is found once, however many particles come
by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sbirules.model.structures import Structure
from sbirules.searches.nodes import Node, Proposal, Record, Round
from sbirules.searches.problems import Problem
from sbirules.searches.scoring import score_all

__all__ = ["search_by_smc"]

PARTICLES = 400
SWEEPS = 4  # moves of each particle at every power
LAST = 20  # at the last one
ESS = 0.5
ROUND = 16


class _Scores:
    """Log-evidences of structures, found when first asked for; in rounds of fixed size, so that a kill loses little."""

    def __init__(
        self, problem: Problem, record: Record, budget: int, workers: int | None, told: Callable[[int], None]
    ) -> None:
        self.problem, self.record, self.budget, self.workers, self.told = problem, record, budget, workers, told
        self.nodes = record.nodes
        self.places = {node.structure: k for k, node in enumerate(self.nodes)}
        self.refused = 0

    def of(self, asked: Sequence[tuple[Structure, Structure | None]]) -> list[float]:
        """Log-evidences of structures, each proposed from another one; NaN beyond the budget."""
        new: dict[Structure, int] = {}
        for structure, origin in asked:
            if structure in self.places or structure in new:
                continue
            if len(self.nodes) + len(new) >= self.budget:
                self.refused += 1
                continue
            new[structure] = -1 if origin is None else self.places[origin]
        every = list(new.items())
        for start in range(0, len(every), ROUND):
            part = every[start : start + ROUND]
            starts = [(s, {} if p < 0 else self.nodes[p].score.values) for s, p in part]
            scores = score_all(self.problem, starts, self.workers)
            at = len(self.record.rounds)
            nodes = tuple(Node(s, score, p, at) for (s, p), score in zip(part, scores, strict=True))
            first = len(self.nodes)
            proposals = tuple(Proposal(n.parent, first + k) for k, n in enumerate(nodes))
            self.record.add(Round(nodes, proposals))
            self.places.update({n.structure: first + k for k, n in enumerate(nodes)})
            self.nodes += nodes
            self.told(len(self.nodes))
        known = (self.places.get(structure) for structure, _ in asked)
        return [math.nan if k is None else self.nodes[k].score.log_evidence for k in known]


def search_by_smc(
    problem: Problem, record: Record, budget: int, seed: int, workers: int | None, told: Callable[[int], None]
) -> tuple[dict[Structure, float], int]:
    """Shares of particles by structure, and how many proposals the budget refused. Adds rounds to a record."""
    grammar = problem.grammar
    scores = _Scores(problem, record, budget, workers, told)
    rng = np.random.default_rng([seed, 1 << 20])
    particles = [grammar.sample(rng) for _ in range(PARTICLES)]
    found = scores.of([(s, None) for s in particles])
    kept = [k for k, value in enumerate(found) if math.isfinite(value)]
    if not kept:
        raise ValueError(
            "no structure drawn from the prior has a finite evidence; check the table, or give another grammar."
        )
    chosen = [kept[int(k)] for k in rng.integers(len(kept), size=PARTICLES)] if len(kept) < PARTICLES else kept
    particles = [particles[k] for k in chosen]
    evidence = np.array([found[k] for k in chosen])
    power = 0.0
    while True:
        step = _next_power(evidence, power)
        weight = (step - power) * evidence
        power = step
        index = _systematic(np.exp(weight - weight.max()), rng)
        particles, evidence = [particles[k] for k in index], evidence[index]
        for _ in range(LAST if power >= 1 else SWEEPS):
            proposed = [grammar.propose(s, rng) for s in particles]
            values = scores.of([(new, old) for new, old in zip(proposed, particles, strict=True) if new is not None])
            each = iter(values)
            uniform = np.log(rng.random(PARTICLES))
            for k, new in enumerate(proposed):
                if new is None:
                    continue
                value = next(each)
                if not math.isfinite(value):
                    continue
                old = particles[k]
                ratio = grammar.log_prob(new) - grammar.log_prob(old) + power * (value - evidence[k])
                ratio += grammar.log_proposal(new, old) - grammar.log_proposal(old, new)
                if uniform[k] < ratio:
                    particles[k], evidence[k] = new, value
        if power >= 1:
            break
    shares: dict[Structure, float] = {}
    for s in particles:
        shares[s] = shares.get(s, 0.0) + 1.0 / PARTICLES
    return shares, scores.refused


def _next_power(evidence: np.ndarray, power: float) -> float:
    """The largest power at which half of the particles are still effective."""

    def effective(to: float) -> float:
        w = (to - power) * (evidence - evidence.max())
        share = np.exp(w) / np.exp(w).sum()
        return float(1.0 / (share**2).sum() / len(share))

    if effective(1.0) >= ESS:
        return 1.0
    low, high = power, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= ESS else (low, middle)
    return max(low, math.nextafter(power, 2.0))


def _systematic(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    points = (rng.random() + np.arange(len(weight))) / len(weight)
    return np.minimum(np.searchsorted(np.cumsum(weight / weight.sum()), points), len(weight) - 1)
