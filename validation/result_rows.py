"""A goal, what was wanted and what was found; and files of such rows."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Row", "row", "run_parts", "write_rows"]

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


def run_parts(
    about: str | None, makers: Mapping[str, Callable[[bool, int], list[Row]]], packages: Sequence[str] = PACKAGES
) -> None:
    """A script of parts: each, called with `quick` and the number of jobs, gives rows; they are printed and kept as it goes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", nargs="*", choices=tuple(makers), default=list(makers))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    before = json.loads(args.json.read_text())["rows"] if args.json and args.json.is_file() else []
    rows: list[Row] = [r for r in before if r["part"] not in args.part]
    for part in args.part:
        start = time.monotonic()
        found = makers[part](args.quick, args.jobs)
        minutes = round((time.monotonic() - start) / 60, 1)
        for r in found:
            mark = {True: "met ", False: "MISS", None: "    "}[r["met"]]
            print(f"{mark} {r['goal']}: {r['found']}" + (f" (wanted {r['wanted']})" if r["wanted"] else ""), flush=True)
        print(f"     {part}: {minutes} minutes", flush=True)
        rows += [{**r, "part": part, "minutes": minutes, "quick": args.quick} for r in found]
        # as it goes: a part that fails later loses nothing
        write_rows(args.json, rows, packages=packages)
