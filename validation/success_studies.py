"""Constraints in n of n networks: does the success that is predicted come true, on three studies?

    python validation/success_studies.py [--quick] [--jobs N] [--json validation/results/success_studies.json]

Delayed discrimination learned, delayed non-match begun to be learned (an error below .95 where chance is 1), and moderate rates;
degree 3 under uniform(-.6, .6), 64 units, 300 trials. For n = 1 and 8 the posterior of 8192 networks of the prior; for n = 32
that and two rounds of 2048. 512 posterior rules, 8 fresh networks each: their success against what the classifier predicts of
the same rules. Seeds are fixed. On two cores about 20 minutes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from result_rows import row, write_rows

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN
from sbirules.support.rates import mean_rate

SEED = 20261127
TASKS = sr.tasks
STUDIES: dict[str, tuple[Any, list[str], dict[str, tuple[float, float]]]] = {
    "delayed discrimination": (TASKS.DelayedDiscrimination, ["learned"], {"learned": (1, 1)}),
    "delayed non-match": (TASKS.DelayedNonMatchToSample, ["final_error"], {"final_error": (0.0, 0.95)}),
    "moderate rates": (
        TASKS.DelayedDiscrimination,
        ["mean_rate", "saturation"],
        {"mean_rate": (0.05, 0.5), "saturation": (0.0, 0.1)},
    ),
}


def study(name: str, quick: bool, jobs: int) -> list[dict[str, Any]]:
    task, summaries, asked = STUDIES[name]
    family = sr.PolynomialRule(degree=3)
    simulator = RateRNN(family, task(), num_trials=300, summaries=summaries)
    prior = uniform(family, -0.6, 0.6)
    keep: dict[str, Any] = {"num_workers": jobs, "progress": False}
    store = sr.simulate(simulator, prior, 2048 if quick else 8192, seed=SEED, **keep)
    out = []
    for n in (1, 8, 32):
        start = time.monotonic()
        posterior = sr.fit(store, prior, constraints=asked, all_of_networks=n)
        if n == 32 and not quick:
            posterior, _ = sr.refine(
                posterior,
                simulator,
                store,
                prior,
                rounds=2,
                num_simulations=2048,
                constraints=asked,
                all_of_networks=n,
                seed=SEED,
                **keep,
            )
        theta = posterior.sample((128 if quick else 512,), seed=5)
        fresh = sr.simulate(simulator, theta.repeat_interleave(8, dim=0), seed=SEED + n, **keep)
        ok = torch.ones(len(fresh.x), dtype=torch.bool)
        for k, column in enumerate(fresh.summary_names):
            low, high = asked.get(column, (-float("inf"), float("inf")))
            ok &= (fresh.x[:, k] >= low) & (fresh.x[:, k] <= high)  # NaN of failed networks is outside
        share = mean_rate(ok.float().reshape(len(theta), 8).mean(dim=1))
        told = posterior.predicted_success(theta)
        assert told is not None
        predicted = float(told.mean())
        text = (
            f"predicted {predicted:.3f}, observed {share.value:.3f} ± {share.se:.3f}; {time.monotonic() - start:.0f} s"
        )
        met = abs(predicted - share.value) <= 2 * max(share.se, 1e-3)
        out.append(row(f"{name}, n = {n}", "within 2 s.e.", text, met))
        print("met " if met else "MISS", name, n, text, flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    for name in STUDIES:
        rows += study(name, args.quick, args.jobs)
        write_rows(args.json, rows, quick=args.quick)


if __name__ == "__main__":
    main()
