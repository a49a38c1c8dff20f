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
from sbirules.model.summaries import Summary, activity_summaries, of_recordings, summarise, summary_names
from sbirules.model.tables import Trials
from sbirules.model.verdicts import Verdict
from sbirules.support.distances import tail_p
from sbirules.support.streams import Stream, generator

__all__ = ["RecordedActivity", "recorded_activity"]

FEWEST = 6  # learners from which a distance can be told
CHANGES = activity_summaries()
FIRST = ("[0]", ",0]")  # endings of what stands for the first part of a session
UNTRAINED = 32  # untrained networks in the place of each learner
GROUPS = 400  # of them, one in each place
UNLIKELY = 0.01
AS_FAR = 0.8  # of the distance from untrained networks that is left where the order of trials is lost: then it is not learning


@dataclass(frozen=True)
class RecordedActivity:
    """Summaries of recorded units: means over learners and their spread.

    Arguments:
        rules: Of the learners, and of the networks of posterior rules.
        untrained: What changed over the session in the learners, and in networks that do not learn; None where the simulator
            cannot keep them from it.
        shuffled: The same with the learners' trials of a type in another order.
    """

    rules: Variety
    untrained: Variety | None = None
    shuffled: Variety | None = None

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
        numbers = {"p": p, "distance": own}
        text = (
            f"What changed over the session, {len(self.untrained.names)} statistics together, against {len(each)} groups of "
            f"{learners} networks that do not learn: p = {p:.2g}"
        )
        mixed = math.nan
        if self.shuffled is not None:
            mixed, others = self.shuffled.distances()
            numbers |= {"p_shuffled": tail_p(mixed, others), "distance_shuffled": mixed}
            text += f"; with trials in another order p = {numbers['p_shuffled']:.2g}"
        if not p < UNLIKELY:
            text = f"An untrained network explains the recordings as well. {text}."
            advice = "Do not read them as evidence of learning: more units, less noise, or other summaries may show it."
            return [Verdict("untrained control", "caution", text, advice, numbers)]
        text += f"; farthest out: {', '.join(self.untrained.farthest(2))}"
        if mixed > AS_FAR * own:
            advice = "Units, noise or windows may differ from the simulator's: num_recorded, recording_noise."
            text = (
                f"The recordings are as little those of untrained networks where the order of trials is lost. {text}."
            )
            return [Verdict("untrained control", "caution", text, advice, numbers)]
        return [Verdict("untrained control", "pass", f"Learning shows in the recordings. {text}.", "", numbers)]


def _statistics(runs: Trajectory, chosen: Sequence[Summary], groups: int) -> Tensor:
    """Mean over a group's networks of each summary, and the logarithm of its spread, `(groups, 2 S)`."""
    x = summarise(runs, chosen).double().reshape(groups, -1, len(summary_names(chosen, runs.type_names)))
    middle = x.nanmedian(dim=1, keepdim=True).values
    spread = (x - middle).abs().nanmedian(dim=1).values.clamp(min=1e-12).log()
    return torch.cat([x.nanmean(dim=1), spread], dim=1)


def _changes(runs: Trajectory, learners: int) -> Tensor:
    """What changed over the session in each network, `(groups, learners, S)`; what was there at first tells little of that."""
    names = summary_names(CHANGES, runs.type_names)
    x = summarise(runs, CHANGES).double()[:, [k for k, name in enumerate(names) if not name.endswith(FIRST)]]
    return x.reshape(-1, learners, x.shape[1])


def _regrouped(x: Tensor, seed: int) -> Tensor:
    """Means over groups of networks `(GROUPS, S)`, each of one in every learner's place, drawn from `(groups, learners, S)`."""
    which = torch.randint(len(x), (GROUPS, x.shape[1]), generator=generator(seed, Stream.SUBSETS))
    return x[which, torch.arange(x.shape[1])].nanmean(dim=1)


def _shuffled(table: Trials, seed: int) -> Trajectory:
    """The learners' recordings, those of trials of one type in another order."""
    run, stream = table.trajectory, generator(seed, Stream.PERMUTATIONS)
    responses = run.per_unit["responses"].clone()
    for k, types in enumerate(run.trial_types):
        for kind in torch.unique(types[types >= 0]).tolist():
            at = (types == kind).nonzero()[:, 0]
            responses[k, at] = run.per_unit["responses"][k, at[torch.randperm(len(at), generator=stream)]]
    return Trajectory(run.status, run.trial_types, per_unit={"responses": responses}, type_names=run.type_names)


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

    def like(made: Trajectory) -> Trajectory:
        return recorded_like(made, table, torch.arange(learners).repeat(len(made) // learners))

    observed = _statistics(table.trajectory, chosen, 1)[0]
    rules = Variety(names, _statistics(like(runs), chosen, len(theta)), observed)
    if not isinstance(simulator, WithoutPlasticity):
        return RecordedActivity(rules)
    still = simulator.without_plasticity()
    same = theta[torch.arange(UNTRAINED) % len(theta)]
    store = fresh.simulate(same, learners, still, "untrained", part=1, trial_types=table.trial_types)
    later = tuple(n for n in summary_names(CHANGES, table.trajectory.type_names) if not n.endswith(FIRST))
    made = _regrouped(_changes(like(store.trajectory), learners), fresh.seed)
    own, mixed = (_changes(t, learners)[0].nanmean(dim=0) for t in (table.trajectory, _shuffled(table, fresh.seed)))
    return RecordedActivity(rules, Variety(later, made, own), Variety(later, made, mixed))
