"""One optimised rule inside the distribution over rules: delayed discrimination, degree 3.

    python examples/bptl_and_posterior.py [--full] [--out runs/bridge]

Simulates rules of the prior, asks for those that learn in all of 32 networks, optimises rules by gradient from several
starts, and says where these lie in the posterior and which learn in fresh networks. About six minutes on two cores;
--full takes four times as many simulations, restarts and iterations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/bridge"))
    args = parser.parse_args()
    scale = 4 if args.full else 1

    family = sr.PolynomialRule(degree=3)
    simulator = RateRNN(family, sr.tasks.DelayedDiscrimination())
    prior = uniform(family, -0.6, 0.6)
    store = sr.simulate(simulator, prior, 8192 * scale, store=args.out / "store", seed=0, progress=True)
    posterior = sr.fit(store, prior, constraints={"learned": (1, 1)}, all_of_networks=32)

    optimiser = sr.BPTL(simulator, restarts=4 * scale, iterations=24 * scale)
    point = optimiser.fit(seed=0, progress=True)
    point.save(args.out / "point")
    print(f"\nBPTL, {optimiser.iterations} iterations, best of {optimiser.restarts} restarts\n{point}")
    print("all restarts: " + "; ".join(str(rate) for rate in point.success or []))

    found = sr.compare_point(posterior, point, simulator, seed=1)
    print(f"\nIn the posterior\n{found}")
    figure = found.figure()
    figure.savefig(args.out / "bridge.png")
    print(f"\nfigure: {args.out / 'bridge.png'}")


if __name__ == "__main__":
    main()
