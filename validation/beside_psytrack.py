"""psytrack's program beside the baseline `random_walk`, on the same tables; used by peers_of_behaviour.py."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from behaviour import COIN
from peer_runs import SEED, Row, between, row, run
from scipy.special import expit

import sbirules as sr
from sbirules.inference.baselines.decisions import Decisions
from sbirules.inference.baselines.random_walk import RandomWalk
from sbirules.inference.baselines.regression import WEAK
from sbirules.inference.choice_scores import held_out_part

MICE = {"learner": "mouse", "session": "session", "trial": "trial", "stimulus": ["contrast"], "choice": "choice"}
PARTICLES = 20_000
PLACES = 5  # of an animal's trials, after which both say what comes next
FOLDS = 5  # of psytrack's cross-validation


def observers(folder: Path, count: int = 2, sessions: int = 10, trials: int = 150) -> tuple[sr.Trials, np.ndarray]:
    """Observers whose bias and sensitivity drift, by way of a file; and their weights `(count, 2, trials)`, bias first."""
    rng = np.random.default_rng(SEED)
    n = sessions * trials
    drift = np.array([[0.05], [0.03]]) * np.ones(n)
    drift[:, ::trials] = 0.3
    drift[:, 0] = 1.0
    contrast = rng.choice([-0.5, -0.25, -0.125, 0.0, 0.125, 0.25, 0.5], size=(count, n))
    weights = np.cumsum(drift * rng.standard_normal((count, 2, n)), axis=2)
    size = np.sqrt((contrast**2).mean(axis=1, keepdims=True))
    choice = rng.random((count, n)) < expit(weights[:, 0] + weights[:, 1] * contrast / size)
    at = np.arange(n)
    parts = [
        pd.DataFrame({
            "mouse": f"observer {k + 1}", "session": at // trials, "trial": at % trials, "contrast": contrast[k],
            "choice": choice[k].astype(int),
        })
        for k in range(count)
    ]  # fmt: skip
    pd.concat(parts).to_csv(folder / "observers.csv", index=False)
    return sr.Trials.read(folder / "observers.csv", columns={**MICE, "reward": None}), weights


def next_right(model: RandomWalk, drift: np.ndarray, d: Decisions, count: int, levels: np.ndarray) -> list[float]:
    """Probability of the second answer at each contrast, had it been shown after so many trials."""
    out = []
    for level in levels:
        x, choice, new = d.x[: count + 1].copy(), d.choice[: count + 1].copy(), d.new_session[: count + 1].copy()
        x[count], choice[count], new[count] = (level, 1.0), 1, False
        short = replace(
            d, start=np.array([0, count + 1]), x=x, choice=choice, reward=d.reward[: count + 1],
            session=d.session[: count + 1], new_session=new, new_trial=d.new_trial[: count + 1],
        )  # fmt: skip
        out.append(float(np.exp(model.given(drift, short)[count])))
    return out


def by_particles(drift: np.ndarray, d: Decisions) -> float:
    """Log-probability of all answers by a particle filter, to tell who is right; two runs differ by about .2 nats."""
    rng = np.random.default_rng(SEED)
    w, total = WEAK * rng.standard_normal((PARTICLES, 2)), 0.0
    for t in range(len(d)):
        if t:
            w = w + np.sqrt(drift[0] ** 2 + d.new_session[t] * drift[1] ** 2) * rng.standard_normal(w.shape)
        p = expit((2 * d.choice[t] - 1) * (w @ d.x[t]))
        total += np.log(p.mean())
        edges = np.cumsum(p) / p.sum()
        w = w[np.searchsorted(edges, (np.arange(PARTICLES) + rng.random()) / PARTICLES).clip(max=PARTICLES - 1)]
    return float(total)


def psytrack(python: str, group: str, trials: sr.Trials, truth: np.ndarray | None, filters: int) -> list[Row]:
    """Both on each animal of a table, contrasts in units of their root mean square; `filters` animals go to particles."""
    model, held = RandomWalk(), held_out_part(trials)
    nodes, share = np.polynomial.hermite_e.hermegauss(40)
    share = share / share.sum()
    animals: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k in range(len(trials)):
            d = Decisions.of(trials).animal(k)
            every = np.ones(len(d), dtype=bool)
            d, cut = d.in_their_own_units(every), int((~held[k, : len(d)]).sum())
            model.fit(d.in_their_own_units(every), np.zeros(len(d), dtype=bool))  # compiles
            start = time.process_time()
            drift = model.fit(d, every)
            mine = {"d": d, "drift": drift, "seconds": time.process_time() - start, "cut": cut}
            mine["early"] = model.fit(d, np.arange(len(d)) < cut)
            mine["places"] = np.linspace(len(d) // 10, len(d) - 1, PLACES).astype(int)
            np.savez(
                folder / f"{k:02d}.npz", y=d.choice, contrast=d.x[:, 0], cut=cut, first=WEAK, places=mine["places"],
                days=np.diff(np.flatnonzero(np.append(d.new_session | (np.arange(len(d)) == 0), True))),
                sigma=drift[0, ::-1], day=np.sqrt(drift[0] ** 2 + drift[1] ** 2)[::-1], folds=FOLDS * (truth is not None),
            )  # fmt: skip
            animals.append(mine)
        run(python, Path(__file__).with_name("peer_psytrack.py"), folder)
        theirs = [dict(np.load(folder / f"{k:02d}.out.npz")) for k in range(len(trials))]

    levels = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    now: tuple[list[float], list[float]] = ([], [])
    for a, p in zip(animals, theirs, strict=True):
        s = p["sigma"][::-1]
        # its day replaces the drift, ours comes on top
        a["at theirs"] = model.given(np.stack([s, np.sqrt(np.maximum(p["day"][::-1] ** 2 - s**2, 0.0))]), a["d"]).sum()
        value = model.given(a["drift"], a["d"])
        a["at ours"], a["all"] = value.sum(), value
        a["held out"] = model.given(a["early"], a["d"])[a["cut"] :].sum()
        for k, count in enumerate(a["places"]):
            now[1].extend(next_right(model, a["drift"], a["d"], int(count), levels))
            covariance = p["covariance"][k] + np.diag(a["drift"][0, ::-1] ** 2)
            for level in levels:
                x = np.array([1.0, level])
                now[0].append(float(share @ expit(p["mean"][k] @ x + np.sqrt(x @ covariance @ x) * nodes)))
    n = sum(len(a["d"]) for a in animals)
    late = sum(len(a["d"]) - a["cut"] for a in animals)
    total = {what: sum(float(a[what]) for a in animals) for what in ("at theirs", "at ours", "held out", "seconds")}
    peer = {w: sum(float(p[w]) for p in theirs) for w in ("evidence", "evidence_given", "held_out", "seconds")}
    gap = np.abs(np.subtract(*now))
    worst = max(
        abs(float(p["evidence_given"]) - a["at ours"]) / len(a["d"]) for a, p in zip(animals, theirs, strict=True)
    )
    explained = [100 * (1 - v / (late * COIN)) for v in (peer["held_out"], total["held out"])]
    out = [
        row(group, f"log evidence of {n} choices at psytrack's drifts (nats)", peer["evidence"], total["at theirs"], 7),
        row(group, "the same at ours", peer["evidence_given"], total["at ours"], 7),
        between(group, "the same: largest difference of one animal, by choice", worst),
        row(
            group,
            f"held out: {late} choices of last sessions, one ahead (nats)",
            peer["held_out"],
            total["held out"],
            7,
        ),
        row(group, "the same, deviance explained (%)", *explained),
        between(group, "P(right) now at contrasts: mean difference", float(gap.mean())),
        between(group, "P(right) now at contrasts: largest difference", float(gap.max())),
        between(group, "P(right) now at contrasts: correlation", float(np.corrcoef(*now)[0, 1]), 6),
        row(group, "fitting (processor s)", peer["seconds"], total["seconds"], 3),
    ]
    for j, what in enumerate(("bias", "contrast")):
        medians = [
            float(np.median([p["sigma"][j] for p in theirs])),
            float(np.median([a["drift"][0, 1 - j] for a in animals])),
        ]
        out.append(row(group, f"median drift from trial to trial, {what}", *medians, 3))
    for k in range(min(filters, len(animals))):
        a, exact = animals[k], by_particles(animals[k]["drift"], animals[k]["d"])
        for whose, value in (("psytrack", float(theirs[k]["evidence_given"])), ("ours", float(a["at ours"]))):
            what = f"{trials.learners[k]}: log evidence less that of {PARTICLES} particles, {whose} (nats)"
            out.append(between(group, what, value - exact))
    if truth is not None:
        r = [np.corrcoef(p["weights"].ravel(), w.ravel())[0, 1] for p, w in zip(theirs, truth, strict=True)]
        out.append(row(group, "weights given all choices: correlation with the truth", float(np.mean(r)), None, 3))
        crossed = float(np.mean([p["crossed"] for p in theirs]))
        seen = float(np.concatenate([a["all"] for a in animals]).mean())
        out.append(
            row(
                group,
                f"log-probability by choice: psytrack {FOLDS}-fold (past and future), ours of the past",
                crossed,
                seen,
            )
        )
    return out
