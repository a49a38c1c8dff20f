"""Which column of a table of choices has which role."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sbirules.model.choices import BETTER
from sbirules.model.choices import ROLES as FIELDS
from sbirules.model.fields import TAKEN
from sbirules.support import arguments
from sbirules.support.columns import Columns

__all__ = ["ChoiceRoles"]

ROLES = ("learner", "session", "trial", "step", "stimulus", "choice", "accept", "reward", BETTER)
WITHOUT = "a table of errors needs type_names, what its simulator declares"


@dataclass(frozen=True)
class ChoiceRoles:
    """The column of each role, None where there is none; of stimuli the columns by their names."""

    learner: str | None
    session: str | None
    trial: str | None
    step: str | None
    choice: str | None
    accept: str | None
    reward: str | None
    better: str | None
    stimuli: Mapping[str, str]

    @staticmethod
    def of(table: Columns, columns: Mapping[str, Any], declared: Sequence[str] = ()) -> ChoiceRoles:
        """The roles that `columns` gives, and those that columns of the table have by their own names.

        Arguments:
            table: The table.
            columns: Columns by role, None for a role that no column has.
            declared: Stimuli that the simulator knows: these columns are stimuli, if none are given.

        Raises:
            ValueError: If a role is unknown, a column is missing or has two roles, or a role is missing that must be there.
        """
        for role in columns:
            arguments.known("role in columns", role, ROLES)
        found: dict[str, str | None] = {}
        for role in ROLES:
            if role != "stimulus" and role in columns:
                found[role] = _column(role, columns[role])
        stimuli = _stimuli(columns["stimulus"]) if "stimulus" in columns else {}
        used = [
            *((role, c) for role, c in found.items() if c is not None),
            *(("stimulus", c) for c in stimuli.values()),
        ]
        for role, column in used:
            table.need([column], f"columns names it as {role}")
        columns_used = [column for _, column in used]
        twice = [column for column in columns_used if columns_used.count(column) > 1]
        if twice:
            both = " and ".join(role for role, column in used if column == twice[0])
            raise ValueError(f"columns gives one column two meanings: {twice[0]!r} is {both}.")
        if "stimulus" not in columns:
            default = declared or (("stimulus",) if "stimulus" in table else ())
            stimuli = {name: name for name in default if name not in columns_used}
            table.need(stimuli.values(), "it is a stimulus of the task")
            columns_used += stimuli.values()
        for role in ("learner", "session", "trial", "step", "choice", "reward", BETTER):
            if role not in found:
                found[role] = role if role in table and role not in columns_used else None
        if "accept" not in found:  # answers by name come first: to accept may mean something else there
            found["accept"] = "accept" if found["choice"] is None and "accept" in table else None
            if found["choice"] is not None and "accept" not in columns_used:
                _refuse_offers(table, found["choice"])
        elif found["accept"] is not None and "choice" not in columns:
            found["choice"] = None
        if found["accept"] is not None and BETTER not in columns:
            found[BETTER] = None
        _check(table, found, columns, stimuli)
        return ChoiceRoles(**found, stimuli=stimuli)


def _column(role: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"columns must give one column's name as {role}, got {value!r:.80}.")
    return value


def _stimuli(value: Any) -> dict[str, str]:
    """Columns of stimuli by their names, which are to be names of fields."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            raise ValueError(
                f"columns must give the name of a column, or a list of them, as stimulus, got {value!r:.80}."
            )
        pairs = [(_field(name), name) for name in listed]
    for name, column in pairs:
        if not isinstance(name, str) or not isinstance(column, str):
            raise ValueError(f"columns must give names of columns as stimulus, got {column!r:.80}.")
        if name in (*FIELDS, BETTER, *TAKEN):
            raise ValueError(
                f"a stimulus cannot be called {name!r}, which means something else; give it another name, as in "
                f'columns={{"stimulus": {{"cue": {column!r}}}}}.'
            )
        if not name.isidentifier():
            raise ValueError(
                f"a stimulus's name must be letters, digits and _, and begin with none of the digits, got {name!r}."
            )
    names = [name for name, _ in pairs]
    again = [name for name in names if names.count(name) > 1]
    if again:
        raise ValueError(f"two stimuli have one name, {again[0]!r}; give one of them another.")
    return dict(pairs)


def _field(name: Any) -> Any:
    """A column's name as the name of a field."""
    if not isinstance(name, str) or name.isidentifier():
        return name
    return re.sub(r"^(?=\d)|^$", "_", re.sub(r"\W+", "_", name.strip()))


def _check(
    table: Columns, found: Mapping[str, str | None], columns: Mapping[str, Any], stimuli: Mapping[str, str]
) -> None:
    """Raises ValueError where a role is missing, or two cannot be together."""
    if found["choice"] is None and found["accept"] is None:
        table.need(["choice"], f'name the column of answers, as in columns={{"choice": "side"}}; {WITHOUT}')
        raise ValueError("columns must give a column as choice, or as accept.")
    if found["choice"] is not None and found["accept"] is not None:
        raise ValueError(
            f"with accept={found['accept']!r} the answers are to accept or to reject, so choice must be left out; if "
            f"{found['choice']!r} is what was offered, it is a stimulus."
        )
    if found["accept"] is not None and found[BETTER] is not None:
        raise ValueError("with accept there is one option only, so that columns must not name a better one.")
    if found["reward"] is None and "reward" not in columns:
        table.need(["reward"], 'name it in columns, or read without rewards by columns={"reward": None}')
        raise ValueError("columns must give another column as reward, or None.")
    if found["step"] is not None and found["trial"] is None:
        raise ValueError(
            f"{table.where}: the column {found['step']!r} counts decisions within a trial, so a column of trials is needed; if "
            f'it counts trials, say columns={{"trial": {found["step"]!r}}}.'
        )


def _refuse_offers(table: Columns, choice: str) -> None:
    """Raises ValueError if rejected offers would be read as choices."""
    if "accept" not in table or choice == "accept":
        return
    try:
        values = set(table.flags("accept", missing=True).tolist())
    except ValueError:  # it holds something else
        return
    if {0.0, 1.0} <= values:
        raise ValueError(
            f'{table.where} has a column accept of 0 and 1 besides {choice!r}: pick rows={{"accept": 1}}, or say '
            f'columns={{"accept": "accept", "stimulus": {choice!r}}} to read what was accepted and rejected, or '
            f'{{"accept": None}} if it is neither.'
        )
