"""Logistic regression on the stimuli."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .base import Baseline
from .decisions import Decisions
from .regression import chosen_log_prob, design, most_likely, weak_precision

__all__ = ["Logistic"]


class Logistic(Baseline):
    """Softmax regression on the stimuli and a constant, the same in all sessions.

    Prior of a weight of an answer against the first: normal with mean 0 and s.d. 2.5, correlation 1/2 between answers.
    """

    name: ClassVar[str] = "logistic"
    words: ClassVar[str] = "logistic regression on the stimuli, with the same weights throughout"

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Weights `(K - 1, F)`, each answer against the first."""
        rows, inputs = decisions.contrasts, decisions.x.shape[1]
        z = design(decisions.x[seen], rows)
        return most_likely(z, decisions.choice[seen], weak_precision(rows, inputs)).reshape(rows, inputs)

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """See `Baseline.given`."""
        return chosen_log_prob(decisions.x @ parameters.T, decisions.choice)

    def size(self, decisions: Decisions) -> int:
        """One for each input and answer but the first."""
        return decisions.contrasts * int(decisions.x.shape[1])
