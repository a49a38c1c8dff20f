"""What numba compiles for learning: the error, the trace and the weight change of one network after the other.

Decay, update, clip, mask and Dale's law pass over the weights once, right after the episode that they followed from.
Sizes: N units, S steps that enter the trace, P polynomials (see `PolynomialRule.panels`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sbirules.support.compiling import compiled

from . import _kernels
from ._kernels import Dynamics, Inputs, drive_of, run_episode, workspace

__all__ = ["Judge", "Learning", "run_trials"]


class Judge(NamedTuple):
    """How a trial is judged."""

    response: np.ndarray  # steps
    targets: np.ndarray  # (batch,)
    unit: int  # the read-out unit, or -1 for weights
    readout: np.ndarray  # (batch, N), or empty


class Learning(NamedTuple):
    """`Plasticity` as arrays."""

    coefficients: np.ndarray  # (batch, P, degree + 1)
    levels: np.ndarray  # (P,) powers of the deviation
    powers: np.ndarray  # (P,) powers of the weight
    decay: np.ndarray  # (batch,)
    keep: np.ndarray  # (batch,)
    dt: np.float32
    first: int  # step from which the trace grows
    factor: np.float32  # what xbar keeps of itself per step
    carried: bool  # whether xbar is carried from trial to trial
    clip: np.float32
    error_factor: bool
    mask: np.ndarray  # (batch or 1, N, N), or empty
    signs: np.ndarray  # (N,), or empty
    limit: np.float32
    share: np.float32  # of the newest reward in Rbar


class _Scratch(NamedTuple):
    deviation: np.ndarray  # (S, N)
    left: np.ndarray  # (P S, N)
    right: np.ndarray  # (P S, N)
    part: np.ndarray  # (N, N)
    trace: np.ndarray  # (N, N)
    constant: np.ndarray  # (N,)
    scale: np.ndarray  # (S,)
    xbar: np.ndarray  # (N,)


@compiled
def _scratch(n: int, steps: int, panels: int) -> _Scratch:
    single = np.float32
    return _Scratch(
        np.empty((steps, n), single),
        np.empty((panels * steps, n), single),
        np.empty((panels * steps, n), single),
        np.empty((n, n), single),
        np.empty((n, n), single),
        np.empty(n, single),
        np.empty(steps, single),
        np.empty(n, single),
    )


@compiled
def _judged(b: int, rate: np.ndarray, judge: Judge) -> tuple[np.float32, np.float32]:
    """Error and mean output of one network."""
    error, total = np.float32(0.0), np.float32(0.0)
    for t in judge.response:
        z = np.float32(0.0)
        if judge.unit >= 0:
            z = rate[t + 1, judge.unit]
        else:
            for i in range(rate.shape[1]):
                z += judge.readout[b, i] * rate[t + 1, i]
        error += abs(z - judge.targets[b])
        total += z
    count = np.float32(len(judge.response))
    return error / count, total / count


@compiled
def _deviations(x: np.ndarray, mean: np.ndarray, factor: np.float32, first: int, out: np.ndarray) -> None:
    """out[t] = xbar - x' from step `first` on; `mean` is xbar, and moves on."""
    rest = np.float32(1.0) - factor
    for t in range(len(x) - 1):
        now = x[t + 1]
        if t >= first:
            row = out[t - first]
            for i in range(len(now)):
                row[i] = mean[i] - now[i]
        for i in range(len(now)):
            mean[i] = factor * mean[i] + rest * now[i]


@compiled
def _polynomial(rate: np.ndarray, c: np.ndarray, scale: np.ndarray, out: np.ndarray) -> None:
    """out = scale_t sum_k c_k r^k."""
    steps, n = out.shape
    degree = len(c) - 1
    for t in range(steps):
        r, row, a = rate[t], out[t], scale[t]
        if degree == 2:  # the usual degrees in one pass each
            for j in range(n):
                row[j] = ((c[2] * r[j] + c[1]) * r[j] + c[0]) * a
        elif degree == 3:
            for j in range(n):
                row[j] = (((c[3] * r[j] + c[2]) * r[j] + c[1]) * r[j] + c[0]) * a
        else:
            for j in range(n):
                row[j] = c[degree] * a
            for k in range(degree - 1, -1, -1):
                for j in range(n):
                    row[j] = row[j] * r[j] + c[k] * a


@compiled
def _power(base: np.ndarray, exponent: int, out: np.ndarray) -> None:
    steps, n = base.shape
    for t in range(steps):
        d, row = base[t], out[t]
        if exponent == 1:
            for i in range(n):
                row[i] = d[i]
        elif exponent == 2:
            for i in range(n):
                row[i] = d[i] * d[i]
        else:
            for i in range(n):
                row[i] = d[i] * d[i] * d[i]
            for _ in range(exponent - 3):
                for i in range(n):
                    row[i] *= d[i]


@compiled
def _gram(b: int, m: int, rate: np.ndarray, learning: Learning, own: _Scratch) -> None:
    """The part of the trace that comes with the weight's m-th power, as (pre, post), without `own.constant`.

    A matrix product over time and levels. What does not depend on the postsynaptic unit is a sum over time,
    kept in `own.constant` for each presynaptic unit.
    """
    steps, n = own.deviation.shape
    rows = 0
    own.constant[:] = np.float32(0.0)
    for q in range(len(learning.levels)):
        if learning.powers[q] != m:
            continue
        left = own.left[rows : rows + steps]
        _polynomial(rate, learning.coefficients[b, q], own.scale, left)
        if learning.levels[q] == 0:
            for t in range(steps):
                for j in range(n):
                    own.constant[j] += left[t, j]
        else:
            _power(own.deviation, learning.levels[q], own.right[rows : rows + steps])
            rows += steps
    if rows:
        np.dot(own.left[:rows].T, own.right[:rows], own.part)
    else:
        own.part[:] = np.float32(0.0)


@compiled
def _trace(b: int, weights: np.ndarray, rate: np.ndarray, learning: Learning, own: _Scratch) -> None:
    """The trace, (pre, post), in `own.part`."""
    n = len(weights)
    most = learning.powers.max()
    for m in range(most, -1, -1):
        # Horner's scheme over the powers of the weight
        if m < most:
            own.trace[:] = own.part
        _gram(b, m, rate, learning, own)
        for j in range(n):
            e, c = own.part[j], own.constant[j]
            if m < most:
                w, higher = weights[j], own.trace[j]
                for i in range(n):
                    e[i] = (e[i] + c) + w[i] * higher[i]
            else:
                for i in range(n):
                    e[i] += c


@compiled
def _learn(
    b: int, weights: np.ndarray, rate: np.ndarray, learning: Learning, surprise: np.float32, own: _Scratch
) -> bool:
    """Changes the weights of one network; returns whether they are finite and within the limit."""
    n = len(weights)
    zero, clip, rest, limit = np.float32(0.0), learning.clip, learning.keep[b], learning.limit
    a = learning.dt
    for t in range(len(own.scale) - 1, -1, -1):
        own.scale[t] = a
        a *= learning.decay[b]
    _trace(b, weights, rate[learning.first :], learning, own)
    plain = not (len(learning.mask) or len(learning.signs) or math.isfinite(clip))
    beyond = 0
    for j in range(n):
        row, e = weights[j], own.part[j]
        if plain:
            for i in range(n):
                row[i] = rest * row[i] + surprise * e[i]
                beyond += 0 if abs(row[i]) <= limit else 1
            continue
        for i in range(n):
            v = surprise * e[i]
            v = -clip if v < -clip else v
            e[i] = clip if v > clip else v
        if len(learning.mask):
            exists = learning.mask[b % len(learning.mask), j]
            for i in range(n):
                e[i] *= exists[i]
        for i in range(n):
            row[i] = rest * row[i] + e[i]
        if len(learning.signs):
            sign = learning.signs[j]
            for i in range(n):
                v = row[i] * sign
                row[i] = sign * (zero if v < zero else v)
        for i in range(n):
            beyond += 0 if abs(row[i]) <= limit else 1
    return beyond == 0


def _built(episodes: str) -> Callable[..., None]:
    """`run_trials`, compiled anew when the source of the episodes has changed."""

    @compiled
    def run_trials(
        weights: np.ndarray,
        expectation: np.ndarray,
        dead: np.ndarray,
        mean: np.ndarray,
        given: Inputs,
        how: Dynamics,
        judge: Judge,
        learning: Learning,
        types: np.ndarray,
        present: np.ndarray,
        plastic: bool,
        x: np.ndarray,
        rate: np.ndarray,
        error: np.ndarray,
        output: np.ndarray,
    ) -> None:
        """Whole trials of a batch: changes weights, expectation, dead and mean; fills the rest.

        x and rate are (batch, T + 1, N), or (1, T + 1, N) where nobody wants to see them.
        """
        _ = episodes  # numba watches this file, and what a function closes over, but not the other file
        _, states, n = x.shape
        steps = states - 1
        room, own = workspace(steps, n), _scratch(n, steps - learning.first, len(learning.levels))
        hits = 0
        for b in range(len(weights)):
            mine, r = x[b % len(x)], rate[b % len(rate)]
            hits = drive_of(b, hits, given, how.leak, room)
            run_episode(weights[b], given.x0[b], how, room, mine, r)
            error[b], output[b] = _judged(b, r, judge)
            live = present[b] and not dead[b]
            reward, before = -error[b], expectation[b, types[b]]
            finite, seen = math.isfinite(reward), not math.isnan(before)
            if learning.carried or (plastic and live and finite):
                own.xbar[:] = mean[b] if learning.carried else mine[0]
                _deviations(mine, own.xbar, learning.factor, learning.first, own.deviation)
                if learning.carried:
                    mean[b] = own.xbar
            if live and not finite:
                dead[b] = True
            elif live and plastic:
                # a type seen for the first time has no expectation yet, so nothing to learn from
                surprise = reward - before if seen else np.float32(0.0)
                if learning.error_factor:
                    surprise *= -before if seen else np.float32(0.0)
                if not _learn(b, weights[b], r, learning, surprise, own):
                    dead[b] = True
            if live:
                share = learning.share
                expectation[b, types[b]] = (np.float32(1.0) - share) * before + share * reward if seen else reward

    return run_trials


run_trials = _built(hashlib.sha256(Path(_kernels.__file__).read_bytes()).hexdigest())
