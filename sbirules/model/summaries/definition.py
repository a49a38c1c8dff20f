"""Named summaries of learning runs: pure, vectorised, NaN where a network failed.

Each summary declares the fields of a `Trajectory` it reads, so that a study of observed trials can use
those its table has columns for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.runs import Status, Trajectory
from sbirules.support import arguments
from sbirules.support.own_code import called
from sbirules.support.typed import typed, typed_class

__all__ = ["Summary", "SummaryLike", "parts_of_sessions", "summarise", "summary", "summary_names"]

ALWAYS = ("trial_types", "status")  # fields that every trajectory has


@typed_class
@dataclass(frozen=True)
class Summary:
    """A named function of a trajectory.

    Arguments:
        name: Name of its column, or stem of its columns' names.
        fields: Fields of the trajectory (or names in `activity`) it reads.
        function: Trajectory to `(batch,)`, or `(batch, K)` if `labels` names K columns.
        labels: From the names of the trial types to the labels of the columns.
        atoms: Whether the summary has probability mass on single values, as `learned` has: then it has
            no density.
        help: One line for listings.
        settings: What tells it from others of the same name, for manifests.
    """

    name: str
    fields: tuple[str, ...]
    function: Callable[[Trajectory], Tensor]
    labels: Callable[[Sequence[str]], tuple[str, ...]] | None = None
    atoms: bool = False
    help: str = ""
    settings: tuple[tuple[str, object], ...] = ()

    def columns(self, type_names: Sequence[str]) -> tuple[str, ...]:
        """Names of its columns of x."""
        if self.labels is None:
            return (self.name,)
        return tuple(f"{self.name}[{label}]" for label in self.labels(type_names))

    def config(self) -> dict[str, object]:
        """What identifies it in a manifest."""
        return {"name": self.name, **dict(self.settings)}


SummaryLike = Summary | str


@typed
def summary(
    name: str, fields: Sequence[str], *, atoms: bool = False
) -> Callable[[Callable[[Trajectory], Tensor]], Summary]:
    """Makes a summary of a user's own.

    Examples:
        >>> @summary("mean_error", fields=["error"])
        ... def mean_error(trajectory):
        ...     return trajectory.error.nanmean(dim=1)
    """

    def wrap(function: Callable[[Trajectory], Tensor]) -> Summary:
        return Summary(name, tuple(fields), function, atoms=atoms, help=(function.__doc__ or "").strip())

    return wrap


@typed
def summary_names(summaries: Sequence[Summary], type_names: Sequence[str]) -> tuple[str, ...]:
    """Names of all columns of x."""
    return tuple(name for s in summaries for name in s.columns(type_names))


@typed
def summarise(trajectory: Trajectory, summaries: Sequence[Summary]) -> Tensor:
    """x `(batch, S)`; rows of failed networks are NaN.

    Raises:
        ValueError: If the trajectory lacks a field that a summary reads, or a summary returns a wrong shape.
    """
    if not summaries:
        raise ValueError("summaries must hold at least one summary.")
    available = trajectory.available
    columns = []
    for s in summaries:
        missing = [f for f in s.fields if f not in available and f not in ALWAYS]
        if missing and bool(trajectory.ok.any()):
            raise ValueError(
                f"summary {s.name!r} reads {arguments.listed(missing)}, which is not recorded here; "
                f"available: {arguments.listed(available)}."
            )
        width = len(s.columns(trajectory.type_names))
        if missing:
            columns.append(torch.full((len(trajectory), width), torch.nan, dtype=trajectory.dtype))
            continue
        value = torch.as_tensor(called(s.function, trajectory)).to(trajectory.dtype)
        value = value[:, None] if value.ndim == 1 else value
        if tuple(value.shape) != (len(trajectory), width):
            raise ValueError(
                f"summary {s.name!r} must return shape ({len(trajectory)},) or ({len(trajectory)}, {width}), "
                f"got {tuple(value.shape)}."
            )
        columns.append(value)
    x = torch.cat(columns, dim=1)
    return torch.where((trajectory.status == Status.OK)[:, None], x, torch.nan)


def parts_of_sessions(t: Trajectory, count: int) -> Tensor:
    """Part of each trial when each session is cut into `count` equal parts, `(batch, trials)`; -1 past the end."""
    index = torch.arange(t.trial_types.shape[1], device=t.trial_types.device)
    part = torch.div(index * count, t.num_trials[:, None].clamp(min=1), rounding_mode="floor")
    return torch.where(t.trial_types >= 0, part, -1)
