"""Simulations that were made elsewhere, as arrays: checked before they become a store."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sbirules.model.runs import Status
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.robust import kept

__all__ = ["checked_arrays"]


def checked_arrays(
    theta: ArrayLike,
    x: ArrayLike,
    names: Sequence[str] | None,
    summary_names: Sequence[str] | None,
    status: ArrayLike | None,
) -> tuple[Tensor, Tensor, Tensor, dict[str, list[str]]]:
    """Rules `(n, D)`, summaries `(n, S)` and status `(n,)`, with the names of both.

    Arguments as those of `SimulationStore.from_arrays`.
    """
    given_theta = arguments.numbers("theta", theta, torch.float64)
    theta, x = given_theta.float(), arguments.numbers("x", x, torch.float64)
    for name, value in (("theta", theta), ("x", x)):
        if value.ndim != 2 or not value.numel() or len(value) != len(theta):
            raise ValueError(
                f"{name} must have shape (n, columns) with one row per simulation, got {tuple(value.shape)} "
                f"beside theta {tuple(theta.shape)}."
            )
    x = kept(x)
    if not torch.isfinite(theta).all():
        raise ValueError("theta must be finite.")
    if kept(given_theta).dtype != torch.float32:
        raise ValueError(
            "theta must be numbers that single precision tells apart, in which priors and networks see it; take a large "
            "offset off, or choose another unit."
        )
    columns = {}
    for argument, given, value, stem in (
        ("names", names, theta, "theta"),
        ("summary_names", summary_names, x, "x"),
    ):
        columns[argument] = [f"{stem}_{i + 1}" for i in range(value.shape[1])]
        if given is not None:
            columns[argument] = [str(name) for name in ([given] if isinstance(given, str) else given)]
        if len(set(columns[argument])) != value.shape[1]:
            raise ValueError(f"{argument} must be {value.shape[1]} different names, got {columns[argument]}.")
    failed = ~torch.isfinite(x).all(dim=1)
    if status is None:
        status = torch.where(failed, int(Status.FAILED), int(Status.OK))
    status = torch.as_tensor(status)
    if status.shape != failed.shape or not set(status.tolist()) <= set(map(int, Status)):
        raise ValueError(
            f"status must be a Status per row, {len(theta)} of {sorted(map(int, Status))}, got "
            f"{sorted(set(status.flatten().tolist()))[:5]} of shape {tuple(status.shape)}."
        )
    status = status.to(torch.int8)
    if (failed & (status == Status.OK)).any():
        raise ValueError("status must not be OK where x is not finite.")
    x = torch.where((status == Status.OK)[:, None], x, torch.nan)
    return theta, x, status, columns
