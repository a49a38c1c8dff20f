"""Shares with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Rate", "binomial_rate", "mean_rate"]


@dataclass(frozen=True)
class Rate:
    """A share measured on fresh networks, with its standard error."""

    value: float
    se: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.se:.3f}"


def mean_rate(share: Tensor) -> Rate:
    """Mean over rules `(rules,)`; its error is that between rules, whose networks are not independent."""
    return Rate(float(share.mean()), float(share.std()) / math.sqrt(len(share)))


def binomial_rate(p: float, n: int) -> Rate:
    """A share of n independent trials; Laplace's estimate keeps its standard error above zero at 0 and 1."""
    q = (p * n + 1) / (n + 2)
    return Rate(p, math.sqrt(q * (1 - q) / n))
