"""Curves over a session as bands, over rules or networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["CurveBand"]


@typed_class
@dataclass(frozen=True)
class CurveBand:
    """Curves over a session: a central band and the median, each `(bins,)`, over rules or networks.

    Arguments:
        names: Names of the bins.
        low: Lower end.
        median: Median.
        high: Upper end.
        mass: Share of the rules or networks inside the band.
        observed: The observed mean curve, if there is one.
    """

    names: tuple[str, ...]
    low: Tensor
    median: Tensor
    high: Tensor
    mass: float
    observed: Tensor | None = None

    @staticmethod
    def of(names: tuple[str, ...], values: Tensor, mass: float, observed: Tensor | None = None) -> CurveBand:
        """The central band of curves `(n, bins)`, NaN left out."""
        arguments.share("mass", mass)
        if values.ndim != 2 or not values.is_floating_point() or values.shape[1] != len(names) or not len(values):
            raise ValueError(f"values must be floating numbers of shape (n, {len(names)}), got {tuple(values.shape)}.")
        ends = ((1 - mass) / 2, 0.5, (1 + mass) / 2)
        low, median, high = (torch.nanquantile(values, q, dim=0) for q in ends)
        return CurveBand(names, low, median, high, mass, observed)

    @property
    def coverage(self) -> float:
        """Share of observed bins inside the band."""
        if self.observed is None:
            raise ValueError("coverage needs observed bins: give observed to the band.")
        there = torch.isfinite(self.observed) & torch.isfinite(self.low)  # bins that hold trials in both
        inside = (self.observed >= self.low) & (self.observed <= self.high)
        return float(inside[there].float().mean())
