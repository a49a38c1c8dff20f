"""Where trials stand in the table that they were read from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Lines"]


@dataclass(frozen=True)
class Lines:
    """Where trials stand in the table that they were read from.

    Arguments:
        where: What the table is called in messages.
        unit: `"line"` or `"row"`.
        numbers: Line of each trial, `(learners, trials)`; -1 past the end of a session.
    """

    where: str
    unit: str
    numbers: Tensor

    def of(self, learner: int, trial: int) -> str:
        """Where a trial stands, in words."""
        return f"{self.unit} {int(self.numbers[learner, trial])} of {self.where}"
