"""Recordings of activity over learning: values of every channel in every trial of several animals, and what happened there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.model.recording_arrays import recorded_arrays
from sbirules.model.recording_files import read_npz, write_npz
from sbirules.model.recording_nwb import read_nwb
from sbirules.model.recording_summary import RecordingsSummary, summary_of
from sbirules.model.recording_tables import recording_table
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.columns import Columns
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, generator
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recordings"]


@typed_class
@dataclass(frozen=True)
class Recordings(Shown):
    """Activity of several animals, trial by trial; what was not recorded is NaN.

    Made by `Recordings.of` from arrays, by `Recordings.read` from files and DataFrames. A animals, K channels; T trials, those
    of the longest session, the others end in empty ones.

    Arguments:
        learners: Names of the animals.
        values: Mean of each channel in each trial, `(A, T, K)`, or of each of its bins of time, `(A, T, bins, K)`.
        trial_types: Type of each trial, `(A, T)`; -1 past an animal's end.
        channels: Names of the channels.
        type_names: Names of the trial types.
        sessions: Session of each trial, from 0, `(A, T)`.
        events: What happened in each trial, by name, `(A, T)`: numbers, or codes of labels.
        labels: Of events that are labels: the labels in the order of their codes.
        unit: What values are measured in, such as `"Hz"` or `"dF/F"`.
        times: Middle of each bin in seconds from the event that trials are aligned to, `(bins,)`; empty without bins.

    Raises:
        ValueError: If shapes do not agree.
    """

    learners: tuple[str, ...]
    values: Tensor
    trial_types: Tensor
    channels: tuple[str, ...]
    type_names: tuple[str, ...] = ()
    sessions: Tensor = field(default_factory=lambda: torch.empty(0))
    events: Mapping[str, Tensor] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: str = ""
    times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.trial_types.shape)
        bins = (len(self.times),) if self.times else ()
        if len(shape) != 2 or tuple(self.values.shape) != (*shape, *bins, len(self.channels)):
            raise ValueError(
                f"values must have shape (animals, trials, {'bins, ' if bins else ''}channels), here "
                f"{(*shape, *bins, len(self.channels))}, got {tuple(self.values.shape)}."
            )
        if len(self.learners) != shape[0]:
            raise ValueError(f"learners must be {shape[0]} names, one an animal, got {len(self.learners)}.")
        if not self.sessions.numel():
            object.__setattr__(self, "sessions", torch.zeros(shape, dtype=torch.long))
        for name, value in {"sessions": self.sessions, **self.events}.items():
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must have shape (animals, trials), here {shape}, got {tuple(value.shape)}.")

    # Making ---------------------------------------------------------------------------------------

    @staticmethod
    def of(
        values: Any,
        *,
        trial_types: ArrayLike | Sequence[ArrayLike] | None = None,
        learners: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        type_names: Sequence[str] = (),
        sessions: ArrayLike | Sequence[ArrayLike] | None = None,
        events: Mapping[str, Any] | None = None,
        unit: str = "",
        times: Sequence[float] | None = None,
    ) -> Recordings:
        """Recordings from arrays.

        Arguments:
            values: Of one animal `(trials, channels)`, of several `(animals, trials, channels)`, or a list of one array an
                animal, of different lengths and numbers of channels; NaN where nothing was recorded. With `times` there is an
                axis of bins before the channels.
            trial_types: Type of each trial, from 0: `(trials,)` for all animals, or one for each; all 0 by default.
            learners: Names of the animals; 1, 2, ... by default.
            channels: Names of the channels; `unit 1`, ... by default. Channels of different animals need not be the same unit.
            type_names: Names of the trial types.
            sessions: Session of each trial, from 0, like trial types.
            events: What happened in each trial, by name, numbers like trial types.
            unit: What values are measured in.
            times: Middle of each bin, in seconds.

        Raises:
            ValueError: If lengths do not agree, a value is infinite, or types are not whole numbers.
        """
        found = recorded_arrays(
            values,
            trial_types=trial_types,
            learners=learners,
            channels=channels,
            type_names=type_names,
            sessions=sessions,
            events=events,
            times=times,
        )
        return Recordings(**found, unit=unit)

    @staticmethod
    def read(
        source: str | Path | pd.DataFrame | Recordings,
        *,
        columns: Mapping[str, Any] | None = None,
        rows: Mapping[str, Any] | None = None,
        unit: str | None = None,
        **aligned: Any,
    ) -> Recordings:
        """Recordings from a file or a DataFrame.

        **Tables** (DataFrame, .csv, .mat, .parquet) have a row for each trial of an animal. `columns` says which have which role;
        a column with a role's own name has it:

        - `learner`: the animal. Without it there is one, "1".
        - `session`: any labels; without it there is one.
        - `trial`: numbers in the order of time, or several columns of which later ones count within earlier ones
          (`["repeat", "odor"]`). Without it rows stand in the order of time.
        - `trial_type`: labels; without it there is one type.
        - `values`: a column or several; or a mapping from what a channel is to be called to its column. Empty and NaN where
          nothing was recorded.
        - `events`: one name or several, or a mapping: stimuli, rewards, shocks of the trial; numbers are numbers, anything else
          is labels.

        **.npz** that `write` wrote. **.nwb**, a file, a folder of files or a list of them: see `read_nwb`, whose arguments go on
        to it; only what lies in the trials' windows is loaded.

        Arguments:
            source: What to read; recordings are returned as they are.
            columns: Names of columns by role.
            rows: Picks rows: values by column, any of several in a list.
            unit: What values are measured in.
            aligned: Of NWB files, see `read_nwb`.

        Raises:
            ValueError: If a column is missing, a cell is no number, or an animal goes back in time; with the line.
        """
        if isinstance(source, Recordings):
            if columns or rows or aligned:
                raise ValueError(
                    "columns and rows belong to a table that is still to be read, but source is Recordings already."
                )
            return source if unit is None else replace(source, unit=unit)
        suffix = Path(source).suffix.lower() if isinstance(source, (str, Path)) else ""
        if suffix == ".npz" and not columns:
            found = Recordings(**read_npz(arguments.path("source", source)))
            return found if unit is None else replace(found, unit=unit)
        if suffix == ".nwb" or isinstance(source, (list, tuple)) or (suffix == "" and _folder(source)):
            made, labels = read_nwb(source, **aligned)
            found = replace(Recordings.of(**made), labels=labels)
            return found if unit is None else replace(found, unit=unit)
        if aligned:
            raise ValueError(f"{next(iter(aligned))} belongs to NWB files; leave it out for tables.")
        table = Columns.read("source", source)
        if rows is not None:
            table = table.picked(rows)
        return Recordings(**recording_table(table, columns or {}), unit=unit or "")

    # Parts ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.learners)

    @property
    def num_trials(self) -> Tensor:
        """Number of trials of each animal, `(A,)`."""
        return (self.trial_types >= 0).sum(dim=1)

    def subset(self, index: Sequence[int]) -> Recordings:
        """Some of the animals, by position."""
        if len(index) == 0:
            raise ValueError("index must hold at least one position.")
        at = torch.tensor([arguments.position("index", i, len(self)) for i in index])
        longest = int(self.num_trials[at].max())
        return replace(
            self,
            learners=tuple(self.learners[i] for i in at.tolist()),
            values=self.values[at, :longest],
            trial_types=self.trial_types[at, :longest],
            sessions=self.sessions[at, :longest],
            events={n: v[at, :longest] for n, v in self.events.items()},
        )

    def pick(self, channels: Sequence[str] | str) -> Recordings:
        """Some of the channels, by name."""
        names = (channels,) if isinstance(channels, str) else arguments.strings("channels", channels)
        for name in names:
            arguments.known("channels", name, self.channels)
        return replace(self, values=self.values[..., [self.channels.index(n) for n in names]], channels=names)

    def means(self, window: tuple[float, float] | None = None) -> Recordings:
        """Means over the bins of time in a window (from, to) in seconds; over all without. Itself where there are no bins."""
        if not self.times:
            if window is not None:
                raise ValueError(
                    "window needs recordings with bins of time; these hold one value of a channel a trial."
                )
            return self
        at = [k for k, t in enumerate(self.times) if window is None or window[0] <= t < window[1]]
        if not at:
            raise ValueError(
                f"window must hold at least one bin, whose middles run from {self.times[0]:g} to {self.times[-1]:g} s, got "
                f"{window}."
            )
        return replace(self, values=self.values[:, :, at].nanmean(dim=2), times=())

    def shuffled(self, seed: int = 0) -> Recordings:
        """The same values in other trials of the same type: what they say of the order of trials, and so of learning, is gone."""
        values, stream = self.values.clone(), generator(seed, Stream.PERMUTATIONS)
        for a in range(len(self)):
            for kind in torch.unique(self.trial_types[a][self.trial_types[a] >= 0]).tolist():
                at = (self.trial_types[a] == kind).nonzero()[:, 0]
                values[a, at] = self.values[a, at[torch.randperm(len(at), generator=stream)]]
        return replace(self, values=values)

    def scaled(self, by: float, unit: str = "") -> Recordings:
        """The same values times a number, in another unit: those of networks whose rates lie between -1 and 1, say."""
        return replace(self, values=self.values * arguments.above("by", by, 0.0), unit=unit)

    def event(self, name: str) -> Tensor:
        """An event of every trial, `(A, T)`: numbers or codes; NaN past an animal's end."""
        arguments.known("event", name, tuple(self.events))
        return self.events[name]

    # What they are --------------------------------------------------------------------------------

    def digest(self) -> str:
        """SHA-256 of the content: tells one table from another."""
        parts = [self.values, self.trial_types, self.sessions, *(self.events[n] for n in sorted(self.events))]
        parts = [torch.where(p.isnan(), torch.nan, p) if p.is_floating_point() else p for p in parts]
        told = repr(
            [
                self.learners,
                self.channels,
                self.type_names,
                sorted(self.events),
                sorted((k, tuple(v)) for k, v in self.labels.items()),
                self.unit,
                self.times,
                [tuple(p.shape) for p in parts],
            ]
        ).encode()
        return hashlib.sha256(b"".join(p.double().contiguous().numpy().tobytes() for p in parts) + told).hexdigest()

    def describe(self) -> RecordingsSummary:
        """What the recordings hold, in numbers, and what to be careful about; print it."""
        return summary_of(self)

    def write(self, path: str | Path) -> None:
        """Writes an .npz file that `read` gives the same recordings back from."""
        write_npz(arguments.path("path", path), vars(self))

    def __repr__(self) -> str:
        count = int(self.num_trials.sum())
        unit = f", {self.unit}" if self.unit else ""
        return f"Recordings({len(self)} animals, {count} trials, {len(self.channels)} channels{unit})"

    def _card(self) -> Card:
        return self.describe().card(repr(self))


def _folder(source: Any) -> bool:
    return isinstance(source, (str, Path)) and Path(source).is_dir()
