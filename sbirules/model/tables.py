"""Observed trials: a table of learners, each with its own length and sequence of trials."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.model.choice_tables import choice_table
from sbirules.model.choices import BETTER, ROLES, ChoiceColumns
from sbirules.model.error_tables import error_table
from sbirules.model.fields import Layout, task_fields
from sbirules.model.lines import Lines
from sbirules.model.recordings import Recordings
from sbirules.model.runs import Status, Trajectory
from sbirules.model.table_summary import TrialsSummary, summary_of
from sbirules.model.table_writing import choice_rows, error_rows, keywords_of
from sbirules.support import arguments
from sbirules.support.columns import Columns
from sbirules.support.files import write_bytes
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Lines", "Trials"]


@typed_class
@dataclass(frozen=True)
class Trials(Shown):
    """The trials of several learners that share one rule, each in its own network.

    Arguments:
        learners: Their labels, as in the table.
        trajectory: Their trials as a `Trajectory`, one row per learner, with the fields that the table has.
        lines: Where they stand in the table; None for trials that were not read.
        meaning: Of tables of choices: what their fields stand for.

    Raises:
        ValueError: If the names and the rows differ in number.
    """

    learners: tuple[str, ...]
    trajectory: Trajectory
    lines: Lines | None = None
    meaning: ChoiceColumns | None = None

    def __post_init__(self) -> None:
        arguments.instance("trajectory", self.trajectory, Trajectory)
        object.__setattr__(self, "learners", arguments.strings("learners", self.learners))
        if len(self.learners) != len(self.trajectory):
            raise ValueError(
                f"learners must be one name for each row of the trajectory, got {len(self.learners)} for {len(self.trajectory)}."
            )

    def _card(self) -> Card:
        return self.describe().card(repr(self))

    def __repr__(self) -> str:
        return f"Trials({len(self)} learners, {int(self.num_trials.sum())} trials, {arguments.listed(self.trajectory.per_trial)})"

    def __len__(self) -> int:
        return len(self.learners)

    @property
    def trial_types(self) -> Tensor:
        """Sequence of trial types of each learner, `(learners, trials)`, -1 past its end."""
        return self.trajectory.trial_types

    @property
    def num_trials(self) -> Tensor:
        """Number of trials of each learner, of decisions in tables of choices, `(learners,)`."""
        return self.trajectory.num_trials

    def subset(self, index: Sequence[int]) -> Trials:
        """Some of the learners, by position."""
        if len(index) == 0:
            raise ValueError("index must hold at least one position.")
        rows = [arguments.position("index", i, len(self)) for i in index]
        lines = None if self.lines is None else replace(self.lines, numbers=self.lines.numbers[rows])
        return Trials(
            tuple(self.learners[i] for i in rows),
            self.trajectory.rows(torch.tensor(rows, dtype=torch.long)),
            lines,
            self.meaning,
        )

    def with_recordings(self, recordings: Recordings) -> Trials:
        """The same learners with what was recorded of their units: `trajectory.responses` `(learners, trials, units)`.

        Units need not be the same in different learners, nor as many.

        Raises:
            ValueError: If learners, their numbers of trials or their trial types are not those of the recordings.
        """
        means = recordings.means()
        for name in self.learners:
            if name not in means.learners:
                raise ValueError(
                    f"the recordings have no animal {name!r}, only {arguments.listed(means.learners):.120}; name animals as the "
                    f"trials do, or take a subset of these."
                )
        own = means.subset([means.learners.index(name) for name in self.learners])
        if not torch.equal(own.num_trials, self.num_trials):
            k = int((own.num_trials != self.num_trials).nonzero()[0])
            raise ValueError(
                f"{self.learners[k]} has {int(self.num_trials[k])} trials, but {int(own.num_trials[k])} were recorded: give a "
                f"row of "
                f"NaN for each trial that was not."
            )
        longest = self.trial_types.shape[1]
        values = torch.full((len(self), longest, own.values.shape[2]), torch.nan, dtype=torch.float32)
        values[:, : own.values.shape[1]] = own.values.float()[:, :longest]
        if own.type_names:
            types = _as_named(own, self.trajectory.type_names)[:, :longest]
            wrong = (types != self.trial_types[:, : types.shape[1]]).nonzero()
            if len(wrong):
                a, t = wrong[0].tolist()
                raise ValueError(
                    f"trial {t + 1} of {self.learners[a]} is of another type in the recordings than in the trials: are they "
                    f"aligned?"
                )
        run = self.trajectory
        joined = Trajectory(
            run.status,
            run.trial_types,
            run.per_trial,
            run.per_run,
            per_unit={"responses": values},
            type_names=run.type_names,
        )
        return replace(self, trajectory=joined)

    @staticmethod
    def of_recordings(recordings: Recordings, type_names: Sequence[str]) -> Trials:
        """Learners of whom only activity is known, as a table for `fit(store, prior, trials=...)`.

        Arguments:
            recordings: What was recorded; its trial types are those of the task by name, or by number where it names none.
            type_names: Names of the task's trial types.
        """
        own = recordings.means()
        types = _as_named(own, tuple(type_names))
        status = torch.full((len(own),), int(Status.OK), dtype=torch.int8)
        units = {"responses": own.values.float()}
        run = Trajectory(status, types, per_unit=units, type_names=type_names)
        return Trials(own.learners, run)

    def digest(self) -> str:
        """SHA-256 of the content: tells one table from another.

        Of tables of choices, what their codes mean belongs to the content; empty trials after the longest learner's last do not.
        """
        fields = self.trajectory.per_trial
        units = self.trajectory.per_unit
        parts = [self.trial_types, *(fields[n] for n in sorted(fields)), *(units[n] for n in sorted(units))]
        if len(self):
            parts = [part[:, : int(self.num_trials.max())] for part in parts]
        # NaN has a sign, which says how it was computed
        parts = [torch.where(part.isnan(), torch.nan, part) if part.is_floating_point() else part for part in parts]
        told = b""
        if self.meaning is not None:
            m = self.meaning
            parts = [part.double() + 0.0 for part in parts]  # one type, and one zero
            told = repr([sorted(fields), m.options, m.stimuli, sorted(m.labels.items()), m.accept]).encode()
        return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts) + told).hexdigest()

    def describe(self) -> TrialsSummary:
        """What the table holds, in numbers, and what to be careful about; print it."""
        where = "" if self.lines is None else self.lines.where
        return summary_of(self.learners, self.trajectory, self.meaning, where)

    def write(self, path: str | Path) -> dict[str, Any]:
        """Writes a CSV file that `read` gives the same table back from: one of equal `digest()`.

        Its columns are learner, session, trial, step (where trials have several decisions), the stimuli, choice or accept, and
        reward; of tables of errors learner, trial, trial_type and the fields. Numbers have all their digits.

        Returns:
            The keywords of `read` that say what the columns are; of tables of errors none, they need the layout.

        Raises:
            ValueError: If a stimulus has the name of another column, or two learners have one name.
        """
        rows = (
            error_rows(self.learners, self.trajectory)
            if self.meaning is None
            else choice_rows(self.learners, self.trajectory, self.meaning)
        )
        write_bytes(arguments.path("path", path), rows.encode())
        return {} if self.meaning is None else keywords_of(self.trajectory, self.meaning)

    @staticmethod
    def read(
        source: str | Path | pd.DataFrame | Trials,
        type_names: Sequence[str] | Layout | None = None,
        criterion: float = 0.5,
        *,
        columns: Mapping[str, Any] | None = None,
        rows: Mapping[str, Any] | None = None,
        options: Sequence[Any] | None = None,
        one_hot: Any = (),
    ) -> Trials:
        """Trials from a file or a DataFrame: choices of animals, or errors of learners.

        **Choices**, without `type_names` or with the layout of a simulator of choices. `columns` says which column has which
        role; a column with a role's own name has it, unless the role is given as None:

        - `learner`: the animal. Without it there is one, "1".
        - `session`: any labels. Without it there is one.
        - `trial`: numbers in the order of time, with gaps or without, from the start of the table or of each session.
          Without it each row is a trial. The rows of an animal stand in the order of session, trial and step.
        - `step`: numbers, where one trial holds several decisions.
        - `stimulus`: one name or several; or a mapping from what a stimulus is to be called to its column. Numbers are
          numbers, anything else is labels. Other characters than letters, digits and _ in names become _.
        - `choice`: the answer, any labels; empty or NaN where the animal gave none.
        - `accept`: 0 or 1, in place of choice: whether what was offered was accepted. Rows of one trial are its offers.
        - `reward`: a number; empty, NaN or NA where it is not known. `"reward": None` reads a table without rewards.
        - `better`: the option that pays best in the trial, where blocks with reversals make one better; empty where none is.

        **Errors**, with `type_names`: columns `learner`, `trial`, `trial_type` (a number, or a name of the task's types; not
        needed where there is one type) and at least one that the simulator declares: of a task `error`, `reward` or `correct`,
        and `output` if present. What follows from the columns that are there, as correct does from error, is filled in; where
        it is there as well, it must agree. Learners are named by text: in a file `01` is not `1`.

        Arguments:
            source: A DataFrame, or the path of a file: .csv (UTF-8, commas, decimal points), .mat, .npz, .nwb (its trials) or
                .parquet.
            type_names: What runs consist of, `simulator.layout` or `store.layout`; or the names of a task's trial types.
            criterion: With names: error below which a trial is correct.
            columns: Names of columns by role.
            rows: Picks rows: values by column, as `{"accept": 1}`; any of several in a list.
            options: Of choices: the answers, in the order of their codes. By default all that are found, numbers by value,
                then text.
            one_hot: Of choices: stimuli whose numbers are labels; or a mapping to their labels, in the order of their codes.

        Raises:
            ValueError: If a column is missing or comes twice, a row has too few or too many cells, a trial type is unknown,
                a value not finite, impossible or at odds with another, a trial given twice or missing; if an animal goes back
                in time, an answer is none of the options, or nothing varies; with the line.
        """
        told = {
            "columns": columns,
            "rows": rows,
            "options": options,
            "one_hot": None if isinstance(one_hot, tuple) and not one_hot else one_hot,
        }
        given = [name for name, value in told.items() if value is not None]
        if isinstance(source, Trials):
            if given:
                raise ValueError(
                    f"{given[0]} belongs to a table that is still to be read, but source is Trials already."
                )
            return source
        layout: Layout | None = type_names if isinstance(type_names, Layout) else None
        names = () if layout is None else layout.named("trial")
        choices = type_names is None or set(ROLES) <= set(names)  # a field called choice alone may be any 0 and 1
        if not choices and (options is not None or told["one_hot"] is not None):
            raise ValueError(f"{given[-1]} belongs to tables of choices, but type_names makes it one of errors.")
        if layout is None and type_names is not None:
            fields = task_fields(arguments.finite("criterion", criterion))
            layout = Layout(fields, arguments.strings("type_names", type_names))
        table = Columns.read("trials", source)
        if rows is not None:
            table = table.picked(rows)
        if choices:
            declared = tuple(name for name in names if name not in (*ROLES, BETTER))
            return Trials(*choice_table(table, columns or {}, options, one_hot, declared))
        declares = layout or Layout()
        return Trials(*error_table(_as_declared(table, columns or {}, declares), declares))


def _as_named(recordings: Recordings, type_names: Sequence[str]) -> Tensor:
    """Trial types of recordings in the order of a task's, `(animals, trials)`."""
    if not recordings.type_names:
        if int(recordings.trial_types.max()) >= max(len(type_names), 1):
            raise ValueError(
                f"the recordings have trial types up to {int(recordings.trial_types.max())}, but the task has "
                f"{len(type_names)} ({arguments.listed(type_names)}); number them from 0, or name them."
            )
        return recordings.trial_types
    for name in recordings.type_names:
        arguments.known("trial type of the recordings", name, tuple(type_names))
    index = torch.tensor([tuple(type_names).index(name) for name in recordings.type_names])
    types = recordings.trial_types
    return torch.where(types >= 0, index[types.clamp(min=0)], -1)


def _as_declared(table: Columns, columns: Mapping[str, Any], layout: Layout) -> Columns:
    """A table of errors with its columns under the names of what they hold."""
    known = ("learner", "trial", "trial_type", *layout.named("trial"))
    for name, column in columns.items():
        arguments.known("what a column is called in columns", name, known)
        if not isinstance(column, str):
            raise ValueError(f"columns must give the column of {name} as text, got {column!r:.80}.")
    twice = [column for column in columns.values() if list(columns.values()).count(column) > 1]
    if twice:
        both = arguments.listed(name for name, column in columns.items() if column == twice[0])
        raise ValueError(f"columns gives one column two meanings: {twice[0]!r} is {both}.")
    return table.renamed(columns) if columns else table
