"""Logistic weights that drift as a random walk: psytrack's model, filtered one step ahead."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sbirules.support.compiling import compiled

from .base import Baseline
from .decisions import Decisions
from .regression import WEAK, likeness

__all__ = ["RandomWalk"]

TYPICAL = (0.03, 0.3)  # prior medians of drift from trial to trial, and of more of it between sessions
SPREAD = 2.0  # prior s.d. of the log of a drift
LIMITS = (1e-5, 10.0)  # of a drift
ALONG = {1: 24, 2: 10, 3: 6, 4: 5}  # nodes along each axis, by the number of logits
POINTS = 1024  # of a Sobol sequence, and their mirror images, where there are more logits


class RandomWalk(Baseline):
    """Softmax regression whose weights drift (psytrack: Roy et al. 2021, Neuron 109; Ashwood et al. 2020, NeurIPS).

    Each input's weights take a normal step of s.d. `drift` from trial to trial, and one more of s.d. `day` from session to
    session. Each decision is predicted from those before it: the belief about the weights is kept normal and takes mean and
    covariance of the exact posterior after each answer (assumed density filtering, by quadrature), and the probability of an
    answer integrates over it. A decision without an answer teaches nothing, while weights drift on.

    Against particle filters, at drifts of .2, the log-probability of 240 decisions was low by up to .0025 a decision for two
    answers and .007 for three, most of it in the first trials while belief is wide; at the smaller drifts of mice by less than
    .001. With six answers the order of their codes changes it by up to .005.

    Priors: first weights normal with s.d. 2.5, as for `Logistic`, for each animal; the log of a drift normal with s.d. 2
    around .03 from trial to trial and .3 between sessions. Drifts maximise the posterior of one-step-ahead predictions of
    decisions seen.
    """

    name: ClassVar[str] = "random_walk"
    words: ClassVar[str] = (
        "logistic weights that drift as a random walk over trials and sessions, each decision predicted from those before it "
        "(psytrack's model: Roy et al. 2021)"
    )

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Drifts of each input, `(2, F)`: from trial to trial, and more between sessions."""
        from scipy.optimize import minimize

        inputs = decisions.x.shape[1]
        centre = np.log(np.repeat(TYPICAL, inputs))
        free = np.repeat([True, _many_sessions(decisions)], inputs)

        def loss(at: np.ndarray) -> float:
            log_drift = centre.copy()
            log_drift[free] = at
            value = self.given(np.exp(log_drift).reshape(2, inputs), decisions)[seen].sum()
            return float(0.5 * (((log_drift - centre) / SPREAD) ** 2).sum() - value)

        found = centre.copy()
        if seen.any():
            bounds = [(np.log(LIMITS[0]), np.log(LIMITS[1]))] * int(free.sum())
            options = {"eps": 1e-4, "ftol": 1e-9, "gtol": 1e-3}
            found[free] = minimize(loss, centre[free], method="L-BFGS-B", bounds=bounds, options=options).x
        return np.asarray(np.exp(found).reshape(2, inputs))

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """See `Baseline.given`."""
        d = decisions
        nodes, share = _nodes(d.contrasts)
        out = np.empty(len(d))
        _filter(
            parameters[0] ** 2, parameters[1] ** 2, WEAK**2, likeness(d.contrasts), nodes, share, d.start, d.x, d.choice,
            d.new_session, d.new_trial, out,
        )  # fmt: skip
        return out

    def size(self, decisions: Decisions) -> int:
        """A drift of each input, and another one if there are several sessions."""
        return int(decisions.x.shape[1]) * (2 if _many_sessions(decisions) else 1)


def _many_sessions(decisions: Decisions) -> bool:
    return int(decisions.new_session.sum()) > decisions.animals


def _nodes(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Points `(M, dim)` and weights `(M,)` by which a standard normal is integrated."""
    if dim in ALONG:
        points, weights = np.polynomial.hermite_e.hermegauss(ALONG[dim])
        weights = weights / weights.sum()
        grid = np.stack(np.meshgrid(*[points] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
        shares = np.stack(np.meshgrid(*[weights] * dim, indexing="ij"), axis=-1).reshape(-1, dim).prod(axis=1)
        worth = shares > 1e-12  # corners of the grid that add nothing
        return np.ascontiguousarray(grid[worth]), shares[worth] / shares[worth].sum()
    from scipy.stats import norm, qmc

    even = (qmc.Sobol(dim, scramble=False).random(POINTS) + 0.5 / POINTS) % 1.0
    grid = norm.ppf(even)
    grid = np.concatenate([grid, -grid])
    root = np.linalg.cholesky(np.cov(grid.T, bias=True))
    return np.ascontiguousarray(np.linalg.solve(root, grid.T).T), np.full(len(grid), 1.0 / len(grid))


@compiled
def _filter(
    drift: np.ndarray, day: np.ndarray, first: float, alike: np.ndarray, nodes: np.ndarray, share: np.ndarray,
    start: np.ndarray, x: np.ndarray, choice: np.ndarray, new_session: np.ndarray, new_trial: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Log-probability of each answer given those before; weights are (contrast, input), flattened.

    With the logits normal(mu, L L^T), and moments a, b of the standard normal behind them after the answer, the weights'
    mean moves by G a and their covariance by G (b - 1) G^T, where G = P H^T L^-T.
    """
    rows, inputs = len(alike), x.shape[1]
    size = rows * inputs
    mean, cov = np.empty(size), np.empty((size, size))
    mu, root, ph, gain = np.empty(rows), np.zeros((rows, rows)), np.empty((size, rows)), np.empty((size, rows))
    logit, a, b, part = np.empty(rows), np.empty(rows), np.empty((rows, rows)), np.empty((size, rows))
    for animal in range(len(start) - 1):
        mean[:] = 0.0
        cov[:] = 0.0
        for t in range(start[animal], start[animal + 1]):
            begins = t == start[animal]
            if begins or new_trial[t]:
                for f in range(inputs):
                    more = first if begins else drift[f] + (day[f] if new_session[t] else 0.0)
                    for r in range(rows):
                        for q in range(rows):
                            cov[r * inputs + f, q * inputs + f] += more * alike[r, q]
            if choice[t] < 0:
                out[t] = np.nan
                continue
            for r in range(rows):
                total = 0.0
                for f in range(inputs):
                    total += mean[r * inputs + f] * x[t, f]
                mu[r] = total
                for i in range(size):
                    total = 0.0
                    for f in range(inputs):
                        total += cov[i, r * inputs + f] * x[t, f]
                    ph[i, r] = total
            for r in range(rows):  # Cholesky's root of H P H^T
                for q in range(r + 1):
                    total = 0.0
                    for f in range(inputs):
                        total += x[t, f] * ph[r * inputs + f, q]
                    for k in range(q):
                        total -= root[r, k] * root[q, k]
                    if r == q:
                        root[r, r] = np.sqrt(max(total, 1e-18))  # above 0 also where the inputs are 0
                    else:
                        root[r, q] = total / root[q, q]
            z = 0.0
            a[:] = 0.0
            b[:] = 0.0
            for m in range(len(share)):
                most = 0.0
                for r in range(rows):
                    total = mu[r]
                    for q in range(r + 1):
                        total += root[r, q] * nodes[m, q]
                    logit[r] = total
                    most = max(most, total)
                total = np.exp(-most)
                chosen = total
                for r in range(rows):
                    e = np.exp(logit[r] - most)
                    total += e
                    if choice[t] == r + 1:
                        chosen = e
                weight = share[m] * chosen / total
                z += weight
                for r in range(rows):
                    a[r] += weight * nodes[m, r]
                    for q in range(r + 1):
                        b[r, q] += weight * nodes[m, r] * nodes[m, q]
            z = max(z, 1e-300)
            out[t] = np.log(z)
            for r in range(rows):
                a[r] /= z
            for r in range(rows):
                for q in range(r + 1):
                    b[r, q] = b[r, q] / z - a[r] * a[q] - (1.0 if r == q else 0.0)
                    b[q, r] = b[r, q]
            for i in range(size):
                for r in range(rows):
                    total = ph[i, r]
                    for q in range(r):
                        total -= gain[i, q] * root[r, q]
                    gain[i, r] = total / root[r, r]
                    mean[i] += gain[i, r] * a[r]
            for i in range(size):
                for r in range(rows):
                    total = 0.0
                    for q in range(rows):
                        total += gain[i, q] * b[q, r]
                    part[i, r] = total
            for i in range(size):
                for j in range(i + 1):
                    total = cov[i, j]
                    for r in range(rows):
                        total += part[i, r] * gain[j, r]
                    cov[i, j] = total
                    cov[j, i] = total
