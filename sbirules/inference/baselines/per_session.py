"""Logistic regression on the stimuli, by session."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .base import Baseline
from .decisions import Decisions
from .logistic import Logistic
from .regression import chosen_log_prob

__all__ = ["PerSession"]


class PerSession(Baseline):
    """Logistic regression with weights of its own for each session; priors as for `Logistic`.

    A session of which nothing is seen has the weights of the last one before it that is seen, and weights of 0 (a coin
    flip) if there is none. Animals that share parameters share those of their sessions of the same number.
    """

    name: ClassVar[str] = "per_session"
    words: ClassVar[str] = (
        "logistic regression on the stimuli for each session; sessions not seen have the weights of the last one seen"
    )

    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Weights `(sessions, K - 1, F)` of sessions 0, 1, ... to the last."""
        sessions = int(decisions.session.max(initial=0)) + 1
        out = np.zeros((sessions, decisions.contrasts, decisions.x.shape[1]))
        for s in range(sessions):
            here = seen & (decisions.session == s)
            out[s] = Logistic().fit(decisions, here) if here.any() else out[max(s - 1, 0)]
        return out

    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """See `Baseline.given`."""
        session = np.minimum(decisions.session, len(parameters) - 1)
        logits = np.einsum("nrf,nf->nr", parameters[session], decisions.x)
        return chosen_log_prob(logits, decisions.choice)

    def size(self, decisions: Decisions) -> int:
        """That of `Logistic` for each session that there is."""
        return len(np.unique(decisions.session)) * Logistic().size(decisions)
