"""Constraints in n of n networks, or with a demanded reliability: does what is predicted come true?"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from section import BLUE, GREY, ORANGE, Row, Section, main

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import uniform
from sbirules.simulators import RateRNN
from sbirules.support.rates import Rate, mean_rate

BUDGET = 20_000
FIRST, ROUNDS, PER_ROUND = 8192, 3, 3936  # 20000 in all
RULES, NETWORKS = 512, 8
KEEP = {"num_workers": 1, "progress": False}


def predicted_and_observed(posterior: sr.Posterior, simulator: RateRNN) -> tuple[float, Rate]:
    """Mean success of posterior rules as the classifier has it, and in fresh networks."""
    theta = posterior.sample((RULES,), seed=5)
    store = sr.simulate(simulator, theta.repeat_interleave(NETWORKS, dim=0), seed=1_000_003, **KEEP)
    share = (store.x[:, 0] == 1).float().reshape(RULES, NETWORKS).mean(dim=1)
    predicted = posterior.predicted_success(theta)
    assert predicted is not None
    # networks of one rule are not independent
    return float(predicted.mean()), mean_rate(share)


def section(folder: Path) -> Section:
    family = sr.PolynomialRule(degree=3)
    simulator = RateRNN(family, DelayedDiscrimination(), num_trials=600, summaries=["learned"])
    prior = uniform(family, -0.6, 0.6)
    asked = {"learned": (1, 1)}
    store = sr.simulate(simulator, prior, FIRST, seed=1, **KEEP)
    posterior = sr.fit(store, prior, constraints=asked, all_of_networks=32)
    posterior, stores = sr.refine(
        posterior,
        simulator,
        store,
        prior,
        rounds=ROUNDS,
        num_simulations=PER_ROUND,
        seed=3,
        constraints=asked,
        all_of_networks=32,
        **KEEP,
    )
    spent = sum(map(len, stores))
    assert spent <= BUDGET
    out = Section(
        "Predicted and observed success",
        f"Degree 3 (16 coefficients), uniform(-0.6, 0.6), delayed discrimination, 600 trials, {spent} networks in "
        f"all: {FIRST} of the prior, then {ROUNDS} rounds of `refine`. One success classifier serves all questions. "
        f"Checked on {RULES} posterior rules in {NETWORKS} fresh networks each.",
    )
    names, predicted, observed, error = [], [], [], []
    for options in ({"all_of_networks": 1}, {"all_of_networks": 8}, {"all_of_networks": 32}, {"reliability": 0.9}):
        here = sr.fit(stores, prior, constraints=asked, seed=7, **options)
        p, rate = predicted_and_observed(here, simulator)
        text = f"predicted {p:.3f}, observed {rate}"
        if "reliability" in options:
            names.append("reliability .9")
            out.rows.append(Row("success under reliability 0.9", ">= 0.90 observed", text, rate.value >= 0.9))
        else:
            n = options["all_of_networks"]
            names.append(f"n = {n}")
            out.rows.append(Row(f"success, n = {n}", "within 2 s.e.", text, abs(p - rate.value) <= 2 * rate.se))
        predicted.append(p)
        observed.append(rate.value)
        error.append(2 * rate.se)
    beside = sr.check(here, simulator, rules=RULES, networks_per_rule=2, seed=11, parts="predictions", **KEEP).success
    prior_rate, zero = beside.prior_success, beside.zero_rule_success
    out.rows.append(Row("beside it", "prior and zero rule", f"prior {prior_rate}, zero rule {zero}"))

    figure = Figure(figsize=(6, 3.2), layout="constrained", dpi=130)
    axes = figure.subplots()
    places = range(len(names))
    axes.errorbar([k + 0.08 for k in places], observed, error, fmt="o", color=BLUE, label="observed, ± 2 s.e.")
    axes.plot([k - 0.08 for k in places], predicted, "D", color=ORANGE, label="predicted")
    axes.axhline(prior_rate.value, color=GREY, ls="--", label="prior")
    axes.axhline(zero.value, color=GREY, ls=":", label="no plasticity")
    axes.set_xticks(places, names)
    axes.set_ylabel("share of fresh networks that learn")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(folder / "success.png")
    out.figures["success.png"] = "Success in fresh networks as predicted and as observed, by what was asked"
    return out


if __name__ == "__main__":
    main(section)
