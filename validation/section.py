"""One part of the validation: its rows, goal beside figure, its text and its pictures."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


@dataclass
class Row:
    """What was measured, what was wanted, what was found."""

    what: str
    goal: str
    found: str
    met: bool | None = None


@dataclass
class Section:
    """A section of docs/validation.md."""

    title: str
    text: str
    rows: list[Row] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)  # fixed-width text
    figures: dict[str, str] = field(default_factory=dict)  # file name: what it shows
    seconds: float = 0.0


def main(make: Callable[[Path], Section]) -> None:
    """Runs one section into the folder named on the command line: `section.json` and pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    clock = time.monotonic()
    section = make(folder)
    section.seconds = time.monotonic() - clock
    (folder / "section.json").write_text(json.dumps(asdict(section), indent=1))
    for row in section.rows:
        print(f"{'' if row.met is None else 'met ' if row.met else 'MISSED '}{row.what}: {row.found} (goal {row.goal})")
