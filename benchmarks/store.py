"""Peak memory and time of a million simulations of a cheap simulator, written to a store and read back.

    python benchmarks/store.py [--simulations 1000000] [--trials 100] [--workers 2]

Writes shards, counts failures, then passes over all rows in shuffled batches, as training would.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import joblib
import torch
from joblib.externals.loky import get_reusable_executor

from sbirules import Coefficient, RuleFamily, Simulator, Status, Task, Trajectory, TrialTensors, simulate
from sbirules.priors import uniform
from sbirules.support.streams import generator


class Line(RuleFamily):
    """Nine coefficients, as many as rules of degree 2 have."""

    coefficients = tuple(Coefficient(f"a{k}") for k in range(9))


class Nothing(Task):
    type_names = ("only",)

    def tensors(self, dt):
        return TrialTensors(torch.zeros(1, 4, 1), torch.zeros(1), torch.ones(4, dtype=torch.bool))


class Cheap(Simulator):
    """Errors that follow a line through the trials."""

    raw_per_unit = torch.ones(9)
    batch = 4096

    def __init__(self, num_trials: int) -> None:
        super().__init__(Line(), Nothing(), ["final_error", "learning_curve"])
        self.num_trials = num_trials

    def config(self):
        return {"simulator": "cheap", "num_trials": self.num_trials}

    def run(self, theta, *, seed=None, trial_types=None, **options):
        types = self.sequence_matrix(trial_types, len(theta))
        slope = torch.linspace(0, 1, types.shape[1])
        error = (theta[:, :1] + theta[:, 1:2] * slope + torch.randn(types.shape, generator=generator(seed))).abs()
        return Trajectory(
            torch.full((len(theta),), int(Status.OK), dtype=torch.int8),
            types,
            self.layout.completed({"error": error, "output": error}, "trial"),
            type_names=self.type_names,
        )


def peak(who: int) -> float:
    """Largest resident memory so far, in GiB."""
    return resource.getrusage(who).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=joblib.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clock = time.perf_counter()
        simulator, prior = Cheap(args.trials), uniform(Line(), -1, 1)
        store = simulate(simulator, prior, args.simulations, store=folder, num_workers=args.workers)
        wrote = time.perf_counter() - clock
        get_reusable_executor().shutdown(wait=True)  # only workers that have ended are counted
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**30
        clock = time.perf_counter()
        rows = sum(len(theta) for theta, _ in store.dataset("theta", "x", batch_size=1024))
        read = time.perf_counter() - clock
        clock = time.perf_counter()
        simulate(simulator, prior, args.simulations, store=folder, progress=False)  # reads all of it
        checked = time.perf_counter() - clock
    print(f"{len(store)} simulations in {store.num_shards} shards, {size:.2f} GiB")
    print(f"written in {wrote:.1f} s, {rows} rows read in shuffled batches in {read:.1f} s, checked in {checked:.1f} s")
    print(f"peak memory: {peak(resource.RUSAGE_SELF):.2f} GiB, largest worker {peak(resource.RUSAGE_CHILDREN):.2f} GiB")


if __name__ == "__main__":
    main()
