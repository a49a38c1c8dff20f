"""From recordings to a posterior over rules: a fly's output neuron, and units of a network. About three minutes on two cores."""

from pathlib import Path

import pandas as pd
import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import MushroomBody, RateRNN

OUT = Path("runs/tutorials/recordings")
FAMILY = sr.PolynomialRule(degree=2, terms=["theta_01", "theta_11", "theta_21"])
TASK = sr.tasks.DelayedDiscrimination()
HIDDEN = [0.0, 0.6, 0.2]  # the rule of the networks that we pretend to have recorded


def pretend_flies(path: Path) -> None:
    """Calcium of an output neuron in eight flies, as a lab would keep it: odour B comes with a shock from its third time on."""
    rows = [
        {"fly": f"fly {f + 1}", "repeat": n // 2, "odour": "AB"[n % 2], "shock": int(n % 2 and 4 <= n < 12), "dff": 1.0}
        for f in range(8)
        for n in range(16)
    ]
    frame = pd.DataFrame(rows)
    columns = {"learner": "fly", "trial": ["repeat", "odour"], "trial_type": "odour", "values": "dff"}
    given = sr.Recordings.read(frame, columns={**columns, "events": ["odour", "shock"]}, unit="dF/F")
    fly = MushroomBody(sr.TaylorRule(["x r", "w"]), dopamine="shock").suited(given)
    hidden = {
        "x_r": -0.5,
        "w": -0.1,
        "overlap": 0.2,
        "gain": 3.0,
        "gain_spread": 0.4,
        "noise": 0.2,
        "noise_growth": 0.25,
    }
    made = fly.recorded(torch.tensor([hidden.get(name, 0.0) for name in fly.names]), seed=2026)
    frame["dff"] = made.values.flatten().round(decimals=3).numpy()
    frame.to_csv(path, index=False)


def pretend_networks() -> tuple[sr.Trials, sr.Recordings]:
    """Errors of twelve learners, and 20 units of each with noise; nobody knows which unit of a model they are."""
    lab = RateRNN(FAMILY, TASK, num_trials=200, num_recorded=20, recording_noise=0.1)
    run = lab.run([HIDDEN] * 12, seed=(2026, 12))
    names = tuple(f"mouse {k + 1}" for k in range(12))
    status, types = run.status, run.trial_types
    trials = sr.Trials(names, sr.Trajectory(status, types, {"error": run.error}, type_names=run.type_names))
    recordings = sr.Recordings.of(
        run.responses.numpy(), trial_types=types, learners=names, type_names=run.type_names, unit="rate"
    )
    return trials, recordings


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    pretend_flies(OUT / "flies.csv")

    # --8<-- [start:read]
    flies = sr.Recordings.read(
        OUT / "flies.csv",
        columns={
            "learner": "fly",
            "trial": ["repeat", "odour"],
            "trial_type": "odour",
            "values": "dff",
            "events": ["odour", "shock"],
        },
        unit="dF/F",
    )
    print(flies.describe())
    # --8<-- [end:read]

    # --8<-- [start:fit]
    rule = sr.TaylorRule(["x r", "x", "w"])
    simulator = MushroomBody(rule, dopamine="shock")
    posterior = sr.fit(simulator, uniform(rule, -1, 1), recordings=flies)
    print(posterior.marginals()[["mean", "sd", "contraction"]].round(2))
    # --8<-- [end:fit]

    # --8<-- [start:check]
    checked = sr.check(posterior, simulator.suited(flies))
    print(checked)
    checked["mean responses"].draw()[0, 0].figure.savefig(OUT / "responses.png")
    sr.report(OUT / "report.html", posterior, simulator.suited(flies), checked=checked, title="Eight flies")
    # --8<-- [end:check]

    # --8<-- [start:compare]
    alone = sr.TaylorRule(["x", "w"])
    compared = sr.compare_families(
        {
            "shock with odour": (simulator, uniform(rule, -1, 1)),
            "odour alone": (MushroomBody(alone, dopamine="shock"), uniform(alone, -1, 1)),
            "no plasticity": "no_plasticity",
        },
        recordings=flies,
        seen=2,
    )
    print(compared)
    # --8<-- [end:compare]

    # --8<-- [start:networks]
    trials, units = pretend_networks()
    network = RateRNN(FAMILY, TASK, num_trials=200, num_recorded=20, recording_noise=0.1)
    prior = uniform(FAMILY, -1.0, 1.0)
    store = sr.simulate(network, prior, 4096, store=OUT / "store", seed=0)
    behaviour = sr.fit(store, prior, trials=trials)
    both = sr.fit(store, prior, trials=trials, recordings=units)
    beside = pd.DataFrame({"behaviour": behaviour.marginals()["sd"], "with activity": both.marginals()["sd"]})
    print(beside.assign(ratio=beside["with activity"] / beside["behaviour"]).round(3))
    # --8<-- [end:networks]

    # --8<-- [start:control]
    observed = trials.with_recordings(units)
    checked = sr.check(both, network, store=store, trials=observed, rules=32, calibration=0, parts=["predictions"])
    print(checked)
    # --8<-- [end:control]


if __name__ == "__main__":
    main()
