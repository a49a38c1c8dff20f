"""Constraints, filter rounds that start at an optimised rule, and sensitivity. About two minutes on two cores."""

from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

OUT = Path("runs/tutorials/constraints")


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    family = sr.PolynomialRule(degree=3, terms=["theta_00", "theta_11", "theta_13", "theta_22", "theta_31", "theta_33"])
    simulator = RateRNN(
        family,
        sr.tasks.DelayedDiscrimination(),
        num_units=48,
        num_trials=200,
        summaries=["learned", "final_error", "mean_rate", "weight_change"],
    )
    prior = uniform(family, -1.5, 1.5)

    # --8<-- [start:point]
    point = sr.BPTL(simulator, episodes=60, networks=8, restarts=2, iterations=12, learning_rate=0.1).fit(seed=0)
    print(point)
    # --8<-- [end:point]

    # --8<-- [start:rounds]
    found = sr.filter_rules(
        simulator,
        prior,
        [{"learned": (1, 1)}, {"mean_rate": (0, 0.6)}],
        budget=4096,
        num_simulations=1024,
        start=point,
        folder=OUT / "rounds",
    )
    print(found.table().round(3))
    sr.figures.filter_rounds(found).figure.savefig(OUT / "rounds.png")
    # --8<-- [end:rounds]

    # --8<-- [start:posterior]
    posterior = found.posterior(all_of_networks=4)
    print(sr.compare_point(posterior, point, simulator, networks=64, rules=64))
    checked = sr.check(posterior, simulator, store=found.stores[0], rules=48, networks_per_rule=8)
    print(checked)
    # --8<-- [end:posterior]

    # --8<-- [start:sensitivity]
    matters = sr.sensitivity(posterior, simulator, store=found.stores, num_rules=24, networks=4)
    print(matters)
    matters.knock_outs.figure().figure.savefig(OUT / "knock_outs.png")
    sr.regimes(posterior, simulator, num_rules=32, networks=2).figure()[0, 0].figure.savefig(OUT / "regimes.png")
    # --8<-- [end:sensitivity]


if __name__ == "__main__":
    main()
