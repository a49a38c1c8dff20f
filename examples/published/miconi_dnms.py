"""Miconi (2017), delayed non-match-to-sample: trials until 95 of the last 100 answers are correct (error below 1).

    python examples/published/miconi_dnms.py [--full] [--out runs/published/miconi_dnms]

His network of 200 units at a step of 1 ms, his rule (raw theta_33 = -0.1) and his protocol. 40 networks for 2000 trials
take about five minutes on one core; --full goes on to 10000 trials.
"""

from __future__ import annotations

import record
import torch

import sbirules as sr
from sbirules.simulators import MICONI_THETA_33, miconi2017

NETWORKS, WINDOW, NEEDED = 40, 100, 95


def trials_to_criterion(error: torch.Tensor) -> torch.Tensor:
    """First trial at which 95 of the last 100 were correct, `(networks,)`; infinite if never."""
    correct = torch.nn.functional.pad((error < 1.0).double().cumsum(dim=1), (1, 0))
    reached = correct[:, WINDOW:] - correct[:, :-WINDOW] >= NEEDED
    return torch.where(reached.any(dim=1), reached.int().argmax(dim=1) + float(WINDOW), torch.inf)


def main() -> None:
    args = record.options(__doc__, "miconi_dnms")
    torch.set_num_threads(1)
    trials = 10_000 if args.full else 2_000
    simulator = miconi2017(sr.tasks.DelayedNonMatchToSample(), num_trials=trials)
    rule = torch.full((NETWORKS, 1), MICONI_THETA_33) / simulator.raw_per_unit.float()
    store = sr.simulate(simulator, rule, store=args.out / "store", seed=1, progress=True)
    first = trials_to_criterion(store.trajectory.error)
    quartiles = torch.quantile(
        first.double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), interpolation="lower"
    )
    low, median, high = (f"{q:.0f}" if q < torch.inf else f"above {trials}" for q in quartiles.tolist())
    solved = int((first < torch.inf).sum())
    record.record(
        args.out,
        [
            {
                "quantity": "non-match-to-sample, 200 units, 1 ms: median trials to criterion (quartiles)",
                "paper": "843 (692-1125), 20 runs; his program in 8 runs: 849-1707, three above 2000",
                "here": f"{median} ({low}-{high}); {solved} of {NETWORKS} within {trials} trials",
                "runs": f"{NETWORKS} networks",
            }
        ],
        trials_to_criterion=[t if t < torch.inf else None for t in first.tolist()],
    )


if __name__ == "__main__":
    main()
