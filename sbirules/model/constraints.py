"""Constraints: named intervals that a plausible rule's summaries fall in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["Constraints", "nearest"]


@dataclass(frozen=True)
class Constraints:
    """Closed intervals by summary name; all must hold in the same network.

    Arguments:
        intervals: `(low, high)` by name of a column of x; None or infinity for an open end.

    Raises:
        ValueError: If there is none, or an interval is not two numbers in order.
    """

    intervals: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "intervals", _intervals(self.intervals))

    @staticmethod
    @typed
    def of(value: Mapping[str, object] | Constraints) -> Constraints:
        """Constraints from a mapping of names to `(low, high)`, or the given ones."""
        return value if isinstance(value, Constraints) else Constraints(_intervals(value))

    @typed
    def narrowed_by(self, other: Constraints) -> Constraints:
        """These and others: of a summary that both name, the part that lies in both intervals.

        Raises:
            ValueError: If there is no such part.
        """
        out = dict(self.intervals)
        for name, (low, high) in other.intervals.items():
            before = out.get(name, (-math.inf, math.inf))
            out[name] = (max(low, before[0]), min(high, before[1]))
            if out[name][0] > out[name][1]:
                raise ValueError(
                    f"constraints: {name} shall lie in [{low:g}, {high:g}], and earlier in [{before[0]:g}, {before[1]:g}]: "
                    f"no network satisfies both."
                )
        return Constraints(out)

    @typed
    def check(self, names: Sequence[str]) -> None:
        """Raises ValueError if a name is not a column of x."""
        names = arguments.strings("names", names)
        for name in self.intervals:
            arguments.known("constraints", name, tuple(names))

    @typed
    def satisfied(self, x: Tensor, names: Sequence[str]) -> Tensor:
        """Which rows of x `(n, S)` satisfy all constraints; a failed network, NaN throughout, satisfies none."""
        self.check(names)
        if x.ndim != 2 or x.shape[1] != len(names):
            raise ValueError(f"x must have shape (n, {len(names)}), one column per summary, got {tuple(x.shape)}.")
        inside = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for name, (low, high) in self.intervals.items():
            column = x[:, list(names).index(name)]
            # float32 columns of x against bounds in float64: 0.9 must contain 0.9
            low32, high32 = (torch.tensor(v, dtype=x.dtype) for v in (low, high))
            inside &= (column >= low32) & (column <= high32)
        return inside  # a comparison with NaN is false

    def config(self) -> dict[str, list[float | None]]:
        """Plain types for files; None for an open end."""
        return {name: [end if math.isfinite(end) else None for end in pair] for name, pair in self.intervals.items()}

    def words(self) -> str:
        """As they read in a sentence."""
        parts = []
        for name, (low, high) in self.config().items():
            word = name.replace("_", " ")
            if low == high:
                parts.append(f"“{word}” = {low:g}")
            else:
                ends = ["any" if end is None else f"{end:g}" for end in (low, high)]
                parts.append(f"“{word}” from {ends[0]} to {ends[1]}")
        return " and ".join(parts)


def nearest(x: Tensor, names: Sequence[str], constraints: Constraints) -> str:
    """How often each constraint holds alone: tells which one is the obstacle."""
    alone = {
        name: int(Constraints({name: pair}).satisfied(x, names).sum()) for name, pair in constraints.intervals.items()
    }
    return "alone: " + ", ".join(f"{name} in {n}" for name, n in alone.items())


def _intervals(given: Mapping[str, object]) -> dict[str, tuple[float, float]]:
    if not isinstance(given, Mapping) or not given:
        raise ValueError('constraints must name at least one summary, e.g. {"learned": (1, 1)}.')
    return {str(name): _interval(str(name), pair) for name, pair in given.items()}


def _interval(name: str, pair: object) -> tuple[float, float]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"constraint {name} must be (low, high), got {pair!r}.")
    ends = []
    for end, value, default in (("low", pair[0], -math.inf), ("high", pair[1], math.inf)):
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise ValueError(f"constraint {name}: {end} must be a number or None, got {value!r}.")
        ends.append(float(value))
    if ends[0] > ends[1]:
        raise ValueError(f"constraint {name}: low must not exceed high, got ({ends[0]:g}, {ends[1]:g}); swap them?")
    return ends[0], ends[1]
