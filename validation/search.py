"""Search over structures: is the planted rule found, are probabilities of structures right, and how fast is it?

    python validation/search.py [--quick] [--part NAME ...] [--jobs N] [--json validation/results/search.json]

- *planted*: ten rules of 2-4 terms, found from the choices of 18 simulated animals of 300 trials: by tree search, among rules
  drawn from the prior, by posterior over structures; sequentially thresholded fits and L1 beside it. Rules are one class where
  their log score on fresh animals differs by less than .1 nat per animal.
- *calibration*: 60 rules drawn from the prior without selection (6 animals of 150 trials): probabilities against hits.
- *fish*: five circuits of the optomotor response: models with and without drive and connections, in distribution and under a
  stimulus held out; their Jacobians; the posterior over circuits, beside pysindy (`pip install pysindy`, else left out).
- *speed*: nodes per second of a whole search; on a machine that does nothing else.

The prior over structures is 2^-complexity across complexities and uniform within one; coefficients are uniform(-1, 1), the decay
of weights uniform(-1, 0). Seeds are fixed. On two cores about an hour, with --quick about 5 minutes. Rows of other parts in the
JSON file stay.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from result_rows import write_rows
from search_fish import fish_rows
from search_rules import calibration_rows, planted_rows, speed_rows

PARTS = ("speed", "planted", "calibration", "fish")


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
        "speed": lambda: speed_rows(args.quick),
        "planted": lambda: planted_rows(args.quick, args.jobs),
        "calibration": lambda: calibration_rows(args.quick, args.jobs),
        "fish": lambda: fish_rows(args.quick, args.jobs),
    }
    for part in args.part:
        start = time.monotonic()
        found = makers[part]()
        minutes = round((time.monotonic() - start) / 60, 1)
        for r in found:
            mark = {True: "met ", False: "MISS", None: "    "}[r["met"]]
            print(f"{mark} {r['goal']}: {r['found']} (wanted {r['wanted']})", flush=True)
        print(f"     {part}: {minutes} minutes", flush=True)
        rows += [{**r, "part": part, "minutes": minutes, "quick": args.quick} for r in found]
        write_rows(args.json, rows)


if __name__ == "__main__":
    main()
