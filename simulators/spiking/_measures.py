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


def _checked(time: Any, neuron: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Spikes in the order of their times."""
    t, n = np.asarray(time, dtype=float).ravel(), np.asarray(neuron).ravel()
    if len(t) != len(n):
        raise ValueError(f"time and neuron must have one entry for each spike, got {len(t)} and {len(n)}.")
    if len(n) and (not np.all(n == np.floor(n)) or n.min() < 0):
        raise ValueError(f"neuron must be whole numbers of at least 0, got {n[:3].tolist()}.")
    if not np.isfinite(t).all():
        raise ValueError("time must be finite numbers of seconds.")
    order = np.argsort(t, kind="stable")
    return t[order], n[order].astype(np.int64)


def coefficient_of_variation(time: NDArray[Any], neuron: NDArray[Any]) -> float:
    """Mean over neurons of s.d. over mean of their intervals; of neurons with at least three, NaN if there is none.

    Arguments:
        time: Of spikes, s.
        neuron: Which fired.
    """
    t, n = _checked(time, neuron)
    order = np.argsort(n, kind="stable")
    t, n = t[order], n[order]
    same = n[1:] == n[:-1]
    interval, of = np.diff(t)[same], n[1:][same]
    if not len(of):
        return math.nan
    count = np.bincount(of)
    total = np.bincount(of, interval)
    kept = (count >= LEAST_INTERVALS) & (total > 0)
    if not kept.any():
        return math.nan
    mean = total / np.maximum(count, 1)
    variance = np.bincount(of, (interval - mean[of]) ** 2) / np.maximum(count, 1)
    return float(np.mean(np.sqrt(variance[kept]) / mean[kept]))


def fano_factor(time: NDArray[Any], seconds: float, start: float = 0.0, bin_length: float = COUNT_BIN) -> float:
    """Variance over mean of the population's counts in bins; 1 for independent Poisson neurons, NaN without spikes.

    Arguments:
        time: Of the spikes of all neurons, s; those outside of the window do not count.
        seconds: Length of the window.
        start: When it starts.
        bin_length: Of a bin, s.
    """
    bins = _number_of_bins(seconds, bin_length)
    at = _bins(_checked(time, np.zeros(np.size(time)))[0], start, bin_length)
    counts = np.bincount(at[(at >= 0) & (at < bins)], minlength=bins)
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

    Arguments:
        time: Of spikes, s; those outside of the window do not count.
        neuron: Which fired, 0 to size - 1.
        size: Neurons there are.
        seconds: Length of the window.
        start: When it starts.
        bin_length: Of a bin, s.
    """
    t, n = _checked(time, neuron)
    if len(n) and n.max() >= size:
        raise ValueError(f"neuron must be below size = {size}, got {n.max()}.")
    bins = _number_of_bins(seconds, bin_length)
    at = _bins(t, start, bin_length)
    inside = (at >= 0) & (at < bins)
    pair, count = np.unique(at[inside] * size + n[inside], return_counts=True)
    which = pair % size
    mean = np.bincount(which, count, minlength=size) / bins
    variance = np.bincount(which, count**2, minlength=size) / bins - mean**2
    fired = variance > 0
    number = int(fired.sum())
    if number < 2:
        return math.nan
    scale = np.where(fired, 1.0 / np.sqrt(np.where(fired, variance, 1.0)), 0.0)
    total = np.bincount(pair // size, count * scale[which], minlength=bins) - (mean * scale).sum()
    return float((total.var() - number) / (number * (number - 1)))


def _number_of_bins(seconds: float, bin_length: float) -> int:
    if not (bin_length > 0 and seconds >= bin_length):
        raise ValueError(f"bin_length must be above 0 and at most seconds = {seconds:g}, got {bin_length:g}.")
    return int(seconds / bin_length + 1e-9)


def _bins(time: NDArray[Any], start: float, bin_length: float) -> NDArray[np.int64]:
    # a spike on an edge belongs to the bin that starts there, whatever the rounding
    return np.floor((time - start) / bin_length + 1e-6).astype(np.int64)
