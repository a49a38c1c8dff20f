"""Looking at a table of choices, errors or recordings before a study is made of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sbirules.commands.exits import EXIT

__all__ = ["run"]

SEVERAL = ("stimulus", "values", "events", "trial")  # roles that several columns may have, joined by +


def run(args: argparse.Namespace) -> int:
    """Prints what would be read of a table.

    Raises:
        ValueError: If the table or what is said of it is wrong.
    """
    from dataclasses import asdict

    from sbirules.model.recording_files import holds_recordings
    from sbirules.model.recordings import Recordings
    from sbirules.model.tables import Trials
    from sbirules.support.columns import Columns
    from sbirules.support.files import plain

    columns: dict[str, Any] = dict(_pairs("--columns", args.columns))
    for role in SEVERAL:
        if role in columns and (role == "stimulus" or "+" in columns[role]):
            columns[role] = columns[role].split("+")
    rows = dict(_pairs("--rows", args.rows))
    reading: dict[str, Any] = {"columns": {k: v or None for k, v in columns.items()}, "rows": rows, "unit": args.unit}
    reading = {key: value for key, value in reading.items() if value}
    path = args.file
    kind = "recordings" if "values" in columns else "trials"
    if path.suffix.lower() == ".nwb" or args.unit or (path.suffix.lower() == ".npz" and holds_recordings(path)):
        kind = "recordings"
    if path.suffix.lower() == ".toml":
        if reading:
            raise ValueError(f"--{next(iter(reading))} belongs to a table; a study file says it in [data].")
        kind, path, reading = _data_of(path)
    if kind == "recordings":
        found = Recordings.read(path, **reading).describe()
        print(json.dumps(plain(asdict(found)), indent=1) if args.json else found)
        return EXIT["done"]
    names: tuple[str, ...] = ()
    told = reading.get("columns", {})
    if not {"choice", "accept"} & set(told):  # by the columns that it has, a table of errors may be one
        table = Columns.read("trials", path)
        if not {"choice", "accept"} & set(table.names) and {"error", "correct"} & {*table.names, *told}:
            types = told.get("trial_type", "trial_type")
            names = tuple(dict.fromkeys(table.labels(types))) if types in table else ("all",)
    summary = Trials.read(path, sorted(names) or None, **reading).describe()
    print(json.dumps(plain(asdict(summary)), indent=1) if args.json else summary)
    return EXIT["done"]


def _pairs(option: str, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values of `a=b,c=d`."""
    for text in (one for part in given for one in part.split(",") if one.strip()):
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{option} must be like name=value, separated by commas, got {text!r}.")
        yield name.strip(), value.strip()


def _data_of(path: Path) -> tuple[str, Path, dict[str, Any]]:
    """What a study file names in [data], trials or recordings, where it is and how it is to be read."""
    import tomllib

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error
    section = content.get("data")
    kinds = [
        kind for kind in ("trials", "recordings") if isinstance(section, dict) and isinstance(section.get(kind), str)
    ]
    if not kinds or not isinstance(section, dict):
        raise ValueError(
            f'{path.name} names no table: it needs [data] with trials = "choices.csv", or recordings = "responses.csv".'
        )
    keys = ("columns", "rows", "unit") if kinds[0] == "recordings" else ("columns", "rows", "options", "one_hot")
    reading = {key: section[key] for key in keys if key in section}
    for key in ("columns", "rows"):
        if not isinstance(reading.get(key, {}), dict):
            raise ValueError(f"[data] {key} must be a table of names, got {reading[key]!r:.80}.")
    return kinds[0], path.parent / section[kinds[0]], reading
