"""Observed trials: a table of learners, each with its own length and sequence of trials."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules.model.fields import Field, Layout, task_fields
from sbirules.model.runs import Status, Trajectory
from sbirules.support import arguments
from sbirules.support.robust import kept

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

__all__ = ["Trials"]


@dataclass(frozen=True)
class Trials:
    """The trials of several learners that share one rule, each in its own network.

    Arguments:
        learners: Their labels, as in the table.
        trajectory: Their trials as a `Trajectory`, one row per learner, with the fields that the table has.
    """

    learners: tuple[str, ...]
    trajectory: Trajectory

    def __len__(self) -> int:
        return len(self.learners)

    @property
    def trial_types(self) -> Tensor:
        """Sequence of trial types of each learner, `(learners, trials)`, -1 past its end."""
        return self.trajectory.trial_types

    @property
    def num_trials(self) -> Tensor:
        """Number of trials of each learner, `(learners,)`."""
        return self.trajectory.num_trials

    def subset(self, index: Sequence[int]) -> Trials:
        """Some of the learners, by position."""
        rows = torch.as_tensor(list(index))
        return Trials(tuple(self.learners[i] for i in rows.tolist()), self.trajectory.rows(rows))

    def digest(self) -> str:
        """SHA-256 of the content: tells one table from another."""
        fields = self.trajectory.per_trial
        parts = [self.trial_types, *(fields[n] for n in sorted(fields))]
        return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()

    @staticmethod
    def read(
        source: str | Path | pd.DataFrame | Trials, type_names: Sequence[str] | Layout, criterion: float = 0.5
    ) -> Trials:
        """Trials from a CSV file or a DataFrame.

        Columns `learner`, `trial`, `trial_type` (a number, or a name of the task's types; not needed where there is one
        type) and at least one that the simulator declares: of a task `error`, `reward` or `correct`, and `output` if
        present. What follows from the columns that are there, as correct does from error, is filled in.

        Arguments:
            source: Path of a CSV file, or a DataFrame.
            type_names: What runs consist of, `simulator.layout` or `store.layout`; or the names of a task's trial types.
            criterion: With names: error below which a trial is correct.

        Raises:
            ValueError: If a column is missing, a trial type unknown, a value not finite, a learner empty,
                a trial given twice or missing.
        """
        import pandas as pd

        if isinstance(source, Trials):
            return source
        if isinstance(source, pd.DataFrame):
            table, where = source, "the table"
        else:
            if not isinstance(source, (str, Path)):
                raise ValueError(f"trials must be a path, a DataFrame or Trials, got {type(source).__name__}.")
            path = Path(source)
            if not path.is_file():
                raise ValueError(f"trials: there is no file {path}.")
            where = path.name
            try:
                table = pd.read_csv(path)
            except (ValueError, UnicodeDecodeError) as error:
                raise ValueError(f"trials: {where} cannot be read as CSV: {error}.") from error
        layout = type_names if isinstance(type_names, Layout) else Layout(task_fields(criterion), tuple(type_names))
        return _from_table(table, where, layout)


def _from_table(table: pd.DataFrame, where: str, layout: Layout) -> Trials:
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ValueError(f"{where} has the column {twice[0]!r} more than once.")
    known = layout.named("trial")
    if not known:
        raise ValueError("this simulator reports nothing of single trials, so that a table of trials cannot be read.")
    needed = ("learner", "trial", *(("trial_type",) if len(layout.type_names) > 1 else ()))
    lacking = [c for c in needed if c not in table.columns]
    tells = _telling(layout)
    if lacking:
        raise ValueError(
            f"{where} lacks the column {lacking[0]!r}; it has {arguments.listed(table.columns)}, "
            f"and needs {arguments.listed(needed)} and at least one of {arguments.listed(tells)}."
        )
    have = [c for c in known if c in table.columns]
    if not set(have) & set(tells):
        raise ValueError(f"{where} needs at least one of the columns {arguments.listed(tells)}.")
    if len(table) == 0:
        raise ValueError(f"{where} has no rows: at least one learner with one trial is needed.")
    if table["learner"].isna().any():
        raise ValueError(f"{where}: learner is empty in row {_first(table['learner'].isna())}.")
    for learner, part in table.groupby("learner", sort=False):
        if part[["trial", *have]].isna().all(axis=None):
            raise ValueError(f"{where}: learner {learner} is empty; give it at least one trial or leave it out.")
    values = {c: _numbers(table[c], where) for c in have}
    order = _numbers(table["trial"], where)
    if "trial_type" in table.columns:
        types = _types(table["trial_type"], where, layout.type_names or ("0",))
    else:
        types = np.zeros(len(table), dtype=np.int64)
    for name in have:
        _check_values(layout[name], values, where)
    labels = table["learner"].unique()
    if len({str(label) for label in labels}) < len(labels):
        raise ValueError(
            f"{where}: learners must have different names as text, got {arguments.listed(map(repr, labels))}."
        )
    groups = {str(name): np.asarray(rows) for name, rows in table.groupby("learner", sort=False).indices.items()}
    longest = max(len(rows) for rows in groups.values())
    shape = (len(groups), longest)
    numbers = {name: kept(torch.as_tensor(column)) for name, column in values.items()}
    fields = {name: torch.full(shape, torch.nan, dtype=column.dtype) for name, column in numbers.items()}
    sequence = torch.full(shape, -1)
    for i, (learner, rows) in enumerate(groups.items()):
        rows = rows[np.argsort(order[rows], kind="stable")]
        if order[rows][0] not in (0, 1):
            raise ValueError(
                f"{where}: trials of learner {learner} must be numbered from 0 or 1, "
                f"got {order[rows][0]:g} as the first."
            )
        gaps = np.diff(order[rows]) != 1
        if gaps.any():
            a, b = order[rows][:-1][gaps][0], order[rows][1:][gaps][0]
            problem = f"trial {a:g} comes twice" if a == b else f"trial {a:g} is followed by {b:g}"
            raise ValueError(f"{where}: trials of learner {learner} must be consecutive, but {problem}.")
        sequence[i, : len(rows)] = torch.as_tensor(types[rows])
        for name, column in numbers.items():
            fields[name][i, : len(rows)] = column[torch.as_tensor(rows)]
    status = torch.full((len(groups),), int(Status.OK), dtype=torch.int8)
    runs = Trajectory(status, sequence, layout.completed(fields, "trial"), type_names=layout.type_names)
    return Trials(tuple(groups), runs)


def _telling(layout: Layout) -> tuple[str, ...]:
    """Fields of which a table must have one: the measure of performance and what follows from it, where there is one."""
    fields = [f for f in layout.fields if f.per == "trial"]
    best = layout.performance
    if best is None or best.per != "trial":
        return tuple(f.name for f in fields)
    return (best.name, *(f.name for f in fields if f.follows and f.follows[1] == best.name))


def _check_values(field: Field, values: Mapping[str, np.ndarray], where: str) -> None:
    """Raises ValueError unless a column's values are possible."""
    column = values[field.name]
    if field.dtype == "bool" and not np.isin(column, (0.0, 1.0)).all():
        wrong = ~np.isin(column, (0.0, 1.0))
        raise ValueError(f"{where}: {field.name} must be 0 or 1, got {column[wrong][0]:g} in row {_first(wrong)}.")
    if field.follows[:1] == ("minus",) and field.follows[1] in values:
        return  # the other column counts
    low, high = column < field.low, column > field.high
    if field.follows[:1] == ("minus",) and high.any():
        raise ValueError(
            f"{where}: without a column {field.follows[1]}, {field.name} must be minus the {field.follows[1]} and so at "
            f"most {field.high:g}, got {column[high][0]:g} in row {_first(high)}; "
            f"for right and wrong answers use the column correct."
        )
    for wrong, rule in ((low, f"at least {field.low:g}"), (high, f"at most {field.high:g}")):
        if wrong.any():
            raise ValueError(f"{where}: {field.name} must be {rule}, got {column[wrong][0]:g} in row {_first(wrong)}.")


def _first(wrong: ArrayLike) -> int:
    """Row of the first offender, counted as a spreadsheet does: the header is row 1."""
    return int(np.flatnonzero(np.asarray(wrong))[0]) + 2


def _numbers(column: pd.Series, where: str) -> np.ndarray:
    import pandas as pd

    values = np.array(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        given = column.tolist()[np.flatnonzero(wrong)[0]]
        raise ValueError(f"{where}: {column.name} must be a finite number, got {given!r} in row {_first(wrong)}.")
    return values


def _types(column: pd.Series, where: str, type_names: tuple[str, ...]) -> np.ndarray:
    names = {name: i for i, name in enumerate(type_names)}
    numbers = {str(i): i for i in range(len(type_names))}
    # numbers that pandas read as floats are still numbers
    text = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in column.tolist()]
    given = [names.get(v, numbers.get(v, -1)) for v in text]
    out = np.array(given)
    if (out < 0).any():
        row = np.flatnonzero(out < 0)[0]
        known = arguments.listed(f"{i} ({name})" for i, name in enumerate(type_names))
        raise ValueError(
            f"{where}: trial_type {column.tolist()[row]!r} in row {_first(out < 0)} is unknown to the task; "
            f"it knows {known}."
        )
    return out
