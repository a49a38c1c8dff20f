"""Tables of simulated animals that see what the animals of a table saw, for as many animals and trials as asked."""

from __future__ import annotations

import math

import torch

from sbirules.model.runs import Status, Trajectory
from sbirules.model.tables import Trials

__all__ = ["grouped", "laid_out"]


def laid_out(trials: Trials, animals: int | None, decisions: int | None) -> Trials:
    """The table with so many animals of so many decisions each; its own where None.

    Animals beyond those that there are see what these saw, in turn. Past the end of an animal's table it is shown again, as
    further sessions.
    """
    own = trials.num_trials
    rows = torch.arange(len(trials) if animals is None else animals) % len(trials)
    count = own[rows] if decisions is None else torch.full((len(rows),), decisions)
    place = torch.arange(int(count.max())).expand(len(rows), -1)
    there = place < count[:, None]
    again, at = place // own[rows, None], place % own[rows, None]
    fields = {name: value[rows].gather(1, at) for name, value in trials.trajectory.per_trial.items()}
    for name in ("session", "trial"):
        length = trials.trajectory.per_trial[name].nan_to_num(-1.0).max(dim=1).values + 1
        fields[name] = fields[name] + again * length[rows, None]
    fields = {name: torch.where(there, value, math.nan) for name, value in fields.items()}
    types = torch.where(there, trials.trial_types[rows].gather(1, at), -1)
    status = torch.full((len(rows),), int(Status.OK), dtype=torch.int8)
    names = tuple(f"animal {k + 1}" for k in range(len(rows)))
    return Trials(names, Trajectory(status, types, fields), None, trials.meaning)


def grouped(runs: Trajectory, layout: Trials) -> list[Trials | None]:
    """A table for each group of as many simulated animals as a layout has; None where one diverged."""
    size, out = len(layout), []
    for k in range(0, len(runs.trial_types), size):
        rows = runs.rows(torch.arange(k, k + size))
        fine = bool((rows.status == Status.OK).all())
        out.append(Trials(layout.learners, rows, None, layout.meaning) if fine else None)
    return out
