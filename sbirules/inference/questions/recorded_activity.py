"""Recorded units held against networks of posterior rules, and against the same networks before they learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.inference.questions.fresh import Fresh
from sbirules.inference.questions.sessions import recorded_like
from sbirules.inference.questions.variety import Variety, variety_verdict
from sbirules.model.abilities import WithoutPlasticity
from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import Summary, of_recordings, summarise, summary_names
from sbirules.model.tables import Trials
from sbirules.model.verdicts import Verdict
from sbirules.support.distances import tail_p

__all__ = ["RecordedActivity", "recorded_activity"]

FEWEST = 6  # learners from which a distance can be told
UNTRAINED = 64  # groups of untrained networks, each of as many as there are learners
UNLIKELY = 0.01


@dataclass(frozen=True)
class RecordedActivity:
    """Summaries of recorded units: means over learners and their spread.

    Arguments:
        rules: Of the learners, and of the networks of posterior rules.
        untrained: Of the learners, and of networks that do not learn; None where the simulator cannot keep them from it.
    """

    rules: Variety
    untrained: Variety | None = None

    def verdicts(self, learners: int) -> list[Verdict]:
        """Whether rules make such activity, and whether untrained networks do."""
        found = variety_verdict(self.rules, learners, "recorded activity")
        for k, v in enumerate(found):
            text = v.finding.replace("How", "What was recorded of", 1).replace(
                "learners scatter from trial to trial and differ among each other,", "learners,"
            )
            advice = (
                ""
                if v.level == "pass"
                else "The rules do not make such activity: look at the summaries named, or at the task and noise."
            )
            found[k] = Verdict(v.name, v.level, text, advice, v.numbers)
        return [*found, *self._control(learners)]

    def _control(self, learners: int) -> list[Verdict]:
        if self.untrained is None or learners < FEWEST:
            return []
        own, each = self.untrained.distances()
        if math.isnan(own):
            return []
        p = tail_p(own, each)
        untrained = (
            f"Networks that do not learn, {len(each)} groups of {learners}: as far from them as the recordings are {p:.2g} of "
            f"their own "
            f"(p, {len(self.untrained.names)} statistics together)"
        )
        if p < UNLIKELY:
            said = (
                f"{untrained}; farthest out: {', '.join(self.untrained.farthest(2))}. Learning shows in the recordings."
            )
            return [Verdict("untrained control", "pass", said, "", {"p": p, "distance": own})]
        advice = "Do not read the recordings as evidence of learning: more units, less noise, or other summaries may show it."
        return [
            Verdict(
                "untrained control",
                "caution",
                f"{untrained}: an untrained network explains them as well.",
                advice,
                {"p": p},
            )
        ]


def _statistics(runs: Trajectory, chosen: Sequence[Summary], groups: int) -> Tensor:
    """Mean over a group's networks of each summary, and the logarithm of its spread, `(groups, 2 S)`."""
    x = summarise(runs, chosen).double().reshape(groups, -1, len(summary_names(chosen, runs.type_names)))
    middle = x.nanmedian(dim=1, keepdim=True).values
    spread = (x - middle).abs().nanmedian(dim=1).values.clamp(min=1e-12).log()
    return torch.cat([x.nanmean(dim=1), spread], dim=1)


def recorded_activity(
    theta: Tensor, simulator: Simulator, table: Trials, runs: Trajectory, fresh: Fresh
) -> RecordedActivity | None:
    """Of runs of rules `(n, D)` in as many networks as there are learners; None where nothing was recorded."""
    chosen = of_recordings(table.trajectory)
    if not chosen:
        return None
    learners = len(table)
    stems = summary_names(chosen, table.trajectory.type_names)
    names = (*(f"{n}, mean" for n in stems), *(f"{n}, spread" for n in stems))
    observed = _statistics(table.trajectory, chosen, 1)[0]

    def shown(made: Trajectory) -> Tensor:
        groups = len(made) // learners
        return _statistics(recorded_like(made, table, torch.arange(learners).repeat(groups)), chosen, groups)

    rules = Variety(names, shown(runs), observed)
    if not isinstance(simulator, WithoutPlasticity):
        return RecordedActivity(rules)
    still = simulator.without_plasticity()
    same = theta[torch.arange(UNTRAINED) % len(theta)]
    store = fresh.simulate(same, learners, still, "untrained", part=1, trial_types=table.trial_types)
    return RecordedActivity(rules, Variety(names, shown(store.trajectory), observed))
