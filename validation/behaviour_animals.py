"""The part of `validation/behaviour.py` about animals that differ: mice, populations, and posteriors from simulations.

- *mice*: 16 mice of the International Brain Laboratory from naive to expert (in the folder of data; left out without it). Partial
  pooling of eight coefficients, and later sessions predicted by rules and by all baselines.
- *population*: simulated animals around a known centre, with a known spread; coverage of both.
- *ratio*: the posterior that simulations lead to, beside the exact one, on the same six animals.
"""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed

import sbirules as sr
from sbirules.inference.baselines.catalogue import BASELINES
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import uniform
from sbirules.samplers.smc import SamplerSettings
from sbirules.simulators import PolicyNetwork
from sbirules.support.scale import unconstrained

__all__ = ["Row", "mice", "population", "ratio", "row"]

SEED = 20261127
MICE = {
    "learner": "mouse",
    "session": "session",
    "trial": "trial",
    "stimulus": ["contrast"],
    "choice": "choice",
    "reward": "correct",
}
BEST = ["d x r", "d x", "c x", "w"]
CLASSICAL = ["d x r", "w"]  # REINFORCE with forgetting
FAST = SamplerSettings(num_runs=4, num_particles=256, num_moves=8, max_doublings=1)
Row = dict[str, Any]


def row(goal: str, wanted: str, found: object, met: bool) -> Row:
    return {"goal": goal, "wanted": wanted, "found": found, "met": bool(met)}


# Mice -------------------------------------------------------------------------------------------------


def _mouse_rule(terms: list[str]) -> tuple[PolicyNetwork, Any]:
    family = sr.TaylorRule(terms)
    bounds = {"w": (-0.3, 0.0)} if "w" in terms else {}
    return PolicyNetwork(family, nuisance=("initial", "perseveration", "lapse")), uniform(family, -0.3, 0.3, **bounds)


def mice(data: Path) -> list[Row]:
    trials = sr.Trials.read(data / "mice_contrast.csv", columns=MICE)
    name = f"{len(trials)} mice"
    simulator, prior = _mouse_rule(BEST)
    start = time.perf_counter()
    found = sr.fit(simulator, prior, trials=trials, animals="partial", seed=SEED)
    minutes = (time.perf_counter() - start) / 60
    chains, told = found.chains, found.population
    listed = ", ".join(
        f"{n} {m:.3f} (spread {s:.2g})" for n, m, s in zip(told.index, told["mean"], told["spread"], strict=True)
    )
    out = [
        row(f"{name}, partial pooling: eight coefficients vary", "listed", listed, len(told) == 8),
        row(f"{name}, partial pooling: R-hat", "below 1.01", round(chains.r_hat, 4), chains.r_hat < 1.01),
        row(f"{name}, partial pooling: effective sample size", "beside it", round(chains.ess), True),
        row(f"{name}, partial pooling: minutes", "under 20, aim 10", round(minutes, 1), minutes < 20),
        row(
            f"{name}, partial pooling: divergences",
            "0",
            found.of_animals.divergences,
            found.of_animals.divergences == 0,
        ),
    ]
    families: dict[str, Any] = {"rule": (simulator, prior), "REINFORCE with forgetting": _mouse_rule(CLASSICAL)}
    families |= {baseline: baseline for baseline in BASELINES}
    table = sr.compare_families(families, trials, animals="own", sampler=FAST, seed=SEED)
    shown = table.table()
    for family in shown.index:
        line = shown.loc[family]
        text = f"{100 * line['deviance']:.2f} % pooled, median {100 * line['deviance_median']:.2f} %"
        out.append(row(f"{name}, last fifth of sessions: {family}", "beside each other", text, True))
    out.append(row(f"{name}: what the comparison says", "said honestly", str(table), True))
    return out


# Populations ------------------------------------------------------------------------------------------


def _one_population(k: int, animals: int) -> tuple[list[bool], list[bool]]:
    """Whether 95 % intervals hold the centre, and the spread, of each coefficient."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    family = sr.TaylorRule(["c rd", "w"])
    task = ChoiceTask(reward="baited", probabilities=[[0.3, 0.1], [0.1, 0.3]], block=60, num_trials=240)
    simulator, prior = PolicyNetwork(family, task, nuisance=()), uniform(family, -0.6, 0.6, w=(-0.6, 0.0))
    transform = unconstrained(prior)
    torch.manual_seed(SEED + k)
    centre = transform(prior.sample((1,))).double()[0]
    spread = torch.randn(2, dtype=torch.float64).abs()  # half-normal, as the prior of the fit has it
    rules = transform.inv(centre + spread * torch.randn(animals, 2, dtype=torch.float64))
    trials = simulator.animals(rules, seed=SEED + k)
    found = sr.fit(simulator, prior, trials=trials, animals="partial", seed=k).of_animals
    low, high = (transform(torch.quantile(found.centre.double(), q, dim=0)[None])[0] for q in (0.025, 0.975))
    at_least, at_most = (torch.quantile(found.spread.double(), q, dim=0) for q in (0.025, 0.975))
    inside = (centre >= low) & (centre <= high), (spread >= at_least) & (spread <= at_most)
    return [bool(v) for v in inside[0]], [bool(v) for v in inside[1]]


def population(repeats: int, animals: int) -> list[Row]:
    done = Parallel(n_jobs=2)(delayed(_one_population)(k, animals) for k in range(repeats))
    out = []
    for name, at in (("centre", 0), ("spread", 1)):
        inside = np.array([one[at] for one in done], dtype=float).mean(axis=1)
        mean, se = float(inside.mean()), max(float(inside.std()) / math.sqrt(repeats), 0.5 / repeats)
        met = abs(mean - 0.95) < 2.5 * se
        goal = f"population of {animals} animals, {repeats} populations: 95 % intervals of the {name}"
        out.append(row(goal, ".95 within 2.5 s.e.", f"{mean:.3f} ± {se:.3f}", met))
    return out


# From simulations -------------------------------------------------------------------------------------


def ratio(networks: int) -> list[Row]:
    """Six animals, two coefficients: the exact posterior, and what a contrastive ratio learns from simulated animals."""
    from sbi.utils.metrics import c2st

    family = sr.TaylorRule(["c rd", "w"])
    task = ChoiceTask(reward="baited", probabilities=[[0.3, 0.1], [0.1, 0.3]], block=60, num_trials=240)
    simulator, prior = PolicyNetwork(family, task, nuisance=()), uniform(family, 0.0, 0.6, w=(-0.4, 0.0))
    trials = simulator.animals(torch.tensor([[0.2, -0.08]] * 6), seed=SEED)
    exact = sr.fit(simulator, prior, trials=trials, seed=0).draw(2000, seed=0).draws.flatten(0, 1)
    start = time.perf_counter()
    store = sr.simulate(simulator, prior, networks, seed=SEED, progress=False)
    learned = sr.fit(store, prior, trials=trials, estimator="ratio", seed=0).draw(2000, seed=0).draws.flatten(0, 1)
    seconds = time.perf_counter() - start
    score = float(c2st(exact, learned, classifier="rf"))
    off = ((learned.mean(dim=0) - exact.mean(dim=0)).abs() / exact.std(dim=0)).tolist()
    wider = (learned.std(dim=0) / exact.std(dim=0)).tolist()
    text = (
        f"C2ST {score:.3f}; means off by {', '.join(f'{v:.2f}' for v in off)} s.d., "
        f"{', '.join(f'{v:.2f}' for v in wider)} times as wide; {seconds:.0f} s"
    )
    goal = f"exact against ratio from {networks} simulated animals, six animals"
    return [row(goal, "means within 1.5 s.d.", text, max(off) < 1.5)]
