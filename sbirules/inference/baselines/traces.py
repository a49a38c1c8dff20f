"""Logistic regression on stimuli and on exponential traces of what was chosen and rewarded (Lau & Glimcher 2005)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sbirules.support.compiling import compiled

from .base import Baseline
from .decisions import Decisions
from .regression import WEAK, chosen_log_prob, design, log_probabilities, most_likely, weak_precision

__all__ = ["Traces"]

FIRST = (0.1, 0.5, 0.8, 0.95, 0.99)  # shares that a trace keeps, tried in all pairs
SEARCHES = 5  # from the best of these; the posterior may have several maxima
FLAT = 0.1  # Beta(1.1, 1.1) on a share: keeps it off 0 and 1, and is nearly uniform else
EDGE = 12.0  # of the logit of a share


class Traces(Baseline):
    """Softmax regression on the stimuli, a constant, and traces of past choices and of past reward x choice.

    Each answer k has a trace of choices, c_k <- g c_k + (1 - g) [k was chosen], and one of rewards, r_k <- h r_k +
    (1 - h) reward [k was chosen]; they add a c_k + b r_k to its logit (Lau & Glimcher 2005, J Exp Anal Behav 84, with
    exponentials in place of free lags). Traces begin at 0 in each session. A decision without an answer leaves them as
    they are, one whose reward is not known leaves the trace of rewards. Rejecting is an answer like accepting.

    Priors: weights as for `Logistic`, a and b normal with s.d. 2.5, g and h Beta(1.1, 1.1).
    """

    name: ClassVar[str] = "traces"
    words: ClassVar[str] = (
        "logistic regression on the stimuli and on exponential traces of past choices and of past rewards of each answer "
        "(Lau & Glimcher 2005)"
    )

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Weights `(K - 1, F)`, flattened, then a, b, g and h."""
        from scipy.optimize import minimize

        rows, inputs = decisions.contrasts, decisions.x.shape[1]
        precision = _precision(rows, inputs)
        stimuli, choice = design(decisions.x[seen], rows), decisions.choice[seen]
        given = (choice[:, None] == np.arange(1, rows + 1)).astype(np.float64)

        def inputs_of(keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            traces, slopes = traces_of(decisions, keep)
            return np.concatenate([stimuli, traces[seen]], axis=2), slopes[seen]

        def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
            keep, weights = _share(at[-2:]), at[:-2]
            z, slopes = inputs_of(keep)
            log_p = log_probabilities(z @ weights)
            error = given - np.exp(log_p[:, 1:])
            value = log_p[np.arange(len(choice)), choice].sum() - 0.5 * weights @ precision @ weights
            value += FLAT * np.log(keep * (1 - keep)).sum()
            by_keep = weights[-2:] * (error[:, :, None] * slopes).sum(axis=(0, 1)) * keep * (1 - keep)
            by_weight = np.einsum("nrp,nr->p", z, error) - precision @ weights
            slope = np.concatenate([by_weight, by_keep + FLAT * (1 - 2 * keep)])
            return -float(value), -slope

        tried, weights = [], np.zeros(len(precision))
        for g in FIRST:
            for h in FIRST:
                keep = np.array([g, h])
                weights = most_likely(inputs_of(keep)[0], choice, precision, weights)
                at = np.concatenate([weights, np.log(keep / (1 - keep))])
                tried.append((loss(at)[0], at))
        tried.sort(key=lambda one: one[0])
        bounds = [(None, None)] * len(weights) + [(-EDGE, EDGE)] * 2
        options = {"maxiter": 500, "ftol": 1e-13, "gtol": 1e-5, "maxcor": 20}
        searches = [
            minimize(loss, at, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
            for _, at in tried[:SEARCHES]
        ]
        found = min(searches, key=lambda search: float(search.fun)).x
        keep = _share(found[-2:])
        # the last digits of the weights, which are exact given the shares
        weights = most_likely(inputs_of(keep)[0], choice, precision, found[:-2])
        return np.concatenate([weights, keep])

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """See `Baseline.given`."""
        rows, inputs = decisions.contrasts, decisions.x.shape[1]
        weights, (a, b) = parameters[:-4].reshape(rows, inputs), parameters[-4:-2]
        traces, _ = traces_of(decisions, parameters[-2:])
        return chosen_log_prob(decisions.x @ weights.T + a * traces[:, :, 0] + b * traces[:, :, 1], decisions.choice)

    def size(self, decisions: Decisions) -> int:
        """Those of `Logistic`, two weights of traces and the two shares that traces keep."""
        return decisions.contrasts * int(decisions.x.shape[1]) + 4


def traces_of(decisions: Decisions, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Traces of choices and of rewards before each decision, each answer's less that of the first, `(N, K - 1, 2)`.

    With them their derivatives by the share `keep` `(2,)` that a trace keeps from one decision to the next.
    """
    d = decisions
    traces, slopes = np.empty((2, len(d), d.contrasts, 2))
    _traces(np.asarray(keep, dtype=np.float64), d.choice, d.reward, d.new_session, d.answers, traces, slopes)
    return traces, slopes


@compiled
def _traces(
    keep: np.ndarray, choice: np.ndarray, reward: np.ndarray, new_session: np.ndarray, answers: int,
    traces: np.ndarray, slopes: np.ndarray,
) -> None:  # fmt: skip
    trace, slope = np.zeros((answers, 2)), np.zeros((answers, 2))
    for t in range(len(choice)):
        if new_session[t]:
            trace[:] = 0.0
            slope[:] = 0.0
        for k in range(1, answers):
            for i in range(2):
                traces[t, k - 1, i] = trace[k, i] - trace[0, i]
                slopes[t, k - 1, i] = slope[k, i] - slope[0, i]
        if choice[t] < 0:
            continue
        for i in range(2):
            gain = 1.0 if i == 0 else reward[t]
            if gain != gain:
                continue
            for k in range(answers):
                new = gain if k == choice[t] else 0.0
                slope[k, i] = keep[i] * slope[k, i] + trace[k, i] - new
                trace[k, i] = keep[i] * trace[k, i] + (1.0 - keep[i]) * new


def _precision(contrasts: int, inputs: int) -> np.ndarray:
    """Of the weights, and of those of the two traces."""
    size = contrasts * inputs
    out = np.eye(size + 2) / WEAK**2
    out[:size, :size] = weak_precision(contrasts, inputs)
    return np.asarray(out)


def _share(logit: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))
