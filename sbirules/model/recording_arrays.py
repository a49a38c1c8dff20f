"""Arrays of recordings, of animals whose sessions and units differ in number, as one that is filled up with NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sbirules.support import arguments

__all__ = ["names_of_parts", "recorded_arrays"]


def recorded_arrays(
    values: Any,
    *,
    trial_types: Any,
    learners: Sequence[str] | None,
    channels: Sequence[str] | None,
    type_names: Sequence[str],
    sessions: Any,
    events: Mapping[str, Any] | None,
    times: Sequence[float] | None,
) -> dict[str, Any]:
    """What `Recordings` is made of; arguments as for `Recordings.of`."""
    bins = () if times is None else tuple(arguments.finite("times", t) for t in times)
    each = _animals("values", values, 3 if bins else 2)
    given = {"trial_types": trial_types, "sessions": sessions, **dict(events or {})}
    sizes = [len(v) for v in each]
    rows = {
        name: [torch.zeros(n) for n in sizes] if value is None else _per_trial(name, value, sizes)
        for name, value in given.items()
    }
    longest, most = max(sizes), max(v.shape[-1] for v in each)
    whole = torch.full((len(each), longest, *((len(bins),) if bins else ()), most), torch.nan, dtype=torch.float64)
    for a, v in enumerate(each):
        if bins and v.shape[1] != len(bins):
            raise ValueError(f"values must have {len(bins)} bins, one for each of times, got {v.shape[1]}.")
        whole[a, : len(v), ..., : v.shape[-1]] = v
    padded = {name: torch.full((len(each), longest), torch.nan, dtype=torch.float64) for name in rows}
    for name, every in rows.items():
        for a, row in enumerate(every):
            padded[name][a, : len(row)] = row
    types, session = _codes("trial_types", padded.pop("trial_types")), _codes("sessions", padded.pop("sessions"))
    names = arguments.strings("type_names", type_names) if type_names else ()
    if names and int(types.max()) >= len(names):
        raise ValueError(f"trial_types must lie in 0...{len(names) - 1}, the types named, got {int(types.max())}.")
    return {
        "learners": names_of_parts("learners", learners, len(each), ""),
        "values": whole,
        "trial_types": types,
        "channels": names_of_parts("channels", channels, most, "unit "),
        "type_names": names,
        "sessions": session.clamp(min=0),
        "events": padded,
        "times": bins,
    }


def _animals(argument: str, values: Any, ndim: int) -> list[Tensor]:
    """One array an animal, each with `ndim` axes."""
    if isinstance(values, (list, tuple)) and not values:
        raise ValueError(f"{argument} must hold at least one animal, got an empty list.")
    if isinstance(values, (list, tuple)) and values and all(hasattr(v, "shape") for v in values):
        each = [arguments.numbers(argument, v, torch.float64) for v in values]
    else:
        whole = arguments.numbers(argument, values, torch.float64)
        each = [whole] if whole.ndim == ndim else list(whole)
    for a, v in enumerate(each):
        if v.ndim != ndim or not v.numel():
            shape = "(trials, channels)" if ndim == 2 else "(trials, bins, channels)"
            raise ValueError(
                f"{argument} must be {shape} for each animal, with at least one of each, got {tuple(v.shape)}."
            )
        if torch.isinf(v).any():
            raise ValueError(
                f"{argument} must be finite, or NaN where nothing was recorded; animal {a + 1} has an infinite value."
            )
    return each


def _per_trial(name: str, value: Any, sizes: Sequence[int]) -> list[Tensor]:
    """A number for every trial, one row an animal: from one row for all, one for each, or a matrix."""
    listed = isinstance(value, (list, tuple)) and bool(value) and all(hasattr(v, "__len__") for v in value)
    if listed:
        each = [arguments.numbers(name, v, torch.float64) for v in value]
    else:
        whole = arguments.numbers(name, value, torch.float64)
        each = [whole] * len(sizes) if whole.ndim == 1 else list(whole)
    lengths = [len(v) for v in each]
    if (
        len(each) != len(sizes)
        or any(v.ndim != 1 for v in each)
        or any(a < b for a, b in zip(lengths, sizes, strict=True))
    ):
        raise ValueError(
            f"{name} must have a number for each trial ({arguments.listed(sizes)} of the animals), got "
            f"{arguments.listed(lengths)}: "
            f"do they belong to the same trials?"
        )
    # a matrix is filled up to the longest animal, and of one sequence for all some may have done the beginning
    filled_up = set(lengths) == {max(sizes)}
    if not filled_up and any(a > b for a, b in zip(lengths, sizes, strict=True)):
        raise ValueError(
            f"{name} has more trials ({max(lengths)}) than values ({max(sizes)}): do they belong together?"
        )
    return [v[:n] for v, n in zip(each, sizes, strict=True)]


def _codes(name: str, value: Tensor) -> Tensor:
    """Whole numbers of at least 0, -1 past the end."""
    there = ~torch.isnan(value)
    known = value[there]
    if bool(((known < 0) | (known != known.floor())).any()):
        raise ValueError(
            f"{name} must be whole numbers of at least 0, got {float(known[(known < 0) | (known != known.floor())][0]):g}."
        )
    return torch.where(there, value, -1.0).long()


def names_of_parts(argument: str, given: Sequence[str] | None, count: int, stem: str) -> tuple[str, ...]:
    names = tuple(f"{stem}{k + 1}" for k in range(count)) if given is None else arguments.strings(argument, given)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"{argument} must be {count} different names, got {arguments.listed(names):.120}.")
    return names
