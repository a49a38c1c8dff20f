"""Quick start: from a rule family and a task to a posterior, its checks, and a report. About a minute on two cores."""

from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

OUT = Path("runs/tutorials/quick_start")


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    # --8<-- [start:model]
    family = sr.PolynomialRule(degree=3, terms=["theta_11", "theta_13", "theta_22", "theta_31", "theta_33"])
    task = sr.tasks.DelayedDiscrimination()  # two stimuli, a delay, two answers
    simulator = RateRNN(family, task, num_units=48, num_trials=200)
    prior = uniform(family, -1.0, 1.0)  # natural units
    # --8<-- [end:model]

    # --8<-- [start:one]
    rule = torch.zeros(1, 5)
    rule[0, family.names.index("theta_33")] = -0.8
    run = simulator.run(rule.expand(8, -1), seed=1, record=[0, 1, 198, 199])
    print(family.describe(rule[0]))
    print("error, first and last 20 trials:", run.error[:, :20].mean(), run.error[:, -20:].mean())
    sr.figures.activity(run, dt=5.0)[0, 0].figure.savefig(OUT / "activity.png")
    # --8<-- [end:one]

    # --8<-- [start:simulate]
    store = sr.simulate(
        simulator, prior, 4096, store=OUT / "store", seed=0
    )  # run again: nothing is lost, nothing redone
    print(store.status_counts())
    # --8<-- [end:simulate]

    # --8<-- [start:fit]
    posterior = sr.fit(store, prior, constraints={"learned": (1, 1)}, all_of_networks=8)
    theta = posterior.sample((4000,))
    print(posterior.marginals().round(2))
    sr.figures.marginals(posterior)[0, 0].figure.savefig(OUT / "marginals.png")
    # --8<-- [end:fit]

    # --8<-- [start:check]
    checked = sr.check(posterior, simulator, store=store, rules=64, networks_per_rule=8)
    print(checked)
    # --8<-- [end:check]

    # --8<-- [start:refine]
    posterior, _ = sr.refine(
        posterior,
        simulator,
        store,
        prior,
        rounds=2,
        num_simulations=2048,
        folder=OUT / "rounds",
        constraints={"learned": (1, 1)},
        all_of_networks=8,
    )
    checked = sr.check(posterior, simulator, store=store, rules=64, networks_per_rule=8)
    print(checked)
    # --8<-- [end:refine]

    # --8<-- [start:report]
    found = sr.sensitivity(posterior, simulator, store=store, num_rules=24, networks=4)
    print(found)
    sr.report(OUT / "report.html", posterior, simulator, checked=checked, sensitivity=found, store=store)
    # --8<-- [end:report]
    assert theta.shape == (4000, 5)
    assert checked.success.posterior_success.value > checked.success.prior_success.value
    print(f"open {OUT / 'report.html'}")


if __name__ == "__main__":  # where workers start a fresh Python, they may import this file
    main()
