"""What summaries of recorded units share: means by part of the session and trial type, some networks at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sbirules.model.runs import Trajectory
from sbirules.model.summaries.definition import Summary, parts_of_sessions
from sbirules.support import arguments

__all__ = ["ORDER", "ROTATIONS", "by_part", "cells", "in_rows", "made", "means_of", "over_units", "spread_over_units"]

ROWS = 256  # networks whose activity is looked at together, so that memory does not grow with the store
ROTATIONS, ORDER = "unchanged by rotations of activity space", "unchanged by the order of units"
Labels = Callable[[Sequence[str]], tuple[str, ...]]


def in_rows(function: Callable[..., Tensor], t: Trajectory, **how: object) -> Tensor:
    """A function of a batch, some rows at a time."""
    parts = [
        function(t.rows(torch.arange(k, min(k + ROWS, len(t)), device=t.status.device)), **how)
        for k in range(0, max(len(t), 1), ROWS)
    ]
    return torch.cat(parts)


def as_changes(function: Callable[..., Tensor], t: Trajectory, labels: Labels, **how: object) -> Tensor:
    """The same with what stands for later parts of the session less that for the first."""
    x, names = in_rows(function, t, **how), labels(t.type_names)
    stems = [name.rpartition(",")[0] for name in names]
    first = torch.tensor([stems.index(stem) for stem in stems], device=x.device)
    later = torch.tensor([stems.index(stem) != k for k, stem in enumerate(stems)], device=x.device)
    return torch.where(later, x - x[:, first], x)


def cells(t: Trajectory, bins: int, within: int = 1) -> tuple[Tensor, Tensor]:
    """Responses `(B, T, K)` and the part of the session of each trial, cut again into `within`, `(B, T)`; -1 past the end."""
    return t.per_unit["responses"], parts_of_sessions(t, bins * within)


def means_of(t: Trajectory, responses: Tensor, part: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Mean response of each unit by part and type `(B, P, C, K)`, NaN where there is none, and the number of trials."""
    types = t.num_types
    cell = torch.where(part >= 0, part * types + t.trial_types.clamp(min=0), parts * types)
    member = torch.nn.functional.one_hot(cell, parts * types + 1)[..., :-1].mT.to(responses.dtype)  # (B, P C, T)
    there = torch.isfinite(responses)
    count = member @ there.to(responses.dtype)
    total = member @ torch.where(there, responses, 0.0)
    shape = (len(responses), parts, types, responses.shape[2])
    return (total / torch.where(count > 0, count, torch.nan)).reshape(shape), count.reshape(shape)


def over_units(values: Tensor) -> Tensor:
    """Mean over units, the last axis, of those that have a value."""
    return values.nanmean(dim=-1)


def spread_over_units(values: Tensor) -> Tensor:
    mean = values.nanmean(dim=-1, keepdim=True)
    return (values - mean).square().nanmean(dim=-1).sqrt()


def by_part(stems: Sequence[str], bins: int) -> Labels:
    """Labels by part, and by stem within it."""
    arguments.whole("bins", bins, 1)
    labels = tuple(f"{stem},{b}" if stem else str(b) for b in range(bins) for stem in stems)
    return lambda _: labels


def made(
    name: str,
    function: Callable[..., Tensor],
    labels: Labels | None,
    invariant: str,
    maker: Callable[..., Summary],
    change: bool = False,
    **how: Any,
) -> Summary:
    arguments.whole("bins", how["bins"], 1)
    whole = partial(in_rows, function, **how)
    if change and labels is not None:
        name, whole = f"{name}_change", partial(as_changes, function, labels=labels, **how)
    text = (maker.__doc__ or "").split("\n")[0].split(". Unchanged")[0].rstrip(".")
    return Summary(
        name,
        ("responses",),
        whole,
        labels,
        help=f"{text[:1].lower()}{text[1:]}{', as changes from the first' * change}; {invariant}",
        settings=(*how.items(), *((("change", True),) if change else ())),
    )
