"""Tables of trials with a measure of performance: each cell is read as the simulator declares it, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sbirules.model.fields import Field, Layout
from sbirules.model.lines import Lines
from sbirules.model.runs import Status, Trajectory
from sbirules.support import arguments
from sbirules.support.columns import Columns
from sbirules.support.robust import kept

__all__ = ["error_table"]

ROUNDING = 0.01  # by so much may a column differ from what follows from another
MISSED = "the model misses no trials: end that session before one, or leave the learner out"


def error_table(table: Columns, layout: Layout) -> tuple[tuple[str, ...], Trajectory, Lines]:
    """Learners, their trials, and where these stand.

    Raises:
        ValueError: As `Trials.read` says.
    """
    where, unit = table.where, table.unit
    known = layout.named("trial")
    if not known:
        raise ValueError("this simulator reports nothing of single trials, so that a table of trials cannot be read.")
    needed = ("learner", "trial", *(("trial_type",) if len(layout.type_names) > 1 else ()))
    lacking = [c for c in needed if c not in table]
    tells = _telling(layout)
    if lacking:
        raise ValueError(
            f"{where} lacks the column {lacking[0]!r}; it has {arguments.listed(table.names):.200}, "
            f"and needs {arguments.listed(needed)} and at least one of {arguments.listed(tells)}."
        )
    have = [c for c in known if c in table]
    if not set(have) & set(tells):
        raise ValueError(f"{where} needs at least one of the columns {arguments.listed(tells)}.")
    if len(table) == 0:
        raise ValueError(f"{where} has no rows: at least one learner with one trial is needed.")
    learner = table.labels("learner")
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(learner):
        rows_of.setdefault(name, []).append(row)
    values = {c: table.flags(c) if layout[c].dtype == "bool" else table.numbers(c, MISSED) for c in have}
    order = table.whole("trial")
    types = _types(table, layout.type_names or ("0",))
    for name in have:
        _check_values(layout[name], values, table)
    shape = (len(rows_of), max(len(rows) for rows in rows_of.values()))
    # single precision, as runs have it, unless that would lose something
    precise = {name: kept(torch.as_tensor(column)) for name, column in values.items()}
    fields = {name: torch.full(shape, torch.nan, dtype=column.dtype) for name, column in precise.items()}
    sequence, lines = torch.full(shape, -1), torch.full(shape, -1)
    for i, (name, unsorted) in enumerate(rows_of.items()):
        rows = np.asarray(unsorted)
        rows = rows[np.argsort(order[rows], kind="stable")]
        _check_order(name, order[rows], [table.lines[row] for row in rows], where, unit)
        sequence[i, : len(rows)] = torch.as_tensor(types[rows])
        lines[i, : len(rows)] = torch.as_tensor(np.asarray(table.lines)[rows])
        for field, column in precise.items():
            fields[field][i, : len(rows)] = column[torch.as_tensor(rows)]
    status = torch.full((len(rows_of),), int(Status.OK), dtype=torch.int8)
    runs = Trajectory(status, sequence, layout.completed(fields, "trial"), type_names=layout.type_names)
    return tuple(rows_of), runs, Lines(where, unit, lines)


def _check_order(name: str, order: np.ndarray, lines: Sequence[int], where: str, unit: str) -> None:
    """Raises ValueError unless the trials of a learner are numbered one by one, from 0 or 1."""
    if order[0] not in (0, 1):
        raise ValueError(
            f"{where}: trials of learner {name} must be numbered from 0 or 1, got {order[0]} as the first, in {unit} "
            f"{lines[0]}."
        )
    gaps = np.flatnonzero(np.diff(order) != 1)
    if len(gaps):
        at = int(gaps[0])
        a, b = order[at], order[at + 1]
        problem = f"trial {a} comes twice" if a == b else f"trial {a} is followed by {b}"
        raise ValueError(
            f"{where}: trials of learner {name} must be consecutive, but {problem}, in {unit}s {lines[at]} and {lines[at + 1]}."
        )


def _telling(layout: Layout) -> tuple[str, ...]:
    """Fields of which a table must have one: the measure of performance and what follows from it, where there is one."""
    fields = [f for f in layout.fields if f.per == "trial"]
    best = layout.performance
    if best is None or best.per != "trial":
        return tuple(f.name for f in fields)
    return (best.name, *(f.name for f in fields if f.follows and f.follows[1] == best.name))


def _check_values(field: Field, values: Mapping[str, np.ndarray], table: Columns) -> None:
    """Raises ValueError unless a column's values are possible, and agree with those that they follow from."""
    column = values[field.name]
    source = values.get(field.follows[1]) if field.follows else None
    if source is not None:
        _check_agreement(field, column, source, table)
        return
    low, high = column < field.low, column > field.high
    if field.follows[:1] == ("minus",) and high.any():
        table.refuse(
            field.name,
            int(high.argmax()),
            f"must be minus the {field.follows[1]} and so at most {field.high:g}, without a column {field.follows[1]}",
            "for right and wrong answers use the column correct",
        )
    for wrong, rule in ((low, f"at least {field.low:g}"), (high, f"at most {field.high:g}")):
        if wrong.any():
            table.refuse(field.name, int(wrong.argmax()), f"must be {rule}")


def _check_agreement(field: Field, column: np.ndarray, source: np.ndarray, table: Columns) -> None:
    """Raises ValueError where a column contradicts the one it follows from, by more than rounding."""
    of = field.follows[1]
    slack = ROUNDING * np.maximum(1.0, np.abs(source))
    if field.follows[0] == "minus":
        rule, wrong = f"must be minus the {of}", np.abs(column + source) > slack
    else:
        rule = f"must be 1 where the {of} is below {field.follows[2]:g}, and else 0"
        wrong = (column != (source < field.follows[2])) & (np.abs(source - field.follows[2]) > slack)
    if wrong.any():
        row = int(wrong.argmax())
        more = f"the {of} there is {source[row]:g}; if the column means something else, leave it out"
        table.refuse(field.name, row, rule, more)


def _types(table: Columns, type_names: tuple[str, ...]) -> np.ndarray:
    if "trial_type" not in table:
        return np.zeros(len(table), dtype=np.int64)
    known = {str(i): i for i in range(len(type_names))} | {f"{i}.0": i for i in range(len(type_names))}
    known |= {name: i for i, name in enumerate(type_names)}
    out = np.zeros(len(table), dtype=np.int64)
    for row, label in enumerate(table.labels("trial_type")):
        if label not in known:
            names = arguments.listed(f"{i} ({name})" for i, name in enumerate(type_names))
            table.refuse("trial_type", row, f"must be one that the task knows, {names}")
        out[row] = known[label]
    return out
