"""Whether a simulator goes by the seed that it is handed.

One that does not fills a store with noise that repeats itself: every job gets a copy of a generator of its own.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.support.streams import Stream, seeded

__all__ = ["draws_from_global_streams"]

ADVICE = "draw from torch.Generator().manual_seed(...) or sbirules.support.streams.generator(seed) in each run"


# a check fills dozens of small stores by one simulator; those that cannot be keys are tried each time
_TRIED: WeakKeyDictionary[Simulator, bool] = WeakKeyDictionary()


def draws_from_global_streams(simulator: Simulator, rule: Tensor, sequence: Tensor) -> bool:
    """Tries a rule `(D,)` on two networks, three times; whether torch's or numpy's global stream moved meanwhile.

    A simulator that passed is not tried again.

    Raises:
        ValueError: If the same seed gives other numbers, or every seed the same noise.
    """
    if type(simulator).__hash__ is None:
        return _moves_global_streams(simulator, rule, sequence)
    if simulator not in _TRIED:
        _TRIED[simulator] = _moves_global_streams(simulator, rule, sequence)
    return _TRIED[simulator]


def _moves_global_streams(simulator: Simulator, rule: Tensor, sequence: Tensor) -> bool:
    theta, types, name = rule.expand(2, -1), sequence.expand(2, -1), type(simulator).__name__

    def tried(seed: int) -> tuple[Trajectory, bool]:
        with seeded(seed, Stream.TRIED), torch.no_grad():
            before = _positions()
            run = simulator.run(theta, seed=(seed, Stream.TRIED), trial_types=types)
            moved = not all(np.array_equal(a, b) for a, b in zip(before, _positions(), strict=True))
        return run, moved

    (first, moved), (again, _), (other, _) = tried(1), tried(1), tried(2)
    if not _same(first, again):
        raise ValueError(
            f"{name} gives other numbers for the same seed: it has a generator of its own, of which every worker "
            f"gets a copy, so that their noise would be the same. Let it {ADVICE}."
        )
    if _same(first, other) and not _same(first, first.rows(torch.arange(len(first)).flip(0))):
        raise ValueError(f"{name} gives the same noise whatever the seed, for every shard: let it {ADVICE}.")
    return moved


def _same(a: Trajectory, b: Trajectory) -> bool:
    pairs = [(a.status, b.status)]
    for mine, theirs in ((a.per_trial, b.per_trial), (a.per_run, b.per_run), (a.per_unit, b.per_unit)):
        pairs += [(value, theirs[name]) for name, value in mine.items()]
    return all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in pairs)


def _positions() -> list[np.ndarray]:
    """Where torch's and numpy's global streams are."""
    of_numpy = np.random.get_state(legacy=False)["state"]
    return [torch.get_rng_state().numpy(), of_numpy["key"], np.asarray(of_numpy["pos"])]
