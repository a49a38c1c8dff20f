"""Tables of simulated animals that see what the animals of a table saw, for as many animals and trials as asked."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.model.abilities import ReplaysChoices
from sbirules.model.runs import Status, Trajectory
from sbirules.model.tables import Trials
from sbirules.support.streams import Key, Stream, child, seeded

__all__ = ["grouped", "laid_out", "tables_of_rules"]

ATTEMPTS = 5  # times as many rules are drawn at most, where animals of some diverge


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


def tables_of_rules(
    model: ReplaysChoices, prior: Distribution, count: int, layout: Trials, *, shared: bool, seed: Key, whose: str
) -> tuple[Tensor, list[Trials]]:
    """Rules of the prior under which no animal's weights run away, and a table of animals of each.

    Arguments:
        model: The simulator, whose task replays the layout.
        prior: The prior over all its coefficients.
        count: Tables.
        layout: What their animals see.
        shared: Whether animals of a table have one rule, else each its own.
        seed: Of rules and choices.
        whose: The prior's name, for errors.

    Returns:
        Rules `(count, D)`, or `(count, animals, D)` of their own, and the tables.

    Raises:
        ValueError: If animals diverge under nearly all rules.
    """
    animals = len(layout)
    rules: list[Tensor] = []
    tables: list[Trials] = []
    for attempt in range(ATTEMPTS):
        with seeded(seed, Stream.PRIOR, attempt):
            theta = prior.sample(Size((count,) if shared else (count, animals))).float()
        each = theta.repeat_interleave(animals, dim=0) if shared else theta.flatten(0, 1)
        made = model.animals(each, seed=child(seed, Stream.ATTEMPT, attempt)).trajectory
        for rule, table in zip(theta, grouped(made, layout), strict=True):
            if table is not None and len(tables) < count:
                rules.append(rule)
                tables.append(table)
        if len(tables) == count:
            return torch.stack(rules), tables
    raise ValueError(
        f"only {len(tables)} of {ATTEMPTS * count} tables under {whose} kept the weights of all {animals} animals finite; "
        f"narrow it."
    )
