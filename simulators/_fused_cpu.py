"""The fused CPU backend: one network at a time with its weights in cache, compiled by numba.

Releases the GIL and uses one thread. The nonlinearity is computed beside the state it follows, and decay,
update, clipping, mask and Dale's law pass over the weights once, while they are in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ._backends import Plasticity, TorchBackend
from ._drive import Drive, Kicks
from ._episode import Clamp

__all__ = ["NumbaBackend"]

NONLINEARITY = {"tanh": 0, "threshold_linear": 1, "sigmoid": 2}
# sums may be reordered and fused, but NaN and infinity keep their meaning: they mark networks that blew up
_OPTIONS: dict[str, Any] = {"fastmath": {"contract", "reassoc"}, "nogil": True, "error_model": "numpy"}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at the first call, and kept on disk where a folder can be written."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no such folder
        return numba.njit(**_OPTIONS)(function)


@_compiled
def _tanh(x):
    # the rational approximation of Eigen and XLA, within 3e-7; library calls would not be vectorised
    most = np.float32(7.9)  # beyond it, tanh is 1 in float32; a NaN passes both comparisons
    x = -most if x < -most else x
    x = most if x > most else x
    s = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


@_compiled
def _settle(kind, free, value, x, rate):
    """Clamps x and takes its rate."""
    half, zero = np.float32(0.5), np.float32(0.0)
    if kind == 0:
        for i in range(len(x)):
            v = x[i] * free[i] + value[i]
            x[i] = v
            rate[i] = _tanh(v)
    elif kind == 1:
        for i in range(len(x)):
            v = x[i] * free[i] + value[i]
            x[i] = v
            rate[i] = zero if v < zero else v
    else:
        for i in range(len(x)):
            v = x[i] * free[i] + value[i]
            x[i] = v
            rate[i] = half * _tanh(half * v) + half


@_compiled
def _add_product(weights, rate, factor, out):
    """out += factor * weights.T rate, with eight rows of the weights per pass over `out`."""
    n = len(out)
    whole = n - n % 8
    for j in range(0, whole, 8):
        a0, a1, a2, a3 = factor * rate[j], factor * rate[j + 1], factor * rate[j + 2], factor * rate[j + 3]
        a4, a5, a6, a7 = factor * rate[j + 4], factor * rate[j + 5], factor * rate[j + 6], factor * rate[j + 7]
        w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        w4, w5, w6, w7 = weights[j + 4], weights[j + 5], weights[j + 6], weights[j + 7]
        for i in range(n):
            out[i] += ((a0 * w0[i] + a1 * w1[i]) + (a2 * w2[i] + a3 * w3[i])) + (
                (a4 * w4[i] + a5 * w5[i]) + (a6 * w6[i] + a7 * w7[i])
            )
    for j in range(whole, n):
        a0, w0 = factor * rate[j], weights[j]
        for i in range(n):
            out[i] += a0 * w0[i]


@_compiled
def _fill(inputs, input_weights, leak, kicks, drive):
    """drive = leak inputs @ input_weights + kicks."""
    steps, n = drive.shape
    for t in range(steps):
        u, kick = drive[t], kicks[t]
        for i in range(n):
            u[i] = kick[i]
        for c in range(inputs.shape[1]):
            if inputs[t, c] != 0.0:
                a, w = leak * inputs[t, c], input_weights[c]
                for i in range(n):
                    u[i] += a * w[i]


@_compiled
def _episode(weights, inputs, input_weights, dense, counts, place, size, x0, leak, kind, free, value, x, rate):
    batch, states, n = x.shape
    steps = states - 1
    stay = np.float32(1.0) - leak
    # what one network needs again and again is kept apart, so that it stays in the first levels of the cache
    now, r, drive = np.empty(n, np.float32), np.empty(n, np.float32), np.empty((steps, n), np.float32)
    sparse = np.zeros((steps, n), np.float32)
    flat = sparse.ravel()
    first = 0
    for b in range(batch):
        if len(dense):
            _fill(inputs[b], input_weights[b], leak, dense[b], drive)
        else:
            last = first + counts[b]
            for h in range(first, last):
                flat[place[h]] = size[h]
            _fill(inputs[b], input_weights[b], leak, sparse, drive)
            for h in range(first, last):
                flat[place[h]] = np.float32(0.0)
            first = last
        now[:] = x0[b]
        _settle(kind, free, value, now, r)
        x[b, 0], rate[b, 0] = now, r
        for t in range(steps):
            u = drive[t]
            for i in range(n):
                now[i] = stay * now[i] + u[i]
            _add_product(weights[b], r, leak, now)
            _settle(kind, free, value, now, r)
            new, after = x[b, t + 1], rate[b, t + 1]
            for i in range(n):
                new[i] = now[i]
                after[i] = r[i]


@_compiled
def _deviations(x, mean, factor, first, out):
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


@_compiled
def _panel(rate, deviation, coefficients, level, scale, left, right):
    """One power of the deviation: left = scale_t sum_k theta_k r^k, right = deviation^level."""
    steps, n = deviation.shape
    degree = len(coefficients) - 1
    for t in range(steps):
        r, a = rate[t], left[t]
        for j in range(n):
            a[j] = coefficients[degree]
        for k in range(degree - 1, -1, -1):
            c = coefficients[k]
            for j in range(n):
                a[j] = a[j] * r[j] + c
        for j in range(n):
            a[j] *= scale[t]
        d, p = deviation[t], right[t]
        for i in range(n):
            p[i] = d[i]
        for _ in range(level - 1):
            for i in range(n):
                p[i] *= d[i]


@_compiled
def _trace(weights, rate, deviation, coefficients, levels, powers, scale, left, right, constant, part, trace):
    """The trace as (pre, post): one matrix product over time and levels for each power of the weight."""
    steps, n = deviation.shape
    trace[:] = np.float32(0.0)
    for m in range(powers.max() + 1):
        rows = 0
        constant[:] = np.float32(0.0)
        for q in range(len(levels)):
            if powers[q] != m:
                continue
            _panel(
                rate,
                deviation,
                coefficients[q],
                levels[q],
                scale,
                left[rows : rows + steps],
                right[rows : rows + steps],
            )
            if levels[q] == 0:  # the same for every postsynaptic unit: a sum over time
                for t in range(rows, rows + steps):
                    for j in range(n):
                        constant[j] += left[t, j]
            else:
                rows += steps
        if rows:
            np.dot(left[:rows].T, right[:rows], part)
        else:
            part[:] = np.float32(0.0)
        for j in range(n):
            w, e, g, c = weights[j], trace[j], part[j], constant[j]
            if m == 0:
                for i in range(n):
                    e[i] = g[i] + c
            else:
                for i in range(n):
                    v = g[i] + c
                    for _ in range(m):
                        v *= w[i]
                    e[i] += v


@_compiled
def _update(
    weights, x, rate, mean, factor, first, dt, coefficients, levels, powers, decay, keep, surprise, alive, clip, mask,
    signs, limit, within,
):  # fmt: skip
    batch, states, n = x.shape
    steps = states - 1 - first
    zero = np.float32(0.0)
    deviation = np.empty((steps, n), np.float32)
    left, right = np.empty((len(levels) * steps, n), np.float32), np.empty((len(levels) * steps, n), np.float32)
    part, trace, constant = np.empty((n, n), np.float32), np.empty((n, n), np.float32), np.empty(n, np.float32)
    scale, xbar = np.empty(steps, np.float32), np.empty(n, np.float32)
    for b in range(batch):
        within[b] = True
        if not alive[b]:
            continue
        w = weights[b]
        xbar[:] = mean[b]
        _deviations(x[b], xbar, factor, first, deviation)
        a = dt
        for t in range(steps - 1, -1, -1):
            scale[t] = a
            a *= decay[b]
        _trace(
            w, rate[b, first:], deviation, coefficients[b], levels, powers, scale, left, right, constant, part, trace
        )
        rest, strength = keep[b], surprise[b]
        beyond = 0
        for j in range(n):
            row, e = w[j], trace[j]
            for i in range(n):
                v = strength * e[i]
                v = -clip if v < -clip else v
                e[i] = clip if v > clip else v
            if len(mask):
                exists = mask[b % len(mask), j]
                for i in range(n):
                    e[i] *= exists[i]
            for i in range(n):
                row[i] = rest * row[i] + e[i]
            if len(signs):
                sign = signs[j]
                for i in range(n):
                    v = row[i] * sign
                    row[i] = sign * (zero if v < zero else v)
            for i in range(n):
                beyond += 0 if abs(row[i]) <= limit else 1
        within[b] = beyond == 0


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class NumbaBackend(TorchBackend):
    """Fused episode for every family; fused update for the polynomial ones, the reference's for others."""

    name = "numba"

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def _memory(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory to write into, the same from trial to trial: new pages would cost as much as the dynamics."""
        held = self._held.get(name)
        if held is None or held.shape != shape:
            held = self._held[name] = torch.empty(shape)
        return held

    def working(self) -> AbstractContextManager[Any]:
        # the matrix products are BLAS calls; a second thread would cost more than it brings
        return _blas().limit(limits=1, user_api="blas")

    def episode(
        self, weights: Tensor, drive: Drive, x0: Tensor, nonlinearity: str, clamp: Clamp
    ) -> tuple[Tensor, Tensor]:
        batch, steps, n = drive.shape
        x, rate = self._memory("x", (batch, steps + 1, n)), self._memory("rate", (batch, steps + 1, n))
        dense, hits = torch.empty(0, 0, 0), drive.kicks
        if isinstance(hits, Tensor):
            dense, hits = hits, Kicks(*(torch.empty(0, dtype=d) for d in (torch.long, torch.long, torch.float32)))
        _episode(
            *(_array(v) for v in (weights, drive.inputs, drive.weights, dense, hits.counts, hits.place, hits.size, x0)),
            np.float32(drive.leak), NONLINEARITY[nonlinearity],
            *(_array(v) for v in (clamp.free, clamp.value, x, rate)),
        )  # fmt: skip
        return x, rate

    def update(
        self, kernel: Tensor, x: Tensor, rate: Tensor, mean: Tensor, rule: Plasticity, surprise: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor]:
        if rule.panels is None:
            return super().update(kernel, x, rate, mean, rule, surprise, alive)
        s, (coefficients, levels, powers) = rule.settings, rule.panels
        ones = np.ones(len(x), np.float32)
        within = np.empty(len(x), np.bool_)
        _update(
            kernel.numpy(), x.numpy(), rate.numpy(), _array(mean), np.float32(s.xbar_factor), s.trace_start,
            np.float32(s.dt), _array(coefficients), np.array(levels), np.array(powers),
            ones if rule.decay is None else _array(rule.decay),
            ones if rule.keep is None else _array(rule.keep),
            _array(surprise), alive.numpy(), np.float32(s.max_weight_change),
            np.empty((0, 0, 0), np.float32) if rule.mask is None else rule.mask.numpy(),
            np.empty(0, np.float32) if rule.signs is None else rule.signs.numpy(), np.float32(rule.limit), within,
        )  # fmt: skip
        return kernel, torch.from_numpy(within)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()
