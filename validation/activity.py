"""Do recordings narrow posteriors over rules, rightly? A fly's mushroom body, recorded units of networks, and families of rules.

    python validation/activity.py [--quick] [--part NAME ...] [--data ../shared/data] [--jobs N]
        [--json validation/results/activity.json]

- *mushroom*: calcium in a fly's output neuron (Gkanias et al. 2022, from the folder of data; left out without it) against known
  figures; all 21 cell types in one table.
- *added*: 24 learners of each of 100 rules of degree 2 under uniform(-1, 1), 20 of 64 units with noise: behaviour, activity and
  both, by posterior s.d., coverage and log score; one estimator of 8192 networks each, recalibrated on sets.
- *carried*: how much each summary adds to behaviour.
- *families*: three families planted in recurrent networks, told apart by evidence, with fewer trials and units; five in the
  hidden layer of feedforward networks.
- *speed*: a store of 10 000 networks with summaries of activity against one without.

Seeds are fixed. On two cores about an hour, with --quick about 5 minutes. Rows of other parts in the JSON file stay.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import pandas as pd
from activity_mushroom import CELL, FILE, all_cells, one_cell
from activity_networks import FULL, QUICK, added, carried, confusion, five_families, speed, three_families
from result_rows import Row, write_rows

PARTS = ("mushroom", "added", "carried", "families", "speed")
RECURRENT = [
    ("both", 300, 20),
    ("activity", 300, 20),
    ("both", 75, 20),
    ("activity", 75, 5),
]
FEEDFORWARD = [("both", 120, 20), ("both", 60, 5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes, start = (QUICK if args.quick else FULL), time.monotonic()
    before = json.loads(args.json.read_text()) if args.json and args.json.is_file() else {"rows": [], "tables": {}}
    rows: list[Row] = [r for r in before["rows"] if r["part"] not in args.part]
    tables: dict[str, str] = {k: v for k, v in before["tables"].items() if k.split(":")[0] not in args.part}

    def add(part: str, found: list[Row], frames: dict[str, pd.DataFrame | str]) -> None:
        rows.extend({**r, "part": part, "minutes": round((time.monotonic() - start) / 60, 1)} for r in found)
        for name, frame in frames.items():
            text = frame if isinstance(frame, str) else frame.round(3).to_string()
            tables[f"{part}: {name}"] = text
            print(f"{part}: {name}\n{text}\n", flush=True)
        write_rows(args.json, rows, quick=args.quick, tables=tables)  # a part that fails later loses nothing

    path = args.data / FILE
    if "mushroom" in args.part and path.is_file():
        found, compared = one_cell(path, 64 if args.quick else 400)
        add("mushroom", found, {CELL: compared})
        if not args.quick:
            found, table = all_cells(path, args.jobs, None)
            add("mushroom", found, {"cell types": table})
    if "added" in args.part:
        found, table = added(sizes, args.jobs)
        add("added", found, {"posterior s.d.": table})
    if "carried" in args.part and not args.quick:
        found, table = carried(sizes, args.jobs)
        add("carried", found, {"nats over behaviour": table})
    if "families" in args.part:
        found, frames = confusion(
            three_families(), sizes, args.jobs, RECURRENT[: 1 if args.quick else None], 0.9, sizes.of_family
        )
        add("families", found, dict(frames))
        if not args.quick:
            found, frames = confusion(five_families(), sizes, args.jobs, FEEDFORWARD, None, sizes.of_family // 2)
            add("families", found, {f"feedforward, {k}": v for k, v in frames.items()})
    if "speed" in args.part:
        add("speed", speed(sizes), {})
    for r in rows:
        mark = {True: "met ", False: "MISS", None: "    "}[r["met"]]
        print(f"{mark} {r['goal']}: {r['found']}" + (f" (wanted {r['wanted']})" if r["wanted"] else ""))
    print(f"{(time.monotonic() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
