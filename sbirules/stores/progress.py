"""Wall time spent on a store, over all resumptions; one file for each range of shards that ran apart."""

from __future__ import annotations

import warnings
from pathlib import Path

from sbirules.support import arguments
from sbirules.support.files import read_json, reading, write_json

__all__ = ["add_seconds", "seconds"]


def seconds(folder: Path) -> float:
    """All that was spent."""
    return sum(map(_read, folder.glob("progress*.json")))


def add_seconds(folder: Path, more: float, part: str = "") -> None:
    """Adds to what was spent; jobs that run side by side name their `part`."""
    path = folder / f"progress{part}.json"
    before = _read(path) if path.is_file() else 0.0
    write_json(path, {"seconds": round(before + more, 3)})


def _read(path: Path) -> float:
    try:
        with reading(path):
            return arguments.at_least("seconds", read_json(path)["seconds"], 0.0)
    except ValueError as error:  # no result hangs on it
        warnings.warn(f"{error} The time spent is counted anew.")
        return 0.0
