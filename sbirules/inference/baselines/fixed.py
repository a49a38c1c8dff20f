"""A fixed policy: each answer has its probability, whatever is shown."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .base import Baseline
from .decisions import Decisions

__all__ = ["Fixed"]


class Fixed(Baseline):
    """Each answer has its probability, whatever is shown.

    Probabilities are the posterior mean under a uniform prior, Dirichlet(1, ..., 1): (1 + times given) / (K + decisions).
    """

    name: ClassVar[str] = "fixed"
    words: ClassVar[str] = "a fixed policy: each answer has its probability, whatever is shown (uniform prior)"

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Probability of each answer, `(K,)`."""
        count = np.bincount(decisions.choice[seen], minlength=decisions.answers)
        return np.asarray((count + 1.0) / (count.sum() + decisions.answers))

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """The log of that of the answer given."""
        return np.where(decisions.answered, np.log(parameters)[np.maximum(decisions.choice, 0)], np.nan)

    def size(self, decisions: Decisions) -> int:
        """One for each answer but the first."""
        return decisions.contrasts
