"""Decisions of animals, one after another: features, answers, rewards, where sessions and trials begin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.choices import ChoiceColumns
from sbirules.model.tables import Trials

__all__ = ["CONSTANT", "Decisions", "feature_names", "features_of", "has_constant"]

CONSTANT = "constant"


@dataclass(frozen=True)
class Decisions:
    """Decisions of all animals, one animal after another; N of them.

    Arguments:
        start: Where each animal's begin, `(animals + 1,)`.
        x: Features, `(N, F)` float64.
        choice: Code of the answer, `(N,)`; -1 without one.
        reward: `(N,)` float64; NaN where it is not known.
        session: Counted within the animal, `(N,)`.
        new_session: Whether a session begins, `(N,)`.
        first: Where the decision's trial begins, `(N,)`.
        last: Whether its trial ends, `(N,)`.
    """

    start: Tensor
    x: Tensor
    choice: Tensor
    reward: Tensor
    session: Tensor
    new_session: Tensor
    first: Tensor
    last: Tensor

    @property
    def animals(self) -> int:
        """How many animals."""
        return len(self.start) - 1

    @property
    def animal(self) -> Tensor:
        """Which animal each decision is of, `(N,)`."""
        return torch.repeat_interleave(torch.arange(self.animals), self.start.diff())

    @property
    def place(self) -> Tensor:
        """How many decisions of the animal come before, `(N,)`."""
        return torch.arange(len(self.choice)) - self.start[self.animal]

    @staticmethod
    def of(trials: Trials, meaning: ChoiceColumns, constant: bool) -> Decisions:
        """Those of a table."""
        fields = trials.trajectory.per_trial
        there = trials.trial_types >= 0
        count = there.sum(dim=1)
        start = torch.cat([torch.zeros(1, dtype=torch.long), count.cumsum(dim=0)])
        flat = {name: fields[name][there].double() for name in ("choice", "reward", "session", "trial")}
        x = features_of(
            {name: fields[name][there].double() for name in meaning.stimuli}, meaning, constant, len(flat["choice"])
        )
        animal = torch.repeat_interleave(torch.arange(len(count)), count)
        session, trial = flat["session"].long(), flat["trial"].long()
        other = torch.ones(len(animal), dtype=torch.bool)
        other[1:] = animal[1:] != animal[:-1]
        new_session, new_trial = other.clone(), other.clone()
        new_session[1:] |= session[1:] != session[:-1]
        new_trial[1:] |= (trial[1:] != trial[:-1]) | new_session[1:]
        place = torch.arange(len(animal))
        first = torch.where(new_trial, place, 0).cummax(dim=0).values
        last = torch.ones(len(animal), dtype=torch.bool)
        last[:-1] = new_trial[1:]
        choice = torch.nan_to_num(flat["choice"], nan=-1.0).long()
        return Decisions(start, x, choice, flat["reward"], session, new_session, first, last)


def has_constant(meaning: ChoiceColumns) -> bool:
    """Whether a constant is among the features where nothing else was said: stimuli are numbers, or there are none."""
    return not meaning.stimuli or any(name not in meaning.labels for name in meaning.stimuli)


def feature_names(meaning: ChoiceColumns, constant: bool) -> tuple[str, ...]:
    """Names of the features: stimuli, a label column as one for each label, and the constant."""
    out: list[str] = []
    for name in meaning.stimuli:
        labels = meaning.labels.get(name)
        out += [name] if labels is None else [f"{name}_{label}" for label in labels]
    return (*out, *((CONSTANT,) if constant else ()))


def features_of(stimuli: dict[str, Tensor], meaning: ChoiceColumns, constant: bool, count: int) -> Tensor:
    """Features `(count, F)` of stimuli `(count,)` by name: numbers as they are, labels one-hot."""
    columns: list[Tensor] = []
    for name in meaning.stimuli:
        labels = meaning.labels.get(name)
        value = stimuli[name].double()
        if labels is None:
            columns.append(value[:, None])
        else:
            columns.append(torch.nn.functional.one_hot(value.long(), len(labels)).double())
    if constant:
        columns.append(torch.ones(count, 1, dtype=torch.float64))
    return torch.cat(columns, dim=1)
