"""Tables of choices: each cell is read as what its column means, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sbirules.model.choice_roles import ChoiceRoles
from sbirules.model.choices import BETTER, ChoiceColumns
from sbirules.model.lines import Lines
from sbirules.model.runs import Status, Trajectory
from sbirules.support import arguments
from sbirules.support.cells import natural
from sbirules.support.columns import Columns

__all__ = ["choice_table"]

MANY = 50  # more answers, or labels of a stimulus, are taken for numbers
ACCEPT = ("reject", "accept")
WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")


def choice_table(
    table: Columns,
    columns: Mapping[str, Any],
    options: Sequence[Any] | None,
    one_hot: Any,
    declared: Sequence[str] = (),
) -> tuple[tuple[str, ...], Trajectory, Lines, ChoiceColumns]:
    """Animals, their decisions, where these stand, and what the fields mean.

    Arguments:
        table: The rows that are read.
        columns: Columns by role.
        options: The answers by code; None for those that are found.
        one_hot: Stimuli whose numbers are labels, or their labels by name.
        declared: Stimuli that the simulator knows.

    Raises:
        ValueError: As `Trials.read` says.
    """
    roles = ChoiceRoles.of(table, columns, declared)
    if len(table) == 0:
        raise ValueError(f"{table.where} has no rows: at least one animal with two trials is needed.")
    animal, names = _animals(table, roles.learner)
    order = np.argsort(animal, kind="stable")  # each animal's rows together, as they stand
    counted = _Time(table, roles, animal, names, order)
    values: dict[str, np.ndarray] = {"session": counted.session, "trial": counted.trial}
    choice, answers = _answers(table, roles, None if options is None else _texts("options", options))
    reward = np.full(len(table), np.nan)
    if roles.reward is not None:
        reward = table.numbers(roles.reward, missing=True, flags=True)
    if roles.accept is not None and roles.reward is not None:
        wrong = (choice == 0) & ~np.isnan(reward)
        if wrong.any():
            at_row = int(wrong.argmax())
            table.refuse(
                roles.reward, at_row, "must be empty where the offer was rejected", "only what is accepted is rewarded"
            )
    stimuli, labels = _stimuli(table, roles.stimuli, one_hot)
    _check_variety(table, choice, animal)
    if roles.better is not None:
        values[BETTER] = _coded(table, roles.better, answers, "options", missing=True)[0][order]
    at = {"choice": choice[order], "reward": reward[order], **values, **{n: v[order] for n, v in stimuli.items()}}
    count = np.bincount(animal, minlength=len(names))
    row, place = animal[order], np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    shape = (len(names), int(count.max()))
    fields = {}
    for name in at:
        padded = np.full(shape, np.nan)
        padded[row, place] = at[name]
        fields[name] = torch.from_numpy(padded)
    types, lines = np.full(shape, -1), np.full(shape, -1)
    types[row, place], lines[row, place] = 0, np.asarray(table.lines)[order]
    status = torch.full((len(names),), int(Status.OK), dtype=torch.int8)
    run = Trajectory(status, torch.from_numpy(types), fields)
    meaning = ChoiceColumns(answers, tuple(stimuli), labels, roles.accept is not None)
    return names, run, Lines(table.where, table.unit, torch.from_numpy(lines)), meaning


def _animals(table: Columns, column: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which animal each row is of, `(rows,)`, and their names in order of appearance."""
    if column is None:
        return np.zeros(len(table), dtype=np.int64), ("1",)
    codes, texts = table.coded(column)
    index = {text: k for k, text in enumerate(dict.fromkeys(texts))}
    return np.array([index[text] for text in texts])[codes], tuple(index)


class _Time:
    """Sessions and trials counted within each animal, in the order of its rows: `session` and `trial`, `(rows,)`.

    Raises:
        ValueError: If an animal's rows go back in time, a trial comes twice, or an animal has only one.
    """

    def __init__(
        self, table: Columns, roles: ChoiceRoles, animal: np.ndarray, names: Sequence[str], order: np.ndarray
    ) -> None:
        self.table, self.names, self.order, self.animal = table, names, order, animal[order]
        self.new_animal = np.ones(len(order), dtype=bool)
        self.new_animal[1:] = self.animal[1:] != self.animal[:-1]
        new_session = self.new_animal.copy()
        if roles.session is not None:
            codes, texts = table.coded(roles.session)
            index = {text: k for k, text in enumerate(dict.fromkeys(texts))}
            label = np.array([index[text] for text in texts])[codes][order]
            new_session[1:] |= label[1:] != label[:-1]
            self._refuse_again(roles.session, label, list(index), new_session)
        new_trial = np.ones(len(order), dtype=bool)
        if roles.trial is not None:
            trial = table.whole(roles.trial)[order]
            inside = ~new_session
            inside[0] = False
            back = np.zeros(len(order), dtype=bool)
            back[1:] = inside[1:] & (trial[1:] < trial[:-1])
            self._refuse_back(back, roles.trial, trial)
            new_trial[1:] = new_session[1:] | (trial[1:] != trial[:-1])
            self._steps(roles, trial, new_trial)
        self.session = self._counted(new_session)
        self.trial = self._counted(new_trial)
        trials = np.bincount(self.animal, weights=new_trial, minlength=len(names))
        if (trials < 2).any():
            alone = int((trials < 2).argmax())
            at = int((self.animal == alone).argmax())
            raise ValueError(
                f"{table.where}: animal {names[alone]} has one trial only, in {self._line(at)}; a rule shows in what comes "
                f"after a trial, so leave the animal out."
            )

    def _counted(self, new: np.ndarray) -> np.ndarray:
        """How many have begun in the animal before, `(rows,)`."""
        total = np.cumsum(new)
        first = total[self.new_animal]
        lengths = np.diff(np.append(np.flatnonzero(self.new_animal), len(new)))
        counted: np.ndarray = (total - np.repeat(first, lengths)).astype(np.float64)
        return counted

    def _who(self, at: int) -> str:
        return f"{self.table.where}: animal {self.names[int(self.animal[at])]}"

    def _line(self, at: int) -> str:
        return f"{self.table.unit} {self.table.lines[int(self.order[at])]}"

    def _both(self, at: int) -> str:
        lines = [self.table.lines[int(self.order[k])] for k in (at - 1, at)]
        return f"{self.table.unit}s {lines[0]} and {lines[1]}"

    def _earliest(self, wrong: np.ndarray) -> int:
        """Of the rows that are wrong, the one that stands first in the table."""
        places = np.flatnonzero(wrong)
        return int(places[self.order[places].argmin()])

    def _refuse_again(self, column: str, label: np.ndarray, texts: Sequence[str], new: np.ndarray) -> None:
        begins = np.flatnonzero(new)
        keys = self.animal[begins] * len(texts) + label[begins]
        first = np.unique(keys, return_index=True)[1]
        again = np.ones(len(begins), dtype=bool)
        again[first] = False
        if again.any():
            wrong = np.zeros(len(new), dtype=bool)
            wrong[begins[again]] = True
            at = self._earliest(wrong)
            now, before = texts[int(label[at])], texts[int(label[at - 1])]
            raise ValueError(
                f"{self._who(at)} goes back in time: {column} {now} comes again after {before}, in {self._line(at)}; its rows "
                f"must be in the order of time."
            )

    def _refuse_back(self, back: np.ndarray, column: str, value: np.ndarray) -> None:
        if back.any():
            at = self._earliest(back)
            raise ValueError(
                f"{self._who(at)} goes back in time: {column} {value[at]} follows {value[at - 1]}, in {self._both(at)}; its "
                f"rows must be in the order of time, and sessions that count anew need a column session."
            )

    def _steps(self, roles: ChoiceRoles, trial: np.ndarray, new_trial: np.ndarray) -> None:
        """Raises ValueError unless the rows of one trial are steps of it, one after another."""
        same = ~new_trial
        if roles.step is not None:
            step = self.table.whole(roles.step)[self.order]
            back = np.zeros(len(same), dtype=bool)
            back[1:] = same[1:] & (step[1:] <= step[:-1])
            what = f"{roles.step} within {roles.trial}"
        elif roles.accept is None:
            step, back, what = trial, same, roles.trial or ""
        else:
            return
        if not back.any():
            return
        at = self._earliest(back)
        who = self._who(at)
        if step[at] < step[at - 1]:
            raise ValueError(
                f"{who} goes back in time: {what} {trial[at]} is {step[at]} after {step[at - 1]}, in {self._both(at)}; its rows "
                f"must be in the order of time."
            )
        if roles.step is not None:
            raise ValueError(f"{who} has {what} {trial[at]} twice, {step[at]}, in {self._both(at)}.")
        raise ValueError(
            f"{who} has {what} {trial[at]} twice, in {self._both(at)}; where a trial holds several decisions, name a column that "
            f"counts them as step."
        )


def _plain(text: str) -> str:
    """A label as text; whole numbers without their decimal point."""
    whole = WHOLE.fullmatch(text)
    return text if whole is None else ("0" if int(whole[1]) == 0 else whole[1].lstrip("+"))


def _texts(argument: str, values: Any) -> tuple[str, ...]:
    """Labels that a user gives, numbers among them, as text."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (list, tuple, np.ndarray)):
        raise ValueError(f"{argument} must be a list of labels, got {values!r:.80}.")
    out = tuple(_plain(str(value).strip()) for value in values)
    if len(set(out)) < max(len(out), 2) or "" in out:
        raise ValueError(f"{argument} must be at least two different labels, got {values!r:.80}.")
    return out


def _coded(
    table: Columns, column: str, known: tuple[str, ...] | None, what: str, missing: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of labels `(rows,)`, NaN where missing, and the labels by code."""
    codes, texts = table.coded(column, missing=missing)
    texts = [_plain(text) for text in texts]
    found = sorted({text for text in texts if text}, key=natural)
    names = tuple(found) if known is None else known
    outside = [code for code, text in enumerate(texts) if text and text not in names]
    if outside:
        row = int((codes == outside[0]).argmax())
        table.refuse(column, row, f"must be one of the {what}, {arguments.listed(names)}")
    if len(names) > MANY:
        raise ValueError(
            f"{table.where}: {column} has {len(names)} different {what}, {arguments.listed(names[:3])}, ...; does {column} hold "
            f"a number? At most {MANY} are taken."
        )
    value = {text: float(code) for code, text in enumerate(names)} | ({"": np.nan} if missing else {})
    return np.array([value[text] for text in texts])[codes], names


def _answers(table: Columns, roles: ChoiceRoles, options: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of the answers `(rows,)`, NaN where there is none, and their names."""
    if roles.accept is not None:
        if options is not None and len(options) != 2:
            raise ValueError(
                f"options must be what to reject and to accept are called, got {arguments.listed(options)}."
            )
        return table.flags(roles.accept, missing=True), options or ACCEPT
    column = roles.choice or "choice"
    codes, names = _coded(table, column, options, "options" if options else "answers", missing=True)
    given = codes[~np.isnan(codes)]
    if not len(given):
        raise ValueError(f"{table.where}: {column} is empty in all {len(table)} rows, so that there are no choices.")
    if len(names) < 2:
        raise ValueError(
            f"{table.where}: {column} is always {names[0]}, so that there is nothing to explain; if there are answers that were "
            f"never given, name all of them in options."
        )
    return codes, names


def _check_variety(table: Columns, choice: np.ndarray, animal: np.ndarray) -> None:
    """Raises ValueError if no animal ever changes its answer."""
    there = ~np.isnan(choice)
    if not there.any():
        raise ValueError(f"{table.where}: no row says whether the offer was accepted, so that there are no choices.")
    pairs = np.unique(np.stack([animal[there], choice[there].astype(np.int64)]), axis=1)
    if len(pairs[0]) == len(np.unique(pairs[0])):
        every = "the animal always gives" if animal.max() == 0 else "every animal always gives"
        raise ValueError(f"{table.where}: {every} one and the same answer, so that there is nothing to explain.")


def _stimuli(
    table: Columns, stimuli: Mapping[str, str], one_hot: Any
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Numbers or codes of labels by stimulus, `(rows,)` each, and the labels by code."""
    forced = _forced(one_hot, stimuli)
    values: dict[str, np.ndarray] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for name, column in stimuli.items():
        if name not in forced and table.numeric(column):
            values[name] = table.numbers(column, "a stimulus must be known in every row; leave those rows out")
        else:
            values[name], labels[name] = _coded(table, column, forced.get(name), "labels", missing=False)
        if (values[name] == values[name][0]).all():
            shown = table.cells[column][0]
            raise ValueError(
                f"{table.where}: the stimulus {column} never varies, it is always {shown!s:.60}; leave it out, a constant input "
                f"is there already."
            )
    return values, labels


def _forced(one_hot: Any, stimuli: Mapping[str, str]) -> dict[str, tuple[str, ...] | None]:
    """Stimuli that are labels whatever they look like, with their labels where these are given."""
    names = [one_hot] if isinstance(one_hot, str) else one_hot
    if not isinstance(names, (Mapping, list, tuple)):
        raise ValueError(f"one_hot must be names of stimuli, or their labels by name, got {one_hot!r:.80}.")
    by_column = {column: name for name, column in stimuli.items()}
    out: dict[str, tuple[str, ...] | None] = {}
    for name in names:
        if not isinstance(name, str) or (name not in stimuli and name not in by_column):
            if not stimuli:
                raise ValueError(f"one_hot names the stimulus {name!r:.80}, but columns names no column as stimulus.")
            arguments.known("one_hot", name, tuple(stimuli))
        stimulus = name if name in stimuli else by_column[name]
        out[stimulus] = _texts(f"one_hot[{name!r}]", names[name]) if isinstance(names, Mapping) else None
    return out
