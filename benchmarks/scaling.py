"""How the cost of the engine grows with units, steps, trials and batch, with the fitted exponents.

    python benchmarks/scaling.py [--device cuda] [--json FILE]

One process, one thread. Cost ~ size^exponent is a straight line through logarithms; the exponent of units is
between 1 (elementwise work) and 2 (matrix-vector products), those of steps, trials and batch should be 1.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from engine import Cue

from sbirules import PolynomialRule
from sbirules.simulators import RateRNN

BASE = {"units": 64, "steps": 50, "trials": 40, "batch": 128}
GRID = {
    "units": (32, 64, 128, 256),
    "steps": (25, 50, 100, 200, 400),
    "trials": (20, 40, 80, 160),
    "batch": (32, 64, 128, 256, 512),
}


def seconds(device: str, units: int, steps: int, trials: int, batch: int) -> float:
    """The fastest of three runs."""
    family = PolynomialRule(2)
    simulator = RateRNN(family, Cue(steps), num_units=units, num_trials=trials, warm_up=2, device=device)
    theta = 2e-4 * (torch.rand(batch, family.dim, generator=torch.Generator().manual_seed(0)) - 0.5)
    simulator.with_settings(num_trials=3).run(theta, seed=0, units="raw")
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    best = float("inf")
    for _ in range(3):
        wait()
        clock = time.perf_counter()
        simulator.run(theta, seed=0, units="raw")
        wait()
        best = min(best, time.perf_counter() - clock)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = dict(BASE) if args.device == "cpu" else {**BASE, "batch": 8192}
    out = {}
    for name, values in GRID.items():
        values = tuple(v * base[name] // BASE[name] for v in values)
        cost = [seconds(args.device, **{**base, name: value}) for value in values]
        exponent = float(np.polyfit(np.log(values), np.log(cost), 1)[0])
        out[name] = {"values": values, "seconds": cost, "exponent": exponent}
        cells = "  ".join(f"{v}: {c:.3f} s" for v, c in zip(values, cost, strict=True))
        print(f"{name:<7} exponent {exponent:5.2f}   {cells}", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
