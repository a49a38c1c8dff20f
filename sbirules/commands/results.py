"""What a folder of results holds, how far its study came, and which command goes on."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PLACES", "Stage", "next_stage", "remedy", "study_in"]

PLACES = {  # what a finished study leaves
    "report.html": "the report, one page",
    "summary.json": "the numbers, for programs",
    "posterior.nc": "ArviZ InferenceData",
    "posterior": "for sr.Posterior.load",
    "baselines.csv": "the rule beside baselines",
    "figures": "every figure as PNG and SVG, its data as CSV",
    "study.toml": "all settings",
    "store": "the simulations",
}


@dataclass(frozen=True)
class Stage:
    """What is to be done next.

    Arguments:
        name: Of the stage.
        command: That does it, and what comes after it.
        why: What the folder lacks.
    """

    name: str
    command: str
    why: str


def study_in(folder: Path) -> dict[str, Any]:
    """The content of study.toml; empty where it is not there.

    Raises:
        ValueError: If it is not TOML.
    """
    path = folder / "study.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error


def next_stage(folder: Path) -> Stage | None:
    """The stage of an unfinished study that comes next; None of a finished one.

    Raises:
        ValueError: If the folder is not one of results.
    """
    place = shlex.quote(str(folder))
    from_the_start = f"sbirules run STUDY.toml --out {place}"
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; '{from_the_start}' makes it.")
    study = study_in(folder)
    if not study:
        if not (folder / "store").is_dir():
            raise ValueError(f"{folder} holds no results of a study; '{from_the_start}' makes some.")
        return Stage("simulate", from_the_start, "the simulations are not complete, or not fitted yet")
    trust = " --trust" if any(":" in str(v.get(k, "")) for v, k in _names(study)) else ""
    rest = f"sbirules report {place}{trust}"
    fitted, summary = folder / "posterior" / "asked.json", folder / "summary.json"
    if not fitted.is_file():
        return Stage("fit", rest, "there is no posterior")
    if not summary.is_file():
        return Stage("check", rest, "the posterior is not checked")
    if fitted.stat().st_mtime_ns > summary.stat().st_mtime_ns:
        return Stage("check", rest, "the posterior is newer than summary.json and the report")
    if not (folder / "report.html").is_file():
        return Stage("report", rest, "there is no report.html")
    return None


def remedy(folder: Path) -> str:
    """Which command makes what is missing, to end a message with."""
    stage = next_stage(folder)
    return "" if stage is None else f"'{stage.command}' makes it."


def _names(study: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Sections that may name a user's own code, and under which key."""
    keys = {"rule": "family", "task": "name", "simulator": "name"}
    return [(study[section], key) for section, key in keys.items() if isinstance(study.get(section), dict)]
