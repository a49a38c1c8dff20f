"""How users find terms today: fits of all of them, with small ones dropped in rounds, or with an L1 penalty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import minimize

import sbirules as sr
from sbirules.model.structures import Structure, Term
from sbirules.model.structures.expressions import term_text
from sbirules.model.tables import Trials

__all__ = ["f1", "picked", "shrunk", "thresholded"]


def penalised(
    problem: sr.ChoiceProblem, terms: Sequence[Term], trials: Trials, penalty: float, start: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients of all terms at the maximum of the log-likelihood less an L1 penalty, in the bounds of the prior."""
    structure = Structure.of(terms)
    policy = problem.simulator(structure)
    likelihood = policy.likelihood(trials)
    likelihood.threads = 1
    place = [policy.names.index(name) for name in structure.names]
    size = len(place)
    decay = np.array([term_text(t) == "w" for t in structure.terms])

    def loss(both: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.zeros(1, size, dtype=torch.float64)
        theta[0, place] = torch.from_numpy(both[:size] - both[size:])
        value, slope = likelihood.value_and_slope(theta)
        g = -np.asarray(slope.sum(dim=1)[0][place])
        return -float(value.sum()) + penalty * float(both.sum()), np.concatenate([g + penalty, -g + penalty])

    bounds = [(0.0, 0.0 if d else 1.0) for d in decay] + [(0.0, 1.0)] * size
    place_of = [structure.terms.index(t) for t in terms]
    first = np.zeros(size)
    if start is not None:
        first[place_of] = start
    both_signs = np.concatenate([np.maximum(first, 0.0), np.maximum(-first, 0.0)])
    found = minimize(loss, both_signs, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    return np.asarray((found.x[:size] - found.x[size:])[place_of])


def predicted(problem: sr.ChoiceProblem, terms: Sequence[Term], theta: np.ndarray) -> float:
    """Log-probability of what is held out given what came before, at coefficients fitted to what came before."""
    if not len(terms):
        count = int(problem.trials.num_trials.sum()) - int(problem.earlier.num_trials.sum())
        return count * math.log(0.5)
    structure = Structure.of(terms)
    policy = problem.simulator(structure)
    names = {t: n for t, n in zip(structure.terms, structure.names, strict=True)}
    values = {names[t]: float(v) for t, v in zip(terms, theta, strict=True)}
    row_of = torch.tensor([[values[name] for name in policy.names]], dtype=torch.float64)
    return float(policy.likelihood(problem.trials).log_prob(row_of).sum()) - float(
        policy.likelihood(problem.earlier).log_prob(row_of).sum()
    )


Found = tuple[list[Term], np.ndarray]


def thresholded(problem: sr.ChoiceProblem, trials: Trials, thresholds: Sequence[float]) -> list[Found]:
    """Fits all terms, drops those below a threshold, fits again, until none is dropped (SINDy's scheme)."""
    every = list(problem.grammar.terms)
    full = penalised(problem, every, trials, 1e-3)
    out: list[Found] = []
    for threshold in thresholds:
        terms, theta = every, full
        while not (kept := np.abs(theta) >= threshold).all():
            terms = [t for t, k in zip(terms, kept, strict=True) if k]
            theta = penalised(problem, terms, trials, 1e-3, theta[kept]) if terms else theta[kept]
        out.append((terms, theta))
    return out


def shrunk(problem: sr.ChoiceProblem, trials: Trials, penalties: Sequence[float]) -> list[Found]:
    """L1 on all terms, as in Mehta et al. (2024): what is left above .01; each penalty from where the larger one ended."""
    every = list(problem.grammar.terms)
    theta: np.ndarray | None = None
    out: dict[float, Found] = {}
    for penalty in sorted(penalties, reverse=True):
        theta = penalised(problem, every, trials, penalty, theta)
        kept = np.abs(theta) > 0.01
        out[penalty] = [t for t, k in zip(every, kept, strict=True) if k], theta[kept]
    return [out[penalty] for penalty in penalties]


def picked(problem: sr.ChoiceProblem, fit: Callable[..., list[Found]], values: Sequence[float]) -> list[Term]:
    """Terms at the setting that predicts best what is held out, from a fit to everything."""
    scored = [predicted(problem, *found) for found in fit(problem, problem.earlier, values)]
    return fit(problem, problem.trials, [values[int(np.argmax(scored))]])[0][0]


def f1(terms: Sequence[Term], truth: Structure) -> float:
    shared = len(set(terms) & set(truth.terms))
    return 2.0 * shared / max(1, len(terms) + len(truth.terms))
