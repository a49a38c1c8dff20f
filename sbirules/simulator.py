"""The contract of a simulator: rules in natural units in, learning runs or named summaries out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sbirules import _check
from sbirules.rules import RuleFamily
from sbirules.streams import Key, global_seed
from sbirules.summaries import Summary, SummaryLike, resolve, summarise, summary_names
from sbirules.task import Task
from sbirules.trajectory import Trajectory

__all__ = ["Simulator"]


class Simulator(ABC):
    """Simulates learning under rules of one family.

    A simulator is a callable `theta -> x` that drops into plain `sbi`: theta `(batch, D)` in natural
    units, x `(batch, S)` of named summaries, NaN where a network failed. Its seed then comes from torch's
    global stream, so `torch.manual_seed` makes calls repeatable. `run` returns the whole `Trajectory`.

    A subclass writes `run`, `raw_per_unit` and `config`.
    """

    family: RuleFamily
    task: Task
    num_trials: int
    criterion: float = 0.5  # error below which a trial is correct
    summaries: tuple[Summary, ...]
    batch: int = 1  # networks that are best simulated together
    engine: str = ""  # what computes, for the manifest of a store

    def __init__(self, family: RuleFamily, task: Task, summaries: Sequence[SummaryLike]) -> None:
        for argument, value, wanted in (("family", family, RuleFamily), ("task", task, Task)):
            if not isinstance(value, wanted):
                raise ValueError(f"{argument} must be a {wanted.__name__}, got {type(value).__name__}.")
        if not getattr(task, "type_names", ()):
            raise ValueError(f"{type(task).__name__}.type_names must name at least one trial type.")
        if isinstance(summaries, (str, Summary)) or not isinstance(summaries, Sequence):
            raise ValueError(f"summaries must be a list of names or Summary objects, got {summaries!r}.")
        self.family, self.task = family, task
        self.summaries = tuple(resolve(s) for s in summaries)
        names = self.summary_names
        if len(set(names)) != len(names):
            raise ValueError(f"summaries must have different names, got {_check.listed(names)}.")

    @abstractmethod
    def run(
        self, theta: Any, *, seed: Key | None = None, trial_types: Tensor | None = None, **options: Any
    ) -> Trajectory:
        """Learning runs, one network per row of theta.

        Arguments:
            theta: Rules in natural units, `(batch, D)` or `(D,)`.
            seed: Names the random streams; None draws a seed from torch's global stream.
            trial_types: Sequence of trial types, `(trials,)` or `(batch, trials)`, -1 past the end of a
                session; None for the task's own.
            options: What the concrete simulator adds.
        """

    @property
    @abstractmethod
    def raw_per_unit(self) -> Tensor:
        """Raw value of one natural unit of each column of theta, `(D,)`."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything that determines results, in plain types, for the manifest of a store."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return self.family.names

    @property
    def summary_names(self) -> tuple[str, ...]:
        """Names of the columns of x."""
        return summary_names(self.summaries, self.task.type_names)

    def __call__(self, theta: Any) -> Tensor:
        """Summaries x `(batch, S)` of one fresh network per row of theta; `(S,)` for a single `(D,)`."""
        theta = torch.as_tensor(theta)
        x = summarise(self.run(theta, seed=global_seed()), self.summaries)
        return x[0] if theta.ndim == 1 else x

    def without_plasticity(self) -> Simulator:
        """The same networks without plasticity, for the zero rule; override where zero coefficients do not suffice."""
        return self

    def to_raw(self, theta: Any) -> Tensor:
        """Natural units to raw coefficients, `(..., D)`."""
        theta = torch.as_tensor(theta)
        return theta * self.raw_per_unit.to(theta)

    def to_natural(self, raw: Any) -> Tensor:
        """Raw coefficients to natural units, `(..., D)`."""
        raw = torch.as_tensor(raw)
        return raw / self.raw_per_unit.to(raw)

    def sequence_matrix(self, trial_types: Any, batch: int) -> Tensor:
        """Trial types as `(batch, trials)`, checked."""
        if trial_types is None:
            trial_types = self.task.sequence(self.num_trials)
        types = torch.as_tensor(trial_types)
        if types.is_floating_point() or types.ndim not in (1, 2) or types.shape[-1] == 0:
            raise ValueError(
                f"trial_types must be whole numbers of shape (trials,) or (batch, trials), "
                f"got {types.dtype} of shape {tuple(types.shape)}."
            )
        if types.ndim == 2 and len(types) != batch:
            raise ValueError(
                f"trial_types must have one row per rule ({batch}) or be (trials,), got {len(types)} rows."
            )
        if int(types.max()) >= self.task.num_types or int(types.min()) < -1:
            raise ValueError(
                f"trial_types must lie in 0...{self.task.num_types - 1} (-1 past the end of a session), "
                f"got values from {int(types.min())} to {int(types.max())}."
            )
        types = types.long().expand(batch, -1)
        if ((types[:, 1:] >= 0) & (types[:, :-1] < 0)).any():
            raise ValueError("trial_types may be -1 only past the end of a session.")
        if (types[:, 0] < 0).any():
            raise ValueError("trial_types must hold at least one trial in every row.")
        return types
