"""What numba compiles for the episodes of the fused CPU backend: one network after the other.

Input, kicks, clamps and nonlinearity are computed beside the state they act on, and everything that a network needs
at each step, its weights included, stays in the first levels of the cache. Sizes: N units, T steps, I input channels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sbirules.support.compiling import compiled

__all__ = ["Dynamics", "Inputs", "Workspace", "drive_of", "run_episode", "run_episodes", "workspace"]


class Inputs(NamedTuple):
    """What drives a batch: `Drive` and initial states as arrays. Kicks are dense, or counts, places and sizes."""

    inputs: np.ndarray  # (batch, T, I)
    weights: np.ndarray  # (batch, I, N)
    dense: np.ndarray  # (batch, T, N), or empty
    counts: np.ndarray
    place: np.ndarray
    size: np.ndarray
    x0: np.ndarray  # (batch, N)


class Dynamics(NamedTuple):
    """What the units do: dt / tau, the nonlinearity's number, and the clamps."""

    leak: np.float32
    kind: int
    free: np.ndarray  # (N,)
    value: np.ndarray  # (N,)


class Workspace(NamedTuple):
    """Memory for the episode of one network, used again by the next."""

    now: np.ndarray  # (N,)
    rate: np.ndarray  # (N,)
    drive: np.ndarray  # (T, N)
    kicks: np.ndarray  # (T, N), zero between networks


@compiled
def _tanh(x: np.float32) -> np.float32:
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


@compiled
def _settle(kind: int, free: np.ndarray, value: np.ndarray, x: np.ndarray, rate: np.ndarray) -> None:
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


@compiled
def _add_product(weights: np.ndarray, rate: np.ndarray, factor: np.float32, out: np.ndarray) -> None:
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


@compiled
def _fill(
    inputs: np.ndarray, input_weights: np.ndarray, leak: np.float32, kicks: np.ndarray, drive: np.ndarray
) -> None:
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


@compiled
def workspace(steps: int, n: int) -> Workspace:
    """Memory for T steps of N units."""
    single = np.float32
    return Workspace(
        np.empty(n, single), np.empty(n, single), np.empty((steps, n), single), np.zeros((steps, n), single)
    )


@compiled
def drive_of(b: int, first: int, given: Inputs, leak: np.float32, own: Workspace) -> int:
    """Fills the drive of network b, whose kicks start at `first`; returns where the next one's start."""
    if len(given.dense):
        _fill(given.inputs[b], given.weights[b], leak, given.dense[b], own.drive)
        return first
    flat = own.kicks.ravel()
    last: int = first + given.counts[b]
    for h in range(first, last):
        flat[given.place[h]] = given.size[h]
    _fill(given.inputs[b], given.weights[b], leak, own.kicks, own.drive)
    for h in range(first, last):
        flat[given.place[h]] = np.float32(0.0)
    return last


@compiled
def run_episode(
    weights: np.ndarray, x0: np.ndarray, how: Dynamics, own: Workspace, x: np.ndarray, rate: np.ndarray
) -> None:
    """States and rates (T + 1, N) of one network."""
    steps, n = own.drive.shape
    stay, now, r = np.float32(1.0) - how.leak, own.now, own.rate
    now[:] = x0
    _settle(how.kind, how.free, how.value, now, r)
    x[0], rate[0] = now, r
    for t in range(steps):
        u = own.drive[t]
        for i in range(n):
            now[i] = stay * now[i] + u[i]
        _add_product(weights, r, how.leak, now)
        _settle(how.kind, how.free, how.value, now, r)
        new, after = x[t + 1], rate[t + 1]
        for i in range(n):
            new[i] = now[i]
            after[i] = r[i]


@compiled
def run_episodes(weights: np.ndarray, given: Inputs, how: Dynamics, x: np.ndarray, rate: np.ndarray) -> None:
    """Episodes of a batch: fills x and rate, (batch, T + 1, N)."""
    batch, states, n = x.shape
    own = workspace(states - 1, n)
    first = 0
    for b in range(batch):
        first = drive_of(b, first, given, how.leak, own)
        run_episode(weights[b], given.x0[b], how, own, x[b], rate[b])
