"""Q-learning with forgetting and perseveration (Ito & Doya 2009)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sbirules.support.compiling import compiled

from .base import Baseline
from .decisions import Decisions
from .regression import WEAK

__all__ = ["QLearning"]

FLAT = 0.1  # Beta(1.1, 1.1) on a rate: keeps it off 0 and 1, and is nearly uniform else
SHAPE, SCALE = 1.2, 5.0  # of the gamma prior of beta (Daw 2011)
FIRST = ((0.1, 0.02), (0.1, 0.3), (0.5, 0.1), (0.7, 0.7))  # learning and forgetting, from which the search begins
EDGE = 12.0  # of the logit of a rate


class QLearning(Baseline):
    """Q-learning with forgetting (Ito & Doya 2009, J Neurosci 29), softmax, and perseveration.

    Option i has the value Q_i = W_i x, one number for each label that is shown, or a linear function of the inputs
    (Rescorla & Wagner); p(i) is the softmax of beta Q_i + kappa [i was chosen last]. After the reward r

        W_chosen += alpha (r - Q_chosen) x / X^2,      all others *= 1 - alpha_F

    where X is the largest length of x (1 for a single label), so that values never run away. Others are the options not
    chosen, and of the one chosen the labels that are not shown. Values are 0 at first and go on from session to session; the
    last choice does not. A decision without an answer changes nothing; one whose reward is not known changes only which
    choice was the last. Accepting is one option against a logit of 0, with a threshold that adds to its logit; rejecting
    teaches nothing.

    Priors: alpha and alpha_F Beta(1.1, 1.1), beta Gamma(1.2, scale 5) (Daw 2011), kappa and the threshold normal with s.d.
    2.5.
    """

    name: ClassVar[str] = "q_learning"
    words: ClassVar[str] = "Q-learning with forgetting of what is not chosen, and perseveration (Ito & Doya 2009)"

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """alpha, alpha_F, beta, kappa, and for accept-or-reject the threshold."""
        from scipy.optimize import minimize

        def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
            parameters = _natural(at)
            value, slope = _with_slope(parameters, decisions, seen)
            rate, beta, rest = parameters[:2], parameters[2], parameters[3:]
            value += FLAT * np.log(rate * (1 - rate)).sum() - 0.5 * (rest**2).sum() / WEAK**2
            value += (SHAPE - 1) * np.log(beta) - beta / SCALE
            out = np.concatenate([
                slope[:2] * rate * (1 - rate) + FLAT * (1 - 2 * rate),
                [slope[2] * beta + SHAPE - 1 - beta / SCALE],
                slope[3:] - rest / WEAK**2,
            ])  # fmt: skip
            return -float(value), -out

        size = self.size(decisions)
        bounds = [(-EDGE, EDGE)] * 2 + [(-EDGE, np.log(1000.0))] + [(None, None)] * (size - 3)
        best = (np.inf, np.zeros(size))
        for rates in FIRST:
            first = np.zeros(size)
            first[:2] = np.log(rates) - np.log1p(-np.array(rates))
            first[2] = np.log(2.0)
            found = minimize(
                loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-11, "gtol": 1e-5}
            )
            best = min(best, (float(found.fun), found.x), key=lambda one: one[0])
        return _natural(best[1])

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """See `Baseline.given`."""
        out, _ = _run(parameters, decisions, np.zeros(len(decisions), dtype=bool))
        return out

    def size(self, decisions: Decisions) -> int:
        """Four, and the threshold of accepting."""
        return 5 if decisions.accept else 4


def _natural(at: np.ndarray) -> np.ndarray:
    """Parameters from those of the search: logits of the rates, log beta, and the rest as they are."""
    return np.concatenate([1.0 / (1.0 + np.exp(-at[:2])), np.exp(at[2:3]), at[3:]])


def _with_slope(parameters: np.ndarray, decisions: Decisions, seen: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-likelihood of decisions seen, and its gradient by the parameters."""
    out, slope = _run(parameters, decisions, seen)
    return float(out[seen].sum()), slope[: len(parameters)]


def _run(parameters: np.ndarray, decisions: Decisions, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = decisions
    out, slope, five = np.empty(len(d)), np.zeros(5), np.zeros(5)
    five[: len(parameters)] = parameters
    _values(
        five,
        d.x,
        d.reach**2,
        d.labels,
        d.choice,
        d.reward,
        d.start,
        d.new_session,
        d.answers,
        d.accept,
        seen,
        out,
        slope,
    )
    return out, slope


@compiled
def _values(
    parameters: np.ndarray, x: np.ndarray, reach2: float, labels: np.ndarray, choice: np.ndarray, reward: np.ndarray,
    start: np.ndarray, new_session: np.ndarray, answers: int, accept: bool, seen: np.ndarray, out: np.ndarray,
    slope: np.ndarray,
) -> None:  # fmt: skip
    """Log-probability of each answer, and the gradient of the sum over those seen, carried forward with the values."""
    alpha, forget, beta, kappa, threshold = parameters
    rate, options, inputs = alpha / reach2, 1 if accept else answers, x.shape[1]
    first = 1 if accept else 0  # code of the first option
    w, by_alpha, by_forget = np.zeros((options, inputs)), np.zeros((options, inputs)), np.zeros((options, inputs))
    logit, by = np.zeros(answers), np.zeros((answers, 5))
    value = np.zeros((options, 3))
    for animal in range(len(start) - 1):
        w[:] = 0.0
        by_alpha[:] = 0.0
        by_forget[:] = 0.0
        last = -1
        for t in range(start[animal], start[animal + 1]):
            if new_session[t]:
                last = -1
            if choice[t] < 0:
                out[t] = np.nan
                continue
            most = 0.0 if accept else -np.inf
            for o in range(options):
                v, va, vf = 0.0, 0.0, 0.0
                for f in range(inputs):
                    v += w[o, f] * x[t, f]
                    va += by_alpha[o, f] * x[t, f]
                    vf += by_forget[o, f] * x[t, f]
                value[o, 0], value[o, 1], value[o, 2] = v, va, vf
                k = o + first
                same = 1.0 if last == k else 0.0
                logit[k] = beta * v + kappa * same + (threshold if accept else 0.0)
                by[k, 0], by[k, 1], by[k, 2], by[k, 3] = beta * va, beta * vf, v, same
                by[k, 4] = 1.0 if accept else 0.0
                most = max(most, logit[k])
            total = 0.0
            for k in range(answers):
                total += np.exp(logit[k] - most)
            c = choice[t]
            out[t] = logit[c] - most - np.log(total)
            if seen[t]:
                for k in range(answers):
                    error = (1.0 if k == c else 0.0) - np.exp(logit[k] - most) / total
                    for i in range(5):
                        slope[i] += error * by[k, i]
            last = c
            if reward[t] != reward[t] or c < first:
                continue
            surprise = reward[t] - value[c - first, 0]
            for o in range(options):
                for f in range(inputs):
                    if o == c - first and not (labels[f] and x[t, f] == 0.0):
                        by_alpha[o, f] += x[t, f] * (surprise / reach2 - rate * value[o, 1])
                        by_forget[o, f] -= rate * value[o, 2] * x[t, f]
                        w[o, f] += rate * surprise * x[t, f]
                    else:
                        by_alpha[o, f] *= 1.0 - forget
                        by_forget[o, f] = (1.0 - forget) * by_forget[o, f] - w[o, f]
                        w[o, f] *= 1.0 - forget
