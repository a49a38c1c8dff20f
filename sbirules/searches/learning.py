"""Which structure makes networks learn: the evidence of constraints, from rules of the prior tried in fresh networks."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sbirules.model.constraints import Constraints
from sbirules.model.rules import RuleFamily
from sbirules.model.structures import RuleGrammar, Structure, family_of
from sbirules.model.structures.expressions import Term
from sbirules.model.summaries import summarise
from sbirules.searches.problems import Bounds, Problem, Score, number_of, uniform_between
from sbirules.simulators import RateRNN
from sbirules.support import arguments
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed

__all__ = ["LearningProblem"]

MOST_AGAIN = 64  # rules that are tried again at most


class LearningProblem(Problem):
    """Which structure of the eligibility trace makes networks satisfy constraints.

    Rules of a structure are drawn from its prior and each is tried in a fresh network. The evidence of a structure is the share
    of them that satisfies the constraints, (successes + 1/2) / (rules + 1). Those that did are tried again, in other networks
    and, where `held_out` is given, under its conditions: the share that satisfies the constraints once more is the held-out
    score, 0 where none did. So the score says how far rules of a structure can be relied on, the evidence how many there are.

    Arguments:
        simulator: A `RateRNN` with the task, settings and summaries; its family does not count.
        constraints: `{"learned": (1, 1)}` and the like, see `Constraints`.
        grammar: With the target `"trace"`; by default up to three products of pre, deviation and weight up to degree 4.
        held_out: Another `RateRNN`, such as one with other timings or more units, in which rules are tried again.
        coefficients: Ends of the uniform prior of each coefficient, in natural units.
        rules: That are tried of each structure.
        seed: Of rules and networks, with each structure's name.

    Raises:
        ValueError: If the grammar's target is not `"trace"`, or a constraint names no summary of the simulator.
    """

    has_evidence = True
    scored_by = "share of successes when tried again"

    @typed
    def __init__(
        self,
        simulator: RateRNN,
        constraints: Mapping[str, object] | Constraints,
        grammar: RuleGrammar | None = None,
        *,
        held_out: RateRNN | None = None,
        coefficients: Bounds = (-1.0, 1.0),
        rules: int = 256,
        seed: int = 0,
    ) -> None:
        self.grammar = RuleGrammar(target="trace", degree=4, most_power=3, max_terms=3) if grammar is None else grammar
        if self.grammar.target != "trace":
            raise ValueError(f'grammar must have the target "trace", got {self.grammar.target!r}.')
        self.simulator, self.elsewhere = simulator, held_out or simulator
        self.constraints = Constraints.of(constraints)
        for network in (self.simulator, self.elsewhere):
            self.constraints.check(network.summary_names)
        self.coefficients = uniform_between("coefficients", coefficients)
        self.rules = arguments.whole("rules", rules, 2, arguments.MANY)
        self.seed = arguments.whole("seed", seed, 0)

    def family(self, structure: Structure) -> RuleFamily:
        """The rule family of a structure; of the empty one that of its first term, whose coefficient is kept at 0."""
        first: tuple[Term, ...] = structure.terms or self.grammar.terms[:1]
        return family_of(Structure(first, self.grammar.target))

    def score(self, structure: Structure, start: Mapping[str, float]) -> Score:
        begun = time.perf_counter()
        if structure.target != "trace":
            raise ValueError(f"structure must be one of a trace, got one of a {structure.target}.")
        family = self.family(structure)
        name = number_of(structure)
        gen = torch.Generator().manual_seed(child(self.seed, Stream.PRIOR, name) % 2**63)
        low, high = float(self.coefficients.low), float(self.coefficients.high)
        theta = low + (high - low) * torch.rand(self.rules, len(family.names), generator=gen)
        if not structure.terms:
            theta = torch.zeros_like(theta)
        done = self._satisfied(self.simulator.with_family(family), theta, child(self.seed, Stream.RUN, name))
        count, tried = int(done.sum()), self.rules
        share = (count + 0.5) / (tried + 1)
        again = theta[done][:MOST_AGAIN]
        found = torch.zeros(0, dtype=torch.bool)
        if count:
            other = self.elsewhere.with_family(family)
            found = self._satisfied(other, again, child(self.seed, Stream.TRIED, name))
        held_out = float(found.double().mean()) if count else 0.0
        best = again[found] if bool(found.any()) else again
        values = dict(zip(family.names, best[0].tolist(), strict=True)) if len(best) and structure.terms else {}
        error = math.sqrt((1 - share) / (share * (tried + 1)))
        return Score(held_out, math.log(share), error, values, time.perf_counter() - begun)

    def _satisfied(self, simulator: RateRNN, theta: Tensor, seed: int) -> Tensor:
        """Which rules satisfy the constraints in one fresh network each, `(n,)` boolean."""
        run = simulator.run(theta, seed=seed)
        return self.constraints.satisfied(summarise(run, simulator.summaries), simulator.summary_names)

    def config(self) -> dict[str, Any]:
        def without_family(network: RateRNN) -> dict[str, Any]:
            kept: dict[str, Any] = {
                "task": network.task.config() if network.task else None,
                "settings": network.settings.config(),
            }
            kept["dtype"] = str(network.dtype)
            return {**kept, "summaries": [s.config() for s in network.summaries]}

        return {
            "problem": "learning",
            "simulator": without_family(self.simulator),
            "held_out": without_family(self.elsewhere),
            "constraints": self.constraints.config(),
            "coefficients": [float(self.coefficients.low), float(self.coefficients.high)],
            "rules": self.rules,
            "seed_of_rules": self.seed,
        }
