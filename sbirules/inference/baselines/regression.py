"""Softmax regression by Newton's method, for baselines whose logits are linear in their parameters.

Logits are those of each answer against the first, which makes accept-or-reject and a choice between two options the same. The
prior of these contrasts treats all answers alike: it is the one of differences between independent weights of every answer.
"""

from __future__ import annotations

import numpy as np

__all__ = ["WEAK", "chosen_log_prob", "design", "likeness", "log_probabilities", "most_likely", "weak_precision"]

WEAK = 2.5  # prior s.d. of a logit weight; the inputs are about 1 in size
STEPS = 100  # of Newton at most; it takes some ten


def likeness(contrasts: int) -> np.ndarray:
    """Prior correlation of weights of different answers against the first, `(contrasts, contrasts)`: 1, and 1/2 between them."""
    return np.asarray((np.eye(contrasts) + 1.0) / 2.0)


def weak_precision(contrasts: int, inputs: int) -> np.ndarray:
    """Precision of the normal prior of weights `(contrasts, inputs)`, flattened: s.d. WEAK each."""
    return np.kron(np.linalg.inv(likeness(contrasts)), np.eye(inputs) / WEAK**2)


def design(x: np.ndarray, contrasts: int) -> np.ndarray:
    """Derivatives of the logits by weights `(contrasts, inputs)`, flattened: `(N, contrasts, contrasts * inputs)`."""
    n, inputs = x.shape
    out = np.zeros((n, contrasts, contrasts, inputs))
    for r in range(contrasts):
        out[:, r, r] = x
    return out.reshape(n, contrasts, contrasts * inputs)


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities `(N, K)` of answers with logits `(N, K - 1)` against the first."""
    whole = np.concatenate([np.zeros((len(logits), 1)), logits], axis=1)
    whole = whole - whole.max(axis=1, keepdims=True)
    return np.asarray(whole - np.log(np.exp(whole).sum(axis=1, keepdims=True)))


def chosen_log_prob(logits: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Log-probability `(N,)` of answers `(N,)`, NaN for -1."""
    every = log_probabilities(logits)
    return np.where(choice >= 0, every[np.arange(len(choice)), np.maximum(choice, 0)], np.nan)


def most_likely(
    z: np.ndarray, choice: np.ndarray, precision: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Parameters `(P,)` of highest posterior density, where the logits are `z @ parameters`.

    Arguments:
        z: `(N, K - 1, P)`.
        choice: Answers `(N,)`, none missing.
        precision: Of the normal prior around 0, `(P, P)`; positive definite, so that there is one maximum.
        start: Where to begin, 0 by default.
    """
    n, contrasts, size = z.shape
    flat = z.reshape(n * contrasts, size)
    given = (choice[:, None] == np.arange(1, contrasts + 1)).astype(np.float64)

    def value_of(at: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_probabilities((flat @ at).reshape(n, contrasts))
        return float(log_p[np.arange(n), choice].sum() - 0.5 * at @ precision @ at), log_p

    at = np.zeros(size) if start is None else start.copy()
    value, log_p = value_of(at)
    for _ in range(STEPS):
        p = np.exp(log_p[:, 1:])
        slope = flat.T @ (given - p).ravel() - precision @ at
        mean = (p[:, :, None] * z).sum(axis=1)
        step = np.linalg.solve(flat.T @ (p.reshape(-1, 1) * flat) - mean.T @ mean + precision, slope)
        gain = float(slope @ step)
        if gain < 1e-12:
            break
        share = 1.0
        new, new_log_p = value_of(at + step)
        while new < value + 1e-4 * share * gain and share > 1e-8:
            share /= 2
            new, new_log_p = value_of(at + share * step)
        if new <= value:  # as far as digits go
            break
        at, value, log_p = at + share * step, new, new_log_p
    return at
