"""Random streams keyed by what they are for, so that nothing else can change what they give.

A stream is named by (seed, ..., block of rows, purpose). The number of worker processes and the size of
a chunk therefore never change a draw, and switching one source of randomness off leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import SupportsIndex

import numpy as np
import torch

__all__ = ["generator", "global_seed", "seeded"]

Key = int | Sequence[int]


def _state(key: Key, *more: int) -> int:
    parts = (*(key if isinstance(key, Sequence) else (key,)), *more)
    if any(not isinstance(part, SupportsIndex) or part < 0 for part in parts):
        raise ValueError(f"seed must be a whole number of at least 0, got {key!r}.")
    # the length is part of the name, since SeedSequence takes (0, 3) and (0, 3, 0) for the same
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1, np.uint64)[0] >> 1)


def generator(key: Key, *more: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for the stream named by `key` and `more`."""
    return torch.Generator(device=device).manual_seed(_state(key, *more))


@contextmanager
def seeded(key: Key, *more: int) -> Iterator[None]:
    """Runs a block with torch's and numpy's global streams set from the key, then puts both back.

    For code that takes no generator: `Distribution.sample`, sbi's training and sampling.
    """
    state = _state(key, *more)
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(state)
        np.random.seed(state % 2**32)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)


def global_seed() -> int:
    """A seed drawn from torch's global stream, so that `torch.manual_seed` governs it."""
    return int(torch.randint(2**62, ()).item())
