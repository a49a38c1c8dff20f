"""Session scales: how strong the parts of a circuit's connectivity were in each session, and how it was stimulated there."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.model.recording_tables import recording_table
from sbirules.model.session_arrays import scale_arrays
from sbirules.model.session_summary import SessionsSummary, summary_of
from sbirules.support import arguments
from sbirules.support.columns import Columns
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, generator
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionScales"]

ROLES = ("learner", "session", "scales", "errors", "stimulation", "time")


@typed_class
@dataclass(frozen=True)
class SessionScales(Shown):
    """Scales of the connectivity of several animals, session by session, each with its error, and the stimulation between.

    Made by `SessionScales.of` from arrays, by `SessionScales.read` from tables, or by a fitted `FastSlowNetwork`. A animals,
    R scales, B channels of stimulation; K sessions, those of the animal with most.

    Arguments:
        learners: Names of the animals.
        scales: Measured scales, `(A, K, R)`; NaN in sessions without a measurement and past an animal's end.
        covariance: Of their errors, `(A, K, R, R)`.
        stimulation: What each session's stimulation was on average, `(A, K, B)`: it acts between this session and the next.
        time: When each session was, in days or any unit, `(A, K)`; rising.
        num_sessions: Sessions of each animal, `(A,)`.
        names: Names of the scales.
        channels: Names of the channels of stimulation.

    Raises:
        ValueError: If shapes do not agree.
    """

    learners: tuple[str, ...]
    scales: Tensor
    covariance: Tensor
    stimulation: Tensor
    time: Tensor
    num_sessions: Tensor
    names: tuple[str, ...]
    channels: tuple[str, ...] = ()
    unit: str = field(default="")

    def __post_init__(self) -> None:
        a, k, r, b = len(self.learners), self.scales.shape[1], len(self.names), len(self.channels)
        wanted = {
            "scales": (a, k, r),
            "covariance": (a, k, r, r),
            "stimulation": (a, k, b),
            "time": (a, k),
            "num_sessions": (a,),
        }
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(getattr(self, name).shape)}.")

    # Making ---------------------------------------------------------------------------------------

    @staticmethod
    def of(
        scales: Any,
        errors: Any,
        *,
        stimulation: Any = None,
        time: Any = None,
        learners: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        unit: str = "",
    ) -> SessionScales:
        """Session scales from arrays.

        Arguments:
            scales: Of one animal `(sessions, scales)`, of several `(animals, sessions, scales)`, or a list of one array an
                animal, of different numbers of sessions; NaN where there was no measurement.
            errors: Standard errors, a number for all or an array like the scales'; or covariances, with one axis more.
            stimulation: Of each session `(sessions, channels)`, like scales; None where there was none.
            time: When sessions were, `(sessions,)` for all animals or one for each; 0, 1, 2 ... by default.
            learners: Names of the animals; 1, 2, ... by default.
            names: Names of the scales; `scale 1`, ... by default.
            channels: Names of the channels of stimulation; `stimulation 1`, ... by default.
            unit: What scales are measured in.

        Raises:
            ValueError: If there are fewer than three sessions, lengths do not agree, an error is not above 0, or time goes
                back.
        """
        found = scale_arrays(
            scales, errors, stimulation=stimulation, time=time, learners=learners, names=names, channels=channels
        )
        return SessionScales(**found, unit=unit)

    @staticmethod
    def read(
        source: str | Path | pd.DataFrame | SessionScales,
        *,
        columns: Mapping[str, Any] | None = None,
        rows: Mapping[str, Any] | None = None,
        unit: str = "",
    ) -> SessionScales:
        """Session scales from a table with a row for each session of an animal.

        Arguments:
            source: A DataFrame or a file (.csv, .mat, .parquet); session scales are returned as they are.
            columns: Names of columns by role: `learner`, `session` (a number in the order of time), `scales` (one or several),
                `errors` (as many, their standard errors), `stimulation` (one or several), `time`. A column with a role's own
                name has it.
            rows: Picks rows: values by column, any of several in a list.
            unit: What scales are measured in.

        Raises:
            ValueError: If a column is missing, a cell is no number, or a session comes twice; with the line.
        """
        if isinstance(source, SessionScales):
            return source
        given = dict(columns or {})
        for role in given:
            arguments.known("role in columns", role, ROLES)
        table = Columns.read("source", source)
        if rows is not None:
            table = table.picked(rows)
        for role in ("scales", "errors"):
            if role not in given and role not in table:
                raise ValueError(f"{table.where}: say which columns hold {role}, columns={{'{role}': [...]}}.")
        scales, errors, stimulation = (
            _several(table, given.get(role, role if role in table else ()))
            for role in ("scales", "errors", "stimulation")
        )
        if len(errors) != len(scales):
            raise ValueError(
                f"{table.where}: each of the {len(scales)} scales needs the column of its error, got {len(errors)} of errors."
            )
        numbered, when = given.get("session", "session"), given.get("time", "time" if "time" in table else None)
        for role, column in (("session", numbered), ("time", when), ("learner", given.get("learner", ""))):
            if column is not None and not isinstance(column, str):
                raise ValueError(f"columns must give the column of {role} as text, got {column!r:.80}.")
        if numbered not in table or not table.numeric(numbered):
            raise ValueError(
                f"{table.where}: say which column numbers the sessions in the order of time, columns={{'session': ...}}"
                f"{'; ' + numbered + ' holds no numbers' if numbered in table else ''}."
            )
        animal = given.get("learner", "learner")
        named = table.labels(animal) if animal in table else ["1"] * len(table)
        every = list(zip(named, table.numbers(numbered).tolist(), strict=True))
        twice = next((k for k, one in enumerate(every) if every.index(one) < k), None)
        if twice is not None:
            raise ValueError(
                f"{table.where}: session {every[twice][1]:g} of animal {every[twice][0]!r} comes twice, in {table.unit}s "
                f"{table.lines[every.index(every[twice])]} and {table.lines[twice]}; a session has one row: name the animals, "
                f"columns={{'learner': ...}}, or pick rows."
            )
        # sessions without a row leave a gap in time; "trial" is what a session is to a table of recordings
        time = ["trial" if when in (None, numbered) else str(when)]
        double = [n for n in (*scales, *errors, *stimulation) if [*scales, *errors, *stimulation].count(n) > 1]
        if double:
            raise ValueError(f"{table.where}: the column {double[0]!r} is named for two roles; each needs its own.")
        for name in (*stimulation, *(n for n in time if n != "trial")):
            table.numbers(name, "each session needs one, stimulation is 0 where there was none")
        roles = {
            "values": [*scales, *errors, *stimulation, *time],
            **({"learner": given["learner"]} if "learner" in given else {}),
        }
        # a session has one row, as a trial has in a table of recordings; of gaps `describe` tells
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = recording_table(table.renamed({"trial": numbered}), roles)
        n, r = found["values"], len(scales)
        count = (found["trial_types"] >= 0).sum(dim=1).tolist()
        parts = torch.split(n, [r, r, len(stimulation), len(time)], dim=2)
        each = [[p[a, :k] for a, k in enumerate(count)] for p in parts]
        return SessionScales.of(
            each[0],
            each[1],
            stimulation=each[2] if stimulation else None,
            time=[t[:, 0] for t in each[3]] if time else None,
            learners=found["learners"],
            names=scales,
            channels=stimulation or None,
            unit=unit,
        )

    # Parts ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.learners)

    @property
    def there(self) -> Tensor:
        """Sessions that an animal had, `(A, K)`."""
        return torch.arange(self.scales.shape[1]) < self.num_sessions[:, None]

    @property
    def measured(self) -> Tensor:
        """Sessions whose scales were all measured, `(A, K)`."""
        return torch.isfinite(self.scales).all(dim=2)

    def subset(self, index: Sequence[int]) -> SessionScales:
        """Some of the animals, by position."""
        if len(index) == 0:
            raise ValueError("index must hold at least one position.")
        at = torch.tensor([arguments.position("index", i, len(self)) for i in index])
        return self._cut(at, int(self.num_sessions[at].max()), self.num_sessions[at])

    def first(self, sessions: int | Sequence[int]) -> SessionScales:
        """The first sessions of each animal: a number for all, or one for each."""
        several = isinstance(sessions, (list, tuple)) or getattr(sessions, "shape", ()) != ()
        each: list[Any] = list(sessions) if several else [sessions] * len(self)  # type: ignore[arg-type]
        wanted = torch.tensor([arguments.whole("sessions", n, 1) for n in each])
        if len(wanted) != len(self):
            raise ValueError(f"sessions must be a number, or one for each of {len(self)} animals, got {len(wanted)}.")
        count = torch.minimum(wanted, self.num_sessions)
        out = self._cut(torch.arange(len(self)), int(count.max()), count)
        return replace(out, scales=torch.where(out.there[:, :, None], out.scales, torch.nan))

    def _cut(self, at: Tensor, longest: int, count: Tensor) -> SessionScales:
        return replace(
            self,
            learners=tuple(self.learners[i] for i in at.tolist()),
            scales=self.scales[at, :longest],
            covariance=self.covariance[at, :longest],
            stimulation=self.stimulation[at, :longest],
            time=self.time[at, :longest],
            num_sessions=count,
        )

    def shuffled(self, seed: int = 0) -> SessionScales:
        """The same sessions, with their stimulation, in another order: what they say of how one leads to the next is gone."""
        order, stream = torch.arange(self.scales.shape[1]).repeat(len(self), 1), generator(seed, Stream.PERMUTATIONS)
        for a, count in enumerate(self.num_sessions.tolist()):
            order[a, :count] = torch.randperm(count, generator=stream)
        rows = torch.arange(len(self))[:, None]
        return replace(
            self,
            scales=self.scales[rows, order],
            covariance=self.covariance[rows, order],
            stimulation=self.stimulation[rows, order],
        )

    # What they are --------------------------------------------------------------------------------

    def digest(self) -> str:
        """SHA-256 of the content: tells one table from another."""
        parts = [self.scales, self.covariance, self.stimulation, self.time, self.num_sessions]
        told = repr([self.learners, self.names, self.channels, self.unit, [tuple(p.shape) for p in parts]]).encode()
        whole = b"".join(
            torch.where(torch.isnan(p), torch.nan, p).double().contiguous().numpy().tobytes() for p in parts
        )
        return hashlib.sha256(whole + told).hexdigest()

    def describe(self) -> SessionsSummary:
        """What the sessions hold, in numbers, and what to be careful about; print it."""
        return summary_of(self)

    def frame(self) -> pd.DataFrame:
        """A row for each session of an animal: `learner`, `session`, `time`, scales, their standard errors, stimulation.

        `SessionScales.read(frame, columns={"scales": [...], "errors": [...], "stimulation": [...]})` gives the same again,
        without correlations of errors.
        """
        import pandas as pd

        sd = self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        parts = []
        for a, count in enumerate(self.num_sessions.tolist()):
            columns: dict[str, Any] = {"learner": self.learners[a], "session": range(1, count + 1)}
            columns["time"] = self.time[a, :count].numpy()
            columns |= {n: self.scales[a, :count, k].numpy() for k, n in enumerate(self.names)}
            columns |= {f"{n} error": sd[a, :count, k].numpy() for k, n in enumerate(self.names)}
            columns |= {n: self.stimulation[a, :count, k].numpy() for k, n in enumerate(self.channels)}
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        count = int(self.num_sessions.sum())
        return f"SessionScales({len(self)} animals, {count} sessions, {len(self.names)} scales, {len(self.channels)} channels)"

    def _card(self) -> Card:
        return self.describe().card(repr(self))


def _several(table: Columns, given: Any) -> list[str]:
    if not isinstance(given, (str, list, tuple)):
        raise ValueError(f"columns must give scales, errors and stimulation as names of columns, got {given!r:.80}.")
    names = [given] if isinstance(given, str) else list(given)
    table.need(names)
    return names
