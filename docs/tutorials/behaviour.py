"""From a table of flies' choices to a posterior over their plasticity rule. About a minute on one core."""

from importlib import resources
from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork

OUT = Path("runs/tutorials/behaviour")


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)

    # --8<-- [start:read]
    table = resources.files("sbirules") / "studies" / "flies.csv"
    columns = {"learner": "fly", "choice": "odor"}
    trials = sr.Trials.read(str(table), columns=columns)
    print(trials.describe())
    # --8<-- [end:read]

    # --8<-- [start:fit]
    family = sr.TaylorRule(["c rd", "c", "w"])
    simulator = PolicyNetwork(family)
    prior = uniform(family, -0.6, 0.6, w=(-0.6, 0.0))
    posterior = sr.fit(simulator, prior, trials=trials)
    print(posterior.marginals().round(3))
    # --8<-- [end:fit]

    # --8<-- [start:truth]
    truth = [0.16, 0.17, -0.12, 0.0, 0.1]  # in the order of posterior.names
    axes = sr.figures.pairs(posterior, truth=truth)
    axes[0, 0].figure.savefig(OUT / "pairs.png")
    # --8<-- [end:truth]

    # --8<-- [start:check]
    checked = sr.check(posterior, simulator)
    print(checked)
    # --8<-- [end:check]

    # --8<-- [start:compare]
    families = {
        "rule": (simulator, prior),
        "coin": "coin",
        "random walk": "random_walk",
        "Q-learning": "q_learning",
    }
    scores = sr.compare_families(families, trials)
    print(scores)
    # --8<-- [end:compare]

    # --8<-- [start:report]
    page = OUT / "report.html"
    sr.report(page, posterior, simulator, checked=checked, title="Eighteen flies")
    # --8<-- [end:report]


if __name__ == "__main__":
    main()
