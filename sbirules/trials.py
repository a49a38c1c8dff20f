"""Observed trials: a table of learners, each with its own length and sequence of trials."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sbirules import _check
from sbirules.trajectory import Status, Trajectory

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Trials"]

OUTCOMES = ("error", "reward", "correct")


@dataclass(frozen=True)
class Trials:
    """The trials of several learners that share one rule, each in its own network.

    Arguments:
        learners: Their labels, as in the table.
        trajectory: Their trials as a `Trajectory`, one row per learner; columns the table lacks are NaN.
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
        return (self.trial_types >= 0).sum(dim=1)

    def subset(self, index: Sequence[int]) -> Trials:
        """Some of the learners, by position."""
        rows = torch.as_tensor(list(index))
        return Trials(tuple(self.learners[i] for i in rows.tolist()), self.trajectory.rows(rows))

    def digest(self) -> str:
        """SHA-256 of the content: tells one table from another."""
        t = self.trajectory
        parts = [t.trial_types.numpy().tobytes(), *(getattr(t, n).numpy().tobytes() for n in t.PER_TRIAL)]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    @staticmethod
    def read(source: str | Path | pd.DataFrame | Trials, type_names: Sequence[str], criterion: float = 0.5) -> Trials:
        """Trials from a CSV file or a DataFrame.

        Columns `learner`, `trial`, `trial_type` (a number, or a name of the task's types) and at least one
        of `error`, `reward`, `correct`; `output` is used if present. Error is taken as minus reward, and
        correct as error below the criterion, where the table lacks them.

        Arguments:
            source: Path of a CSV file, or a DataFrame.
            type_names: The task's trial types, `task.type_names`.
            criterion: Error below which a trial is correct.

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
        return _from_table(table, where, tuple(type_names), criterion)


def _from_table(table: pd.DataFrame, where: str, type_names: tuple[str, ...], criterion: float) -> Trials:
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ValueError(f"{where} has the column {twice[0]!r} more than once.")
    missing = [c for c in ("learner", "trial", "trial_type") if c not in table.columns]
    if missing:
        raise ValueError(
            f"{where} lacks the column {missing[0]!r}; it has {_check.listed(table.columns)}, "
            f"and needs learner, trial, trial_type and at least one of {_check.listed(OUTCOMES)}."
        )
    have = [c for c in (*OUTCOMES, "output") if c in table.columns]
    if not set(have) & set(OUTCOMES):
        raise ValueError(f"{where} needs at least one of the columns {_check.listed(OUTCOMES)}.")
    if len(table) == 0:
        raise ValueError(f"{where} has no rows: at least one learner with one trial is needed.")
    if table["learner"].isna().any():
        raise ValueError(f"{where}: learner is empty in row {_first(table['learner'].isna())}.")
    for learner, part in table.groupby("learner", sort=False):
        if part[["trial", *have]].isna().all(axis=None):
            raise ValueError(f"{where}: learner {learner} is empty; give it at least one trial or leave it out.")
    values = {c: _numbers(table[c], where) for c in have}
    order = _numbers(table["trial"], where)
    types = _types(table["trial_type"], where, type_names)
    if "correct" in values and not np.isin(values["correct"], (0.0, 1.0)).all():
        wrong = ~np.isin(values["correct"], (0.0, 1.0))
        raise ValueError(
            f"{where}: correct must be 0 or 1, got {values['correct'][wrong][0]:g} in row {_first(wrong)}."
        )
    if "error" in values and (values["error"] < 0).any():
        wrong = values["error"] < 0
        raise ValueError(
            f"{where}: error must be at least 0, got {values['error'][wrong][0]:g} in row {_first(wrong)}."
        )
    if "error" not in values and "reward" in values and (values["reward"] > 0).any():
        wrong = values["reward"] > 0
        raise ValueError(
            f"{where}: without a column error, reward must be minus the error and so at most 0, got "
            f"{values['reward'][wrong][0]:g} in row {_first(wrong)}; "
            f"for right and wrong answers use the column correct."
        )
    labels = table["learner"].unique()
    if len({str(label) for label in labels}) < len(labels):
        raise ValueError(
            f"{where}: learners must have different names as text, got {_check.listed(map(repr, labels))}."
        )
    groups = {str(name): np.asarray(rows) for name, rows in table.groupby("learner", sort=False).indices.items()}
    longest = max(len(rows) for rows in groups.values())
    shape = (len(groups), longest)
    fields: dict[str, Any] = {name: torch.full(shape, torch.nan) for name in Trajectory.PER_TRIAL}
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
        for name, column in values.items():
            fields[name][i, : len(rows)] = torch.as_tensor(column[rows], dtype=torch.float32)
    if "error" not in values and "reward" in values:
        fields["error"] = -fields["reward"]
    if "reward" not in values and "error" in values:
        fields["reward"] = -fields["error"]
    if "correct" not in values:
        correct = (fields["error"] < criterion).float()
        fields["correct"] = torch.where(torch.isnan(fields["error"]), torch.nan, correct)
    status = torch.full((len(groups),), int(Status.OK), dtype=torch.int8)
    trajectory = Trajectory(
        status=status, trial_types=sequence, num_types=len(type_names), type_names=type_names, **fields
    )
    return Trials(tuple(groups), trajectory)


def _first(wrong: Any) -> int:
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
        known = _check.listed(f"{i} ({name})" for i, name in enumerate(type_names))
        raise ValueError(
            f"{where}: trial_type {column.tolist()[row]!r} in row {_first(out < 0)} is unknown to the task; "
            f"it knows {known}."
        )
    return out
