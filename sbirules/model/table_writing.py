"""Tables of trials as CSV, with all digits."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sbirules.model.choices import BETTER, ROLES, ChoiceColumns
from sbirules.model.runs import Trajectory

__all__ = ["choice_rows", "error_rows", "keywords_of"]

OTHER = ("learner", "step", "accept")  # columns that are written beside the fields


def choice_rows(learners: Sequence[str], run: Trajectory, meaning: ChoiceColumns) -> str:
    """A table of choices as CSV: answers and labels by name, unknown rewards and missing answers empty.

    Raises:
        ValueError: If a stimulus has the name of another column, or two animals have one name.
    """
    _check_names(learners)
    for name in meaning.stimuli:
        if name in OTHER:
            raise ValueError(f"a stimulus called {name!r} cannot be written beside the column of that name; rename it.")
    there = (run.trial_types >= 0).numpy()
    animal = np.nonzero(there)[0]
    fields = {name: run.per_trial[name].numpy()[there] for name in (*ROLES, *meaning.stimuli)}
    step = _steps(animal, fields["session"], fields["trial"])
    columns: dict[str, Iterable[Any]] = {
        "learner": [learners[k] for k in animal.tolist()],
        "session": _numbers(fields["session"]),
        "trial": _numbers(fields["trial"]),
    }
    if step.any():
        columns["step"] = step.tolist()
    for name in meaning.stimuli:
        labels = meaning.labels.get(name)
        columns[name] = _numbers(fields[name]) if labels is None else _named(fields[name], labels)
    if meaning.accept:
        columns["accept"] = _numbers(fields["choice"])
    else:
        columns["choice"] = _named(fields["choice"], meaning.options)
    columns["reward"] = _numbers(fields["reward"])
    if BETTER in run.per_trial:
        columns[BETTER] = _named(run.per_trial[BETTER].numpy()[there], meaning.options)
    return _csv(columns)


def keywords_of(run: Trajectory, meaning: ChoiceColumns) -> dict[str, Any]:
    """With which keywords `Trials.read` gives a written table of choices back."""
    columns: dict[str, Any] = {"stimulus": list(meaning.stimuli)} if meaning.stimuli else {}
    out: dict[str, Any] = {"columns": columns, "options": meaning.options}
    if meaning.labels:
        out["one_hot"] = dict(meaning.labels)
    return out


def error_rows(learners: Sequence[str], run: Trajectory) -> str:
    """A table of errors as CSV: learner, trial, trial_type and the fields.

    Raises:
        ValueError: If two learners have one name.
    """
    _check_names(learners)
    there = (run.trial_types >= 0).numpy()
    animal, place = np.nonzero(there)
    types = run.trial_types.numpy()[there].astype(np.int64)
    names = run.type_names or tuple(str(k) for k in range(int(types.max(initial=0)) + 1))
    columns: dict[str, Iterable[Any]] = {
        "learner": [learners[k] for k in animal.tolist()],
        "trial": place.tolist(),
        "trial_type": [names[k] for k in types.tolist()],
    }
    for name, values in run.per_trial.items():
        columns[name] = _numbers(values.numpy()[there])
    return _csv(columns)


def _check_names(learners: Sequence[str]) -> None:
    again = [name for name in learners if not name.strip() or learners.count(name) > 1]
    if again:
        raise ValueError(
            f"a table is written with one name for each learner, but {again[0]!r} is none, or comes twice."
        )


def _steps(animal: np.ndarray, session: np.ndarray, trial: np.ndarray) -> np.ndarray:
    """Which decision of its trial each row is, from 0."""
    new = np.ones(len(animal), dtype=bool)
    for one in (animal, session, trial):
        new[1:] &= one[1:] == one[:-1]
    new[1:] = ~new[1:]
    place = np.arange(len(animal))
    return place - np.maximum.accumulate(np.where(new, place, 0)) if len(animal) else place


def _numbers(values: np.ndarray) -> list[str]:
    """Numbers with all digits that they have, whole ones without a decimal point, NaN empty."""
    return [_number(value) for value in values.astype(np.float64).tolist()]


def _number(value: float) -> str:
    if value != value:
        return ""
    if value == 0.0:  # minus an error of 0 is -0
        return "0" if math.copysign(1.0, value) > 0 else "-0.0"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _named(codes: np.ndarray, names: Sequence[str]) -> list[str]:
    """Names of codes, empty where there is none."""
    return ["" if code != code else names[int(code)] for code in codes.tolist()]


def _csv(columns: dict[str, Iterable[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()
