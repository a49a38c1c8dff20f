"""Default settings of `fit` against exact posteriors: a closed form, NUTS, and rejection."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import safetensors.torch
import torch
from matplotlib.figure import Figure
from references import NUTS, OBSERVATIONS, known_network
from section import BLUE, GREY, Row, Section, main

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import uniform
from sbirules.simulators import LinearGaussian, RateRNN
from sbirules.support.streams import seeded

DRAWS = 2000


def closed_form(simulations: int, observations: int = 10, **options: Any) -> tuple[list[float], float]:
    """C2ST by observation against the truncated Gaussian, and the mean coverage of its 95 % intervals."""
    simulator = LinearGaussian()
    prior = uniform(simulator.family, -1, 1)
    with seeded(99):
        x_o = simulator(prior.sample((observations,)))
    store = sr.simulate(simulator, prior, simulations, progress=False, num_workers=1, seed=1)
    posterior = sr.fit(store, prior, x_o=x_o[0], **options)
    found = [
        sr.reference.compare(
            posterior.given(row), simulator.posterior(row, prior), names=posterior.names, num_samples=DRAWS
        )
        for row in x_o
    ]
    return [f.c2st for f in found], mean(mean(f.coverage.values()) for f in found)


def nuts(simulations: int = 10_000) -> list[float]:
    """C2ST by observation against NUTS on the exact likelihood of three episodes."""
    simulator, prior, x_o = known_network()
    exact = safetensors.torch.load_file(str(NUTS))
    store = sr.simulate(simulator, prior, simulations, progress=False, num_workers=1, seed=1)
    posterior = sr.fit(store, prior, x_o=x_o[0])
    return [
        sr.reference.compare(
            posterior.given(x_o[k]), exact[f"observation_{k}"], names=posterior.names, num_samples=1000
        ).c2st
        for k in range(OBSERVATIONS)
    ]


def rejection(simulations: int = 10_000, fresh: int = 16_384) -> tuple[float, int]:
    """C2ST against the rules of fresh simulations that met the constraints."""
    family = sr.PolynomialRule(degree=2)
    simulator = RateRNN(family, DelayedDiscrimination(), num_trials=100, summaries=["final_error", "mean_rate"])
    prior = uniform(family, -1, 1)
    asked = {"final_error": (0.0, 0.7), "mean_rate": (0.0, 0.6)}
    keep = {"progress": False, "num_workers": 1}
    store = sr.simulate(simulator, prior, simulations, seed=1, **keep)
    other = sr.simulate(simulator, prior, fresh, seed=2, **keep)
    met = sr.Constraints.of(asked).satisfied(other.x, other.summary_names)
    posterior = sr.fit(store, prior, constraints=asked)
    return sr.reference.compare(posterior, other.theta[met], num_samples=DRAWS).c2st, int(met.sum())


def section(folder: Path) -> Section:
    out = Section(
        "Against exact posteriors",
        "C2ST is the accuracy of a classifier that tells draws from exact ones: 0.5 is perfect. Nine coefficients "
        "under uniform(-1, 1), default settings of `fit`, fresh simulations. Closed form: one episode, 20 noisy "
        "projections of the weight change. NUTS: three episodes, whose activity depends on the weights that earlier "
        "ones left. Rejection: constraints on error and rate after 100 trials, against the rules of fresh "
        "simulations that met them.",
    )
    by_kind: dict[str, list[float]] = {}
    for simulations, goal in ((2000, 0.65), (10_000, 0.56)):
        c2st, coverage = closed_form(simulations)
        by_kind[f"closed form,\n{simulations} simulations"] = c2st
        found = f"{mean(c2st):.3f} (worst of 10: {max(c2st):.3f}); coverage of 95 % intervals {coverage:.3f}"
        out.rows.append(Row(f"C2ST, closed form, {simulations} simulations", f"<= {goal}", found, mean(c2st) <= goal))
    c2st, coverage = closed_form(10_000, estimator="npe")
    found = f"{mean(c2st):.3f} (worst of 10: {max(c2st):.3f}); coverage of 95 % intervals {coverage:.3f}"
    out.rows.append(Row("the same with estimator='npe', which is not the default", "plain zuko_nsf: .551-.565", found))
    c2st = nuts()
    by_kind["NUTS,\n10000 simulations"] = c2st
    found = f"{mean(c2st):.3f} (worst of {len(c2st)}: {max(c2st):.3f})"
    out.rows.append(Row("C2ST, NUTS on three episodes, 10000 simulations", "<= 0.60", found, mean(c2st) <= 0.60))
    one, count = rejection()
    by_kind["rejection,\n10000 simulations"] = [one]
    found = f"{one:.3f} ({count} exact draws)"
    out.rows.append(Row("C2ST, rejection for constraints, 10000 simulations", "<= 0.58", found, one <= 0.58))

    figure = Figure(figsize=(7.5, 3.2), layout="constrained", dpi=130)
    axes = figure.subplots()
    for k, (values, goal) in enumerate(zip(by_kind.values(), (0.65, 0.56, 0.60, 0.58), strict=True)):
        spread = torch.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else torch.zeros(1)
        axes.plot(k + spread, values, "o", color=BLUE, label="one observation" if k == 0 else None)
        axes.plot([k - 0.3, k + 0.3], [goal, goal], color=GREY, label="goal for the mean" if k == 0 else None)
    axes.axhline(0.5, color="black", lw=0.8)
    axes.set_xticks(range(len(by_kind)), list(by_kind))
    axes.set_ylabel("C2ST (0.5: indistinguishable)")
    axes.legend(frameon=False)
    figure.savefig(folder / "exact.png")
    out.figures["exact.png"] = "Accuracy of a classifier between our draws and exact ones, by reference"
    return out


if __name__ == "__main__":
    main(section)
