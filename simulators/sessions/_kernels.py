"""What numba compiles of the likelihood of session scales: Kalman's filter for laws that are linear in the scales."""

from __future__ import annotations

import math

import numpy as np

from sbirules.support.compiling import compiled

__all__ = ["kalman_log_prob"]

LOG_2PI = math.log(2 * math.pi)


@compiled
def kalman_log_prob(
    value: np.ndarray,
    error: np.ndarray,
    factor: np.ndarray,
    counts: np.ndarray,
    last: np.ndarray,
    change: np.ndarray,
    offset: np.ndarray,
    walk: np.ndarray,
    middle: np.ndarray,
    initial: float,
    out: np.ndarray,
) -> None:
    """Log-likelihood of each animal under each law z' = A z + offset + noise.

    Arguments:
        value: Scales `(A, K, R)`.
        error: Covariances of their errors `(A, K, R, R)`.
        factor: What these are multiplied with under each law `(n, A)`.
        counts: Which sessions were measured `(A, K)`.
        last: Sessions of each animal `(A,)`.
        change: A of each law `(n, A, R, R)`.
        offset: Of each session `(n, A, K, R)`.
        walk: Variance of the noise after each session `(n, A, K)`.
        middle: Mean of the first session's scales `(R,)`.
        initial: Their variance.
        out: Where the log-likelihoods go, `(n, A)`.
    """
    n, animals, r = change.shape[0], change.shape[1], change.shape[2]
    mean, ahead, white = np.zeros(r), np.zeros(r), np.zeros(r)
    cov, root, gain, moved = np.zeros((r, r)), np.zeros((r, r)), np.zeros((r, r)), np.zeros((r, r))
    for i in range(n):
        for a in range(animals):
            total = 0.0
            mean[:] = middle
            cov[:] = 0.0
            for k in range(r):
                cov[k, k] = initial
            for t in range(last[a]):
                if counts[a, t]:
                    # Cholesky of the prediction's covariance, then innovations and gain by forward substitution
                    for p in range(r):
                        for q in range(p + 1):
                            s = cov[p, q] + factor[i, a] * error[a, t, p, q]
                            for m in range(q):
                                s -= root[p, m] * root[q, m]
                            if p == q:
                                root[p, p] = math.sqrt(s) if s > 0 else math.nan
                            else:
                                root[p, q] = s / root[q, q]
                    for p in range(r):
                        s = value[a, t, p] - mean[p]
                        for m in range(p):
                            s -= root[p, m] * white[m]
                        white[p] = s / root[p, p]
                        total -= 0.5 * (white[p] * white[p] + LOG_2PI) + math.log(root[p, p])
                        for q in range(r):
                            s = cov[p, q]
                            for m in range(p):
                                s -= root[p, m] * gain[m, q]
                            gain[p, q] = s / root[p, p]
                    for p in range(r):
                        for m in range(r):
                            mean[p] += gain[m, p] * white[m]
                    for p in range(r):
                        for q in range(r):
                            s = cov[p, q]
                            for m in range(r):
                                s -= gain[m, p] * gain[m, q]
                            cov[p, q] = s
                if t + 1 < last[a]:
                    for p in range(r):
                        s = offset[i, a, t, p]
                        for q in range(r):
                            s += change[i, a, p, q] * mean[q]
                        ahead[p] = s
                        for q in range(r):
                            s = 0.0
                            for m in range(r):
                                s += change[i, a, p, m] * cov[m, q]
                            moved[p, q] = s
                    for p in range(r):
                        mean[p] = ahead[p]
                        for q in range(p + 1):
                            s = walk[i, a, t] if p == q else 0.0
                            for m in range(r):
                                s += moved[p, m] * change[i, a, q, m]
                            cov[p, q] = s
                            cov[q, p] = s
            out[i, a] = total
