"""Which terms does a rule have? Spike-and-slab inference for rules whose terms are known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.figure import Figure
from section import BLUE, GREY, Row, Section, main
from sklearn.metrics import roc_auc_score

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import spike_and_slab, two_sided
from sbirules.simulators import RateRNN

LEARNERS, RULES = 24, 20
DRAWS = 2048
BINS = 5


def judged(study: sr.Recovery) -> tuple[list[float], list[float]]:
    """Probability and truth of each term, collinear pairs as one: is either there?"""
    present, truth = (study.draws != 0).float().mean(dim=1), (study.truth != 0).float()
    said, true = [], []
    for k in range(len(truth)):
        posterior = study.posterior.with_draws(study.draws[k])
        used: set[int] = set()
        for pair in posterior.collinear_terms():
            columns = [study.names.index(name) for name in pair.terms]
            if not used & set(columns):
                used |= set(columns)
                said.append(pair.either)
                true.append(float(truth[k, columns].max()))
        rest = [c for c in range(len(study.names)) if c not in used]
        said += present[k, rest].tolist()
        true += truth[k, rest].tolist()
    return said, true


def section(folder: Path) -> Section:
    family = sr.PolynomialRule(degree=2)
    simulator = RateRNN(family, DelayedDiscrimination(), num_trials=600)
    prior = spike_and_slab(family, inclusion=2 / 9, slab=two_sided(0.4, 1.0))
    study = sr.recover(
        simulator,
        prior,
        learners=LEARNERS,
        rules=RULES,
        num_simulations=16_384,
        num_samples=DRAWS,
        num_workers=1,
        fit_options={"sampler": sr.SamplerSettings(num_particles=DRAWS)},
    )
    present, truth = (study.draws != 0).float().mean(dim=1).flatten(), (study.truth != 0).float().flatten()
    said, true = judged(study)
    plain, joint = roc_auc_score(truth, present), roc_auc_score(true, said)
    out = Section(
        "Which terms?",
        f"Degree 2, nine terms, each present with probability 2/9, |theta| in [0.4, 1]; {RULES} random rules, "
        f"{LEARNERS} learners each, delayed discrimination, 600 trials, 16384 simulations. A collinear pair "
        f"(`posterior.collinear_terms()`) is judged by whether either term is there.",
    )
    edges = torch.linspace(0, 1, BINS + 1)
    mean, share, error = [], [], []
    deviation = 0.0
    for low, high in pairwise(edges.tolist()):
        inside = (present >= low) & (present <= high if high == 1 else present < high)
        if not inside.any():
            continue
        p, n = present[inside].mean(), int(inside.sum())
        se = torch.sqrt((p * (1 - p)).clamp(min=1 / (4 * n)) / n)
        mean.append(float(p))
        share.append(float(truth[inside].mean()))
        error.append(2 * float(se))
        deviation = max(deviation, abs(float((truth[inside].mean() - p) / se)))
    text = f"largest deviation of {len(mean)} bins: {deviation:.1f} s.e."
    out.rows.append(Row("inclusion probabilities are calibrated", "every bin within 3 s.e.", text, deviation <= 3))
    text = f"{joint:.3f}; {plain:.3f} with each term alone"
    out.rows.append(Row("area under the ROC curve, collinear pairs jointly", ">= 0.9", text, bool(joint >= 0.9)))

    figure = Figure(figsize=(4.2, 3.8), layout="constrained", dpi=130)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, label="calibrated")
    axes.errorbar(mean, share, error, fmt="o", color=BLUE, capsize=2, label="terms, ± 2 s.e.")
    axes.set_xlabel("posterior probability that a term is present")
    axes.set_ylabel("share of these terms that are present")
    axes.legend(frameon=False)
    figure.savefig(folder / "structure.png")
    out.figures["structure.png"] = "Reliability of inclusion probabilities"
    posterior = study.posterior.with_draws(study.draws[0])
    lines = [str(rule) for rule in posterior.top_rules(5, family)]
    pairs = [f"collinear: {pair}" for pair in posterior.collinear_terms()]
    first = family.describe(study.truth[0]).split("\n")[0]
    out.tables.append("\n".join([f"true:  {first}", *lines, *pairs]))
    return out


if __name__ == "__main__":
    main(section)
