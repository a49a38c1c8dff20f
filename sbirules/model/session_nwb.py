"""Sessions from NWB files, one a file: a series of activity and one of stimulation, averaged in bins of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sbirules.model.recording_nwb import nwb_paths, opened, timed_series
from sbirules.support import arguments

__all__ = ["sessions_of_nwb"]

TOGETHER = 1_000_000  # frames in memory at once
DAY = 86_400.0  # seconds


def sessions_of_nwb(source: Any, series: str, stimulation: str | None, bin: float) -> dict[str, Any]:
    """What `Sessions.of` takes.

    Arguments:
        source: Files of one animal, a folder of them or a list; sessions are in the order of their start.
        series: Name of the series of activity, such as `"lfp"`.
        stimulation: Name of that of stimulation; None for none.
        bin: Seconds that are averaged to one sample.
    """
    found: list[tuple[float, str, list[np.ndarray]]] = []
    width = arguments.above("bin", bin, 0.0)
    for path in nwb_paths(source):
        with opened(path) as file:
            every = [timed_series(path, file, name) for name in (series, stimulation) if name is not None]
            begin = max(float(times[0]) for _, times in every)
            end = min(float(times[-1]) for _, times in every)
            count = int((end - begin) / width + 1e-9)
            if count < 1:
                raise ValueError(
                    f"{path.name}: {series} and {stimulation} have less than one bin of {width:g} s in common, from {begin:g} to "
                    f"{end:g} s: are their clocks the same?"
                )
            edges = begin + width * np.arange(count + 1)
            parts = [_binned(path, one, times, edges) for one, times in every]
            subject = getattr(file.subject, "subject_id", None) or path.stem
            start = (
                file.session_start_time.timestamp() / DAY if file.session_start_time is not None else float(len(found))
            )
        found.append((start, str(subject), parts))
    animals = {subject for _, subject, _ in found}
    if len(animals) > 1:
        raise ValueError(
            f"source must be files of one animal, got those of {arguments.listed(sorted(animals))}: read each animal's alone."
        )
    found.sort(key=lambda one: one[0])
    return {
        "observations": [parts[0] for _, _, parts in found],
        "inputs": [parts[1] for _, _, parts in found] if stimulation is not None else None,
        "dt": width,
        "time": [start - found[0][0] for start, _, _ in found],
        "learner": found[0][1],
    }


def _binned(path: Path, series: Any, times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of each channel in each bin, `(bins, channels)`, a part of the frames at a time."""
    at = np.searchsorted(times, edges - 1e-9)
    if bool((np.diff(at) < 1).any()):
        k = int(np.flatnonzero(np.diff(at) < 1)[0])
        raise ValueError(
            f"{path.name}: {series.name} has no frame from {edges[k]:g} to {edges[k + 1]:g} s: take longer bins, or mend the gap."
        )
    out, first = [], 0
    while first < len(at) - 1:
        last = max(int(np.searchsorted(at, at[first] + TOGETHER, side="right")) - 1, first + 1)
        block = np.asarray(series.data[at[first] : at[last]], dtype=float).reshape(at[last] - at[first], -1)
        sums = np.add.reduceat(block, at[first:last] - at[first], axis=0)
        out.append(sums / np.diff(at[first : last + 1])[:, None])
        first = last
    return np.concatenate(out) * float(series.conversion or 1.0)
