"""How close posteriors given one observation come to the exact one, for a given number of simulations.

    python benchmarks/closed_form.py [--simulations 2000 10000] [--observations 10] [--estimator likelihood]

Nine coefficients under uniform(-1, 1), seen through 20 noisy projections of the weight change (`LinearGaussian`);
default settings of `fit`. C2ST is the accuracy of a classifier that tells 2000 draws from exact ones: 0.5 is perfect.
"""

from __future__ import annotations

import argparse
import time

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import LinearGaussian
from sbirules.streams import seeded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--observations", type=int, default=10)
    parser.add_argument("--estimator", default="likelihood", choices=["likelihood", "npe"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    simulator = LinearGaussian()
    prior = uniform(simulator.family, -1, 1)
    with seeded(99):
        x_o = simulator(prior.sample((args.observations,)))
    print(f"{'simulations':>11} {'C2ST':>6} {'worst':>6} {'W1/s.d.':>8} {'coverage':>9} {'fit s':>6} {'sample s':>9}")
    for n in args.simulations:
        store = sr.simulate(simulator, prior, n, progress=False, num_workers=1, seed=1)
        clock = time.perf_counter()
        posterior = sr.fit(store, prior, x_o=x_o[0], estimator=args.estimator)
        fitted = time.perf_counter() - clock
        found, drawn = [], 0.0
        for row in x_o:
            here = posterior.given(row)
            clock = time.perf_counter()
            draws = here.sample((2000,))
            drawn += time.perf_counter() - clock
            found.append(sr.reference.compare(draws, simulator.posterior(row, prior), names=posterior.names))
        c2st = [f.c2st for f in found]
        distance = sum(max(f.wasserstein.values()) for f in found) / len(found)
        coverage = sum(sum(f.coverage.values()) / len(f.coverage) for f in found) / len(found)
        print(
            f"{n:>11} {sum(c2st) / len(c2st):>6.3f} {max(c2st):>6.3f} {distance:>8.3f} {coverage:>9.3f} "
            f"{fitted:>6.0f} {drawn / len(found):>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
