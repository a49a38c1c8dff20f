"""Calcium in the fly's mushroom body under odour and shock: one cell type in detail, and all of them in one table."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from result_rows import Row, row

import sbirules as sr
from sbirules.inference.choice_scores import holm, wilcoxon_p
from sbirules.inference.questions.controls import prior_without_rule
from sbirules.priors import completed, uniform
from sbirules.samplers.chains import draw_chains
from sbirules.simulators import MushroomBody

CELL = "MBON-GABA γ1pedc"
FILE = "mb_odor_shock.csv"
SEED = 20261127
COLUMNS = {
    "learner": "fly",
    "trial": ["repeat", "odor"],
    "trial_type": "odor",
    "values": "cs_response",
    "events": ["odor", "shock"],
}
TERMS = ["x r", "x", "w"]
SMALL = sr.SamplerSettings(num_runs=2, num_particles=512, num_moves=6, max_doublings=1)


def recordings(path: Path, cell: str) -> sr.Recordings:
    return sr.Recordings.read(path, rows={"neuron": cell}, columns=COLUMNS, unit="dF/F")


def model(terms: Sequence[str], **options: Any) -> tuple[MushroomBody, Any]:
    family = sr.TaylorRule(list(terms))
    return MushroomBody(family, odour="odor", dopamine="shock", **options), uniform(family, -1, 1)


def one_cell(path: Path, rules: int) -> tuple[list[Row], str]:
    """The goals of one cell type, and the comparison as text."""
    table = recordings(path, CELL)
    simulator, prior = model(TERMS)
    posterior = sr.fit(simulator, prior, recordings=table, seed=SEED)
    checked = sr.check(posterior, simulator.suited(table), rules=rules, seed=SEED)
    found = checked.resimulation
    inside = int(found.within.sum())
    fall = found.cells.names.index("B, 2"), found.cells.names.index("B, 4")
    made = found.predicted[:, fall[0]] - found.predicted[:, fall[1]]
    own = float(found.observed[fall[0]] - found.observed[fall[1]])
    p = 2 * min(float((made <= own).double().mean()), float((made >= own).double().mean()))
    families = {
        "shock with odour": model(["x r", "w"]),
        "odour alone": model(["x", "w"]),
        "both": model(TERMS),
        "both, constant noise": model(TERMS, observation="constant_gaussian"),
        "no plasticity": "no_plasticity",
    }
    compared = sr.compare_families(families, recordings=table, seen=2, seed=SEED)
    tests, frame = compared.tests("shock with odour"), compared.table()
    ahead = len(table) - int(tests.loc["odour alone", "ahead"])
    difference = float(frame.loc["shock with odour", "score"] - frame.loc["odour alone", "score"])
    errors = [float(frame.loc[name, "squared_error"]) for name in ("odour alone", "shock with odour")]
    noise = float(frame.loc["both", "log_evidence"] - frame.loc["both, constant noise", "log_evidence"])
    still = float(frame.loc["both", "log_evidence"] - frame.loc["no plasticity", "log_evidence"])
    untold, _ = model(TERMS, nuisance=("drive", "overlap", "offset", "trace_time", "dopamine_gain"), delay=4.0)
    wide = sr.fit(untold, prior, recordings=table, seed=SEED)
    narrowed = 1 - (wide.marginals()["sd"] / wide.marginals()["prior_sd"]) ** 2
    levels = ", ".join(f"{v.name} {v.level}" for v in checked.verdicts)
    fell = f"{own:.2f}, predicted {float(made.mean()):.2f} ± {float(made.std()):.2f}, p = {p:.2f}"
    left = (
        f"better in {ahead} of {len(table)}, {difference:+.1f} nats; squared error {errors[0]:.1f} -> {errors[1]:.1f}"
    )
    told = ", ".join(f"{name} {narrowed[name]:.2f}" for name in ("trace_time", "dopamine_gain", "x_r"))
    unknown = max(narrowed["trace_time"], narrowed["dopamine_gain"])
    return [
        row(f"{CELL}: means in their 95 % bands", "at least 15 of 17", f"{inside} of {len(found.names)}", inside >= 15),
        row(f"{CELL}: fall of the response to B from repeat 2 to 4", "p > .05", fell, p > 0.05),
        row("flies left out: shock with odour against odour alone", "7 of 7", left, ahead == len(table)),
        row(
            "noise that grows with the response against constant noise", "by evidence", f"{noise:+.1f} nats", noise > 3
        ),
        row("plasticity against none", "by evidence", f"{still:+.1f} nats", still > 3),
        row("contraction where the design tells nothing", "near 0", told, unknown < 0.3),
        row(f"checks of {CELL}", "", levels, None),
    ], str(compared)


def cell_type(path: Path, cell: str) -> dict[str, Any]:
    """Evidence of a rule above no plasticity, and its score on flies left out by importance sampling (rough for k > .7)."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = recordings(path, cell)
    simulator, prior = model(TERMS)
    suited = simulator.suited(table)
    whole = completed(prior, suited.names, suited.nuisances)
    still = suited.without_plasticity()
    out: dict[str, Any] = {"cell type": cell, "flies": len(table)}
    scores, evidence, largest = [], [], 0.0
    for sim, over in ((suited, whole), (still, prior_without_rule(whole, suited))):
        likelihood = sim.likelihood(table)
        chains = draw_chains(
            lambda theta, own=likelihood: own.log_prob(theta).sum(dim=1), over, 1024, SMALL, seed=SEED, from_modes=True
        )
        draws = chains.draws.flatten(0, 1).double()
        value = likelihood.log_prob(draws).numpy()[None]
        data = az.from_dict(posterior={"x": draws[None, :, 0].numpy()}, log_likelihood={"y": value})
        found = az.loo(data, pointwise=True)
        scores.append(np.asarray(found.loo_i))
        largest = max(largest, float(np.max(found.pareto_k)))
        evidence.append(chains.log_evidence)
        if sim is suited:
            columns = {n: draws[:, suited.names.index(n)] for n in ("x_r", "x", "w")}
            out |= {n: f"{float(v.mean()):+.2f} ± {float(v.std()):.2f}" for n, v in columns.items()}
    difference = scores[0] - scores[1]
    return out | {
        "evidence": evidence[0][0] - evidence[1][0],
        "se": math.hypot(evidence[0][1], evidence[1][1]),
        "left out": float(difference.sum()),
        "better in": int((difference > 0).sum()),
        "p": wilcoxon_p(difference),
        "pareto_k": largest,
    }


def all_cells(path: Path, jobs: int, most: int | None) -> tuple[list[Row], pd.DataFrame]:
    """Every cell type of the file, and the table."""
    names = list(dict.fromkeys(pd.read_csv(path)["neuron"]))[:most]
    table = pd.DataFrame(Parallel(n_jobs=jobs)(delayed(cell_type)(path, name) for name in names)).set_index("cell type")
    table["p (Holm)"] = holm(table["p"].tolist())
    said = np.where(table["evidence"] > 3, "needed", np.where(table["evidence"] < -3, "not needed", "not told"))
    table["plasticity"] = said
    counts = ", ".join(f"{name} {count}" for name, count in table["plasticity"].value_counts().items())
    significant = int((table["p (Holm)"] < 0.05).sum())
    text = f"{len(table)} cell types by evidence: {counts}; better on flies left out with Holm p < .05: {significant}"
    return [row("all cell types in one table", "21", text, len(table) == 21 if most is None else None)], table
