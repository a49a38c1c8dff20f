"""A study file to start from, with comments and, where the question is about data, an example table beside it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from importlib import resources
from pathlib import Path

from sbirules.commands.example_tables import EXAMPLES
from sbirules.commands.exits import EXIT

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Writes the study file and its table, and prints how to go on.

    Raises:
        ValueError: If the file does not end in .toml, or it or its table exists.
    """
    path: Path = args.file
    if path.suffix.lower() != ".toml":
        raise ValueError(f"FILE must end in .toml, as {path.name}.toml does, got {str(path)!r}.")
    if not path.name.isprintable():
        raise ValueError(f"FILE must be a name that can be printed, got {str(path)!r}.")
    table = path.with_name(f"{path.stem}_trials.csv") if args.question in EXAMPLES else None
    for place in (path, table):
        if place is not None and os.path.lexists(place):
            raise ValueError(f"{place} exists and is not overwritten; name another file, or move it away.")
    template = resources.files("sbirules.commands").joinpath("templates", f"{args.question}.toml").read_text("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {"FILE": path.name}
    if table is not None:
        names['"TABLE.csv"'] = json.dumps(table.name, ensure_ascii=False)
        print(f"{table}: an example table, simulated", flush=True)
        EXAMPLES[args.question]().write(table)
    with open(path, "x", encoding="utf-8") as file:
        # in one pass, since a name may hold what stands for another
        file.write(re.sub('FILE|"TABLE.csv"', lambda found: names.get(found[0], found[0]), template))
    print(f"{path}: a study that runs as it is, with comments on what to change")
    named, results = shlex.quote(str(path)), shlex.quote(str(Path("runs") / path.stem))
    print("Go on with")
    for command, what in (
        (f"run {named} --dry-run", "all settings, expected time and disk"),
        (f"run {named}", "the study; run again to go on where it stopped"),
        (f"open {results}", "its report"),
    ):
        print(f"  sbirules {command:<44} {what}")
    return EXIT["done"]
