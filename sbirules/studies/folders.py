"""What a folder of results says of its study, and what a run would replace there."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sbirules.stores.configuration import refuse_others
from sbirules.studies.problems import StudyError
from sbirules.studies.study import Study
from sbirules.support import arguments
from sbirules.support.files import differences, read_json, reading, write_bytes, write_json

__all__ = ["STORE", "keep_study", "plain_toml", "refuse_other_simulations", "replaced", "study_of", "trusted"]

STUDY = "study.toml"  # every setting
ORIGIN = "origin.json"  # the study's name, and where its file was
STORE = "store"
FINISHED = ("summary.json", "report.html")


def trusted(folder: Path) -> None:
    """Lets names of the form "module:Class" import what lies in the study's folder."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)


def study_of(folder: Path, *, trust: bool = False) -> Study:
    """The study whose results a folder holds.

    Raises:
        ValueError: If it holds none.
    """
    if not (folder / "study.toml").is_file():
        raise ValueError(
            f"{folder} holds no results of a study: study.toml is missing. Run 'sbirules run STUDY.toml --out {folder}' first."
        )
    origin = {"name": folder.name, "folder": str(folder)}
    if (folder / ORIGIN).is_file():
        with reading(folder / ORIGIN, "Remove it, or run the study again."):
            written = read_json(folder / ORIGIN)
            for name in origin:
                arguments.instance(name, written[name], str)
                origin[name] = written[name]
            if "\0" in origin["folder"]:
                raise ValueError("folder is no path")
    if trust:
        trusted(Path(origin["folder"]))
    try:
        study = Study.read(folder / "study.toml", trust=trust)
    except StudyError as error:
        if not trust and "--trust" in str(error):
            raise ValueError(str(error)) from error
        raise ValueError(f"{folder / 'study.toml'} is not as it was written: {error}") from error
    return replace(study, name=origin["name"], folder=Path(origin["folder"]))


def plain_toml(value: Any) -> Any:
    """Plain types that TOML knows: infinities stay numbers there."""
    if isinstance(value, dict):
        return {str(k): plain_toml(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_toml(v) for v in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def keep_study(study: Study, folder: Path, text: str) -> None:
    """Keeps the resolved study, and where it came from."""
    write_bytes(folder / STUDY, text.encode())
    write_json(folder / ORIGIN, {"name": study.name, "folder": str(study.folder)})


def refuse_other_simulations(study: Study, folder: Path) -> None:
    """Raises ValueError if the folder's store belongs to another configuration, as a run does; makes nothing."""
    if not study.exact:
        s = study.simulate
        refuse_others(
            folder / STORE,
            study.simulator,
            study.prior,
            s.num_simulations,
            seed=s.seed,
            shard_size=s.shard_size,
            trial_types=study.question.trial_types,
        )


def replaced(study: Study, folder: Path) -> str:
    """A line on whose results a run replaces and what changed; empty where it says the same again, or nothing is there."""
    if not (folder / STUDY).is_file() or not any((folder / name).is_file() for name in FINISHED):
        return ""
    try:
        then = tomllib.loads((folder / STUDY).read_text("utf-8"))
        name = str(read_json(folder / ORIGIN).get("name", folder.name)) if (folder / ORIGIN).is_file() else folder.name
    except (OSError, ValueError):  # it is written anew
        return f"results in {folder} are replaced, since what they are of cannot be read any more"
    now: Mapping[str, Any] = plain_toml(study.resolved())
    changed = list(dict.fromkeys(key.partition(".")[0] for key, _, _ in differences(then, now)))
    listed = ", ".join(f"[{key}]" for key in changed)
    return f"results of {name} in {folder} are replaced, since {listed} changed" if changed else ""
