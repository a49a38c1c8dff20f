"""Every answer equally likely."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from .base import Baseline
from .decisions import Decisions

__all__ = ["Coin"]


class Coin(Baseline):
    """Every answer is equally likely; nothing is fitted."""

    name: ClassVar[str] = "coin"
    words: ClassVar[str] = "a coin flip: every answer is equally likely"

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Nothing."""
        return np.empty(0)

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """Minus the log of the number of answers."""
        return np.where(decisions.answered, -math.log(decisions.answers), np.nan)

    def size(self, decisions: Decisions) -> int:
        """None."""
        return 0
