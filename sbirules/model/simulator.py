"""The contract of a simulator: rules in natural units in, learning runs or named summaries out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sbirules.model.fields import Field, Layout, task_fields
from sbirules.model.rules import Coefficient, RuleFamily, RuleText
from sbirules.model.runs import Trajectory
from sbirules.model.summaries import Summary, SummaryLike, resolve, summarise, summary_names
from sbirules.model.tasks.task import MOST, Task
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.readable import arguments_of, one_line, settings_of
from sbirules.support.streams import Key, global_seed
from sbirules.support.typed import typed_class

__all__ = ["Simulator"]

NATURAL = "In natural units: a coefficient of 1 changes weights by 5 % of their initial s.d. per trial and unit of reward error."


@typed_class
class Simulator(ABC):
    """Simulates learning under rules of one family.

    A simulator is a callable `theta -> x` that drops into plain `sbi`: theta `(batch, D)` in natural
    units, x `(batch, S)` of named summaries, NaN where a network failed. Its seed then comes from torch's
    global stream, so `torch.manual_seed` makes calls repeatable. `run` returns the whole `Trajectory`.

    A subclass writes `run` and `config`, and declares what its runs consist of: `fields`, beside those of a task if it has
    one. Where coefficients have natural units it writes `raw_per_unit` as well. Further abilities are small protocols, see
    `sbirules.model.abilities`.

    Arguments:
        family: The rule family.
        task: What networks have to do, or None where nothing is judged.
        summaries: Named summaries that `simulator(theta)` returns, by name or as `Summary`.
    """

    family: RuleFamily
    task: Task | None
    num_trials: int = 1
    criterion: float = 0.5  # of a task: error below which a trial is correct
    summaries: tuple[Summary, ...]
    batch: int = 1  # networks that are best simulated together
    engine: str = ""  # what computes, for the manifest of a store
    own_fields: tuple[Field, ...] = ()  # what runs consist of, beside the fields of a task
    tables = "trials"  # the kind of question that tables of its trials ask
    rule_unit = ""  # what coefficients are measured in, where these are neither natural units nor raw
    # what counts as success of a network, for optimisers; empty where nothing does
    success: Mapping[str, tuple[float, float]] = {"learned": (1.0, 1.0)}

    def __init__(self, family: RuleFamily, task: Task | None = None, summaries: Sequence[SummaryLike] = ()) -> None:
        arguments.instance("family", family, RuleFamily)
        if task is not None:
            arguments.instance("task", task, Task)
            if not getattr(task, "type_names", ()):
                raise ValueError(f"{type(task).__name__}.type_names must name at least one trial type.")
        if isinstance(summaries, (str, Summary)) or not isinstance(summaries, Sequence):
            raise ValueError(f"summaries must be a list of names or Summary objects, got {summaries!r}.")
        self.family, self.task = family, task
        self.summaries = tuple(resolve(s) for s in summaries)
        names = self.summary_names
        if len(set(names)) != len(names):
            raise ValueError(f"summaries must have different names, got {arguments.listed(names)}.")

    @abstractmethod
    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        """Learning runs, one network per row of theta.

        Arguments:
            theta: Rules in natural units, `(batch, D)` or `(D,)`.
            seed: Names the random streams; None draws a seed from torch's global stream.
            trial_types: Sequence of trial types, `(trials,)` or `(batch, trials)`, -1 past the end of a
                session; None for the task's own.
            options: What the concrete simulator adds.
        """

    @abstractmethod
    def config(self) -> dict[str, object]:
        """Everything that determines results, in plain types, for the manifest of a store."""

    @property
    def raw_per_unit(self) -> Tensor:
        """Raw value of one natural unit of each column of theta, `(D,)`; 1 unless a simulator measures it."""
        return torch.ones(self.family.dim, dtype=torch.float64)

    def __repr__(self) -> str:
        settings = settings_of(getattr(self, "settings", None), always=("num_units", "num_trials"))
        more = settings or arguments_of(self, without=("family", "task", "summaries"))
        return one_line(self, repr(self.family), self.setting, *more)

    # What is declared -----------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """What runs consist of: fields and trial types."""
        judged = () if self.task is None else task_fields(self.criterion)
        return Layout((*judged, *self.own_fields), self.type_names)

    @property
    def type_names(self) -> tuple[str, ...]:
        """Names of the trial types."""
        return () if self.task is None else tuple(self.task.type_names)

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        """All columns of theta: the rule's coefficients, and what else is inferred."""
        return self.family.parameters

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return self.family.names

    @property
    def summary_names(self) -> tuple[str, ...]:
        """Names of the columns of x."""
        return summary_names(self.summaries, self.type_names)

    @property
    def setting(self) -> str:
        """Where rules are tried, for sentences: the task's name; empty without one."""
        return "" if self.task is None else type(self.task).__name__

    def rule_text(self, theta: Tensor, digits: int = 2) -> RuleText:
        """How the family and one rule `(D,)` in natural units read, with what the numbers are measured in."""
        from dataclasses import replace

        text = self.family.text(theta, digits)
        measured = not bool((self.raw_per_unit == 1).all())
        return replace(text, units=NATURAL if measured else text.units)

    # Calls ----------------------------------------------------------------------------------------

    def __call__(self, theta: ArrayLike) -> Tensor:
        """Summaries x `(batch, S)` of one fresh network per row of theta; `(S,)` for a single `(D,)`."""
        given = arguments.theta_columns(theta, self.names)
        rows = arguments.theta_matrix(given, self.names)
        x = summarise(self.run(rows, seed=global_seed()), self.summaries)
        return x[0] if given.ndim == 1 else x

    def to_raw(self, theta: ArrayLike) -> Tensor:
        """Natural units to raw coefficients, `(..., D)`."""
        theta = arguments.theta_columns(theta, self.names)
        return theta * self.raw_per_unit.to(theta)

    def to_natural(self, raw: ArrayLike) -> Tensor:
        """Raw coefficients to natural units, `(..., D)`."""
        raw = arguments.theta_columns(raw, self.names, argument="raw")
        return raw / self.raw_per_unit.to(raw)

    def sequence(self, num_trials: int | None = None) -> Tensor:
        """Trial types of a session, `(trials,)`: the task's own sequence, or zeros."""
        count = self.num_trials if num_trials is None else arguments.whole("num_trials", num_trials, 0, MOST)
        return torch.zeros(count, dtype=torch.long) if self.task is None else self.task.sequence(count)

    def sequence_matrix(self, trial_types: ArrayLike | None, batch: int) -> Tensor:
        """Trial types as `(batch, trials)`, checked."""
        arguments.whole("batch", batch, 1, MOST)
        types = torch.as_tensor(self.sequence() if trial_types is None else trial_types)
        if types.is_floating_point() or types.ndim not in (1, 2) or types.shape[-1] == 0:
            raise ValueError(
                f"trial_types must be whole numbers of shape (trials,) or (batch, trials), "
                f"got {types.dtype} of shape {tuple(types.shape)}."
            )
        if types.ndim == 2 and len(types) != batch:
            raise ValueError(
                f"trial_types must have one row per rule ({batch}) or be (trials,), got {len(types)} rows."
            )
        count = max(len(self.type_names), 1)
        if int(types.max()) >= count or int(types.min()) < -1:
            raise ValueError(
                f"trial_types must lie in 0...{count - 1} (-1 past the end of a session), "
                f"got values from {int(types.min())} to {int(types.max())}."
            )
        types = types.long().expand(batch, -1)
        if ((types[:, 1:] >= 0) & (types[:, :-1] < 0)).any():
            raise ValueError("trial_types may be -1 only past the end of a session.")
        if (types[:, 0] < 0).any():
            raise ValueError("trial_types must hold at least one trial in every row.")
        return types
