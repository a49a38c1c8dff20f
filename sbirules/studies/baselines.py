"""Baselines beside the rule of a study of choices: whether they can be compared, and the comparison in its folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.choice_scores import held_out_part
from sbirules.inference.questions import ChoicesQuestion, Question
from sbirules.model.tables import Trials
from sbirules.studies.sections import CheckSection
from sbirules.support.files import digest, make_folder, read_json, reading, write_bytes, write_json

__all__ = ["RULE", "TABLE", "refuse_baselines", "remembered", "table_of", "write_table"]

RULE = "the rule"  # the study's own, among the families
TABLE = "baselines.csv"  # in the folder of results


def refuse_baselines(check: CheckSection, question: Question) -> None:
    """Raises ValueError if the baselines that are asked for cannot be compared on the study's table."""
    if not check.baselines:
        if check.baselines_held_out is not None:
            raise ValueError('[check] baselines_held_out needs baselines, such as baselines = ["random_walk"].')
        return
    if not isinstance(question, ChoicesQuestion):
        raise ValueError(
            "[check] baselines belongs to studies of choices, with [data] and a simulator such as policy_network; leave it out."
        )
    trials, held_out = table_of(question), check.baselines_held_out or "sessions"
    if held_out == "animals" and question.animals == "own":
        raise ValueError(
            '[check] baselines_held_out = "animals" needs a rule that animals share; take "sessions", or [data] animals = '
            '"shared".'
        )
    if held_out != "sessions" and len(trials) < 2:
        raise ValueError(
            f'[check] baselines_held_out = "{held_out}" needs at least two animals, got {len(trials)}; take "sessions".'
        )
    if held_out != "animals":
        try:
            held_out_part(trials)
        except ValueError as error:
            why = str(error).partition(";")[0]
            raise ValueError(
                f'[check] baselines: {why}; leave it out of the table, or take baselines_held_out = "animals".'
            ) from error


def table_of(question: Question) -> Trials:
    """The table of a study of choices."""
    table: Trials | None = question.table if isinstance(question, ChoicesQuestion) else None
    if table is None:
        raise ValueError("baselines need the table of a study of choices.")
    return table


def remembered(path: Path, asked: Any, make: Callable[[], ChoiceComparison]) -> ChoiceComparison:
    """The comparison that a file holds, if it answers what is asked; else it is made, and kept there."""
    key = digest(asked)
    if path.is_file():
        try:
            with reading(path):
                kept = read_json(path)
                if kept["key"] == key:
                    return _from_plain(kept["comparison"])
        except ValueError as error:
            warnings.warn(f"{error} It is made anew.")
    found = make()
    make_folder(path.parent)
    write_json(path, {"key": key, "comparison": {f.name: getattr(found, f.name) for f in fields(found)}})
    return found


def _from_plain(kept: dict[str, Any]) -> ChoiceComparison:
    def numbers(value: Any) -> Any:  # JSON has NaN and infinities as text
        return [numbers(v) for v in value] if isinstance(value, list) else float(value)

    values: dict[str, Any] = dict(kept)
    for name in ("sessions", "left_out", "left_out_error", "log_evidence", "evidence_se"):
        values[name] = torch.tensor(numbers(kept[name]), dtype=torch.float64)
    for name in ("held_out_choices", "choices"):
        values[name] = torch.tensor(kept[name])
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return ChoiceComparison(**values)


def write_table(found: ChoiceComparison, folder: Path) -> None:
    """The table of a comparison, as CSV."""
    text = found.table().rename_axis("family").to_csv()
    write_bytes(folder / TABLE, text.encode())
