"""What a choice task is made with: the settings of `ChoiceTask`, checked, and the tables of numbers that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sbirules.model.choices import ChoiceColumns
from sbirules.model.tasks.choice_arguments import (
    REWARDS,
    TAKES,
    block_range,
    check_range,
    nested,
    shown_of,
    stimuli_of,
    table_of,
)
from sbirules.model.tasks.task import MOST, Task
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike

__all__ = ["ChoiceSettings"]

ACCEPT = ("reject", "accept")
DEFAULT = ("A", "B")


@dataclass(frozen=True)
class ChoiceSettings(Task):
    """Settings of a choice task; `ChoiceTask` says what they mean."""

    options: tuple[str, ...] = DEFAULT
    reward: str = "unknown"
    stimuli: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    probabilities: ArrayLike = ()
    block: int | tuple[int, int] | None = None
    block_scale: float | None = None
    order: str = "in turn"
    drift: float = 0.025
    decay: float = 1.0
    centre: float = 0.5
    bounds: tuple[float, float] = (0.0, 1.0)
    left_probability: ArrayLike = 0.5
    zero: str = "prior"
    magnitudes: ArrayLike = ()
    punishment: float = 0.0
    accept: bool = False
    max_offers: int | None = None
    num_trials: int | None = None
    session_length: int | None = None
    type_names = ("choice",)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        arguments.known("reward", self.reward, REWARDS)
        arguments.known("order", self.order, ("in turn", "random"))
        arguments.known("zero", self.zero, ("prior", "random"))
        options = arguments.strings("options", self.options)
        put("options", ACCEPT if self.accept and options == DEFAULT else options)
        put("stimuli", stimuli_of(self.stimuli, not self.known))
        put("shown", shown_of(self.shown, self.stimuli))
        for name in ("probabilities", "left_probability", "magnitudes"):
            put(name, nested(name, getattr(self, name)))
        if self.block is not None:
            low, high = block_range(self.block)
            put("block", low if low == high else (low, high))
        if len(self.bounds) != 2:
            raise ValueError(f"bounds must be (low, high), got {len(self.bounds)} numbers.")
        put("bounds", tuple(arguments.share("bounds", bound, zero=True) for bound in self.bounds))
        for name in ("drift", "decay", "centre", "punishment"):
            put(name, arguments.finite(name, getattr(self, name)))
        if self.block_scale is not None:
            put("block_scale", arguments.above("block_scale", self.block_scale, 0.0))
        for name, least in (("max_offers", 1), ("num_trials", 2), ("session_length", 1)):
            if getattr(self, name) is not None:
                put(name, arguments.whole(name, getattr(self, name), least, MOST))
        self._check()

    def _check(self) -> None:
        _ = self.meaning  # refuses names that cannot be
        if self.accept and len(self.options) != 2:
            raise ValueError(f"options must be what to reject and to accept are called, got {len(self.options)} names.")
        if self.max_offers is not None and not self.accept:
            raise ValueError(
                "max_offers belongs to tasks of accepting and rejecting: set accept = true, or leave it out."
            )
        for one in fields(self):
            if one.name not in self.without_effect:
                continue
            default = one.default_factory() if callable(one.default_factory) else one.default
            if getattr(self, one.name) != default:
                kinds = [kind for kind, names in TAKES.items() if one.name in names] or list(REWARDS[1:])
                raise ValueError(
                    f"{one.name} means nothing with reward = {self.reward!r}, but with {arguments.listed(kinds)}; leave it out, "
                    f"or change reward."
                )
        if self.known:
            self._check_rewards()

    def _check_rewards(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], got {self.decay:g}.")
        if self.drift < 0:
            raise ValueError(f"drift must be at least 0, got {self.drift:g}.")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds must be (low, high), got {self.bounds}.")
        _ = self._magnitudes
        name = "left_probability" if self.reward == "contrast" else "probabilities"
        if self.reward == "contrast":
            self._check_contrasts()
        if self.reward != "contrast" and self.probabilities == ():
            raise ValueError(
                f"reward = {self.reward!r} needs probabilities of rewards, such as probabilities = (0.8, 0.2)."
            )
        low, high = self.bounds if self.reward == "restless" else (0.0, 1.0)
        check_range(name, self._contingencies, low, high)
        if self.reward == "restless":
            check_range("centre", torch.tensor([self.centre]), low, high)
        blocks = len(self._contingencies)
        if blocks > 1 and self.block is None:
            raise ValueError(
                f"{name} holds {blocks} contingencies, so block must be given: the trials that each holds for."
            )
        if blocks == 1 and (self.block is not None or self.order != "in turn"):
            raise ValueError(f"block and order need several contingencies: give {name} as a list of at least two.")
        if self.block_scale is not None and self.block is None:
            raise ValueError("block_scale needs block, the range of lengths.")

    def _check_contrasts(self) -> None:
        if self.accept or len(self.options) != 2:
            raise ValueError('reward = "contrast" needs two options, left and right, and no accept.')
        numbers = self._numbers
        if len(numbers) != 1:
            raise ValueError(
                f"reward = \"contrast\" needs one stimulus of numbers, such as stimuli = {{'contrast': (-0.5, 0.0, 0.5)}}, got "
                f"{arguments.listed(numbers) or 'none'}."
            )
        contrasts, weights = self.stimuli[numbers[0]], self._weights(numbers[0])
        for side, sign in (("negative", -1), ("positive", 1)):
            if not any(c * sign > 0 and w > 0 for c, w in zip(contrasts, weights.tolist(), strict=True)):
                raise ValueError(
                    f"the stimulus {numbers[0]!r} needs {side} contrasts too, which are shown on one side."
                )

    # What there is --------------------------------------------------------------------------------

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Names of settings that mean nothing with this kind of reward."""
        special = {name for names in TAKES.values() for name in names}
        if not self.known:
            special |= {"magnitudes", "punishment", "shown"}
        return tuple(sorted(special - set(TAKES[self.reward])))

    @property
    def known(self) -> bool:
        """Whether rewards can be drawn."""
        return self.reward != "unknown"

    @cached_property
    def meaning(self) -> ChoiceColumns:
        """Answers and stimuli."""
        labels = {name: values for name, values in self.stimuli.items() if values and isinstance(values[0], str)}
        return ChoiceColumns(self.options, tuple(self.stimuli), labels, self.accept)

    @property
    def _numbers(self) -> list[str]:
        return [name for name in self.stimuli if name not in self.meaning.labels]

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of one contingency: labels of each stimulus that has some, options last."""
        labels = [len(names) for names in self.meaning.labels.values()] if self.reward != "contrast" else []
        return (*labels, *(() if self.accept else (len(self.options),)))

    @property
    def _words(self) -> str:
        """That shape, in words."""
        labels = [f"the {len(names)} labels of {name!r}" for name, names in self.meaning.labels.items()]
        options = [] if self.accept else [f"the {len(self.options)} options"]
        if self.reward == "contrast":
            labels = []
        return f"a number for each of {' x '.join((*labels, *options))}" if labels or options else "one number"

    @cached_property
    def _contingencies(self) -> Tensor:
        """Of each block: probabilities by cell `(blocks, cells)`; with contrasts those of left, `(blocks, 1)`."""
        if self.reward == "contrast":
            return table_of("left_probability", self.left_probability, (), "one number", True)
        return table_of("probabilities", self.probabilities, self._shape, self._words, self.reward != "restless")

    @cached_property
    def _magnitudes(self) -> Tensor:
        """Size of a reward in each cell, `(cells,)`."""
        if self.magnitudes == ():
            return torch.ones(self._shape, dtype=torch.float64).reshape(-1)
        given = torch.as_tensor(self.magnitudes, dtype=torch.float64)
        if not torch.isfinite(given).all():
            raise ValueError("magnitudes must be finite.")
        if self._shape and tuple(given.shape) == self._shape[-1:]:
            given = given.expand(self._shape)
        return table_of("magnitudes", given, self._shape, self._words, False)[0]

    @cached_property
    def _best(self) -> Tensor:
        """Code of the option that pays best in each block, `(blocks,)`; NaN where several do, or where stimuli tell."""
        rows = self._contingencies
        told = rows.new_full((len(rows),), torch.nan)
        if self.reward == "contrast":
            left = rows[:, 0]
            return torch.where(left > 0.5, 0.0, torch.where(left < 0.5, 1.0, told))
        if self.accept or self.meaning.labels:
            return told
        paid = rows * self._magnitudes + (1 - rows) * self.punishment
        most = paid.max(dim=1, keepdim=True).values
        return torch.where((paid >= most - 1e-12).sum(dim=1) == 1, paid.argmax(dim=1).double(), told)

    @cached_property
    def reverses(self) -> bool:
        """Whether blocks differ in which option pays best."""
        return self.known and self.block is not None and len(set(self._best[torch.isfinite(self._best)].tolist())) > 1

    def _weights(self, name: str) -> Tensor:
        """Probability of each value of a stimulus."""
        given, count = self.shown.get(name), len(self.stimuli[name])
        return torch.tensor(given or (1 / count,) * count, dtype=torch.float64)

    @cached_property
    def _chances(self) -> dict[str, Tensor]:
        """Of each stimulus: probabilities of its values, `(1, n)`; of a contrast in each block, `(blocks, n)`."""
        out = {name: self._weights(name)[None] for name in self.stimuli}
        if self.reward == "contrast":
            name = self._numbers[0]
            contrast, weight = torch.tensor(self.stimuli[name], dtype=torch.float64), out[name]
            sides = weight * (contrast < 0), weight * (contrast > 0)
            left = self._contingencies
            lateral = left * sides[0] / sides[0].sum() + (1 - left) * sides[1] / sides[1].sum()
            none = weight * (contrast == 0)
            out[name] = none + (1 - none.sum()) * lateral
        return out
