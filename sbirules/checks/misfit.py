"""Could the prior's rules have made such data at all?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.neural_nets.standardiser import spread
from sbirules.support.streams import seeded

__all__ = ["Misspecification", "misspecification"]

MOST = 1000  # prior predictive data sets that are compared with
SHUFFLES = 500


@dataclass(frozen=True)
class Misspecification:
    """An observation against the prior predictive.

    Arguments:
        p: p-value of the test by maximum mean discrepancy, all summaries together.
        distance: Of the observation.
        baseline: Distances of data sets drawn from the prior predictive, `(shuffles,)`.
        outside: Names of summaries whose observed value lies beyond all of the prior predictive, by more than a tenth of
            its range, and more where it is known from few data sets: the more summaries, the likelier one is outside.
    """

    p: float
    distance: float
    baseline: Tensor
    outside: tuple[str, ...]


def misspecification(x: Tensor, x_o: Tensor, names: tuple[str, ...], *, seed: int = 0) -> Misspecification:
    """Tests whether x_o `(S,)` could be one of x `(n, S)`, by sbi's `calc_misspecification_mmd` on standardised summaries.

    A radial kernel cannot tell how far beyond its reach a point lies, so summaries outside the simulated range are
    named besides.
    """
    from sbi.diagnostics.misspecification import calc_misspecification_mmd

    x = x[torch.isfinite(x).all(dim=1)]
    scale = spread(x)
    centre = x.mean(dim=0)
    z, own = (x - centre) / scale, ((x_o - centre) / scale)[None]
    with seeded(seed):
        z = z[torch.randperm(len(z))[:MOST]]
        p, (baseline, distance) = calc_misspecification_mmd(own, z, n_shuffle=SHUFFLES, max_samples=MOST)
    low, high = x.min(dim=0).values, x.max(dim=0).values
    slack = (0.1 + 10 * x.shape[1] / len(x)) * (high - low)
    beyond = (x_o < low - slack) | (x_o > high + slack)
    outside = tuple(name for name, out in zip(names, beyond.tolist(), strict=True) if out)
    return Misspecification(float(p), float(distance), baseline, outside)
