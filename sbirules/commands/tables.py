"""Looking at a table of choices, errors, recordings or session scales before a study is made of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbirules.commands.exits import EXIT

if TYPE_CHECKING:
    from sbirules.model.recording_summary import RecordingsSummary
    from sbirules.model.session_summary import SessionsSummary
    from sbirules.model.table_summary import TrialsSummary

__all__ = ["run"]

CHOICES, ERRORS = {"choice", "accept"}, {"error", "correct", "reward"}  # columns of which a table of trials has one
SEVERAL = (
    "stimulus",
    "values",
    "events",
    "trial",
    "scales",
    "errors",
    "stimulation",
)  # roles that several columns may have, joined by +


def run(args: argparse.Namespace) -> int:
    """Prints what would be read of a table.

    Raises:
        ValueError: If the table or what is said of it is wrong.
    """
    from dataclasses import asdict

    from sbirules.support.files import plain

    columns: dict[str, Any] = dict(_pairs("--columns", args.columns))
    for role in SEVERAL:
        if role in columns and (role == "stimulus" or "+" in columns[role]):
            columns[role] = columns[role].split("+")
    rows = dict(_pairs("--rows", args.rows))
    reading: dict[str, Any] = {"columns": {k: v or None for k, v in columns.items()}, "rows": rows, "unit": args.unit}
    reading = {key: value for key, value in reading.items() if value}
    if args.file.suffix.lower() == ".toml":
        if reading:
            raise ValueError(f"--{next(iter(reading))} belongs to a table; a study file says it in [data].")
        kind, path, reading = _data_of(args.file)
    else:
        kind, path = _kind(args.file, reading), args.file
    summary = SUMMARIES[kind](path, reading)
    print(json.dumps(plain(_told(asdict(summary))), indent=1) if args.json else summary)
    return EXIT["done"]


def _kind(path: Path, reading: dict[str, Any]) -> str:
    """Whether a file is to be read as recordings, session scales or trials."""
    from sbirules.model.recording_files import holds_recordings

    if "scales" in reading.get("columns", {}):
        return "sessions"
    said = "unit" in reading or "values" in reading.get("columns", {})
    suffix = path.suffix.lower()
    return "recordings" if said or suffix == ".nwb" or (suffix == ".npz" and holds_recordings(path)) else "trials"


def _of_recordings(path: Path, reading: dict[str, Any]) -> RecordingsSummary:
    from sbirules.model.recordings import Recordings

    return Recordings.read(path, **reading).describe()


def _of_sessions(path: Path, reading: dict[str, Any]) -> SessionsSummary:
    from sbirules.model.session_scales import SessionScales

    return SessionScales.read(path, **reading).describe()


def _told(content: dict[str, Any]) -> dict[str, Any]:
    """With tables as rows by name."""
    return {k: v.to_dict(orient="index") if hasattr(v, "to_dict") else v for k, v in content.items()}


def _of_trials(path: Path, reading: dict[str, Any]) -> TrialsSummary:
    from sbirules.model.tables import Trials
    from sbirules.support import arguments
    from sbirules.support.columns import Columns

    names: tuple[str, ...] = ()
    told = reading.get("columns", {})
    if not CHOICES & set(told):  # by the columns that it has, a table of errors may be one
        table = Columns.read("trials", path)
        if not (CHOICES | ERRORS) & {*table.names, *told}:
            raise ValueError(
                f"{table.where} has the columns {arguments.listed(table.names)}, which do not say what it holds; name its "
                f"columns: --columns choice=side for choices, error=miss for errors, values=dff for recordings, scales=a+b "
                f"errors=c+d for session scales."
            )
        if not CHOICES & set(table.names) and ERRORS & {*table.names, *told}:
            types = told.get("trial_type", "trial_type")
            names = tuple(dict.fromkeys(table.labels(types))) if types in table else ("all",)
    return Trials.read(path, sorted(names) or None, **reading).describe()


SUMMARIES: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
    "trials": _of_trials,
    "recordings": _of_recordings,
    "sessions": _of_sessions,
}


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

    from sbirules.inference.questions.choices import ChoicesQuestion
    from sbirules.inference.questions.recordings import RecordingsQuestion
    from sbirules.inference.questions.session_laws import SessionsQuestion

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error
    section = content.get("data")
    section = section if isinstance(section, dict) else {}
    readings = {q.argument: q.reading for q in (ChoicesQuestion, RecordingsQuestion, SessionsQuestion)}
    kind = next((kind for kind in readings if isinstance(section.get(kind), str)), None)
    if kind is None:
        raise ValueError(
            f'{path.name} names no table: it needs [data] with trials = "choices.csv", recordings = "responses.csv" or '
            'sessions = "scales.csv".'
        )
    reading = {key: section[key] for key in readings[kind] if key in section}
    for key in ("columns", "rows"):
        if not isinstance(reading.get(key, {}), dict):
            raise ValueError(f"[data] {key} must be a table of names, got {reading[key]!r:.80}.")
    return kind, path.parent / section[kind], reading
