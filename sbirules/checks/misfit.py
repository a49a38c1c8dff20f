"""Could the prior's rules have made such data at all?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.inference.reach import Reach, near
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.support.borrowed import torch_as_found
from sbirules.support.distances import distances, tail_p
from sbirules.support.streams import Stream, seeded

__all__ = ["Misspecification", "misspecification"]

MOST = 1000  # prior predictive data sets that are compared with
SHUFFLES = 500


@dataclass(frozen=True)
class Misspecification:
    """An observation against the prior predictive.

    Arguments:
        p: p-value of the two tests together: twice the smaller.
        p_mmd: Of the test by maximum mean discrepancy.
        p_mahalanobis: Of the Mahalanobis distance, which sees summaries that do not go together as simulated ones do.
        distance: Of the observation, by maximum mean discrepancy.
        baseline: Distances of data sets drawn from the prior predictive, `(shuffles,)`.
        outside: Names of summaries whose observed value lies farther from all of the prior predictive than a tenth of its
            width, and more where it is known from few data sets: the more summaries, the likelier one is outside.
    """

    p: float
    p_mmd: float
    p_mahalanobis: float
    distance: float
    baseline: Tensor
    outside: tuple[str, ...]


def misspecification(x: Tensor, x_o: Tensor, names: tuple[str, ...], *, seed: int = 0) -> Misspecification:
    """Tests whether x_o `(S,)` could be one of x `(n, S)`.

    By sbi's `calc_misspecification_mmd` on standardised summaries, and by their Mahalanobis distance: a radial kernel sees
    clusters and gaps, but hardly relations among summaries, nor how far beyond its reach a point lies. Summaries outside of
    the simulated range are named besides.
    """
    with torch_as_found():
        from sbi.diagnostics.misspecification import calc_misspecification_mmd

    x_o = x_o.to(x.dtype)
    x = x[near(x, torch.isfinite(x).all(dim=1), x_o[None], names)[0]]
    standardiser = Standardiser.of(x)
    z, own = standardiser(x), standardiser(x_o)[None]
    with seeded(seed, Stream.SHUFFLE):
        z = z[torch.randperm(len(z))[:MOST]]
        p, (baseline, distance) = calc_misspecification_mmd(own, z, n_shuffle=SHUFFLES, max_samples=MOST)
    # 0 where it is beyond all shuffles, each of which takes a row for the observation: few rows tell no smaller p-value
    p_mmd = max(float(p), 1 / (len(z) + 1) if len(z) < SHUFFLES else 0.0)
    own_distance, each = distances(own[0], z)
    p_far = 1.0 if not len(each) else tail_p(own_distance, each)
    # the more summaries, and the fewer rows, the likelier one lies beyond all of them
    more = 10 * x.shape[1] / len(x)
    low, high = x.min(dim=0).values, x.max(dim=0).values
    within = (x_o < low) & (x_o >= low - more * (high - low)) | (x_o > high) & (x_o <= high + more * (high - low))
    far = set(Reach.of(x, names).outside(x_o.tolist(), names))
    outside = tuple(name for name, out in zip(names, within.tolist(), strict=True) if name in far and not out)
    both = min(1.0, 2 * min(p_mmd, p_far))
    return Misspecification(both, p_mmd, p_far, float(distance), baseline, outside)
