"""Baselines beside the rule of a study of choices: whether they can be compared, and the comparison in its folder."""

from __future__ import annotations

from pathlib import Path

from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.choice_scores import held_out_part
from sbirules.inference.questions import ChoicesQuestion, Question
from sbirules.model.tables import Trials
from sbirules.studies.sections import CheckSection
from sbirules.support.files import write_bytes

__all__ = ["RULE", "TABLE", "refuse_baselines", "table_of", "write_table"]

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


def write_table(found: ChoiceComparison, folder: Path) -> None:
    """The table of a comparison, as CSV."""
    text = found.table().rename_axis("family").to_csv()
    write_bytes(folder / TABLE, text.encode())
