"""Tables of recordings: a row for each trial of an animal, a column for each channel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sbirules.support import arguments
from sbirules.support.cells import natural
from sbirules.support.columns import Columns

__all__ = ["recording_table"]

ROLES = ("learner", "session", "trial", "trial_type", "values", "events")


def recording_table(table: Columns, columns: Mapping[str, Any]) -> dict[str, Any]:
    """What `Recordings` is made of.

    Arguments:
        table: The rows that are read.
        columns: Columns by role, see `Recordings.read`.

    Raises:
        ValueError: If a column is missing or of the wrong kind, or a trial comes twice.
    """
    for role in columns:
        arguments.known("role in columns", role, ROLES)
    if not len(table):
        raise ValueError(f"{table.where} has no rows: at least one animal with one trial is needed.")
    values = _named(table, "values", columns.get("values", "values"), columns)
    events = _named(table, "events", columns["events"], columns) if "events" in columns else {}
    animal, names = _groups(table, _one(table, "learner", columns))
    session, _ = _groups(table, _one(table, "session", columns))
    order = _in_time(table, columns, animal, session)
    animal = animal[order]
    count = np.bincount(animal, minlength=len(names))
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    shape = (len(names), int(count.max()))

    def padded(column: np.ndarray) -> torch.Tensor:
        out = np.full(shape, np.nan)
        out[animal, place] = column[order]
        return torch.from_numpy(out)

    kind = _one(table, "trial_type", columns)
    types, type_names = (np.zeros(len(table)), ()) if kind is None else _coded(table, kind)
    happened: dict[str, torch.Tensor] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for name, column in events.items():
        if table.numeric(column):
            happened[name] = padded(table.numbers(column, missing=True, flags=True))
        else:
            codes, labels[name] = _coded(table, column)
            happened[name] = padded(codes)
    whole = torch.stack([padded(table.numbers(column, missing=True)) for column in values.values()], dim=2)
    if not bool(torch.isfinite(whole).any()):
        raise ValueError(f"{table.where}: {arguments.listed(values.values())} is empty in all {len(table)} rows.")
    first = padded(session.astype(float))
    counted = torch.stack([_from_zero(row) for row in first])
    return {
        "learners": names,
        "values": whole,
        "trial_types": padded(types).nan_to_num(-1.0).long(),
        "channels": tuple(values),
        "type_names": type_names,
        "sessions": counted,
        "events": happened,
        "labels": labels,
    }


def _from_zero(row: torch.Tensor) -> torch.Tensor:
    """Sessions of one animal counted from 0, `(trials,)`; 0 past its end."""
    there = ~torch.isnan(row)
    out = torch.zeros(len(row), dtype=torch.long)
    if bool(there.any()):
        out[there] = torch.unique(row[there], return_inverse=True)[1]
    return out


def _one(table: Columns, role: str, columns: Mapping[str, Any]) -> str | None:
    """The column of a role, or None where there is none."""
    column = columns.get(role, role if role in table else None)
    if column is None:
        return None
    if not isinstance(column, str):
        raise ValueError(f"columns must give the column of {role} as text, got {column!r:.80}.")
    table.need([column])
    return column


def _named(table: Columns, role: str, given: Any, columns: Mapping[str, Any]) -> dict[str, str]:
    """Columns by what they are to be called."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, (Mapping, Sequence)) or not len(given):
        raise ValueError(
            f"columns must give {role} as the name of a column, several, or columns by name, got {given!r:.80}."
        )
    pairs = dict(given) if isinstance(given, Mapping) else {name: name for name in given}
    if not all(isinstance(v, str) for pair in pairs.items() for v in pair):
        raise ValueError(f"columns must give {role} as names of columns, got {given!r:.80}.")
    why = "" if role in columns else f"say which columns hold them: columns={{'{role}': ...}}"
    table.need(pairs.values(), why)
    return pairs


def _groups(table: Columns, column: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which label each row has, `(rows,)`, and the labels in order of appearance."""
    if column is None:
        return np.zeros(len(table), dtype=np.int64), ("1",)
    codes, texts = table.coded(column)
    index = {text: k for k, text in enumerate(dict.fromkeys(texts))}
    return np.array([index[text] for text in texts])[codes], tuple(index)


def _coded(table: Columns, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of labels `(rows,)`, and the labels in their order: by value where all are numbers, else by text."""
    codes, texts = table.coded(column)
    names = sorted(set(texts), key=natural)
    return np.array([float(names.index(text)) for text in texts])[codes], tuple(names)


def _in_time(table: Columns, columns: Mapping[str, Any], animal: np.ndarray, session: np.ndarray) -> np.ndarray:
    """Rows in the order of animal and time.

    Raises:
        ValueError: If two rows stand for one trial.
    """
    given = columns.get("trial", "trial" if "trial" in table else ())
    names = (given,) if isinstance(given, str) else tuple(given)
    table.need(names)
    if names and not table.numeric(names[0]):
        raise ValueError(
            f"{table.where}: {names[0]} must be numbers in the order of time, got {table.cells[names[0]][0]!r:.60}; labels "
            f"have no "
            f"order in time, except as later columns of several, trial = ['repeat', {names[0]!r}], which count within the "
            f"first."
        )
    keys = [
        table.numbers(name) if table.numeric(name) else _coded(table, name)[0] for name in names
    ]  # labels count in their order
    order = np.lexsort((*reversed(keys), session, animal))
    if names:
        every = np.stack([animal, session, *keys])[:, order]
        twice = np.flatnonzero((every[:, 1:] == every[:, :-1]).all(axis=0))
        if len(twice):
            a, b = (table.lines[int(order[k])] for k in (twice[0], twice[0] + 1))
            told = ", ".join(f"{name} {table.cells[name][int(order[twice[0]])]}" for name in names)
            raise ValueError(
                f"{table.where}: a trial comes twice ({told}), in {table.unit}s {min(a, b)} and {max(a, b)}; pick the rows of "
                f"one "
                f"kind with rows=..., name the animals as learner, or count trials by several columns, trial = [...]."
            )
        if len(names) == 1:
            _warn_of_gaps(table, names[0], keys[0][order], animal[order], session[order])
    return np.asarray(order)


def _warn_of_gaps(table: Columns, name: str, trial: np.ndarray, animal: np.ndarray, session: np.ndarray) -> None:
    """Warns of trials that an animal's rows leave out, which then count as not having happened."""
    if not len(trial) or not bool((trial == np.floor(trial)).all()):
        return
    inside = (animal[1:] == animal[:-1]) & (session[1:] == session[:-1])
    steps = trial[1:] - trial[:-1]
    usual = steps[inside].min() if bool(inside.any()) else 1.0
    gaps = np.flatnonzero(inside & (steps > usual))
    if len(gaps):
        at = int(gaps[0])
        warnings.warn(
            f"{table.where}: {len(gaps)} gaps in {name}, the first between {trial[at]:g} and {trial[at + 1]:g}: trials without "
            f"a row "
            f"count as not having happened. Give each a row with its events, the value left empty.",
            stacklevel=2,
        )
