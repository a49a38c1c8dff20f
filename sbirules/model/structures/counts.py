"""Sets of terms counted exactly by their complexity, and drawn with it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sbirules.model.structures.expressions import Term

__all__ = ["SetCounts"]


class SetCounts:
    """Sets of at most so many terms, with a prior of 2^-complexity across complexities and uniform within one.

    Arguments:
        terms: The simplest first.
        sizes: Complexity of each.
        most: Terms in a set at most.
        largest: Complexity of a set at most.
    """

    def __init__(self, terms: Sequence[Term], sizes: Sequence[int], most: int, largest: int) -> None:
        groups = itertools.groupby(range(len(terms)), key=sizes.__getitem__)
        self.classes = [(size, [terms[k] for k in members]) for size, members in groups]
        self.most, self.largest = most, largest

    @cached_property
    def suffixes(self) -> list[dict[tuple[int, int], int]]:
        """Of the terms from the k-th complexity on: how many sets of t terms have complexity z in all, by (t, z)."""
        out: list[dict[tuple[int, int], int]] = [{(0, 0): 1}]
        for size, members in reversed(self.classes):
            table: dict[tuple[int, int], int] = {}
            for (t, z), ways in out[-1].items():
                for m in range(min(len(members), self.most - t) + 1):
                    if z + m * size <= self.largest:
                        key = (t + m, z + m * size)
                        table[key] = table.get(key, 0) + ways * math.comb(len(members), m)
            out.append(table)
        return out[::-1]

    @cached_property
    def by_complexity(self) -> dict[int, int]:
        """How many sets there are of each complexity."""
        out: dict[int, int] = {}
        for (_, z), ways in self.suffixes[0].items():
            out[z] = out.get(z, 0) + ways
        return dict(sorted(out.items()))

    @cached_property
    def log_total(self) -> float:
        """Log of the sum of the weights of complexities."""
        return math.log(sum(2.0**-z for z in self.by_complexity))

    def log_prob(self, complexity: int) -> float:
        """Of one set."""
        return -complexity * math.log(2.0) - self.log_total - math.log(self.by_complexity[complexity])

    def sample(self, rng: np.random.Generator) -> list[Term]:
        """A set drawn from the prior, its simplest term first."""
        sizes = list(self.by_complexity)
        weights = np.array([2.0**-z for z in sizes])
        z = int(rng.choice(sizes, p=weights / weights.sum()))
        t = _drawn([self.suffixes[0].get((t, z), 0) for t in range(self.most + 1)], rng)
        out: list[Term] = []
        for (size, members), rest in zip(self.classes, self.suffixes[1:], strict=True):
            ways = [
                math.comb(len(members), m) * rest.get((t - m, z - m * size), 0) for m in range(min(len(members), t) + 1)
            ]
            m = _drawn(ways, rng)
            out += [members[k] for k in sorted(rng.choice(len(members), size=m, replace=False))]
            t, z = t - m, z - m * size
        return out


def _drawn(ways: Sequence[int], rng: np.random.Generator) -> int:
    """An index with a probability in proportion to exact numbers of ways."""
    total = sum(ways)
    shares = np.array([w / total for w in ways])
    return int(rng.choice(len(ways), p=shares / shares.sum()))
