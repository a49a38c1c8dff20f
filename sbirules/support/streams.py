"""All random streams. Each is named by (seed, what it is for, which one), so that nothing else can change its draws.

The number of worker processes, the size of a batch and other sources of randomness therefore never change a draw.
A name is hashed by `numpy.random.SeedSequence` into a stream's whole state: torch alone takes 32 bits of a seed,
so that two of a hundred thousand streams are likely to be the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "VERSION",
    "Key",
    "Stream",
    "by_row",
    "child",
    "generator",
    "global_seed",
    "lasting",
    "lastingly",
    "seeded",
    "small",
]

VERSION = 2  # of the names below; stores of other streams are read, never continued
BLOCK = 64  # rows that share a stream
WORDS = 624  # of the Mersenne twister's state
_FIRST = 24  # bytes before them in torch's form of that state

Key = int | Sequence[int]


class Stream(IntEnum):
    """What a stream is for. A number is part of a stream's name: none is changed, or used for something else."""

    # simulation
    PRIOR = 1
    RUN = 2
    WEIGHTS = 3
    MASK = 4
    INPUT_WEIGHTS = 5
    READOUT = 6
    INITIAL_STATES = 7
    KICKS = 8
    INPUTS = 9
    MEASUREMENT_NOISE = 12
    STIMULI = 13
    FEEDBACK = 14
    RECORDED = 15
    SESSION = 10
    TRIED = 11
    # training and sampling
    TRAINING = 20
    TREND = 21
    MEMBER = 22
    SPREAD = 23
    SUBSETS = 24
    PASSES = 25
    SAMPLING = 26
    SHUFFLE = 27
    OBSERVATION = 28
    DOUBLING = 29
    STAGE = 30
    BRIDGE = 31
    # rounds
    ROUND = 40
    SPARSE = 41
    FILTER = 42
    POOL = 43
    FLOOR = 44
    POINTS = 45
    AROUND = 46
    OUTSIDE = 47
    RESAMPLING = 48
    # checks and sensitivity
    CHECK = 60
    CALIBRATION = 61
    HELD_OUT = 62
    LEARNERS = 63
    ATTEMPT = 64
    FAMILY = 65
    TIES = 66
    REFERENCES = 67
    CLASSIFIER = 68
    EXPERIMENTS = 69
    BOOTSTRAP = 70
    PERMUTATIONS = 71
    # the prior, to hold something against
    PRIOR_SPREAD = 80
    # optimisation
    STARTS = 90
    EVALUATION = 91
    ITERATION = 92
    # things that are only shaped, or looked at, before values are put in
    SHAPES = 99


def _name(key: Key, more: Sequence[int]) -> list[int]:
    parts = (*(key if isinstance(key, Sequence) else (key,)), *more)
    if any(isinstance(part, bool) or not isinstance(part, SupportsIndex) or int(part) < 0 for part in parts):
        raise ValueError(f"seed must be a whole number of at least 0, got {key!r}.")
    # the length is part of the name, since SeedSequence takes (0, 3) and (0, 3, 0) for the same
    return [len(parts), *(int(part) for part in parts)]


def _words(key: Key, more: Sequence[int], number: int = WORDS) -> np.ndarray:
    return np.random.SeedSequence(_name(key, more)).generate_state(number, np.uint32)


def child(key: Key, stream: Stream, *index: int) -> int:
    """A seed of its own for what is named, to be handed to something that takes a seed; 62 bits."""
    low, high = (int(word) for word in _words(key, (stream, *index), 2))
    return low + ((high >> 2) << 32)


def small(key: Key, stream: Stream, *index: int) -> int:
    """The same for libraries that take 31 bits, and 0 for none: 1 ... 2^31 - 1."""
    return child(key, stream, *index) % (2**31 - 1) + 1


def _state(words: np.ndarray) -> Tensor:
    """torch's form of the state of a Mersenne twister that starts with these words."""
    state = torch.Generator().manual_seed(0).get_state()
    inner = state.numpy()[_FIRST : _FIRST + 8 * WORDS].view(np.uint64)
    if inner[0] != 0 or inner[1] != 1:  # how every twister starts from a seed of 0, words 0 and 1812433253 * 0 + 1
        raise RuntimeError(f"torch {torch.__version__} keeps the state of its generator in a form that is not known.")
    inner[:] = words
    return state


def generator(key: Key, *more: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for the stream named by `key` and `more`."""
    out = torch.Generator(device=device)
    if torch.device(device).type != "cpu":  # counter-based, with 64 bits of seed
        low, high = (int(word) for word in _words(key, more, 2))
        return out.manual_seed(low + (high >> 1 << 32))
    out.set_state(_state(_words(key, more)))
    return out


def by_row(draw: Callable[[torch.Generator, int], Tensor], rows: int, key: Key, *more: int) -> Tensor:
    """Draws of so many rows, of which each is the same however many there are.

    Rows come in blocks that have a stream each and are always drawn whole.

    Arguments:
        draw: From a generator and a number of rows n to `(n, ...)`.
        rows: How many.
        key: Names the streams, with `more`.
    """
    blocks = [draw(generator(key, *more, k), BLOCK) for k in range(max(1, -(-rows // BLOCK)))]
    return torch.cat(blocks)[:rows]


@contextmanager
def seeded(key: Key, *more: int) -> Iterator[None]:
    """Runs a block with the global streams of torch, numpy and Python set from the key, then puts them back.

    For code that takes no generator: `Distribution.sample`, sbi's training and sampling.
    """
    words = _words(key, more)
    before = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(_state(words))
        np.random.set_state(("MT19937", words, WORDS, 0, 0.0))
        random.seed(words.tobytes())
        try:
            yield
        finally:
            np.random.set_state(before[0])
            random.setstate(before[1])


def global_seed() -> int:
    """A seed drawn from torch's global stream, so that `torch.manual_seed` governs it."""
    return int(torch.randint(2**62, ()).item())


# Lasting streams ---------------------------------------------------------------------------------------
# What they give is part of what a name means: of natural units, of the network of an analytic simulator, of a
# digest in a file. They are named as in the first version and never change. There are few, so 32 bits do.


def _lasting(name: Sequence[int]) -> int:
    return int(np.random.SeedSequence([len(name), *name]).generate_state(1, np.uint64)[0] >> 1)


def lasting(*name: int) -> torch.Generator:
    """The generator of a lasting stream."""
    return torch.Generator().manual_seed(_lasting(name))


@contextmanager
def lastingly(*name: int) -> Iterator[None]:
    """Runs a block with torch's global stream set to a lasting one, then puts it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_lasting(name))
        yield
