"""The pictures of the gallery, from small posteriors, into docs/gallery/. About two minutes on one core."""

from importlib import resources
from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import LinearGaussian, PolicyNetwork, RateRNN

OUT = Path(__file__).parent / "gallery"


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)

    # --8<-- [start:study]
    family = sr.PolynomialRule(degree=3, terms=["theta_11", "theta_13", "theta_22", "theta_31", "theta_33"])
    simulator = RateRNN(family, sr.tasks.DelayedDiscrimination(), num_units=32, num_trials=150)
    prior = uniform(family, -1.0, 1.0)
    store = sr.simulate(simulator, prior, 2048, seed=0, progress=False)
    posterior = sr.fit(store, prior, constraints={"final_error": (0, 0.5)}, all_of_networks=8)
    checked = sr.check(posterior, simulator, store=store, rules=64, networks_per_rule=8)
    # --8<-- [end:study]

    # --8<-- [start:marginals]
    axes = sr.figures.marginals(posterior)
    axes[0, 0].figure.savefig(OUT / "marginals.png", dpi=130)
    # --8<-- [end:marginals]

    # --8<-- [start:pairs]
    columns = [family.names.index(name) for name in ("theta_11", "theta_13", "theta_33")]
    axes = sr.figures.pairs(posterior, columns, truth=[0.0, 0.0, 0.0, 0.0, -0.8])
    axes[0, 0].figure.savefig(OUT / "pairs.png", dpi=130)
    # --8<-- [end:pairs]

    # --8<-- [start:rule_matrix]
    ax = sr.figures.rule_matrix(posterior)
    ax.figure.savefig(OUT / "rule_matrix.png", dpi=130)
    # --8<-- [end:rule_matrix]

    # --8<-- [start:success]
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    sr.figures.success_rates(checked.success, ax=left)
    sr.figures.reliability(checked.success, ax=right)
    figure.savefig(OUT / "success.png", dpi=130)
    # --8<-- [end:success]

    # --8<-- [start:success_over]
    ax = sr.figures.success_over(posterior, "theta_13", "theta_33")
    ax.figure.savefig(OUT / "success_over.png", dpi=130)
    # --8<-- [end:success_over]

    # --8<-- [start:activity]
    run = simulator.run([[0.0, 0.0, 0.0, 0.0, -0.8]], seed=3, record=[0, 148])
    axes = sr.figures.activity(run, dt=5.0)
    axes[0, 0].figure.savefig(OUT / "activity.png", dpi=130)
    # --8<-- [end:activity]

    # --8<-- [start:learning_curves]
    curve, bands = sr.summaries.learning_curve(10), {}
    for name, rules in {"posterior": posterior.sample((100,)), "prior": prior.sample((100,))}.items():
        run = simulator.run(rules, seed=2)
        bands[name] = sr.CurveBand.of(curve.columns(run.type_names), curve.function(run), mass=0.5)
    axes = sr.figures.learning_curves(bands, trials=150)
    axes[0, 0].figure.savefig(OUT / "learning_curves.png", dpi=130)
    # --8<-- [end:learning_curves]

    # --8<-- [start:knock_outs]
    found = sr.sensitivity(posterior, simulator, store=store, parts=["stiff", "knock_outs"], num_rules=24, networks=4)
    ax = sr.figures.effects(found.knock_outs)
    ax.figure.savefig(OUT / "knock_outs.png", dpi=130)
    # --8<-- [end:knock_outs]

    # --8<-- [start:directions]
    axes = sr.figures.directions(found.stiff, count=4)
    axes[0, 0].figure.savefig(OUT / "directions.png", dpi=130)
    # --8<-- [end:directions]

    # --8<-- [start:regimes]
    measured = sr.regimes(posterior, simulator, num_rules=48, networks=2)
    ax = sr.figures.regime_scatter(measured, "theta_33")
    ax.figure.savefig(OUT / "regimes.png", dpi=130)
    # --8<-- [end:regimes]

    # --8<-- [start:calibration]
    lines = LinearGaussian()
    box = uniform(lines.family, -3, 3)
    runs = sr.simulate(lines, box, 2000, progress=False)
    asked = sr.fit(runs, box, x_o=lines(box.sample((1,)))[0])
    tested = sr.calibrate(asked, lines, rules=100)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    sr.figures.calibration(tested.recovery, ax=left)
    sr.figures.coverage(tested.recovery, ax=right)
    figure.savefig(OUT / "calibration.png", dpi=130)
    # --8<-- [end:calibration]

    # --8<-- [start:held_out_scores]
    table = resources.files("sbirules") / "studies" / "flies.csv"
    flies = sr.Trials.read(str(table), columns={"learner": "fly", "choice": "odor"})
    rule = sr.TaylorRule(["c rd", "c", "w"])
    families = {"rule": (PolicyNetwork(rule), uniform(rule, -0.6, 0.6)), "drift": "random_walk", "Q": "q_learning"}
    ax = sr.compare_families(families, flies).figure()
    ax.figure.savefig(OUT / "held_out_scores.png", dpi=130)
    # --8<-- [end:held_out_scores]


if __name__ == "__main__":
    main()
