"""Where the studies beside this file put what they found; `python record.py` makes one table of it."""

from __future__ import annotations

import argparse
import json
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path("runs/published")


def options(description: str | None, name: str) -> argparse.Namespace:
    """--full and --out, the same for every study."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the paper, better on a GPU")
    parser.add_argument("--out", type=Path, default=FOLDER / name, help="where results go (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def record(out: Path, rows: list[dict[str, str]], **details: Any) -> None:
    """Prints and keeps rows of `quantity`, `paper`, `here` and `runs`."""
    for row in rows:
        print(f"{row['quantity']}\n    paper: {row['paper']}\n    here:  {row['here']}  ({row['runs']})")
    machine = f"{platform.machine()}, torch {version('torch')}, numba {version('numba')}"
    content = {"rows": rows, "details": details, "machine": machine, "date": date.today().isoformat()}
    (out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(folder: Path) -> str:
    """All results under a folder, in Markdown."""
    lines = ["| study | quantity | paper | here | runs |", "|---|---|---|---|---|"]
    for path in sorted(folder.glob("*/result.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            lines.append(f"| {path.parent.name} | {row['quantity']} | {row['paper']} | {row['here']} | {row['runs']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(FOLDER))
