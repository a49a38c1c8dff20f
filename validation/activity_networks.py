"""Recorded units of recurrent and feedforward networks: what they add to behaviour, and which family of rules made them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from many_learners import judged
from result_rows import Row, row
from torch import Tensor

import sbirules as sr
from sbirules.inference.families import FamilyRatio
from sbirules.inference.questions.sessions import learners_of
from sbirules.model.summaries import activity_summaries, default_summaries, summarise
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import log_uniform, uniform
from sbirules.simulators import FeedforwardNetwork, RateRNN

SEED = 20261127
LEARNERS, TRIALS, UNITS, NOISE = 24, 300, 20, 0.1
DEGREE = 2
FEW = sr.SamplerSettings(num_runs=1, num_particles=512, num_moves=8, max_doublings=0)


@dataclass(frozen=True)
class Sizes:
    """How much is simulated."""

    networks: int
    rules: int
    sets: int
    of_family: int
    cases: int
    fewer: int
    rows: int


FULL, QUICK = Sizes(8192, 100, 48, 4096, 34, 12, 10_000), Sizes(2048, 20, 20, 1024, 8, 8, 1000)


# What activity adds to behaviour ----------------------------------------------------------------------


def recurrent(degree: int = DEGREE) -> RateRNN:
    return RateRNN(
        sr.PolynomialRule(degree), DelayedDiscrimination(), num_trials=TRIALS, num_recorded=UNITS, recording_noise=NOISE
    )


def of_behaviour(table: sr.Trials) -> tuple[Any, ...]:
    return default_summaries(tuple(table.trajectory.per_trial), "error", sessions=table.trajectory)


def added(sizes: Sizes, jobs: int) -> tuple[list[Row], pd.DataFrame]:
    """Posterior s.d., coverage and log score of behaviour alone, of activity alone, and of both."""
    simulator = recurrent()
    prior = uniform(simulator.family, -1, 1)
    keep: dict[str, Any] = {"num_workers": jobs, "progress": False}
    store = sr.simulate(simulator, prior, sizes.networks, seed=SEED, **keep)
    truth, tables = learners_of(
        simulator, prior, sizes.rules, LEARNERS, folder=None, seed=SEED + 1, fewest=sizes.rules // 2, **keep
    )
    told = of_behaviour(tables[0])
    kinds = {"behaviour": told, "activity": activity_summaries(), "both": (*told, *activity_summaries())}
    score: dict[str, Tensor] = {}
    recovered: dict[str, Any] = {}
    for kind, chosen in kinds.items():
        raw = sr.fit(store, prior, trials=tables[0], summaries=chosen, seed=SEED)
        worth = sr.recalibrate(raw, simulator, rules=sizes.sets, seed=SEED, num_workers=jobs)
        score[kind], recovered[kind] = judged(worth, truth, tables)
    n = len(truth)
    rows = []
    for kind, found in recovered.items():
        inside = [found.inside(level).double().mean(dim=1) for level in (0.95, 0.5)]
        errors = [float(v.std()) / math.sqrt(n) for v in inside]
        away = [abs(float(v.mean()) - level) / e for v, level, e in zip(inside, (0.95, 0.5), errors, strict=True)]
        text = ", ".join(f"{float(v.mean()):.3f} ± {e:.3f}" for v, e in zip(inside, errors, strict=True))
        goal = f"coverage of {kind}, {n} rules, 95 and 50 %"
        rows.append(row(goal, "within 2.5 s.e.", text, max(away) < 2.5 if kind == "both" else None))
        mean, se = float(score[kind].mean()), float(score[kind].std()) / math.sqrt(n)
        rows.append(row(f"log score of {kind} over the prior", "", f"{mean:.2f} ± {se:.2f} nats", None))
    gain = score["both"] - score["behaviour"]
    mean, se = float(gain.mean()), float(gain.std()) / math.sqrt(n)
    rows.append(
        row("log score that activity adds to behaviour", "above 0", f"{mean:+.2f} ± {se:.2f} nats", mean > 2 * se)
    )
    sd = {kind: found.draws.std(dim=1).mean(dim=0) for kind, found in recovered.items()}
    table = pd.DataFrame({f"s.d., {kind}": v.numpy() for kind, v in sd.items()}, index=list(simulator.names))
    table["ratio"] = table["s.d., both"] / table["s.d., behaviour"]
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in table["ratio"].items())
    rows.append(row("posterior s.d. with activity over that without", "by coefficient", ratios, None))
    return rows, table


def carried(sizes: Sizes, jobs: int) -> tuple[list[Row], pd.DataFrame]:
    """Which summaries carry the information: each beside behaviour alone, on the same simulations and rules."""
    simulator = recurrent()
    prior = uniform(simulator.family, -1, 1)
    keep: dict[str, Any] = {"num_workers": jobs, "progress": False}
    store = sr.simulate(simulator, prior, sizes.networks // 2, seed=SEED + 2, **keep)
    truth, tables = learners_of(
        simulator, prior, sizes.rules // 2, LEARNERS, folder=None, seed=SEED + 3, fewest=sizes.rules // 4, **keep
    )
    told = of_behaviour(tables[0])
    scores = {}
    for name, more in {"behaviour alone": (), **{s.name: (s,) for s in activity_summaries()}}.items():
        fitted = sr.fit(store, prior, trials=tables[0], summaries=(*told, *more), seed=SEED)
        scores[name] = judged(fitted, truth, tables)[0]
    base = scores.pop("behaviour alone")
    gains = {name: v - base for name, v in scores.items()}
    n = len(truth)
    errors = {k: float(v.std()) / math.sqrt(n) for k, v in gains.items()}
    table = pd.DataFrame({"nats": {k: float(v.mean()) for k, v in gains.items()}, "se": errors})
    table = table.sort_values("nats", ascending=False)
    text = ", ".join(f"{name} {r['nats']:+.2f} ± {r['se']:.2f}" for name, r in table.iterrows())
    return [row(f"log score that each summary adds to behaviour, {n} rules", "measured", text, None)], table


# Which family made them -------------------------------------------------------------------------------


def cut(table: sr.Trials, trials: int, units: int) -> sr.Trials:
    """The first trials of some of the units."""
    run = table.trajectory
    short = sr.Trajectory(
        run.status,
        run.trial_types[:, :trials],
        {n: v[:, :trials] for n, v in run.per_trial.items()},
        per_unit={n: v[:, :trials, :units] for n, v in run.per_unit.items()},
        type_names=run.type_names,
    )
    return replace(table, trajectory=short)


def chosen_for(table: sr.Trials, kind: str) -> tuple[Any, ...]:
    told, seen = of_behaviour(table), activity_summaries()
    return {"both": (*told, *seen), "behaviour": told, "activity": seen}[kind]


def found_by(stores: Mapping[str, Any], priors: Mapping[str, Any], tables: Sequence[sr.Trials], kind: str) -> Tensor:
    """Log-evidence of each family for each table, `(tables, F)`."""
    ratio = FamilyRatio(stores, priors, tables[0], summaries=chosen_for(tables[0], kind), seed=SEED)
    totals = torch.cat([ratio.statistics(t).sum(dim=1, keepdim=True) for t in tables], dim=1)
    counts = torch.full((len(tables),), len(tables[0]))
    out = [ratio.draws(name, totals, counts, FEW, seed=SEED, progress=False).log_evidence for name in ratio.names]
    return torch.stack(out, dim=1)


def three_families() -> dict[str, tuple[Any, Any]]:
    """Three-factor, Hebbian with decay, and none, in the same networks."""
    shared = {"num_trials": TRIALS, "num_recorded": UNITS, "recording_noise": NOISE}
    task = DelayedDiscrimination()
    reward = RateRNN(sr.PolynomialRule(3, terms=["theta_11", "theta_33"]), task, **shared)
    hebb = RateRNN(sr.Oja(), task, **shared)
    scale = {"hebb": log_uniform(3e-7, 3e-6), "decay": log_uniform(1e-6, 1e-5)}
    return {
        "three-factor": (reward, uniform(reward.family, -1, 1)),
        "Hebbian with decay": (hebb, uniform(hebb.family, 0, 1, **scale)),
        "no plasticity": (reward.without_plasticity(), uniform(reward.family, -1, 1)),
    }


def five_families() -> dict[str, tuple[Any, Any]]:
    """Of the hidden layer of feedforward networks."""
    shared = {"num_trials": 120, "num_recorded": UNITS, "recording_noise": NOISE}
    kinds = {
        "Hebbian": (sr.HebbianLayer, 0.3),
        "Oja": (sr.OjaLayer, 0.3),
        "three-factor": (sr.NodePerturbation, 1.0),
        "backpropagation": (sr.Backpropagation, 1.0),
        "feedback alignment": (sr.FeedbackAlignment, 1.0),
    }
    out = {}
    for name, (kind, high) in kinds.items():
        simulator = FeedforwardNetwork(kind(), **shared)
        out[name] = (simulator, uniform(simulator.family, 0, high))
    return out


def changed(table: sr.Trials, still: Tensor) -> bool:
    """Whether units moved by at least three times the error of that, more than those of networks that do not learn `(n, C)`."""
    drift = summarise(table.trajectory, [sr.summaries.drift(3)]).double()
    gap = drift.mean(dim=0) - still.mean(dim=0)
    return bool((gap / (drift.std(dim=0) / math.sqrt(len(drift))) >= 3).any())


def confusion(
    families: Mapping[str, tuple[Any, Any]],
    sizes: Sizes,
    jobs: int,
    conditions: Sequence[tuple[str, int, int]],
    goal: float | None,
    rows_of_family: int,
) -> tuple[list[Row], dict[str, pd.DataFrame]]:
    """Share of each true family for which each was the most probable, by what was recorded."""
    keep: dict[str, Any] = {"num_workers": jobs, "progress": False}
    stores, priors, tables, true = {}, {}, [], []
    for k, (name, (simulator, prior)) in enumerate(families.items()):
        stores[name] = sr.simulate(simulator, prior, rows_of_family, seed=SEED + 10 + k, **keep)
        priors[name] = prior
        cases = sizes.cases if goal is not None else sizes.fewer
        own = learners_of(simulator, prior, cases, LEARNERS, folder=None, seed=SEED + 20 + k, fewest=2, **keep)[1]
        tables += own
        true += [k] * len(own)
    names = list(families)
    shown = [True] * len(tables)
    if "no plasticity" in names:
        quiet = [t for t, k in zip(tables, true, strict=True) if names[k] == "no plasticity"]
        still = torch.cat([summarise(t.trajectory, [sr.summaries.drift(3)]) for t in quiet]).double()
        shown = [names[k] == "no plasticity" or changed(t, still) for t, k in zip(tables, true, strict=True)]
    rows, frames = [], {}
    place = [true[:k].count(true[k]) for k in range(len(true))]
    for number, (kind, trials, units) in enumerate(conditions):
        some = [k for k in range(len(true)) if number == 0 or place[k] < sizes.fewer]
        evidence = found_by(stores, priors, [cut(tables[k], trials, units) for k in some], kind)
        best, label = evidence.argmax(dim=1), torch.tensor([true[k] for k in some])
        kept = torch.tensor([shown[k] for k in some])
        right = (best == label).double()
        told = f"{kind}, {trials} trials" + (f", {units} units" if kind != "behaviour" else "")
        truth, found = (pd.Series([names[int(k)] for k in v[kept]]) for v in (label, best))
        table = pd.crosstab(truth, found, normalize="index")
        frames[told] = table.reindex(index=names, columns=names, fill_value=0.0)
        share, count = float(right[kept].mean()), int(kept.sum())
        text = f"{share:.1%} of {count} cases ({float(right.mean()):.1%} of all {len(right)})"
        asked = number == 0 and goal is not None
        wanted = f">= {goal:.0%}" if asked else ""
        met = share >= goal if asked else None
        rows.append(row(f"{len(names)} families told apart by {told}", wanted, text, met))
        print(f"{told}: {text}", flush=True)
    return rows, frames


# Speed --------------------------------------------------------------------------------------------------


def speed(sizes: Sizes) -> list[Row]:
    """Simulating with summaries of activity against simulating alone, one process, and what memory that takes."""
    import resource

    torch.set_num_threads(1)
    family = sr.PolynomialRule(DEGREE)
    task = DelayedDiscrimination()
    plain = RateRNN(family, task, num_trials=TRIALS)
    summed = RateRNN(family, task, num_trials=TRIALS, num_recorded=UNITS, summaries=activity_summaries())
    prior = uniform(family, -1, 1)
    for simulator in (plain, summed):  # what is compiled and measured once
        sr.simulate(simulator, prior, 128, seed=1, num_workers=1, progress=False)
    seconds, memory = [], []
    for simulator in (plain, summed):
        begin = time.perf_counter()
        sr.simulate(simulator, prior, sizes.rows, seed=SEED, num_workers=1, progress=False, keep_trials=False)
        seconds.append(time.perf_counter() - begin)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    ratio = seconds[1] / seconds[0]
    peak = f"peak memory {memory[0]:.2f} and {memory[1]:.2f} GiB"
    text = f"{seconds[0]:.0f} s alone, {seconds[1]:.0f} s with them: {ratio:.2f} times; {peak}"
    goal = f"summaries of {sizes.rows:,} networks x {TRIALS} trials x {UNITS} units"
    return [row(goal, "under 2 times", text, ratio < 2)]
