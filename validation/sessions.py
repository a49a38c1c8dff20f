"""Slow laws of plasticity: are posteriors over laws right, are laws told apart, and how well do fast-slow networks predict?

    python validation/sessions.py [--quick] [--part NAME ...] [--jobs N] [--json validation/results/sessions.json]

- *laws*: planted linear and BCM laws, scales observed with known errors: coverage of coefficients and of invariants, TARP.
- *families*: five laws planted in the same circuit, told apart by evidence, by number of sessions.
- *forecasts*: scales of sessions under schedules that were not tried, in their bands.
- *end to end*: laws planted in a known network whose activity is simulated, found again through a fitted network.
- *lorenz*, *bcm*, *ring*: the benchmarks of STEER (arXiv 2603.00213), beside what was published. Dynamical similarity (DSA) needs
  `pip install dsa-metric` and is left out without.
- *speed*: a fit of the Lorenz sessions with 8 restarts; cost over sessions and samples.

Seeds are fixed. On two cores about an hour, with --quick about 5 minutes. Rows of other parts in the JSON file stay.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from result_rows import PACKAGES, write_rows
from session_benchmarks import bcm_rows, lorenz_rows, ring_rows, speed_rows
from session_laws import end_to_end_rows, family_rows, forecast_rows, law_rows

PARTS = ("laws", "families", "forecasts", "end_to_end", "lorenz", "bcm", "ring", "speed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    before = json.loads(args.json.read_text())["rows"] if args.json and args.json.is_file() else []
    rows: list[dict[str, Any]] = [r for r in before if r["part"] not in args.part]
    makers = {
        "laws": lambda: law_rows(args.quick, args.jobs),
        "families": lambda: family_rows(args.quick, args.jobs),
        "forecasts": lambda: forecast_rows(args.quick, args.jobs),
        "end_to_end": lambda: end_to_end_rows(args.quick, args.jobs),
        "lorenz": lambda: lorenz_rows(args.quick),
        "bcm": lambda: bcm_rows(args.quick),
        "ring": lambda: ring_rows(args.quick),
        "speed": lambda: speed_rows(args.quick),
    }
    for part in args.part:
        start = time.monotonic()
        found = makers[part]()
        minutes = round((time.monotonic() - start) / 60, 1)
        for r in found:
            mark = {True: "met ", False: "MISS", None: "    "}[r["met"]]
            print(f"{mark} {r['goal']}: {r['found']}" + (f" (wanted {r['wanted']})" if r["wanted"] else ""), flush=True)
        print(f"     {part}: {minutes} minutes", flush=True)
        rows += [{**r, "part": part, "minutes": minutes, "quick": args.quick} for r in found]
        # as it goes: a part that fails later loses nothing
        write_rows(args.json, rows, packages=(*PACKAGES, "dsa-metric"))


if __name__ == "__main__":
    main()
