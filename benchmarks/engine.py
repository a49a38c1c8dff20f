"""Network-trials per second of the engine, beside the same engine with the trace stepped through time.

    python benchmarks/engine.py [--workers 2] [--networks 1024] [--trials 60]

64 units, 50 steps (delayed discrimination), every worker one thread. Both sides run in one go; the ratio is
what to compare between machines.
"""

from __future__ import annotations

import argparse
import platform
import time

import joblib
import torch

from sbirules import PolynomialRule, RuleFamily
from sbirules.simulators import RateRNN
from sbirules.tasks import DelayedDiscrimination


class Stepped(PolynomialRule):
    """The polynomial family with the default trace: an N x N update at every step."""

    trace = RuleFamily.trace


def work(family: RuleFamily, networks: int, trials: int, seed: int) -> float:
    """Seconds for one worker's share; the time to set up is left out."""
    torch.set_num_threads(1)
    simulator = RateRNN(family, DelayedDiscrimination(), num_trials=trials, warm_up=2)
    theta = 0.002 * (torch.rand(networks, family.dim, generator=torch.Generator().manual_seed(seed)) - 0.5)
    simulator.run(theta[:8], seed=seed, units="raw")
    clock = time.perf_counter()
    simulator.run(theta, seed=seed, units="raw")
    return time.perf_counter() - clock


def rate(family: RuleFamily, workers: int, networks: int, trials: int) -> float:
    """Network-trials per second of all workers together."""
    share = networks // workers
    jobs = (joblib.delayed(work)(family, share, trials, k) for k in range(workers))
    slowest = max(joblib.Parallel(n_jobs=workers)(jobs))
    return share * workers * trials / slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=joblib.cpu_count())
    parser.add_argument("--networks", type=int, default=1024)
    parser.add_argument("--trials", type=int, default=60)
    args = parser.parse_args()
    print(f"{platform.machine()}, {args.workers} one-thread workers, torch {torch.__version__}")
    print(f"{'degree':>6} {'products':>12} {'stepped':>12} {'ratio':>7}   (network-trials per second)")
    for degree in (2, 3):
        fast = rate(PolynomialRule(degree), args.workers, args.networks, args.trials)
        slow = rate(Stepped(degree), args.workers, max(args.networks // 16, 128), args.trials // 3)
        print(f"{degree:>6} {fast:>12.0f} {slow:>12.0f} {fast / slow:>7.1f}")


if __name__ == "__main__":
    main()
