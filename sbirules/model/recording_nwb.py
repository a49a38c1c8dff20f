"""Recordings from NWB files: spikes of units, or responses of regions of interest, aligned to the trials of the file.

Files are opened lazily: of spikes only the times of one unit at a time are read, of responses only the frames in the trials'
windows, so that files larger than memory do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sbirules.support import arguments
from sbirules.support.cells import natural

__all__ = ["nwb_paths", "opened", "read_nwb", "timed_series"]

UNITS = "units"
APART = 0.5  # share of the windows that may lie outside what was recorded, before clocks are called unaligned


def read_nwb(
    source: str | Path | Sequence[str | Path],
    *,
    values: str = UNITS,
    align: str = "start_time",
    window: tuple[float, float] = (0.0, 1.0),
    bins: int = 1,
    rate: bool = True,
    trial_type: str | None = None,
    events: Sequence[str] | Mapping[str, str] = (),
    learner: str | None = None,
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """What `Recordings.of` takes, and the labels of events, from one NWB file, a folder of them or a list.

    Files of one subject are its sessions, in the order of their start.

    Arguments:
        source: The file, folder or files.
        values: `"units"` for spike times, or the name of a `RoiResponseSeries` (or any `TimeSeries`) of the file.
        align: Column of the trials table with the time that windows are relative to.
        window: From and to, in seconds from there.
        bins: Bins of the window, of equal length.
        rate: Of spikes: whether values are rates in Hz; else counts.
        trial_type: Column of the trials table with the type of each trial.
        events: Further columns of the trials table, or their names by what they are to be called.
        learner: Name of the animal, where the file's subject is not it.

    Raises:
        ValueError: If a file has no trials, no such series or column, channels differ between sessions, or windows lie outside
            what was recorded.
    """
    paths = nwb_paths(source)
    span = (arguments.finite("window", window[0]), arguments.finite("window", window[1]))
    if not span[0] < span[1]:
        raise ValueError(f"window must be (from, to) in seconds with from < to, got {window}.")
    count = arguments.whole("bins", bins, 1, 10_000)
    named = (
        dict(events)
        if isinstance(events, Mapping)
        else {name: name for name in arguments.strings("events", events)}
        if len(events)
        else {}
    )
    found = [_session(path, values, align, span, count, rate, trial_type, named, learner) for path in paths]
    animals = list(dict.fromkeys(f["learner"] for f in found))
    parts = [_joined([f for f in sorted(found, key=lambda f: f["start"]) if f["learner"] == a]) for a in animals]
    kinds = sorted({t for p in parts for t in p["types"]}, key=natural) if trial_type else []
    edges = np.linspace(span[0], span[1], count + 1)
    return _as_recordings(
        animals,
        parts,
        kinds,
        named,
        "Hz" if rate and values == UNITS else found[0]["unit"],
        edges if count > 1 else None,
    )


def nwb_paths(source: Any) -> list[Path]:
    """Files of a file, a folder or a list."""
    given = [source] if isinstance(source, (str, Path)) else list(source)
    out: list[Path] = []
    for one in given:
        path = arguments.path("source", one)
        out += sorted(path.glob("*.nwb")) if path.is_dir() else [path]
    twice = next((p for p in out if out.count(p) > 1), None)
    if twice is not None:
        raise ValueError(f"source: {twice} is given twice.")
    missing = [p for p in out if not p.is_file()]
    if missing or not out:
        raise ValueError(
            f"source: there is no file {missing[0]}." if missing else f"source: there is no .nwb file in {given[0]}."
        )
    return out


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An NWB file, read as far as is asked of it.

    Raises:
        ValueError: If pynwb is not there, or cannot read the file.
    """
    try:
        from pynwb import NWBHDF5IO  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError(
            f"source: {path.name} needs pynwb, which is not installed: pip install 'sbirules[nwb]'."
        ) from error
    with warnings.catch_warnings():
        for library in ("pynwb", "hdmf"):  # remarks about other versions of the format
            warnings.filterwarnings("ignore", module=library)
        try:
            io = NWBHDF5IO(str(path), "r", load_namespaces=True)
        except Exception as error:  # h5py has errors of its own for broken files
            raise ValueError(
                f"source: {path.name} cannot be read as .nwb: {' '.join(str(error).split())[:160]}."
            ) from error
        with io:
            yield io.read()


# One file -----------------------------------------------------------------------------------------


def _session(
    path: Path,
    values: str,
    align: str,
    span: tuple[float, float],
    bins: int,
    rate: bool,
    trial_type: str | None,
    events: Mapping[str, str],
    learner: str | None,
) -> dict[str, Any]:
    with opened(path) as file:
        if file.trials is None or not len(file.trials):
            raise ValueError(f"source: {path.name} holds no trials table, to whose events recordings are aligned.")
        trials = file.trials.to_dataframe()
        for column in (align, *([trial_type] if trial_type else []), *events.values()):
            if column not in trials:
                raise ValueError(
                    f"{path.name} has no column {column!r} in its trials, only {arguments.listed(trials.columns)}."
                )
        at = _times(path, trials[align], align)
        order = np.argsort(at, kind="stable")
        trials, at = trials.iloc[order], at[order]
        edges = at[:, None] + np.linspace(span[0], span[1], bins + 1)
        if values == UNITS:
            whole, channels, unit = _spikes(path, file, edges, rate)
        else:
            whole, channels, unit = _series(path, file, values, edges)
        subject = getattr(file.subject, "subject_id", None) or path.stem
        start = file.session_start_time.timestamp() if file.session_start_time is not None else 0.0
    return {
        "path": path,
        "learner": learner or str(subject),
        "start": start,
        "values": whole,
        "channels": channels,
        "unit": unit,
        "types": [str(v) for v in trials[trial_type]] if trial_type else ["0"] * len(trials),
        "events": {name: trials[column].to_list() for name, column in events.items()},
    }


def _spikes(path: Path, file: Any, edges: np.ndarray, rate: bool) -> tuple[np.ndarray, list[str], str]:
    """Spikes of each unit in each bin, `(trials, bins, units)`."""
    units = file.units
    if units is None or not len(units) or "spike_times" not in units.colnames:
        raise ValueError(f"{path.name} holds no units with spike times; name a series of responses, values=...")
    columns, first, last = [], np.inf, -np.inf
    for k in range(len(units)):
        times = np.sort(np.asarray(units["spike_times"][k], dtype=float))  # of this unit alone
        if np.isnan(times).any():
            raise ValueError(f"{path.name}: unit {units.id[k]} has spike times that are not numbers; repair the file.")
        if len(times):
            first, last = min(first, float(times[0])), max(last, float(times[-1]))
        columns.append(np.searchsorted(times, edges[:, 1:]) - np.searchsorted(times, edges[:, :-1]))
    counts = np.stack(columns, axis=-1).astype(float)
    if first > last:
        raise ValueError(f"{path.name}: none of its {len(units)} units has a spike.")
    _refuse_apart(path, edges, first, last)
    counts[_unseen(path, edges, first, last)] = np.nan
    if "obs_intervals" in units.colnames:
        for k in range(len(units)):
            seen = np.atleast_2d(np.asarray(units["obs_intervals"][k], dtype=float))
            inside = ((edges[:, :-1, None] >= seen[:, 0]) & (edges[:, 1:, None] <= seen[:, 1])).any(axis=2)
            counts[..., k] = np.where(inside, counts[..., k], np.nan)
    return (counts / np.diff(edges, axis=1)[:, :, None] if rate else counts), [str(i) for i in units.id[:]], "counts"


def timed_series(path: Path, file: Any, name: str) -> tuple[Any, np.ndarray]:
    """A series of a file, and when its frames were, in seconds."""
    from pynwb import TimeSeries

    every = {o.name: o for o in file.objects.values() if isinstance(o, TimeSeries)}
    if name not in every:
        raise ValueError(f"{path.name} has no series {name!r}, only {arguments.listed(every) or 'none'} and {UNITS!r}.")
    series = every[name]
    if series.timestamps is not None:
        times = np.asarray(series.timestamps[:], dtype=float)
    else:
        times = float(series.starting_time or 0.0) + np.arange(series.data.shape[0]) / float(series.rate)
    return series, times


def _series(path: Path, file: Any, name: str, edges: np.ndarray) -> tuple[np.ndarray, list[str], str]:
    """Mean of a series' channels in each bin, `(trials, bins, channels)`; NaN where it has no frame."""
    series, times = timed_series(path, file, name)
    width = series.data.shape[1] if len(series.data.shape) > 1 else 1
    out = np.full((len(edges), edges.shape[1] - 1, width), np.nan)
    for t, row in enumerate(np.searchsorted(times, edges)):
        block = np.asarray(series.data[row[0] : row[-1]], dtype=float).reshape(-1, width)  # these frames alone
        for b in range(len(row) - 1):
            inside = block[row[b] - row[0] : row[b + 1] - row[0]]
            if len(inside):
                out[t, b] = inside.mean(axis=0)
    _refuse_apart(path, edges, float(times[0]), float(times[-1]))
    rois = getattr(series, "rois", None)
    channels = (
        [str(i) for i in rois.table.id[:][np.asarray(rois.data[:])]]
        if rois is not None
        else [str(k) for k in range(width)]
    )
    return out * float(series.conversion or 1.0), channels, str(series.unit or "")


def _times(path: Path, column: Any, name: str) -> np.ndarray:
    """Times of trials in seconds."""
    try:
        at = column.to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path.name}: the column {name!r} of its trials must hold times in seconds, got {column.iloc[0]!r:.60}."
        ) from error
    if not np.isfinite(at).all():
        raise ValueError(
            f"{path.name}: {name} is not known in {int((~np.isfinite(at)).sum())} of {len(at)} trials; leave these out of the "
            f"file, or "
            f"align to another column."
        )
    return np.asarray(at)


def _unseen(path: Path, edges: np.ndarray, first: float, last: float) -> np.ndarray:
    """Trials whose windows lie wholly before the first spike of any unit or after the last, `(trials,)`; warns of them."""
    outside: np.ndarray = (edges[:, -1] < first) | (edges[:, 0] > last)
    if outside.any():
        warnings.warn(
            f"{path.name}: the windows of {int(outside.sum())} trials lie outside {first:.6g} to {last:.6g} s, where units "
            f"fired; they "
            f"are taken for not recorded (NaN).",
            stacklevel=2,
        )
    return outside


def _refuse_apart(path: Path, edges: np.ndarray, first: float, last: float) -> None:
    """Raises ValueError where trials and recording do not overlap in time."""
    outside = float(((edges[:, -1] < first) | (edges[:, 0] > last)).mean())
    if outside > APART:
        raise ValueError(
            f"{path.name}: {outside:.0%} of the trials' windows lie outside what was recorded, {first:.6g} to {last:.6g} s "
            f"(trials from "
            f"{edges[0, 0]:.6g} to {edges[-1, -1]:.6g} s): are the two clocks aligned?"
        )


# Several files ------------------------------------------------------------------------------------


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sessions of one animal one after another, channels in the order of the first."""
    first = parts[0]
    for p in parts[1:]:
        if p["unit"] != first["unit"]:
            raise ValueError(
                f"{p['path'].name} is in {p['unit']!r}, {first['path'].name} in {first['unit']!r}: bring them to one unit."
            )
        if sorted(p["channels"]) != sorted(first["channels"]):
            lacking = sorted(set(first["channels"]) ^ set(p["channels"]))
            raise ValueError(
                f"{p['path'].name} and {first['path'].name} are sessions of one animal with other channels "
                f"({arguments.listed(lacking[:5])} "
                f"in one of them only): read the files one by one where units were not followed, with learner=... of each."
            )
        p["values"] = p["values"][..., [p["channels"].index(c) for c in first["channels"]]]
    return {
        "values": np.concatenate([p["values"] for p in parts]),
        "channels": first["channels"],
        "types": [t for p in parts for t in p["types"]],
        "sessions": np.concatenate([np.full(len(p["types"]), k) for k, p in enumerate(parts)]),
        "events": {name: [v for p in parts for v in p["events"][name]] for name in first["events"]},
    }


def _as_recordings(
    animals: Sequence[str],
    parts: Sequence[dict[str, Any]],
    kinds: Sequence[str],
    events: Mapping[str, str],
    unit: str,
    edges: np.ndarray | None,
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    labels: dict[str, tuple[str, ...]] = {}
    happened: dict[str, list[np.ndarray]] = {}
    for name in events:
        every = [v for p in parts for v in p["events"][name]]
        if not all(isinstance(v, (int, float, bool, np.number, np.bool_)) for v in every):
            labels[name] = tuple(sorted({str(v) for v in every}, key=natural))
            codes = {label: float(k) for k, label in enumerate(labels[name])}
            happened[name] = [np.array([codes[str(v)] for v in p["events"][name]]) for p in parts]
        else:
            happened[name] = [np.array(p["events"][name], dtype=float) for p in parts]
    most = max((p["channels"] for p in parts), key=len)
    same = all(list(p["channels"]) == list(most)[: len(p["channels"])] for p in parts)
    made: dict[str, Any] = dict(
        values=[torch.from_numpy(p["values"] if edges is not None else p["values"][:, 0]) for p in parts],
        trial_types=[torch.tensor([kinds.index(t) if kinds else 0 for t in p["types"]]) for p in parts],
        learners=animals,
        channels=most if same else None,
        type_names=kinds,
        sessions=[torch.from_numpy(p["sessions"]) for p in parts],
        events={name: [torch.from_numpy(v) for v in rows] for name, rows in happened.items()},
        unit=unit,
        times=None if edges is None else ((edges[1:] + edges[:-1]) / 2).tolist(),
    )
    return made, labels
