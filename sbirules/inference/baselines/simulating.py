"""Animals that choose as a baseline says, in closed loop: what its parameters, fitted to animals, make others do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sbirules.model.choices import ROLES
from sbirules.model.decisions import features_of, has_constant
from sbirules.model.runs import Status, Trajectory
from sbirules.model.tables import Trials
from sbirules.model.tasks import Replayed
from sbirules.support.streams import Key, Stream, generator

from .base import Baseline
from .decisions import Decisions, Units

__all__ = ["choices_of"]


@dataclass
class _Group:
    """Simulated animals that share parameters, and what they saw, did and got, in their units."""

    rows: np.ndarray
    parameters: np.ndarray
    units: Units
    so_far: Decisions  # of all decisions to come too, `(rows * decisions,)` reshaped where it is used

    def probabilities(self, t: int, answers: int, fields: dict[str, np.ndarray], baseline: Baseline) -> np.ndarray:
        """Of each answer at decision t, `(rows, answers)`: each is tried, and the baseline says how likely it is."""
        n, d = len(self.rows), self.so_far
        until = {name: value[self.rows, : t + 1] for name, value in fields.items()}
        until["x"] = until["x"] / self.units.x
        until["reward"] = until["reward"] / self.units.reward
        session, trial = until.pop("session"), until.pop("trial")
        until["session"] = session.astype(np.int64)
        until["new_session"] = np.diff(session, axis=1, prepend=-1.0) != 0
        until["new_trial"] = until["new_session"] | (np.diff(trial, axis=1, prepend=-1.0) != 0)
        start = np.arange(n + 1) * (t + 1)
        out = np.empty((n, answers))
        for k in range(answers):
            until["choice"][:, t] = k
            flat: dict[str, Any] = {
                name: np.ascontiguousarray(v.reshape(n * (t + 1), *v.shape[2:])) for name, v in until.items()
            }
            out[:, k] = baseline.given(self.parameters, replace(d, start=start, **flat))[t :: t + 1]
        out = np.exp(out)
        return np.asarray(out / out.sum(axis=1, keepdims=True))


def choices_of(baseline: Baseline, trials: Trials, task: Replayed, rows: int, seed: Key) -> Trajectory:
    """Simulated animals of a baseline.

    Row k sees what animal k of the task's table saw (see `Replayed`), and has the parameters of the animal at that place, in
    turn, of `trials`, to whose choices the baseline is fitted.

    Arguments:
        baseline: The baseline.
        trials: The animals that parameters are of.
        task: What is shown, and what is got.
        rows: Simulated animals.
        seed: Of choices and rewards.
    """
    meaning, constant = task.meaning, has_constant(task.meaning)
    told = Decisions.of(trials)
    shown_to = np.arange(rows) % len(task.trials) % len(trials)
    groups = []
    for i in range(min(len(trials), rows)):
        own = told.animal(i)
        units = own.units(own.answered)
        parameters = baseline.fit(own.in_their_own_units(own.answered), own.answered)
        at = np.flatnonzero(shown_to == i)
        if len(at):
            groups.append(_Group(at, parameters, units, replace(own, reach=units.reach)))
    count, answers = task.num_trials, told.answers
    stream = generator(seed, Stream.RUN)
    state = task.start(rows, stream)
    made = {name: torch.full((rows, count), torch.nan, dtype=torch.float64) for name in (*ROLES, *meaning.stimuli)}
    fields = {name: np.zeros((rows, count)) for name in ("reward", "session", "trial")}
    fields |= {"choice": np.full((rows, count), -1), "x": np.zeros((rows, count, told.x.shape[1]))}
    for t in range(count):
        shown, state = task.stimulus(t, state, stream)
        stimuli = {name: shown[:, k] for k, name in enumerate(meaning.stimuli)}
        fields["x"][:, t] = features_of(stimuli, meaning, constant, rows).numpy()
        fields["session"][:, t], fields["trial"][:, t] = state.session.numpy(), state.trial.numpy()
        prob = np.empty((rows, answers))
        for group in groups:
            prob[group.rows] = group.probabilities(t, answers, fields, baseline)
        draw = torch.rand(rows, 1, generator=stream, dtype=torch.float64)
        choice = (draw > torch.from_numpy(prob).cumsum(dim=1)).sum(dim=1).clamp(max=answers - 1)
        for name, value in stimuli.items():
            made[name][:, t] = value.double()
        made["session"][:, t], made["trial"][:, t] = state.session.double(), state.trial.double()
        reward, state = task.outcome(choice, t, state, stream)
        made["choice"][:, t], made["reward"][:, t] = choice.double(), reward
        fields["choice"][:, t], fields["reward"][:, t] = choice.numpy(), reward.numpy()
    types = task.trial_types(rows)
    there = types >= 0
    return Trajectory(
        torch.full((rows,), int(Status.OK), dtype=torch.int8),
        torch.where(there, 0, -1),
        {name: torch.where(there, value, torch.nan) for name, value in made.items()},
    )
