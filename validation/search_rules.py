"""Planted rules found from the choices of animals: by tree search, at random, by posterior, and as users would today."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from joblib import Memory, Parallel, delayed
from result_rows import Row, row
from search_peers import f1, picked, shrunk, thresholded

import sbirules as sr
from sbirules.model.structures import Structure, family_of
from sbirules.model.structures.expressions import term_text
from sbirules.model.tables import Trials
from sbirules.model.tasks import ChoiceTask
from sbirules.simulators import PolicyNetwork

__all__ = ["calibration_rows", "planted_rows", "speed_rows"]

SEED = 20261128
# two odours, each option right for one of them, and which one changes
TASK = ChoiceTask(
    reward="bandit",
    stimuli={"odour": ["A", "B"]},
    probabilities=[[[0.8, 0.2], [0.2, 0.8]], [[0.2, 0.8], [0.8, 0.2]]],
    block=(40, 80),
)
ANIMALS, TRIALS, FRESH = 18, 300, 400
BUDGET, SMC_BUDGET = 1000, 1500
SAME = 0.1  # nats per animal within which two rules are one class
PLAIN: dict[str, Any] = {"nuisance": ()}
GRAMMAR = sr.RuleGrammar(["c", "d", "x", "w", "r", "rd"])
# a run that was stopped goes on; to be deleted when the package has changed
KEPT = Memory("runs/validation", verbose=0)


def simulated(structure: Structure, theta: dict[str, float], animals: int, trials: int, seed: int) -> Trials:
    """Animals that follow a rule; of the empty rule coins."""
    family = family_of(structure) if structure.terms else sr.TaylorRule(["w"])
    policy = PolicyNetwork(family, TASK, num_trials=trials, **PLAIN)
    row_of = [theta.get(name, 0.0) for name in policy.names]
    return policy.animals(torch.tensor([row_of]).repeat(animals, 1), seed=seed)


def problem_of(trials: Trials) -> sr.ChoiceProblem:
    return sr.ChoiceProblem(trials, GRAMMAR, task=TASK, **PLAIN)


def told_apart() -> sr.RuleGrammar:
    """The grammar without terms that are equal in this task."""
    return problem_of(simulated(sr.parse_structure("c rd"), {"c_rd": 0.5}, 6, 100, SEED)).grammar


def coefficients(structure: Structure, rng: np.random.Generator) -> dict[str, float]:
    """Uniform(-1, 1); of decays of the weights uniform(-1, 0)."""
    return {
        name: float(rng.uniform(-1.0, 0.0 if term_text(term) == "w" else 1.0))
        for name, term in zip(structure.names, structure.terms, strict=True)
    }


def best_log_prob(problem: sr.ChoiceProblem, structure: Structure) -> float:
    """Log-likelihood of all choices at a structure's fitted coefficients."""
    if not structure.terms:
        return float(problem.trials.num_trials.sum()) * math.log(0.5)
    return float(log_prob(problem, structure, problem.score(structure, {}).values, problem.trials).sum())


def log_prob(problem: sr.ChoiceProblem, structure: Structure, values: Any, trials: Trials) -> np.ndarray:
    """Of choices, by animal."""
    policy = problem.simulator(structure)
    theta = torch.tensor([[values.get(name, 0.0) for name in policy.names]], dtype=torch.float64)
    return np.asarray(policy.likelihood(trials).log_prob(theta)[0])


# Planted rules ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """A rule, its coefficients and the animals that follow it."""

    structure: Structure
    theta: dict[str, float]
    trials: Trials
    drawn: int


def planted(k: int) -> Planted:
    """The first rule of 2-4 terms drawn from the prior that shows itself in behaviour."""
    rng = np.random.default_rng([SEED, k])
    grammar = told_apart()
    for drawn in range(1, 5000):
        structure = grammar.sample(rng)
        if not 2 <= len(structure) <= 4:
            continue
        theta = coefficients(structure, rng)
        trials = simulated(structure, theta, ANIMALS, TRIALS, int(rng.integers(2**31)))
        choice = trials.trajectory.per_trial["choice"]
        repeated = float((choice[:, 1:] == choice[:, :-1]).float().mean())
        if not 0.02 <= repeated <= 0.98:
            continue
        problem = problem_of(trials)
        if not problem.grammar.contains(structure):
            continue
        whole = best_log_prob(problem, structure)
        if whole < best_log_prob(problem, problem.grammar.root) + 50.0:
            continue
        less = [Structure(tuple(t for t in structure.terms if t != term)) for term in structure.terms]
        if all(whole - best_log_prob(problem, s) >= 10.0 for s in less):
            return Planted(structure, theta, trials, drawn)
    raise RuntimeError("no rule shows itself in behaviour.")


def classes(found: sr.StructureSearch, problem: sr.ChoiceProblem, p: Planted, fresh: Trials) -> list[float]:
    """Posterior mass of the truth's class, then of the others, the largest first."""
    mass = {s: m for s, m in found.posterior.items() if m > 1e-4 or s == p.structure}
    values = {s: found.values(s) for s in mass}
    values.setdefault(p.structure, problem.score(p.structure, {}).values)
    score = {s: float(log_prob(problem, s, values[s], fresh).mean()) for s in values}
    left = dict(mass)
    left.setdefault(p.structure, 0.0)
    out: list[float] = []
    centre = p.structure
    while left:
        # a rule whose weights explode in fresh animals has no score, and is a class of its own
        same = [s for s in left if s == centre or abs(score[s] - score[centre]) < SAME]
        out.append(sum(left.pop(s) for s in same))
        centre = max(left, key=left.__getitem__) if left else centre
    return [out[0], *sorted(out[1:], reverse=True)]


# Rows -------------------------------------------------------------------------------------------------


def _at_random(grammar: sr.RuleGrammar, truth: Structure, k: int) -> bool:
    """Whether a thousand different rules drawn from the prior have the truth among them."""
    rng = np.random.default_rng([SEED, k, 1])
    seen: set[Structure] = set()
    while len(seen) < BUDGET:
        seen.add(grammar.sample(rng))
    return truth in seen


def one_rule(k: int, quick: bool) -> dict[str, Any]:
    """All that is measured of one planted rule."""
    torch.set_num_threads(1)
    p = planted(k)
    problem = problem_of(p.trials)
    tree = sr.search(problem, budget=200 if quick else BUDGET, seed=k)
    found = sr.search(problem, method="smc", budget=600 if quick else SMC_BUDGET, seed=k)
    fresh = simulated(p.structure, p.theta, FRESH, TRIALS, SEED + 1)
    mass = classes(found, problem, p, fresh)
    scores = (
        float(log_prob(problem, s, problem.score(s, {}).values if values is None else values, fresh).mean())
        for s, values in ((tree.best, tree.values(tree.best)), (p.structure, None))
    )
    behind = next(scores) - next(scores)
    likely = [t for t in problem.grammar.terms if found.term_probabilities().get(term_text(t), 0.0) > 0.5]
    steps = [0.02, 0.05, 0.1] if quick else [0.02, 0.05, 0.1, 0.2]
    penalties = [3.0, 30.0] if quick else [1.0, 10.0, 30.0, 100.0]
    place = next((n for n, node in enumerate(tree.nodes) if node.structure == p.structure), None)
    return {
        "rule": str(p.structure),
        "theta": {n: round(v, 3) for n, v in p.theta.items()},
        "drawn": p.drawn,
        "classes": mass,
        "truth": found.posterior.get(p.structure, 0.0),
        "disagreement": found.disagreement,
        "nodes": len(found.nodes),
        "beyond": found.beyond,
        "found_at": place,
        "best": str(tree.best),
        "best_same": tree.best == p.structure,
        "best_behind": behind,
        "random": _at_random(problem.grammar, p.structure, k),
        "f1": f1(likely, p.structure),
        "f1_thresholded": f1(picked(problem, thresholded, steps), p.structure),
        "f1_l1": f1(picked(problem, shrunk, penalties), p.structure),
    }


def planted_rows(quick: bool, jobs: int) -> list[Row]:
    count = 2 if quick else 10
    found = Parallel(n_jobs=jobs)(delayed(KEPT.cache(one_rule))(k, quick) for k in range(count))
    grammar = told_apart()
    first = sum(f["classes"][0] >= max(f["classes"][1:], default=0.0) and f["classes"][0] > 0 for f in found)
    tree = sum(f["found_at"] is not None for f in found)
    wanted = f"at least {count * 8 // 10} of {count}"
    out = [
        row(
            "rules of the grammar, different in this task",
            "at least 100,000",
            f"{grammar.count():,}",
            grammar.count() >= 1e5,
        ),
        row("the truth's class has the largest mass", wanted, f"{first} of {count}", first >= count * 0.8),
        row(f"tree search scores the truth within {BUDGET:,}", wanted, f"{tree} of {count}", tree >= count * 0.8),
        row(
            f"rules drawn from the prior: the truth within {BUDGET:,}",
            "beside it",
            f"{sum(f['random'] for f in found)} of {count}",
            None,
        ),
        row(
            "held-out score alone picks the truth; one of its class",
            "beside it",
            f"{sum(f['best_same'] for f in found)}; {sum(abs(f['best_behind']) < SAME for f in found)} of {count}",
            None,
        ),
    ]
    for other, name in (("f1_thresholded", "sequential thresholds"), ("f1_l1", "L1")):
        ours, theirs = (np.array([f[key] for f in found]) for key in ("f1", other))
        gap = ours - theirs
        error = gap.std(ddof=1) / math.sqrt(count)
        text = f"{ours.mean():.2f} against {theirs.mean():.2f}, gap {gap.mean():.2f} +- {error:.2f}"
        out.append(row(f"F1 of terms against {name}", "ahead by 2 s.e.", text, bool(gap.mean() > 2 * error)))
    for f in found:
        most, others = f["classes"][0], max(f["classes"][1:], default=0.0)
        text = (
            f"class {most:.2f}, next {others:.2f}, truth itself {f['truth']:.2f}; tree search at node {f['found_at']}, best "
            f"{f['best']} ({f['best_behind']:+.2f} nats per animal); F1 {f['f1']:.2f}, thresholds {f['f1_thresholded']:.2f}, "
            f"L1 {f['f1_l1']:.2f}; {f['nodes']} nodes, "
            f"{f['beyond']} beyond, particles {f['disagreement']:.2f} away; drawn as number {f['drawn']}"
        )
        out.append(row(f"{f['rule']}", "listed", text, None))
    return out


# Calibration ------------------------------------------------------------------------------------------


def one_draw(k: int) -> tuple[float, bool, list[tuple[float, bool]]]:
    """Mass of the most probable rule, whether it is the truth, and the same of each term."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([SEED, 7, k])
    grammar = told_apart()
    structure = grammar.sample(rng)
    trials = simulated(structure, coefficients(structure, rng), 6, 150, int(rng.integers(2**31)))
    problem = sr.ChoiceProblem(trials, grammar, task=TASK, **PLAIN)
    found = sr.search(problem, method="smc", budget=600, seed=k)
    top = found.most_probable
    there = {term_text(t) for t in structure.terms}
    terms = [(p, name in there) for name, p in found.term_probabilities().items()]
    return found.posterior[top], top == structure, terms


def calibration_rows(quick: bool, jobs: int) -> list[Row]:
    count = 10 if quick else 200
    found = Parallel(n_jobs=jobs)(delayed(KEPT.cache(one_draw))(k) for k in range(count))
    mass, hit = np.array([f[0] for f in found]), np.array([f[1] for f in found], dtype=float)
    gap = hit - mass
    error = gap.std(ddof=1) / math.sqrt(count)
    p = np.array([q for f in found for q, _ in f[2]])
    there = np.array([h for f in found for _, h in f[2]], dtype=float)
    out = [
        row(
            f"{count} rules of the prior: mass of the most probable rule against hits",
            "within 2 s.e.",
            f"{mass.mean():.3f} against {hit.mean():.3f}, gap {gap.mean():+.3f} +- {error:.3f}",
            bool(abs(gap.mean()) <= 2 * error),
        ),
        row(
            "Brier score of that",
            "that of right probabilities",
            f"{np.mean(gap**2):.3f}, expected {np.mean(mass * (1 - mass)):.3f}",
            None,
        ),
    ]
    for low, high in ((0.02, 0.2), (0.2, 0.8), (0.8, 1.01)):
        part = (p >= low) & (p < high)
        if part.sum() < 5:
            continue
        off = there[part] - p[part]
        error = off.std(ddof=1) / math.sqrt(part.sum())
        text = f"{there[part].mean():.3f} +- {error:.3f} of {part.sum()}, said {p[part].mean():.3f}"
        met = abs(off.mean()) <= 2 * error
        out.append(
            row(f"terms said to be there with {low:.0%} to {min(high, 1):.0%}", "within 2 s.e.", text, bool(met))
        )
    return out


def speed_rows(quick: bool) -> list[Row]:
    """Nodes per second of a whole search, workers' start included."""
    p = planted(0)
    problem = problem_of(p.trials)
    sr.search(problem, budget=20, workers=1)  # compiles
    budget = 200 if quick else BUDGET
    out = []
    for workers in (1, 2):
        begun = time.perf_counter()
        tree = sr.search(problem, budget=budget, workers=workers)
        rate = len(tree.nodes) / (time.perf_counter() - begun)
        met = rate >= 20 if workers == 2 else None
        name = f"nodes per second, {workers} process{'es' if workers > 1 else ''}, {budget} nodes"
        out.append(row(name, "at least 20" if workers == 2 else "beside it", f"{rate:.1f}", met))
    return out
