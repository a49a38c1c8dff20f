"""Patterns of inputs: a familiar one that is presented again and again, and later, beside ones that are new, tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ._settings import Settings

__all__ = ["Presented", "presented", "tests_of"]


@dataclass(frozen=True)
class Presented:
    """A pattern that is shown once.

    Arguments:
        first: Step at which it starts.
        last: Step before which it ends.
        neurons: Inputs that are driven.
        test: Number of the delay after which it tests memory; -1 while the familiar pattern is being learned.
        familiar: Whether it is the familiar pattern.
    """

    first: int
    last: int
    neurons: NDArray[np.int64]
    test: int
    familiar: bool


def presented(settings: Settings, stream: torch.Generator) -> tuple[Presented, ...]:
    """What is shown when: the familiar pattern in equal distances up to the end of the duration, then after each delay it
    and a new one."""
    s = settings
    if not s.memory_delays:
        return ()
    size = max(1, round(s.pattern_share * s.num_inputs))

    def pattern() -> NDArray[Any]:
        return torch.randperm(s.num_inputs, generator=stream)[:size].numpy()

    familiar = pattern()
    length, whole = s.steps(s.presentation), s.steps(s.duration)
    out = []
    for k in range(s.presentations):
        last = whole - (s.presentations - 1 - k) * (whole // s.presentations)
        out.append(Presented(last - length, last, familiar, -1, True))
    for test, delay in enumerate(s.memory_delays):
        start = whole + s.steps(delay)
        out.append(Presented(start, start + length, familiar, test, True))
        # the response to the first has died away when the second starts
        out.append(Presented(start + 2 * length, start + 3 * length, pattern(), test, False))
    return tuple(out)


def tests_of(shown: tuple[Presented, ...]) -> NDArray[np.int64]:
    """First step and end of each test, the pause between its patterns included, `(tests, 2)`: weights do not change in it."""
    familiar = [p.first for p in shown if p.test >= 0 and p.familiar]
    new = [p.last for p in shown if p.test >= 0 and not p.familiar]
    return np.array(list(zip(familiar, new, strict=True)), dtype=np.int64).reshape(-1, 2)
