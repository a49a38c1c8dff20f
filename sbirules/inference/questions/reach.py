"""Values of learners' trials held against those that the simulator made: what it cannot make is named."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from sbirules.model.runs import Trajectory
from sbirules.model.summaries import Summary
from sbirules.model.tables import Trials

__all__ = ["beyond_reach"]

FAR = 3.0  # widths of the simulated range; no network is so far out, but a code such as 999 is
MANY = 100  # simulated values below which a range says little


def beyond_reach(table: Trials, runs: Trajectory, chosen: Sequence[Summary]) -> tuple[str, ...]:
    """Warns of trials whose values lie beyond all simulated ones, and returns the warnings.

    Raises:
        ValueError: If one lies so far out that it must mean something else, as a missed trial coded 999.
    """
    out: list[str] = []
    fields = table.trajectory.per_trial
    read = dict.fromkeys(name for s in chosen for name in s.fields if name in fields and name in runs.per_trial)
    for name in read:
        made, seen = runs.per_trial[name][runs.ok].double(), fields[name].double()
        made = made[torch.isfinite(made)]
        if len(made) < MANY:
            continue
        low, high = float(made.min()), float(made.max())
        over = torch.maximum(seen - high, low - seen).nan_to_num(nan=-torch.inf)
        outside = over > 1e-6 * max(abs(low), abs(high))
        if not outside.any():
            continue
        learner, trial = (int(i) for i in (over == over.max()).nonzero()[0])
        place = f"trial {trial + 1} of learner {table.learners[learner]}"
        place += "" if table.lines is None else f" ({table.lines.of(learner, trial)})"
        count = int(outside.sum())
        text = (
            f"{name} is {float(seen[learner, trial]):g} in {place}, but between {low:.4g} and {high:.4g} in all simulated "
            f"trials{f'; {count - 1} more lie outside' if count > 1 else ''}."
        )
        if float(over[learner, trial]) > FAR * (high - low):
            raise ValueError(
                f"trials: {text} Is it the code of a missed trial, or in another unit? No network makes it: repair the table, "
                f"or end that session before it."
            )
        text = f"{text} The posterior extrapolates there: repair the table, or simulate under a wider prior."
        warnings.warn(text, stacklevel=2)
        out.append(text)
    return tuple(out)
