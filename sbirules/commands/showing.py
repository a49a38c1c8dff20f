"""What a folder of results says, in the terminal."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sbirules.commands.exits import EXIT
from sbirules.commands.results import PLACES, Stage, next_stage, study_in
from sbirules.model.verdicts import LEVELS

__all__ = ["run"]

MOST = 8  # coefficients that are shown
COLOURS = {"pass": "32", "caution": "33", "fail": "31"}  # green, yellow, red
QUESTIONS = ("constraints", "data", "observation")  # sections of study.toml that ask


def run(args: argparse.Namespace) -> int:
    """Prints the answer of a study, or which stage comes next.

    Raises:
        ValueError: If the folder holds no results, or --json asks for a summary that is not there.
    """
    folder: Path = args.folder
    searched = folder / "search.json"
    if searched.is_file() and not (folder / "study.toml").is_file():
        print(searched.read_text("utf-8").rstrip() if args.json else _searched(folder, searched))
        return EXIT["done"]
    stage = next_stage(folder)
    summary = _summary(folder)
    if args.json:
        if summary is None:
            raise ValueError(f"{folder} holds no summary.json; '{stage.command if stage else ''}' makes it.")
        print(json.dumps(summary, indent=1))
        return EXIT["done"]
    seen = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if seen else 0  # a file gets whole sentences
    coloured = seen and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    study = study_in(folder)
    try:
        lines = list(_lines(folder, summary or {}, study, stage, width, coloured))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"summary.json or study.toml in {folder} is damaged, or of another version; 'sbirules report {folder}' makes "
            f"summary.json anew."
        ) from error
    for line in lines:
        print(line)
    return EXIT["done"]


def _searched(folder: Path, path: Path) -> str:
    """The answer of a search over structures.

    Raises:
        ValueError: If its file is damaged.
    """
    from sbirules.support.files import read_json

    content = read_json(path)
    if not isinstance(content.get("answer"), str):
        raise ValueError(f"{path} is damaged, or of another version; run the search again.")
    return f"{content['answer']}\nThe page is {folder / 'search.html'}"


def _summary(folder: Path) -> dict[str, Any] | None:
    from sbirules.support.files import read_json

    path = folder / "summary.json"
    return dict(read_json(path)) if path.is_file() else None


def _lines(
    folder: Path,
    summary: Mapping[str, Any],
    study: Mapping[str, Any],
    stage: Stage | None,
    width: int,
    coloured: bool,
) -> Iterator[str]:
    yield from _wrapped(summary.get("question") or _asked(study), width)
    checks = summary.get("checks", {})
    if checks.get("headline"):
        yield ""
        yield from _wrapped(f"{checks['verdict'].upper()}: {checks['headline']}", width)
    if checks.get("checks"):
        yield ""
        yield from _verdicts(checks["checks"], width, coloured)
    if summary.get("baselines"):
        yield ""
        yield from _wrapped(summary["baselines"]["plasticity"], width)
    if summary.get("parameters"):
        yield ""
        yield from _coefficients(summary)
    yield ""
    exact = bool(summary) and not summary.get("simulations", {}).get("count")
    needless = [
        ("store", exact),
        ("baselines.csv", not summary.get("baselines")),
    ]  # nothing is simulated for exact fits
    yield from _folder(folder, {name for name, left_out in needless if left_out})
    if stage is not None:
        yield ""
        yield f"Next: {stage.name}, since {stage.why}."
        yield f"  {stage.command}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width - 1, 30)) if width else [text]


def _asked(study: Mapping[str, Any]) -> str:
    """The question's section, of studies that have no summary with the question in words."""
    for section in QUESTIONS:
        if section in study:
            listed = ", ".join(f"{name} = {json.dumps(value, default=str)}" for name, value in study[section].items())
            return f"Asked was [{section}]: {listed}."
    return "The simulations of a study whose question is not known here yet."


def _verdicts(checks: Mapping[str, Any], width: int, coloured: bool) -> Iterator[str]:
    """A line for each check, the worst first: level, name, finding."""
    wide = max(len(name) for name in checks)
    for name, check in sorted(checks.items(), key=lambda item: -LEVELS.index(item[1]["verdict"])):
        level = check["verdict"]
        finding = check["finding"]
        room = width - wide - 14
        if width and len(finding) > max(room, 10):
            finding = finding[: max(room, 10) - 3].rstrip() + "..."
        shown = f"\033[{COLOURS[level]}m{level:<8}\033[0m" if coloured else f"{level:<8}"
        yield f"  {shown}  {name:<{wide}}  {finding}"


def _coefficients(summary: Mapping[str, Any]) -> Iterator[str]:
    """The coefficients of which most was learned."""
    information = summary.get("checks", {}).get("checks", {}).get("information", {}).get("numbers", {})
    rows = []
    for name, p in summary["parameters"].items():
        told = _number(p.get("contraction", information.get(f"contraction_{name}")))
        rows.append((told, name, _number(p.get("median", p["mean"])), _number(p["q025"]), _number(p["q975"])))
    rows.sort(key=lambda row: -row[0] if row[0] == row[0] else math.inf)
    wide = max(len("coefficient"), *(len(row[1]) for row in rows))
    yield f"  {'coefficient':<{wide}}  {'median':>9}  {'95 % interval':^22}  contraction (0: nothing was learned, 1: all)"
    for told, name, middle, low, high in rows[:MOST]:
        learned = f"{told:.2f}" if told == told else "–"
        yield f"  {name:<{wide}}  {middle:>9.3g}  {low:>9.3g} to {high:<9.3g}  {learned:>6}"
    if len(rows) > MOST:
        yield f"  and {len(rows) - MOST} more, of which less was learned"


def _number(value: Any) -> float:
    """A number of summary.json, which has NaN and infinities as text; NaN for what is not there."""
    return math.nan if value is None else float(value)


def _folder(folder: Path, needless: set[str]) -> Iterator[str]:
    """What is there, and what is not but for what this study does not make."""
    wanted = {name: what for name, what in PLACES.items() if name not in needless}
    there = [name for name in wanted if (folder / name).exists()]
    yield f"{folder} holds"
    for name in there:
        yield f"  {name + ('/' if (folder / name).is_dir() else ''):<13} {wanted[name]}"
    missing = [name for name in wanted if name not in there]
    if missing:
        yield f"  missing: {', '.join(missing)}"
