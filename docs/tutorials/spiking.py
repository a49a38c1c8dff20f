"""Which rules of spikes keep a network plausible? And which rules remember? About three minutes on two cores."""

from pathlib import Path

import torch

import sbirules as sr
from sbirules.importance import degeneracy, dependence
from sbirules.priors import uniform
from sbirules.simulators import SpikingNetwork

OUT = Path("runs/tutorials/spiking")


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)

    # --8<-- [start:network]
    family = sr.SpikePairRule(["EE", "IE"])
    simulator = SpikingNetwork(family, num_excitatory=200, num_inhibitory=50, num_inputs=250, duration=6.0, judged=3.0)
    still = {name: 20.0 if name.startswith("tau") else 0.0 for name in family.names}
    balanced = still | sr.vogels2011(target_rate=4.0)
    hebbian = still | {"gamma_EE": 1.0}
    rules = [[rule[name] for name in family.names] for rule in (still, balanced, hebbian)]
    trains = simulator.spikes(rules, seed=1)
    for name, train in zip(("no plasticity", "balanced", "Hebbian"), trains, strict=True):
        print(f"{name}: {train}")
    # --8<-- [end:network]

    # --8<-- [start:raster]
    figure = sr.figures.raster(trains, labels=["no plasticity", "balanced", "Hebbian"])[0, 0].figure
    figure.savefig(OUT / "raster.png")
    # --8<-- [end:raster]

    # --8<-- [start:search]
    prior = uniform(family, -2, 2)
    asked = [
        {"rate_E": (1, 50), "rate_I": (1, 50)},
        {"cv_E": (0.7, 1.5), "correlation_E": (-0.05, 0.1)},
        {f"weight_at_bounds_{s}": (0, 0.2) for s in ("EE", "IE")},
    ]
    found = sr.filter_rules(
        simulator, prior, asked, budget=2400, num_simulations=400, folder=OUT / "rounds", seed=0, num_workers=2
    )
    print(found.table()[["simulations", "kept", "accepted", "successful"]])
    # --8<-- [end:search]

    # --8<-- [start:posterior]
    posterior = found.posterior(all_of_networks=4)
    checked = sr.check(posterior, simulator, rules=48, networks_per_rule=4, parts="predictions", num_workers=2)
    print(checked)
    # --8<-- [end:posterior]

    # --8<-- [start:across]
    print(dependence(posterior))
    print(dependence(posterior).strongest(3))
    print(degeneracy(posterior, simulator, num_rules=40, networks=2, num_workers=2))
    # --8<-- [end:across]

    # --8<-- [start:memory]
    learns = sr.SpikePairRule(["XE", "IE"])  # from inputs, and from inhibitory neurons, onto excitatory ones
    remembering = SpikingNetwork(
        learns,
        num_excitatory=200,
        num_inhibitory=50,
        num_inputs=200,
        in_degree_inputs=60,
        weights={"XE": 0.2, "XI": 0.2},
        learning_rate=0.003,
        duration=4.0,
        judged=2.0,
        pattern_share=0.2,
        memory_delays=[0.5, 3.0],
    )
    memories = sr.filter_rules(
        remembering,
        uniform(learns, -1, 1),
        [{"rate_E": (1, 50), "cv_E": (0.7, 1.5)}, {"memory_0": (0.2, 1)}, {"memory_1": (0.2, 1)}],
        budget=1500,
        num_simulations=500,
        folder=OUT / "memory",
        seed=0,
        num_workers=2,
    )
    print(memories.table()[["simulations", "kept", "accepted", "successful"]])
    # --8<-- [end:memory]

    # --8<-- [start:who_remembers]
    remembers = memories.posterior(all_of_networks=4)
    print(remembers.marginals()[["mean", "sd", "contraction"]].round(2))
    sr.figures.marginals(remembers)[0, 0].figure.savefig(OUT / "memory.png")
    # --8<-- [end:who_remembers]


if __name__ == "__main__":
    main()
