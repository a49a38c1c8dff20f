"""Are posteriors as wide as they should be? SBC, TARP, coverage and widths for 1, 4 and 24 learners."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from section import BLUE, GREEN, GREY, ORANGE, Row, Section, main

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

RULES, DRAWS = 300, 500


def section(folder: Path) -> Section:
    family = sr.PolynomialRule(degree=2)
    simulator = RateRNN(family, DelayedDiscrimination(), num_trials=150)
    prior = uniform(family, -1, 1)
    keep = {"num_workers": 1, "progress": False}
    store = sr.simulate(simulator, prior, 16_384, seed=0, **keep)
    studies = {
        n: sr.recover(simulator, prior, learners=n, rules=RULES, num_samples=DRAWS, store=store, **keep)
        for n in (1, 4, 24)
    }
    out = Section(
        "Calibration",
        f"Degree 2, uniform(-1, 1), delayed discrimination, 150 trials; 16384 simulations of the prior, default "
        f"summaries and estimator (contrastive ratio); {RULES} rules drawn from the prior with 1, 4 and 24 learners "
        f"each. Simulation-based calibration by coefficient (Kolmogorov-Smirnov), Bonferroni over nine; TARP of all "
        f"coefficients together. All by `sr.recover`.",
    )
    for n, study in studies.items():
        worst = min(study.sbc_p, key=lambda name: study.sbc_p[name])
        p, (area, tarp_p) = study.sbc_p[worst], study.tarp
        good = p >= 0.01 / 9
        out.rows.append(Row(f"SBC, {n} learner(s)", "p >= 0.01 / 9", f"smallest p {p:.3f} ({worst})", good))
        out.rows.append(Row(f"TARP, {n} learner(s)", "p >= 0.01", f"p {tarp_p:.2f}, area {area:+.2f}", tarp_p >= 0.01))
        out.tables.append(str(study))
    _widths(out, studies, prior)
    _pictures(out, studies, folder)
    return out


def _widths(out: Section, studies: dict[int, sr.Recovery], prior: torch.distributions.Distribution) -> None:
    sd = {n: s.table()["sd"] for n, s in studies.items()}
    coverage = studies[24].coverage()
    width = studies[4].prior_sd
    found = False
    for k, name in enumerate(studies[4].names):
        if sd[4][name] >= float(width[k]) / 3:
            continue
        found = True
        ratio = sd[4][name] / sd[24][name]
        # 300 rules: the coverage of a right posterior is known to 1.3 %
        good = 1.5 <= ratio <= 3.5 and coverage[name] >= 0.95 - 3 * 0.0126
        text = f"{ratio:.2f}; coverage of 95 % intervals at 24: {coverage[name]:.3f}"
        out.rows.append(Row(f"width(4) / width(24) of {name}", "in [1.5, 3.5], coverage holds", text, bool(good)))
    if not found:
        text = "no coefficient's mean s.d. with 4 learners is under a third of the prior's"
        out.rows.append(Row("width(4) / width(24)", "in [1.5, 3.5] where width(4) < prior / 3", text))
    lines = [f"{'':10s}{'prior':>8s}{'1':>8s}{'4':>8s}{'24 learners':>13s}{'sd(4)/sd(24)':>14s}"]
    for k, name in enumerate(studies[4].names):
        ratio = sd[4][name] / sd[24][name]
        lines.append(
            f"{name:10s}{float(width[k]):8.3f}{sd[1][name]:8.3f}{sd[4][name]:8.3f}{sd[24][name]:13.3f}{ratio:14.2f}"
        )
    out.tables.append("Mean posterior s.d.\n" + "\n".join(lines))


def _pictures(out: Section, studies: dict[int, sr.Recovery], folder: Path) -> None:
    figure = Figure(figsize=(10, 3.4), layout="constrained", dpi=130)
    panels = figure.subplots(1, 3, sharey=True)
    grid = torch.linspace(0, 1, 101)
    # 99 % band of the largest distance of an empirical distribution from a uniform one
    band = 1.628 / RULES**0.5
    for axes, (n, study) in zip(panels, studies.items(), strict=True):
        for k, name in enumerate(study.names):
            ecdf = ((study.ranks[:, k] + 0.5) / (DRAWS + 1) <= grid[:, None]).float().mean(dim=1)
            color = (ORANGE, BLUE, GREEN)[k % 3]
            axes.plot(grid, ecdf - grid, color=color, lw=1, ls=("-", "--", ":")[k // 3], label=name)
        axes.axhspan(-band, band, color=GREY, alpha=0.2, lw=0)
        axes.set_title(f"{n} learner{'s' if n > 1 else ''}")
        axes.set_xlabel("rank of the true coefficient / draws")
    panels[0].set_ylabel("share of ranks below - uniform")
    panels[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(folder / "calibration.png")
    out.figures["calibration.png"] = (
        "Ranks of the true coefficients among posterior draws; within the grey band (99 %) they are uniform"
    )


if __name__ == "__main__":
    main(section)
