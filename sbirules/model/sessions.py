"""Sessions: activity and stimulation over time of each of several sessions, days or weeks apart."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sbirules.model.recording_arrays import names_of_parts
from sbirules.model.session_nwb import sessions_of_nwb
from sbirules.support import arguments
from sbirules.support.files import write_bytes
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

__all__ = ["Sessions"]

FEWEST = 10  # samples of a session


@typed_class
@dataclass(frozen=True)
class Sessions(Shown):
    """Activity of one animal in several sessions; T samples of a session, C channels, B channels of input.

    Made by `Sessions.of` from arrays, by `Sessions.read` from a file or a folder.

    Arguments:
        observations: Of each session, `(T, C)`; sessions differ in length.
        inputs: Stimulation at each sample, `(T, B)`.
        time: When each session was, in days or any unit; rising.
        dt: Time between samples, in the unit of the network's time constant.
        channels: Names of the channels.
        input_channels: Names of the channels of input.
        learner: Name of the animal.
    """

    observations: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    time: tuple[float, ...]
    dt: float
    channels: tuple[str, ...]
    input_channels: tuple[str, ...] = ()
    learner: str = field(default="1")

    @staticmethod
    def of(
        observations: Sequence[Any] | Tensor,
        inputs: Sequence[Any] | Tensor | None = None,
        *,
        dt: float = 1.0,
        time: Sequence[float] | None = None,
        channels: Sequence[str] | None = None,
        input_channels: Sequence[str] | None = None,
        learner: str = "1",
    ) -> Sessions:
        """Sessions from arrays.

        Arguments:
            observations: One array `(T, C)` for each session.
            inputs: One array `(T, B)` for each; None for no stimulation.
            dt: Time between samples.
            time: When sessions were; 0, 1, 2 ... by default.
            channels: Names of the channels; `channel 1`, ... by default.
            input_channels: Names of those of input; `input 1`, ... by default.
            learner: Name of the animal.

        Raises:
            ValueError: If there is one session, channels change between sessions, lengths do not agree, or values are not finite.
        """
        each = [arguments.numbers("observations", v, torch.float64) for v in observations]
        if len(each) < 2:
            raise ValueError(
                f"sessions must be at least two: with one nothing is seen to change between them; got {len(each)}."
            )
        given = [torch.zeros(len(v), 0) for v in each] if inputs is None else list(inputs)
        stimulated = [arguments.numbers("inputs", v, torch.float64) for v in given]
        if len(stimulated) != len(each):
            raise ValueError(f"inputs must be of each of {len(each)} sessions, got {len(stimulated)}.")
        for k, (y, u) in enumerate(zip(each, stimulated, strict=True)):
            if y.ndim != 2 or u.ndim != 2 or y.shape[1] != each[0].shape[1] or u.shape[1] != stimulated[0].shape[1]:
                raise ValueError(
                    f"observations must be (samples, channels) and inputs (samples, channels of input), the same channels "
                    f"in every session; session {k + 1} has {tuple(y.shape)} and {tuple(u.shape)}, the first "
                    f"{tuple(each[0].shape)} and {tuple(stimulated[0].shape)}."
                )
            if len(u) != len(y) or len(y) < FEWEST:
                raise ValueError(
                    f"a session needs at least {FEWEST} samples, and inputs as many as observations; session {k + 1} has "
                    f"{len(y)} and {len(u)}."
                )
            if not bool(torch.isfinite(y).all()) or not bool(torch.isfinite(u).all()):
                at = int((~torch.isfinite(torch.cat([y, u], dim=1)).all(dim=1)).nonzero()[0, 0])
                raise ValueError(
                    f"observations and inputs must be finite, but sample {at + 1} of session {k + 1} is not: cut the session "
                    f"there into two, or interpolate short gaps."
                )
        when = tuple(float(k) for k in range(len(each))) if time is None else tuple(time)
        rises = all(b > a for a, b in itertools.pairwise(when)) and all(map(math.isfinite, when))
        if len(when) != len(each) or not rises:
            raise ValueError("time must hold a finite number for each session, rising from one to the next.")
        return Sessions(
            tuple(each),
            tuple(stimulated),
            when,
            arguments.above("dt", dt, 0.0),
            names_of_parts("channels", channels, each[0].shape[1], "channel "),
            names_of_parts("input_channels", input_channels, stimulated[0].shape[1], "input "),
            learner,
        )

    @staticmethod
    def read(
        source: str | Path | Sequence[str | Path] | Sessions,
        *,
        dt: float | None = None,
        series: str | None = None,
        stimulation: str | None = None,
    ) -> Sessions:
        """Sessions from an .npz that `write` wrote, from a folder with one .npz for each session, or from NWB files.

        Arguments:
            source: The file; or a folder, whose files hold `observations` `(T, C)`, perhaps `inputs` `(T, B)` and `time`, and are
                sessions in the order of their names (2 before 10). Or NWB files of one animal, one a session, in the order of
                their start.
            dt: Time between samples; needed where the files do not hold it. Of NWB files seconds that are averaged to a sample.
            series: Of NWB files: name of the series of activity, such as `"lfp"`.
            stimulation: And that of stimulation; None for none.
        """
        if isinstance(source, Sessions):
            return source
        if series is not None:
            if dt is None:
                raise ValueError("dt, seconds of a series that are averaged to one sample, is needed for NWB files.")
            return Sessions.of(**sessions_of_nwb(source, series, stimulation, dt))
        if not isinstance(source, (str, Path)) or Path(source).suffix.lower() == ".nwb":
            raise ValueError('NWB files need the name of the series of activity: read(files, series="lfp", dt=0.01).')
        path = arguments.path("source", source)
        files = sorted(path.glob("*.npz"), key=_numbered) if path.is_dir() else [path]
        if not files or not all(f.is_file() and f.suffix.lower() == ".npz" for f in files):
            raise ValueError(f"source: {path} is no .npz file, and no folder of such files.")
        parts: list[dict[str, np.ndarray]] = []
        for f in files:
            try:
                with np.load(f, allow_pickle=False) as archive:
                    parts.append({name: archive[name] for name in archive.files})
            except (ValueError, OSError, EOFError) as error:
                raise ValueError(f"source: {f.name} cannot be read as .npz: {error}.") from error
        if not path.is_dir():
            parts = _split(parts[0], path.name)
        for f, p in zip(files if path.is_dir() else [path] * len(parts), parts, strict=True):
            if "observations" not in p:
                raise ValueError(
                    f"source: {f.name} lacks observations, (samples, channels); it holds {arguments.listed(p)}."
                )
        step = dt if dt is not None else next((float(p["dt"]) for p in parts if "dt" in p), None)
        if step is None:
            raise ValueError("dt, the time between samples, is not in the files: give dt=...")
        return Sessions.of(
            [p["observations"] for p in parts],
            [p["inputs"] for p in parts] if all("inputs" in p for p in parts) else None,
            dt=step,
            time=[float(p["time"]) for p in parts] if all("time" in p for p in parts) else None,
        )

    def write(self, path: str | Path) -> None:
        """Writes an .npz file that `read` gives the same sessions back from, but for names."""
        import io

        arrays: dict[str, Any] = {"dt": np.float64(self.dt), "time": np.asarray(self.time)}
        for k, (y, u) in enumerate(zip(self.observations, self.inputs, strict=True)):
            arrays |= {f"observations.{k}": y.numpy(), f"inputs.{k}": u.numpy()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(arguments.path("path", path), buffer.getvalue())

    # Parts ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.observations)

    def subset(self, index: Sequence[int]) -> Sessions:
        """Some of the sessions, by position."""
        at = [arguments.position("index", i, len(self)) for i in index]
        if not at:
            raise ValueError("index must hold at least one position.")
        if any(b <= a for a, b in itertools.pairwise(at)):
            raise ValueError(
                f"index must rise, since sessions are in the order of time, got {arguments.listed(at):.80}."
            )
        return replace(
            self,
            observations=tuple(self.observations[i] for i in at),
            inputs=tuple(self.inputs[i] for i in at),
            time=tuple(self.time[i] for i in at),
        )

    def halves(self) -> tuple[Sessions, Sessions]:
        """First and second half of each session: what is fitted to the one can be judged on the other."""
        parts: tuple[list[Tensor], ...] = ([], [], [], [])
        for y, u in zip(self.observations, self.inputs, strict=True):
            n = len(y) // 2
            for part, values in zip(parts, (y[:n], u[:n], y[n:], u[n:]), strict=True):
                part.append(values)
        one = Sessions.of(parts[0], parts[1], dt=self.dt, time=self.time)
        return one, Sessions.of(parts[2], parts[3], dt=self.dt, time=self.time)

    @property
    def stimulation(self) -> Tensor:
        """Mean input of each session, `(K, B)`: what a law sees."""
        return torch.stack([u.mean(dim=0) for u in self.inputs])

    def digest(self) -> str:
        """SHA-256 of the content."""
        told = repr(
            [self.time, self.dt, self.channels, self.input_channels, [tuple(y.shape) for y in self.observations]]
        )
        whole = b"".join(v.contiguous().numpy().tobytes() for v in (*self.observations, *self.inputs))
        return hashlib.sha256(whole + told.encode()).hexdigest()

    def __repr__(self) -> str:
        samples = sum(len(y) for y in self.observations)
        channels = f"{len(self.channels)} channels, {len(self.input_channels)} inputs"
        return f"Sessions({len(self)} sessions, {samples} samples, {channels})"

    def _card(self) -> Card:
        import pandas as pd

        y = torch.cat(self.observations)
        rows = {"mean": y.mean(dim=0), "sd": y.std(dim=0), "low": y.min(dim=0).values, "high": y.max(dim=0).values}
        table = pd.DataFrame({k: v.numpy() for k, v in rows.items()}, index=pd.Index(self.channels, name="channel"))
        lengths = sorted(len(v) for v in self.observations)
        return Card(repr(self), {"dt": self.dt, "samples of a session": [lengths[0], lengths[-1]]}, table=table)


def _numbered(file: Path) -> list[tuple[bool, int, str]]:
    """Sorts names by the numbers in them: day 2 before day 10."""
    parts = re.split(r"([0-9]+)", file.stem)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _split(arrays: dict[str, np.ndarray], name: str) -> list[dict[str, np.ndarray]]:
    """The sessions of one file."""
    count = sum(key.startswith("observations.") for key in arrays)
    if not count or "time" not in arrays:
        raise ValueError(f"source: {name} is no file that Sessions.write wrote.")
    return [
        {
            "observations": arrays[f"observations.{k}"],
            "inputs": arrays[f"inputs.{k}"],
            "time": arrays["time"][k],
            "dt": arrays["dt"],
        }
        for k in range(count)
    ]
