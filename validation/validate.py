"""Runs every section, two at a time, and writes docs/validation.md with its pictures.

python validation/validate.py [SECTION ...] [--folder runs/validation]

Sections that are not named keep the results of their last run, if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
# the longest first, so that two at a time end together; printed in the order of PRINTED
SECTIONS = ("success", "calibration", "exact", "rounds", "structure", "costs")
PRINTED = ("exact", "calibration", "success", "structure", "rounds", "costs")
LIBRARIES = ("torch", "sbi", "zuko", "pyro-ppl", "numba")


def run(name: str, folder: Path) -> int:
    """One section in a process of its own, one thread."""
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), str(place)], env=quiet)
    return done.returncode


def document(folder: Path) -> str:
    """The text of docs/validation.md from the sections' results."""
    found = {n: json.loads((folder / n / "section.json").read_text()) for n in PRINTED if (folder / n).is_dir()}
    rows = [row for section in found.values() for row in section["rows"]]
    mark = {True: "yes", False: "**no**", None: ""}
    lines = [
        "# Validation",
        "",
        f"Written by `make validate` on {date.today().isoformat()}: {platform.machine()}, {os.cpu_count()} cores, "
        "no GPU; "
        + ", ".join(f"{name} {version(name).split('+')[0]}" for name in LIBRARIES)
        + ". Every section simulates anew; the draws by NUTS are read from `validation/nuts.safetensors`, which "
        "`make validate-full` makes anew, too. Goals were set before the figures were known.",
        "",
        "| | goal | found | met |",
        "|---|---|---|---|",
        *(f"| {row['what']} | {row['goal']} | {row['found']} | {mark[row['met']]} |" for row in rows),
    ]
    for name, section in found.items():
        minutes = section["seconds"] / 60
        lines += ["", f"## {section['title']}", "", section["text"], "", f"`validation/{name}.py`, {minutes:.0f} min."]
        for file, caption in section["figures"].items():
            shutil.copy(folder / name / file, DOCS / file)
            lines += ["", f"![{caption}]({file})"]
        for table in section["tables"]:
            lines += ["", "```", table, "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS))
    parser.add_argument("--folder", type=Path, default=HERE.parent / "runs" / "validation")
    args = parser.parse_args()
    chosen = [name for name in SECTIONS if name in args.sections]
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda name: run(name, args.folder), chosen))
    broken = [name for name, code in zip(chosen, codes, strict=True) if code]
    DOCS.mkdir(exist_ok=True)
    (DOCS / "validation.md").write_text(document(args.folder))
    if broken:
        sys.exit(f"these sections broke off: {', '.join(broken)}")


if __name__ == "__main__":
    main()
