"""`Replayed`: the stimuli and sessions of a table of animals, with rewards from a choice task."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from sbirules.model.choices import ChoiceColumns
from sbirules.model.tables import Trials
from sbirules.model.tasks.choice import ChoiceTask, check_decision
from sbirules.model.tasks.choice_rewards import ChoiceState
from sbirules.model.tasks.task import MOST, Task, TrialTensors
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["Replayed"]


@typed_class
@dataclass(frozen=True, eq=False)
class Replayed(Task):
    """The stimuli and sessions of a table, shown again to simulated animals.

    Simulated animal k sees what animal `k % len(trials)` of the table saw, decision by decision, in sessions of the same
    length. What it gets for its choices comes from a choice task, whose blocks, baits and walks start anew with each session:
    they are drawn, since a table does not tell them. Past the end of an animal's table zeros are shown and nothing is given;
    `trial_types` says where that is:

        task = Replayed(trials, ChoiceTask(reward="bandit", probabilities=(0.8, 0.2)))
        simulated = PolicyNetwork(family, task).animals(theta)

    Where animals accept or reject, a new offer belongs to the trial if that of the simulated animal is not over; a session's
    end ends its trial.

    Arguments:
        trials: A table of choices.
        rewards: A task with the same answers and stimuli, which knows its rewards; its `session_length` and `num_trials` are
            the table's.
        first: Which simulated animal the first one is.

    Raises:
        ValueError: If the rewards are not known, answers or stimuli differ, or there is nothing to show.
    """

    trials: Trials
    rewards: ChoiceTask
    first: int = 0
    type_names = ("choice",)
    session_length = None  # the table's own: state.session
    known = True

    def __post_init__(self) -> None:
        arguments.instance("trials", self.trials, Trials)
        arguments.instance("rewards", self.rewards, ChoiceTask)
        if self.trials.meaning is None:
            raise ValueError("trials must be a table of choices; see Trials.read, columns={'choice': ...}.")
        if not self.rewards.known:
            raise ValueError(
                "rewards must be a ChoiceTask that knows its rewards: a table does not say what other choices would have "
                'brought, so give what the experiment did, such as ChoiceTask(reward="bandit", probabilities=(0.8, 0.2)).'
            )
        if not self._there.any():
            raise ValueError("trials must hold at least one decision to show again, got none.")
        mine, other = self.rewards.meaning, self.trials.meaning
        what = mine.other_than(other)
        if what:
            a, b = getattr(mine, what), getattr(other, what)
            raise ValueError(f"rewards must have the {what} of the table, {b!r:.200}, got {a!r:.200}.")
        blank = torch.isnan(self._shown).any(dim=0).any(dim=0).tolist()
        if any(blank):
            raise ValueError(
                f"trials must have a value of {mine.stimuli[blank.index(True)]!r} at every decision, since it is shown; some "
                f"have none: leave out those rows."
            )

    @property
    def meaning(self) -> ChoiceColumns:
        """Answers and stimuli."""
        return self.rewards.meaning

    @property
    def max_offers(self) -> int | None:
        """Of a trial in which animals accept or reject."""
        return self.rewards.max_offers

    @property
    def reverses(self) -> bool:
        """Whether blocks differ in which option pays best."""
        return self.rewards.reverses

    @property
    def num_trials(self) -> int:
        """Decisions of the longest animal."""
        return self.trials.trial_types.shape[1]

    @cached_property
    def _there(self) -> Tensor:
        return self.trials.trial_types >= 0

    @cached_property
    def _shown(self) -> Tensor:
        """Stimuli of the table, `(animals, decisions, S)`, 0 past its end."""
        columns = [self.trials.trajectory.per_trial[name].double() for name in self.meaning.stimuli]
        if not columns:
            return torch.zeros(*self._there.shape, 0, dtype=torch.float64)
        return torch.where(self._there[..., None], torch.stack(columns, dim=2), 0.0)

    @cached_property
    def _sessions(self) -> Tensor:
        """Sessions of the table, `(animals, decisions)`, the last one past its end."""
        session = torch.where(self._there, self.trials.trajectory.per_trial["session"].double(), 0.0)
        return session.long().cummax(dim=1).values

    def trial_types(self, batch: int) -> Tensor:
        """For each simulated animal 0 where it decides and -1 past the end of its table, `(batch, decisions)`."""
        rows = torch.arange(arguments.whole("batch", batch, 1, MOST)) % len(self.trials)
        return self.trials.trial_types[rows].clamp(max=0)

    def from_row(self, first: int) -> Replayed:
        """The same for simulated animals from this one on."""
        return Replayed(self.trials, self.rewards, arguments.whole("first", first, 0))

    def tensors(self, dt: float) -> TrialTensors:
        return self.rewards.tensors(dt)

    def config(self) -> dict[str, object]:
        name = f"{type(self).__module__}:{type(self).__qualname__}"
        return {"task": name, "trials": self.trials.digest(), "rewards": self.rewards.config()}

    def start(self, batch: int, generator: Generator) -> ChoiceState:
        """Animals before their first decision."""
        return self.rewards.start(batch, generator)

    def stimulus(self, trial: int, state: ChoiceState, generator: Generator) -> tuple[Tensor, ChoiceState]:
        """What the table shows at a decision; see `ChoiceTask.stimulus`."""
        check_decision(trial, state.decision)
        rows = (self.first + torch.arange(len(state.trial))) % len(self.trials)
        at = min(trial, self.num_trials - 1)
        state = self.rewards.begun(state, generator, self._sessions[rows, at])
        there = self._there[rows, at] & (trial < self.num_trials)
        shown = torch.where(there[:, None], self._shown[rows, at], 0.0)
        return self.rewards.seeing(shown, state, generator)

    def better(self, state: ChoiceState) -> Tensor:
        """Code of the option that pays best in each animal's block, `(batch,)`."""
        return self.rewards.better(state)

    def outcome(
        self, choice: Tensor, trial: int, state: ChoiceState, generator: Generator
    ) -> tuple[Tensor, ChoiceState]:
        """What each animal gets, NaN past the end of its table; see `ChoiceTask.outcome`."""
        reward, after = self.rewards.outcome(choice, trial, state, generator)
        rows = (self.first + torch.arange(len(choice))) % len(self.trials)
        there = self._there[rows, min(trial, self.num_trials - 1)] & (trial < self.num_trials)
        still = replace(after, trial=torch.where(there, after.trial, state.trial))
        return torch.where(there, reward, math.nan), still
