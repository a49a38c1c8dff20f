"""Means of recordings over animals, trial type by trial type, and how reliable they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.recordings import Recordings
from sbirules.support.streams import Stream, generator

__all__ = ["Cells", "cells_of", "reliability"]

MOST = 12  # parts of a session in which trials of a type are looked at
SPLITS = 200


@dataclass(frozen=True)
class Cells:
    """Trials of one type and one part of the session, M of them; A animals, T trials.

    Arguments:
        names: `type, part`.
        types: Name of the type of each cell.
        part: Number of each within its type, from 0.
        trial: Mean place in the session of its trials, from 0.
        member: Cell of each trial, `(A, T)`; -1 for none.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    part: tuple[int, ...]
    trial: tuple[float, ...]
    member: Tensor

    def by_animal(self, values: Tensor) -> Tensor:
        """Mean of each animal in each cell over trials and channels, `(..., A, M)`; values `(..., A, T, K)`, NaN left out."""
        each = values.nanmean(dim=-1)
        there = torch.isfinite(each)
        index = self.member.clamp(min=0).expand(each.shape)
        counted = there & (self.member >= 0)
        shape = (*each.shape[:-1], len(self.names))
        total = torch.zeros(shape, dtype=each.dtype).scatter_add(-1, index, torch.where(counted, each, 0.0))
        count = torch.zeros(shape, dtype=each.dtype).scatter_add(-1, index, counted.to(each.dtype))
        return total / torch.where(count > 0, count, torch.nan)


def cells_of(r: Recordings, most: int = MOST) -> Cells:
    """Every trial of a type where there are few, else equal parts of the session."""
    member = torch.full_like(r.trial_types, -1)
    names: list[str] = []
    types: list[str] = []
    parts: list[int] = []
    place: list[float] = []
    kinds = torch.unique(r.trial_types[r.trial_types >= 0]).tolist()
    for kind in kinds:
        label = r.type_names[kind] if r.type_names else ("all" if len(kinds) == 1 else str(kind))
        mine = r.trial_types == kind
        rank, count = mine.cumsum(dim=1) - 1, mine.sum(dim=1, keepdim=True)
        longest = int(count.max())
        part = rank if longest <= most else torch.div(rank * most, count.clamp(min=1), rounding_mode="floor")
        for p in range(min(longest, most)):
            here = mine & (part == p)
            if not bool(here.any()):
                continue
            member[here] = len(names)
            names.append(f"{label}, {p + 1}")
            types.append(label)
            parts.append(p)
            place.append(float(here.nonzero()[:, 1].double().mean()))
    return Cells(tuple(names), tuple(types), tuple(parts), tuple(place), member)


def reliability(by_animal: Tensor, seed: int = 0) -> float:
    """Reliability of the animals' mean over cells: the correlation of halves of them, stepped up (Spearman 1910; Brown 1910).

    The squared correlation with it that a perfect model could have, the mean over random halves; NaN for fewer than four
    animals, or where cells do not differ.

    Arguments:
        by_animal: `(A, M)`, NaN where an animal has no value.
    """
    animals = len(by_animal)
    if animals < 4:
        return float("nan")
    stream = generator(seed, Stream.SUBSETS)
    found = []
    for _ in range(SPLITS):
        order = torch.randperm(animals, generator=stream)
        a, b = (by_animal[half].nanmean(dim=0) for half in (order[: animals // 2], order[animals // 2 :]))
        told = torch.isfinite(a) & torch.isfinite(b)
        if int(told.sum()) < 3:
            continue
        r = torch.corrcoef(torch.stack([a[told], b[told]]))[0, 1]
        found.append(2 * r / (1 + r) if float(r) > -0.99 else torch.tensor(-1.0, dtype=a.dtype))
    value = torch.stack(found).nanmean() if found else torch.tensor(float("nan"))
    return float(value.clamp(max=1.0))
