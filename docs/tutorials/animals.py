"""From an animal's trial table to a posterior over its learning rule. About two minutes on two cores."""

from pathlib import Path

import pandas as pd
import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

OUT = Path("runs/tutorials/animals")
FAMILY = sr.PolynomialRule(degree=3, terms=["theta_11", "theta_13", "theta_31", "theta_33"])
TASK = sr.tasks.DelayedDiscrimination()
HIDDEN = [0.0, 0.0, 0.0, -0.8]  # the rule of the animals that we pretend to have


def pretend_table(path: Path) -> None:
    """Twelve learners with sessions of unequal length, as a lab would keep them."""
    lab = RateRNN(FAMILY, TASK, num_units=48, num_trials=200)
    run = lab.run([HIDDEN] * 12, seed=(2026, 11))
    rows = [
        {
            "learner": f"animal {i + 1}",
            "trial": t,
            "trial_type": TASK.type_names[t % 2],
            "error": float(run.error[i, t]),
        }
        for i in range(12)
        for t in range(200 if i % 3 else 160)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    pretend_table(OUT / "animals.csv")

    # --8<-- [start:read]
    animals = sr.Trials.read(OUT / "animals.csv", TASK.type_names)
    print(len(animals), "animals with", animals.num_trials.tolist(), "trials")
    # --8<-- [end:read]

    # --8<-- [start:simulate]
    simulator = RateRNN(FAMILY, TASK, num_units=48, num_trials=200)
    prior = uniform(FAMILY, -1.0, 1.0)
    store = sr.simulate(simulator, prior, 4096, store=OUT / "store", seed=0, trial_types=animals.trial_types)
    # --8<-- [end:simulate]

    # --8<-- [start:fit]
    train, held_out = animals.subset(range(10)), animals.subset([10, 11])
    posterior = sr.fit(store, prior, trials=train)
    posterior, _ = sr.refine(
        posterior,
        simulator,
        store,
        prior,
        rounds=1,
        num_simulations=1024,
        folder=OUT / "rounds",
        trials=train,
        trial_types=train.trial_types,
    )
    print(posterior.marginals().round(2))
    # --8<-- [end:fit]

    # --8<-- [start:check]
    checked = sr.check(
        posterior,
        simulator,
        store=store,
        trials=train,
        rules=64,
        calibration=100,
        held_out={"two other animals": (simulator, held_out)},
        folder=OUT / "check",
    )
    print(checked)
    sr.figures.pairs(posterior, truth=HIDDEN)[0, 0].figure.savefig(OUT / "pairs.png")
    sr.report(OUT / "report.html", posterior, simulator, checked=checked, store=store, title="Twelve animals")
    # --8<-- [end:check]


if __name__ == "__main__":
    main()
