"""What numba compiles of the likelihood of recordings: Gaussian noise, each animal's gain integrated out."""

from __future__ import annotations

import math

import numpy as np

from sbirules.support.compiling import compiled

__all__ = ["gaussian_log_prob"]

COARSE, FINE = 33, 25  # nodes that find the peak, and over which is summed
FAR, WIDE = 5.0, 6.0  # s.d. of the population, and of the peak, that they span
STEPS = 4  # of Newton from the best coarse node
TOGETHER = 8  # variances whose product has one logarithm
LOG_2PI = math.log(2 * math.pi)


@compiled
def _given(z: float, value: np.ndarray, y: np.ndarray, scale: float, noise: float, growth: float) -> float:
    """Log-density of one animal's values `(M,)`, NaN left out, given its log gain."""
    gain, constant = scale * math.exp(z), noise * scale
    total, product, count = 0.0, 1.0, 0
    for t in range(len(value)):
        v = value[t]
        if math.isnan(v):
            continue
        m = gain * y[t]
        variance = constant * constant + growth * growth * m * m
        total -= 0.5 * ((v - m) * (v - m) / variance + LOG_2PI)
        product *= variance
        count += 1
        if count == TOGETHER:
            total -= 0.5 * math.log(product)
            product, count = 1.0, 0
    return total - 0.5 * math.log(product)


@compiled
def gaussian_log_prob(
    value: np.ndarray,
    y: np.ndarray,
    centre: np.ndarray,
    spread: np.ndarray,
    noise: np.ndarray,
    growth: np.ndarray,
    scale: float,
    out: np.ndarray,
) -> None:
    """Log-likelihood of each animal's values under rules, `(n, A)` in `out`.

    Arguments:
        value: `(A, M)`, NaN where nothing counts.
        y: The model's variable with its offset, `(n, A, M)`.
        centre: Log gain of the population, `(n, A)`.
        spread: Its s.d. over animals, `(n, A)`; 0 where all have one gain.
        noise: Constant part of the noise, in scales, `(n, A)`.
        growth: Part that grows with the mean, `(n, A)`.
        scale: What gain and noise are measured in.
        out: Filled.
    """
    at = np.empty(FINE)
    for n in range(len(y)):
        for a in range(len(value)):
            c, s, e, g, v, own = centre[n, a], spread[n, a], noise[n, a], growth[n, a], value[a], y[n, a]
            if s <= 0.0:
                out[n, a] = _given(c, v, own, scale, e, g)
                continue
            best, z = -math.inf, c
            for k in range(COARSE):
                u = FAR * (2.0 * k / (COARSE - 1) - 1.0)
                f = _given(c + s * u, v, own, scale, e, g) - 0.5 * u * u
                if f > best:
                    best, z = f, c + s * u
            h, sd = 0.1 * s, s
            for _ in range(STEPS):
                low, mid, high = z - h, z, z + h
                f0 = _given(low, v, own, scale, e, g) - 0.5 * ((low - c) / s) ** 2
                f1 = _given(mid, v, own, scale, e, g) - 0.5 * ((mid - c) / s) ** 2
                f2 = _given(high, v, own, scale, e, g) - 0.5 * ((high - c) / s) ** 2
                curve = (f2 - 2.0 * f1 + f0) / (h * h)
                slope = (f2 - f0) / (2.0 * h)
                if curve < 0.0:
                    sd = min(1.0 / math.sqrt(-curve), s)
                    z += min(max(-slope / curve, -2.0 * h), 2.0 * h)
                else:
                    z += h if slope > 0 else -h
                h = min(h, 0.5 * sd)
            step, top = 2.0 * WIDE * sd / (FINE - 1), -math.inf
            for k in range(FINE):
                w = z + (k - (FINE - 1) // 2) * step
                at[k] = _given(w, v, own, scale, e, g) - 0.5 * ((w - c) / s) ** 2
                top = max(top, at[k])
            total = 0.0
            for k in range(FINE):
                total += math.exp(at[k] - top)
            out[n, a] = top + math.log(total * step / s) - 0.5 * LOG_2PI
