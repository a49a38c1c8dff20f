"""Decisions of animals as arrays, one animal after another: what all baselines read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sbirules.model import decisions
from sbirules.model.choices import ROLES
from sbirules.model.decisions import has_constant
from sbirules.model.tables import Trials

__all__ = ["Decisions", "Units"]


@dataclass(frozen=True)
class Units:
    """What a group of animals is divided by.

    Arguments:
        x: Unit of each input, `(F,)`.
        reward: Unit of reward.
        reach: Length that no input exceeds in these units.
    """

    x: np.ndarray
    reward: float
    reach: float


@dataclass(frozen=True)
class Decisions:
    """N decisions of some animals; F inputs.

    Inputs are the stimuli, a label as one column for each of its labels, and a constant where stimuli are numbers or there
    are none.

    Arguments:
        start: Where each animal's decisions begin, `(animals + 1,)`.
        x: Inputs, `(N, F)`.
        numbers: Which inputs are stimuli that are numbers, `(F,)` boolean.
        labels: Which inputs stand for a label, `(F,)` boolean.
        choice: Code of the answer, `(N,)`; -1 without one.
        reward: `(N,)`; NaN where it is not known.
        session: Counted within the animal, `(N,)`.
        new_session: Whether a session begins, `(N,)`.
        new_trial: Whether a trial begins, `(N,)`.
        answers: How many answers there are.
        accept: Whether they are to reject (0) and to accept (1) one option.
        reach: Length that no `x` exceeds; 1 unless inputs are `in_their_own_units`.
    """

    start: np.ndarray
    x: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray
    choice: np.ndarray
    reward: np.ndarray
    session: np.ndarray
    new_session: np.ndarray
    new_trial: np.ndarray
    answers: int
    accept: bool
    reach: float = 1.0

    @staticmethod
    def of(trials: Trials) -> Decisions:
        """Those of a table.

        Raises:
            ValueError: If it is no table of choices, lacks a field, a number is not finite, or a code is of no option or
                label.
        """
        meaning = trials.meaning
        if meaning is None:
            raise ValueError(
                "trials must be a table of choices, with the meaning of its fields; this one has no meaning."
            )
        fields = trials.trajectory.per_trial
        lacking = [name for name in (*ROLES, *meaning.stimuli) if name not in fields]
        if lacking:
            raise ValueError(f"trials must have the field {lacking[0]!r}, as tables of choices do.")
        there = trials.trial_types >= 0
        flat = {name: _flat(fields[name], there) for name in (*ROLES, *meaning.stimuli)}
        for name in ("session", "trial", *meaning.stimuli):
            _refuse(name, flat[name], ~np.isfinite(flat[name]), "a finite number for every decision")
        _refuse("reward", flat["reward"], np.isinf(flat["reward"]), "finite, or NaN where it is not known")
        coded = {"choice": meaning.options, **meaning.labels}
        for name, codes in coded.items():
            outside = ~np.isnan(flat[name]) & ~np.isin(flat[name], np.arange(len(codes)))
            _refuse(name, flat[name], outside, f"a code from 0 to {len(codes) - 1}")
        constant = has_constant(meaning)
        d = decisions.Decisions.of(trials, meaning, constant)
        labels = [
            name in meaning.labels
            for name in meaning.stimuli
            for _ in range(len(meaning.labels.get(name, ("number",))))
        ]
        more = [False] * constant
        return Decisions(
            d.start.numpy(),
            np.ascontiguousarray(d.x.numpy()),
            np.array([*(not label for label in labels), *more]),
            np.array([*labels, *more]),
            d.choice.numpy(),
            d.reward.numpy(),
            d.session.numpy(),
            d.new_session.numpy(),
            (d.first == torch.arange(len(d.first))).numpy(),
            len(meaning.options),
            meaning.accept,
        )

    def __len__(self) -> int:
        return len(self.choice)

    @property
    def animals(self) -> int:
        """How many animals."""
        return len(self.start) - 1

    @property
    def contrasts(self) -> int:
        """How many logits there are: each answer but the first against the first."""
        return self.answers - 1

    @property
    def answered(self) -> np.ndarray:
        """Which decisions have an answer, `(N,)` boolean."""
        return np.asarray(self.choice >= 0)

    def animal(self, index: int) -> Decisions:
        """Those of one animal."""
        rows = slice(self.start[index], self.start[index + 1])
        names = ("x", "choice", "reward", "session", "new_session", "new_trial")
        start = np.array([0, self.start[index + 1] - self.start[index]])
        return replace(self, start=start, **{name: getattr(self, name)[rows] for name in names})

    def in_their_own_units(self, seen: np.ndarray) -> Decisions:
        """The same with stimuli that are numbers divided by their root mean square, and rewards by the largest seen.

        So that no prior depends on a table's units. Stimuli are the experimenter's, so all of them count; rewards only where
        `seen` `(N,)`.
        """
        units = self.units(seen)
        return replace(self, x=self.x / units.x, reward=self.reward / units.reward, reach=units.reach)

    def units(self, seen: np.ndarray) -> Units:
        """What `in_their_own_units` divides by."""
        rms = np.sqrt((self.x**2).mean(axis=0)) if len(self) else np.zeros(len(self.numbers))
        unit = np.where(self.numbers & (rms > 0), rms, 1.0)
        known = np.abs(self.reward[seen & ~np.isnan(self.reward)])
        largest = float(known.max()) if len(known) and known.max() > 0 else 1.0
        reach = float(np.sqrt(((self.x / unit) ** 2).sum(axis=1).max())) if len(self) else 1.0
        return Units(unit, largest, reach or 1.0)


def _flat(field: Tensor, there: Tensor) -> np.ndarray:
    return np.ascontiguousarray(field[there].detach().double().numpy())


def _refuse(name: str, value: np.ndarray, wrong: np.ndarray, rule: str) -> None:
    """Refuses a field with the first of its values that are wrong."""
    if wrong.any():
        raise ValueError(f"{name} must be {rule}, got {value[wrong][0]:g}.")
