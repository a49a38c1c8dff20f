"""What a baseline is: the probability of each decision given the animal's own past, fitted to those that are seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sbirules.model.tables import Trials
from sbirules.support import arguments
from sbirules.support.typed import typed

from .decisions import Decisions

__all__ = ["Baseline"]


class Baseline(ABC):
    """A model of choice without a plasticity rule.

    A kind says how parameters are fitted to a group of animals that share them (`fit`) and what they predict (`given`).
    Parameters are those of highest posterior density under weak priors, which each kind states, for stimuli that are
    numbers divided by their root mean square and rewards divided by the largest seen, so that the units of a table do not
    matter.
    """

    name: ClassVar[str]
    words: ClassVar[str]

    @typed
    def log_prob(self, trials: Trials, seen: Tensor, *, shared: bool = False) -> Tensor:
        """Log-probability of each decision given the animal's own past, `(animals, decisions)` float64.

        Decisions that are not seen enter the animal's past but not the fit: they are predicted one step ahead, and what
        the animal did and got there goes into all that comes after, seen decisions included.

        Arguments:
            trials: A table of choices.
            seen: Decisions to which parameters are fitted, `(animals, decisions)` boolean; whether one without an answer
                is seen makes no difference.
            shared: Whether all animals have the same parameters, so that an animal of which nothing is seen is predicted
                from the others; else each has its own.

        Returns:
            NaN where there is no answer, and past the end of an animal's table.

        Raises:
            ValueError: If `trials` is no table of choices, or `seen` no boolean of its shape.
        """
        there = trials.trial_types >= 0
        if seen.dtype != torch.bool or seen.shape != there.shape:
            raise ValueError(
                f"seen must be a boolean tensor of shape {tuple(there.shape)}, (animals, decisions), got {seen.dtype} of "
                f"shape {tuple(seen.shape)}."
            )
        decisions = Decisions.of(trials)
        mask = seen.cpu()[there].numpy() & decisions.answered
        out = torch.full(there.shape, torch.nan, dtype=torch.float64)
        out[there] = torch.from_numpy(self._of_groups(decisions, mask, shared))
        return out

    @typed
    def num_parameters(self, trials: Trials, shared: bool = False) -> int:
        """Number of parameters that are fitted, over all animals."""
        decisions = Decisions.of(trials)
        if shared:
            return self.size(decisions)
        return sum(self.size(decisions.animal(i)) for i in range(decisions.animals))

    @abstractmethod
    def fit(self, decisions: Decisions, seen: np.ndarray) -> np.ndarray:
        """Parameters of a group of animals.

        Arguments:
            decisions: Theirs, `in_their_own_units`.
            seen: Which of them are fitted, `(N,)` boolean; all of these have an answer.
        """

    @abstractmethod
    def given(self, parameters: np.ndarray, decisions: Decisions) -> np.ndarray:
        """Log-probability `(N,)` of each decision given the animal's own past and parameters; NaN without an answer."""

    @abstractmethod
    def size(self, decisions: Decisions) -> int:
        """Number of parameters of a group of animals."""

    def _of_groups(self, decisions: Decisions, seen: np.ndarray, shared: bool) -> np.ndarray:
        if shared:
            own = decisions.in_their_own_units(seen)
            return self.given(self.fit(own, seen), own)
        out = np.full(len(decisions), np.nan)
        for i in range(decisions.animals):
            rows = slice(decisions.start[i], decisions.start[i + 1])
            out[rows] = self._of_groups(decisions.animal(i), seen[rows], True)
        return out

    def __repr__(self) -> str:
        return f"Baseline({arguments.listed([self.name])})"
