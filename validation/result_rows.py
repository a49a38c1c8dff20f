"""A goal, what was wanted and what was found; and files of such rows."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Row", "row", "write_rows"]

Row = dict[str, Any]
PACKAGES = ("sbirules", "torch", "numba", "numpy")


def row(goal: str, wanted: str, found: str, met: bool | None) -> Row:
    return {"goal": goal, "wanted": wanted, "found": found, "met": met}


def write_rows(path: Path | None, rows: Sequence[Row], *, packages: Sequence[str] = PACKAGES, **more: Any) -> None:
    """Writes rows with date, machine, versions and what else is to be said; nothing where there is no path."""
    if path is None:
        return
    content = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: _installed(name) for name in packages},
        **more,
        "rows": list(rows),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
