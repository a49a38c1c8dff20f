"""Arrays of session scales, of animals whose sessions differ in number, as one that is filled up with NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sbirules.model.recording_arrays import names_of_parts
from sbirules.support import arguments

__all__ = ["scale_arrays"]

FEWEST = 3  # sessions: with two there is one change, which any law explains


def scale_arrays(
    scales: Any, errors: Any, *, stimulation: Any, time: Any, learners: Any, names: Any, channels: Any
) -> dict[str, Any]:
    """What `SessionScales` is made of; arguments as for `SessionScales.of`."""
    each = _animals("scales", scales, 2)
    sizes, r = [len(v) for v in each], each[0].shape[1]
    for a, v in enumerate(each):
        if v.shape[1] != r:
            raise ValueError(f"scales must be the same {r} for every animal; animal {a + 1} has {v.shape[1]}.")
        if torch.isinf(v).any():
            raise ValueError(
                f"scales must be finite, or NaN without a measurement; animal {a + 1} has an infinite one."
            )
        whole, some = torch.isfinite(v).all(dim=1), torch.isfinite(v).any(dim=1)
        if len(v) < FEWEST or int(whole.sum()) < 2:
            partly = int((some & ~whole).sum())
            raise ValueError(
                f"a law of change needs at least {FEWEST} sessions of an animal, two of them with all scales measured; "
                f"animal {a + 1} "
                f"has {len(v)}, {int(whole.sum())} of them whole{f' and {partly} in part' if partly else ''}."
            )
    longest = max(sizes)
    given = [torch.empty(n, 0) for n in sizes] if stimulation is None else _animals("stimulation", stimulation, 2)
    b = given[0].shape[1]
    _as_long("stimulation", given, sizes)
    if any(v.shape[1] != b for v in given):
        raise ValueError("stimulation must have the same channels for every animal.")
    if any(not bool(torch.isfinite(v).all()) for v in given):
        raise ValueError(
            "stimulation must be finite in every session, 0 where there was none: it moves what comes next."
        )
    when = [torch.arange(n, dtype=torch.float64) for n in sizes] if time is None else _times(time, sizes)
    out = {
        "scales": torch.full((len(each), longest, r), torch.nan, dtype=torch.float64),
        "covariance": torch.eye(r, dtype=torch.float64).repeat(len(each), longest, 1, 1),
        "stimulation": torch.zeros(len(each), longest, b, dtype=torch.float64),
        "time": torch.arange(longest, dtype=torch.float64).repeat(len(each), 1),
    }
    for a, n in enumerate(sizes):
        out["scales"][a, :n] = each[a]
        out["stimulation"][a, :n] = given[a]
        out["time"][a, :n] = when[a]
        out["time"][a, n:] = when[a][-1]
    for a, c in enumerate(_covariances(errors, each)):
        out["covariance"][a, : len(c)] = c
    return {
        **out,
        "num_sessions": torch.tensor(sizes),
        "learners": names_of_parts("learners", learners, len(each), ""),
        "names": names_of_parts("names", names, r, "scale "),
        "channels": names_of_parts("channels", channels, b, "stimulation "),
    }


def _animals(argument: str, values: Any, ndim: int) -> list[Tensor]:
    """One array an animal, each with `ndim` axes and something in it."""
    if isinstance(values, (list, tuple)) and values and all(hasattr(v, "shape") for v in values):
        each = [arguments.numbers(argument, v, torch.float64) for v in values]
    else:
        whole = arguments.numbers(argument, values, torch.float64)
        if whole.ndim not in (ndim, ndim + 1):
            raise ValueError(
                f"{argument} must be (sessions, {'scales' if argument == 'scales' else 'channels'}) of one animal, or with "
                f"an axis of "
                f"animals before, got shape {tuple(whole.shape)}."
            )
        each = [whole] if whole.ndim == ndim else list(whole)
    for v in each:
        if v.ndim != ndim or not v.numel():
            raise ValueError(
                f"{argument} must be (sessions, {'scales' if argument == 'scales' else 'channels'}) for each animal, got "
                f"{tuple(v.shape)}."
            )
    if not each:
        raise ValueError(f"{argument} must hold at least one animal.")
    return each


def _as_long(argument: str, each: Sequence[Tensor], sizes: Sequence[int]) -> None:
    lengths = [len(v) for v in each]
    if lengths != list(sizes):
        raise ValueError(
            f"{argument} must have one row for each session ({arguments.listed(sizes)} of the animals), got "
            f"{arguments.listed(lengths)}."
        )


def _times(time: Any, sizes: Sequence[int]) -> list[Tensor]:
    listed = isinstance(time, (list, tuple)) and bool(time) and all(hasattr(v, "__len__") for v in time)
    whole = [arguments.numbers("time", v, torch.float64) for v in time] if listed else None
    if whole is None:
        one = arguments.numbers("time", time, torch.float64)
        if one.ndim not in (1, 2) or one.shape[-1] != max(sizes) or (one.ndim == 2 and len(one) != len(sizes)):
            raise ValueError(
                f"time must have a number for each session, here ({max(sizes)},), or such a row for each of {len(sizes)} "
                f"animals, got "
                f"shape {tuple(one.shape)}."
            )
        whole = [one[:n] for n in sizes] if one.ndim == 1 else [v[:n] for v, n in zip(one, sizes, strict=True)]
    _as_long("time", whole, sizes)
    for a, v in enumerate(whole):
        if not bool(torch.isfinite(v).all()) or not bool((v.diff() > 0).all()):
            raise ValueError(f"time must be finite and rise from session to session; that of animal {a + 1} does not.")
    return whole


def _covariances(errors: Any, each: Sequence[Tensor]) -> list[Tensor]:
    """Covariances of errors `(sessions, R, R)` of each animal, checked where scales were measured."""
    r = each[0].shape[1]
    if isinstance(errors, bool):
        raise ValueError("errors must be standard errors, a number or an array like scales, got a truth value.")
    if isinstance(errors, (int, float)) or getattr(errors, "shape", None) == ():
        one = arguments.above("errors", float(errors), 0.0)
        if not 1e-100 < one < 1e100:
            raise ValueError(f"errors must be between 1e-100 and 1e100, got {one:g}.")
        return [one**2 * torch.eye(r, dtype=torch.float64).repeat(len(v), 1, 1) for v in each]
    if isinstance(errors, (list, tuple)) and errors and all(hasattr(v, "shape") for v in errors):
        given = [arguments.numbers("errors", v, torch.float64) for v in errors]
    else:
        whole = arguments.numbers("errors", errors, torch.float64)
        if whole.ndim == 1 and len(whole) == r:  # one for each scale
            whole = whole.expand(len(each), max(len(v) for v in each), r)
            given = [whole[a, : len(v)] for a, v in enumerate(each)]
            whole = torch.stack(given) if len({len(v) for v in each}) == 1 else whole
        given = [whole] if len(each) == 1 and whole.shape[:2] == each[0].shape else list(whole)
    if len(given) != len(each):
        raise ValueError(f"errors must be of each of {len(each)} animals, got {len(given)}.")
    out = []
    for a, (e, v) in enumerate(zip(given, each, strict=True)):
        known = torch.isfinite(v).all(dim=1)
        if tuple(e.shape) == tuple(v.shape):
            if not bool((e[known] > 0).all()):  # NaN is not either
                raise ValueError(
                    f"errors must be above 0 wherever scales were measured; those of animal {a + 1} are not."
                )
            e = torch.diag_embed(e.square())
        if tuple(e.shape) != (*v.shape, r):
            raise ValueError(
                f"errors must be standard errors {tuple(v.shape)} or covariances {(*v.shape, r)} of animal {a + 1}, got "
                f"{tuple(e.shape)}."
            )
        e = torch.where(known[:, None, None], e, torch.eye(r, dtype=torch.float64))
        wrong = not bool(torch.isfinite(e).all()) or not torch.allclose(e, e.mT, rtol=1e-6)
        if wrong or bool(torch.linalg.cholesky_ex(e).info.any()):
            raise ValueError(
                f"errors must be symmetric covariances with positive eigenvalues; one of animal {a + 1} is not."
            )
        out.append(e)
    return out
