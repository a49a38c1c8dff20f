r"""What spikes and weights of a network say of it.

Times are in seconds, rates in hertz. Counts for synchrony are of bins of 10 ms.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COUNT_BIN", "coefficient_of_variation", "correlation", "fano_factor", "rates_of"]

COUNT_BIN = 0.01
LEAST_INTERVALS = 3  # of a neuron, for its CV to count


def rates_of(neuron: NDArray[Any], size: int, seconds: float) -> NDArray[np.float64]:
    """Rate of each neuron `(size,)`."""
    return np.bincount(neuron, minlength=size)[:size] / seconds


def coefficient_of_variation(time: NDArray[Any], neuron: NDArray[Any]) -> float:
    """Mean over neurons of s.d. over mean of their intervals; of neurons with at least three, NaN if there is none.

    Arguments:
        time: Of spikes, in order.
        neuron: Which fired.
    """
    order = np.argsort(neuron, kind="stable")
    t, n = np.asarray(time, dtype=float)[order], np.asarray(neuron)[order]
    same = n[1:] == n[:-1]
    interval, of = np.diff(t)[same], n[1:][same]
    if not len(of):
        return math.nan
    count = np.bincount(of)
    kept = count >= LEAST_INTERVALS
    if not kept.any():
        return math.nan
    mean = np.bincount(of, interval)[kept] / count[kept]
    deviation = (interval - np.bincount(of, interval)[of] / count[of]) ** 2
    variance = np.bincount(of, deviation)[kept] / count[kept]
    return float(np.mean(np.sqrt(variance) / mean))


def fano_factor(time: NDArray[Any], seconds: float, start: float = 0.0, bin_length: float = COUNT_BIN) -> float:
    """Variance over mean of the population's counts in bins; 1 for independent Poisson neurons, NaN without spikes."""
    counts = np.bincount(_bins(time, start, bin_length), minlength=int(seconds / bin_length + 1e-9))
    counts = counts[: int(seconds / bin_length + 1e-9)]
    return float(counts.var() / counts.mean()) if counts.sum() else math.nan


def correlation(
    time: NDArray[Any],
    neuron: NDArray[Any],
    size: int,
    seconds: float,
    start: float = 0.0,
    bin_length: float = COUNT_BIN,
) -> float:
    """Mean correlation of counts in bins over pairs of neurons that fired; NaN with fewer than two.

    Of z-scored counts z_i of n neurons, it is (var(sum z_i) - n) / (n (n - 1)), without going through pairs.
    """
    bins = int(seconds / bin_length + 1e-9)
    at = _bins(time, start, bin_length)
    inside = at < bins
    pair, count = np.unique(at[inside] * size + np.asarray(neuron)[inside], return_counts=True)
    which = pair % size
    mean = np.bincount(which, count, minlength=size) / bins
    variance = np.bincount(which, count**2, minlength=size) / bins - mean**2
    fired = variance > 0
    n = int(fired.sum())
    if n < 2:
        return math.nan
    scale = np.where(fired, 1.0 / np.sqrt(np.where(fired, variance, 1.0)), 0.0)
    total = np.bincount(pair // size, count * scale[which], minlength=bins) - (mean * scale).sum()
    return float((total.var() - n) / (n * (n - 1)))


def _bins(time: NDArray[Any], start: float, bin_length: float) -> NDArray[np.int64]:
    # a spike on an edge belongs to the bin that starts there, whatever the rounding
    return np.floor((np.asarray(time, dtype=float) - start) / bin_length + 1e-6).astype(np.int64)
