"""What a table of trials holds: counts, rates, means, and what to be careful about."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sbirules.model.choices import ChoiceColumns
from sbirules.model.runs import Trajectory
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrialsSummary", "summary_of"]

WIDTH = 100
SHOWN = 24  # animals in the printed text; `table()` has all
INDENT = 12
CODES = (99, 999, 9999, 99999)  # numbers that people write where nothing is known
USUAL = (0.05, 20.0)  # size of rewards at which priors of about 1 mean something


@typed_class
@dataclass(frozen=True)
class TrialsSummary(Shown):
    """What a table of trials holds.

    Arguments:
        kind: `"choices"` or `"errors"`.
        where: What the table is called; empty for trials that were not read.
        animals: Number of animals, or learners.
        sessions: Number of sessions, over all animals.
        trials: Number of trials, over all animals.
        decisions: Number of decisions; as many as trials, unless trials hold several.
        missing: Decisions without an answer.
        unknown_rewards: Answers without a known reward; in accept-or-reject of what was accepted alone.
        options: Share of each answer among all that were given, by name.
        means: Mean of the reward, or of each field of a table of errors, by name.
        stimuli: What each stimulus is, in words.
        by_animal: The same for each animal, columns by name.
        cautions: What to be careful about, one sentence each.
    """

    kind: str
    where: str
    animals: int
    sessions: int
    trials: int
    decisions: int
    missing: int
    unknown_rewards: int
    options: Mapping[str, float]
    means: Mapping[str, float]
    stimuli: Mapping[str, str]
    by_animal: Mapping[str, Sequence[Any]] = field(repr=False)
    cautions: tuple[str, ...] = ()

    @property
    def mean_reward(self) -> float:
        """Mean of the rewards that are known; NaN without any."""
        return self.means.get("reward", float("nan"))

    @property
    def mean_error(self) -> float:
        """Mean error of a table of errors; NaN without any."""
        return self.means.get("error", float("nan"))

    def table(self) -> pd.DataFrame:
        """One row per animal."""
        import pandas as pd

        return pd.DataFrame({name: list(column) for name, column in self.by_animal.items()})

    def __str__(self) -> str:
        who = "animal" if self.kind == "choices" else "learner"
        of = f"{self.kind} of {self.animals} {who}{'' if self.animals == 1 else 's'}"
        lines = [textwrap.shorten(f"{self.where}: {of}" if self.where else of, WIDTH, placeholder=" ...")]
        for name, text in self._facts():
            lines += _wrapped(name, text)
        lines += ["", *self._animals()]
        for caution in self.cautions:
            lines += _wrapped("careful", caution)
        return "\n".join(line.rstrip() for line in lines)

    def card(self, title: str = "") -> Card:
        """For notebooks."""
        who = "animal" if self.kind == "choices" else "learner"
        return Card(
            title or f"{self.kind} of {self.animals} {who}s", dict(self._facts()), " ".join(self.cautions), self.table()
        )

    def _card(self) -> Card:
        return self.card()

    def _facts(self) -> list[tuple[str, str]]:
        if self.kind == "errors":
            means = ", ".join(f"{name} {value:.4g}" for name, value in self.means.items())
            return [("trials", _counted(self.trials, self.by_animal["trials"])), ("means", means)]
        out = [
            ("sessions", _counted(self.sessions, self.by_animal["sessions"])),
            ("trials", _counted(self.trials, self.by_animal["trials"])),
        ]
        if self.decisions != self.trials:
            out.append(("decisions", _counted(self.decisions, self.by_animal["decisions"])))
        out.append(("answers", ", ".join(f"{name} {rate:.3f}" for name, rate in self.options.items())))
        out.append(("missing", f"{self.missing} of {self.decisions} decisions have no answer"))
        mean = "mean unknown" if self.mean_reward != self.mean_reward else f"mean {self.mean_reward:.4g}"
        out.append(("reward", f"{mean}; not known after {self.unknown_rewards} answers"))
        out += [("stimulus", f"{name}: {text}") for name, text in self.stimuli.items()]
        return out

    def _animals(self) -> list[str]:
        """The table by animal, as many columns and rows of it as have room."""
        columns = [[name, *map(_cell, values[:SHOWN])] for name, values in self.by_animal.items()]
        widths = [max(map(len, column)) for column in columns]
        widths[0] = min(widths[0], 30)
        count = 1
        while count < len(columns) and sum(widths[: count + 1]) + 2 * count <= WIDTH:
            count += 1
        rows = zip(*columns[:count], strict=True)
        lines = ["  ".join(_fit(row[k], widths[k], k) for k in range(count)) for row in rows]
        if self.animals > SHOWN:
            lines.append(f"... and {self.animals - SHOWN} more")
        return lines


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3g}"
    return str(value)


def _fit(cell: str, width: int, column: int) -> str:
    return cell[:width].ljust(width) if column == 0 else cell.rjust(width)


def _counted(total: int, each: Sequence[int]) -> str:
    low, high = min(each, default=0), max(each, default=0)
    return f"{total} ({low} each)" if low == high else f"{total} ({low} to {high} each)"


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=name.ljust(INDENT), subsequent_indent=" " * INDENT) or [name]


def summary_of(
    learners: Sequence[str], run: Trajectory, meaning: ChoiceColumns | None, where: str = ""
) -> TrialsSummary:
    """What the trials of learners hold."""
    there = (run.trial_types >= 0).numpy()
    fields = {name: value.double().numpy() for name, value in run.per_trial.items()}
    if meaning is None:
        return _of_errors(learners, there, fields, where)
    return _of_choices(learners, there, fields, meaning, where)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def _of_errors(
    learners: Sequence[str], there: np.ndarray, fields: Mapping[str, np.ndarray], where: str
) -> TrialsSummary:
    trials = there.sum(axis=1).tolist()
    by_animal: dict[str, Sequence[Any]] = {"learner": list(learners), "trials": trials}
    for name, values in fields.items():
        by_animal[name] = [_mean(row[keep]) for row, keep in zip(values, there, strict=True)]
    means = {name: _mean(values[there]) for name, values in fields.items()}
    total, unknown = int(there.sum()), {name: int(np.isnan(values[there]).sum()) for name, values in fields.items()}
    cautions = [f"{name} is not known in {count} of {total} trials." for name, count in unknown.items() if count]
    return TrialsSummary(
        "errors", where, len(learners), len(learners), total, total, 0, 0, {}, means, {}, by_animal, tuple(cautions)
    )


def _of_choices(
    learners: Sequence[str], there: np.ndarray, fields: Mapping[str, np.ndarray], meaning: ChoiceColumns, where: str
) -> TrialsSummary:
    choice, reward = fields["choice"], fields["reward"]
    answered = there & ~np.isnan(choice)
    rewarded = answered & (choice == 1) if meaning.accept else answered
    by_animal: dict[str, list[Any]] = {"animal": list(learners), "sessions": [], "trials": [], "decisions": []}
    by_animal |= {"missing": [], "reward": []}
    rates: list[np.ndarray] = []
    for k in range(len(learners)):
        keep = there[k]
        pairs = np.stack([fields["session"][k][keep], fields["trial"][k][keep]])
        count = np.bincount(choice[k][answered[k]].astype(np.int64), minlength=len(meaning.options))
        rates.append(count / max(count.sum(), 1) if count.sum() else np.full(len(count), np.nan))
        by_animal["sessions"].append(len(np.unique(pairs[0])))
        by_animal["trials"].append(len(np.unique(pairs, axis=1)[0]))
        by_animal["decisions"].append(int(keep.sum()))
        by_animal["missing"].append(int((keep & ~answered[k]).sum()))
        by_animal["reward"].append(_mean(reward[k][keep]))
    if by_animal["decisions"] == by_animal["trials"]:
        del by_animal["decisions"]
    for code, name in enumerate(meaning.options):
        by_animal[name if name not in by_animal else f"answer {name}"] = [float(rate[code]) for rate in rates]
    total = np.bincount(choice[answered].astype(np.int64), minlength=len(meaning.options))
    options = {name: float(n) / max(int(total.sum()), 1) for name, n in zip(meaning.options, total, strict=True)}
    decisions = int(there.sum())
    return TrialsSummary(
        "choices",
        where,
        len(learners),
        sum(by_animal["sessions"]),
        sum(by_animal["trials"]),
        decisions,
        int((there & ~answered).sum()),
        int((rewarded & np.isnan(reward)).sum()),
        options,
        {"reward": _mean(reward[there])},
        {name: _stimulus(fields[name][there], meaning.labels.get(name)) for name in meaning.stimuli},
        by_animal,
        tuple(_cautions(learners, there, fields, meaning, rates, options)),
    )


def _stimulus(values: np.ndarray, labels: Sequence[str] | None) -> str:
    if labels is not None:
        return f"labels {arguments.listed(labels)}"
    different = np.unique(values[~np.isnan(values)])
    if not len(different):
        return "not known"
    return f"{different[0]:.4g} to {different[-1]:.4g}, {len(different)} values"


def _cautions(
    learners: Sequence[str],
    there: np.ndarray,
    fields: Mapping[str, np.ndarray],
    meaning: ChoiceColumns,
    rates: Sequence[np.ndarray],
    options: Mapping[str, float],
) -> list[str]:
    """What to be careful about in a table of choices."""
    out: list[str] = []
    silent = [name for name, rate in zip(learners, rates, strict=True) if np.isnan(rate).any()]
    constant = [name for name, rate in zip(learners, rates, strict=True) if (rate == 1.0).any()]
    if silent:
        out.append(f"{_who(silent)} no answer at all.")
    if constant:
        out.append(f"{_who(constant)} one and the same answer in all trials.")
    never = [name for name, rate in options.items() if rate == 0.0]
    if never:
        out.append(f"No animal ever gives the answer {arguments.listed(never)}.")
    unclear = [name for name in meaning.options if name.lower() in ("na", "none", "null", "missing", "n/a")]
    if unclear:
        out.append(f"{unclear[0]} counts as an answer; where it means that there was none, leave the cell empty.")
    out += _odd_answers(meaning.options)
    missing = np.isnan(fields["choice"][there])
    if len(missing) and missing.mean() > 0.2:
        out.append(f"{100 * missing.mean():.0f} % of the decisions have no answer.")
    known = fields["reward"][there & ~np.isnan(fields["reward"])]
    if not len(known):
        out.append("No reward is known, so that rules with a reward learn nothing.")
    elif (known == known[0]).all():
        out.append(f"The reward is always {known[0]:.4g}.")
    elif np.isin(np.abs(known), CODES).any() and np.median(np.abs(known)) < CODES[0] / 2:
        code = known[np.isin(np.abs(known), CODES)][0]
        out.append(f"{code:.4g} counts as a reward; where it means that none is known, leave the cell empty.")
    elif not USUAL[0] <= np.abs(known[known != 0]).mean() <= USUAL[1]:
        out.append(
            f"Rewards other than 0 are {np.abs(known[known != 0]).mean():.3g} on average, and coefficients are per unit of "
            f"reward: what a prior of about 1 allows changes with the unit. Give rewards in one in which they are about 1."
        )
    for name, labels in meaning.labels.items():
        numbers = [label for label in labels if _is_number(label)]
        if 0 < len(numbers) < len(labels):
            text = next(label for label in labels if label not in numbers)
            out.append(f"The stimulus {name} is read as labels, for {text} is no number, though {numbers[0]} is one.")
    if meaning.accept:
        on = _going_on(there, fields)
        if on:
            out.append(f"{on} trial{'' if on == 1 else 's'} went on after an offer had been accepted.")
    return out


def _odd_answers(options: Sequence[str]) -> list[str]:
    """Answers that may be codes of none, or the same one written in two ways."""
    numbers = [name for name in options if _is_number(name)]
    text = [name for name in options if name not in numbers]
    codes = [name for name in numbers if abs(float(name)) in CODES]
    if text and not codes and len(numbers) < len(text):
        codes = numbers
    out = (
        [f"{codes[0]} counts as an answer; where it means that there was none, leave the cell empty."] if codes else []
    )
    if text and numbers and not codes:
        out.append(
            f"Answers are numbers ({numbers[0]}) and words ({text[0]}): are these the same ones, written in two ways?"
        )
    seen: dict[str, str] = {}
    for name in options:
        other = seen.setdefault(name.strip().lower(), name)
        if other != name:
            out.append(f"{other} and {name} count as two answers; if they are one, write them alike.")
    return out


def _who(names: Sequence[str]) -> str:
    """Animals as the subject of a sentence."""
    shown = arguments.listed(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"Animal {shown} gives" if len(names) == 1 else f"Animals {shown} give"


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _going_on(there: np.ndarray, fields: Mapping[str, np.ndarray]) -> int:
    """How many times an offer follows, in the same trial, one that was accepted."""
    trial, choice = fields["trial"], fields["choice"]
    return int((there[:, 1:] & there[:, :-1] & (trial[:, 1:] == trial[:, :-1]) & (choice[:, :-1] == 1)).sum())
