"""How well rules make networks learn, and the gradient of that: what BPTL asks of a simulator."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from sbirules.rules import RuleFamily
from sbirules.streams import Key
from sbirules.task import Task
from sbirules.trajectory import Trajectory

__all__ = ["Differentiable", "LearningGradient"]


@dataclass(frozen=True)
class LearningGradient:
    """One row per network.

    Arguments:
        value: What is to be increased, `(batch,)`: the mean reward of the trials with plasticity.
        gradient: Its gradient with respect to theta in natural units, `(batch, D)`.
        error: Error of every trial, `(batch, trials)`.
        ok: Networks that did not diverge and whose value and gradient are finite, `(batch,)` boolean.
    """

    value: Tensor
    gradient: Tensor
    error: Tensor
    ok: Tensor

    @staticmethod
    def cat(parts: list[LearningGradient], raw_per_unit: Tensor) -> LearningGradient:
        """Several batches as one; their gradients, with respect to raw theta, in natural units."""
        whole = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(LearningGradient)}
        whole["gradient"] = whole["gradient"] * raw_per_unit.to(whole["gradient"])
        return LearningGradient(**whole)


class Differentiable(Protocol):
    """A simulator that BPTL can use: a `Simulator` that also knows gradients."""

    family: RuleFamily
    task: Task

    @property
    def raw_per_unit(self) -> Tensor: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def run(self, theta: Any, *, seed: Key | None = None, **options: Any) -> Trajectory: ...

    def value_and_grad(
        self, theta: Any, *, gradient: str = "reverse", seed: Key | None = None, trial_types: Any = None,
        teacher: Any = None, **draws: Any,
    ) -> LearningGradient: ...  # fmt: skip
