"""What a simulation returns: one row per network, with a status that says whether it can be believed.

A run is its status, its trial types and the fields that its simulator declares: names, units, meanings. Nothing here
knows what a field stands for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from sbirules.model.fields import Layout
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["Recording", "Status", "Trajectory"]


class Status(IntEnum):
    """How a network ended. Everything but `OK` is a failure: its summaries are NaN."""

    OK = 0
    DIVERGED = 1  # a non-finite value, or |w| above 100 times the initial s.d.
    SILENT = 2  # mean |rate| of the free units below 1e-3 over the last trials
    FAILED = 3  # a simulation made elsewhere whose summaries are not finite


@typed_class
@dataclass(frozen=True)
class Recording:
    """Full activity of chosen trials.

    Arguments:
        trials: Indices of the recorded trials, `(K,)`.
        x: State after each step, `(batch, K, T, N)`.
        rate: Rates after each step, `(batch, K, T, N)`.
        weights: Weights during the trial, `(batch, K, N, N)` as (post, pre).
        trace: Eligibility trace at the end of the trial, `(batch, K, N, N)`; zero during warm-up.
    """

    trials: Tensor
    x: Tensor
    rate: Tensor
    weights: Tensor
    trace: Tensor

    @staticmethod
    def cat(parts: Sequence[Recording]) -> Recording:
        """Recordings of several batches as one."""
        if not parts:
            raise ValueError("parts must hold at least one recording.")
        names = [f.name for f in fields(Recording) if f.name != "trials"]
        return replace(parts[0], **{n: torch.cat([getattr(r, n) for r in parts]) for n in names})


@typed_class
class Trajectory:
    """Learning runs of a batch of networks.

    Fields can be read as attributes, too: `run.error` is `run.per_trial["error"]`.

    Arguments:
        status: A `Status` per network, `(batch,)`.
        trial_types: Type of each trial, `(batch, trials)`; -1 past the end of a session.
        per_trial: Declared fields of every trial by name, `(batch, trials)`; NaN past the end of a network's sequence or
            after its failure.
        per_run: Declared fields of the whole run by name, `(batch,)`.
        per_unit: Declared fields of every recorded unit in every trial by name, `(batch, trials, units)`; NaN also where a
            unit was not recorded.
        type_names: Names of the trial types.
        extras: What was asked for besides, such as weights and recordings, by name; stores do not keep it.
    """

    status: Tensor
    trial_types: Tensor
    per_trial: dict[str, Tensor]
    per_run: dict[str, Tensor]
    per_unit: dict[str, Tensor]
    type_names: tuple[str, ...]
    extras: dict[str, object]

    def __init__(
        self,
        status: Tensor,
        trial_types: Tensor,
        per_trial: Mapping[str, Tensor] | None = None,
        per_run: Mapping[str, Tensor] | None = None,
        *,
        per_unit: Mapping[str, Tensor] | None = None,
        type_names: Sequence[str] = (),
        extras: Mapping[str, object] | None = None,
        **old: Any,
    ) -> None:
        per_trial, per_run = dict(per_trial or {}), dict(per_run or {})
        if old:
            per_trial, per_run = _as_before(old, per_trial, per_run)
        self.status, self.trial_types = status, trial_types
        self.per_trial, self.per_run, self.per_unit = per_trial, per_run, dict(per_unit or {})
        self.type_names = tuple(type_names)
        self.extras = {name: value for name, value in (extras or {}).items() if value is not None}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("per_trial", "per_run", "per_unit", "extras"):  # while it is being made
            raise AttributeError(name)
        for group in (self.per_trial, self.per_run, self.per_unit, self.extras):
            if name in group:
                return group[name]
        have = arguments.listed((*self.per_trial, *self.per_run, *self.per_unit, *self.extras))
        raise AttributeError(f"this run has no {name!r}; it has {have or 'no fields'}.")

    def __repr__(self) -> str:
        return f"Trajectory({len(self)} networks, {arguments.listed(self.available)})"

    def __len__(self) -> int:
        return len(self.status)

    @property
    def ok(self) -> Tensor:
        """Which networks did not fail, `(batch,)` boolean."""
        return self.status == Status.OK

    @property
    def num_types(self) -> int:
        """Number of trial types."""
        return max(len(self.type_names), 1)

    @property
    def num_trials(self) -> Tensor:
        """Number of trials of each session, `(batch,)`."""
        return (self.trial_types >= 0).sum(dim=1)

    @property
    def activity(self) -> dict[str, Tensor]:
        """Fields of the whole run by name; the same as `per_run`."""
        return self.per_run

    @property
    def recording(self) -> Recording | None:
        """Full recordings of chosen trials, if they were asked for."""
        found = self.extras.get("recording")
        return found if isinstance(found, Recording) else None

    @property
    def available(self) -> tuple[str, ...]:
        """Names of the fields a summary may read here."""
        return (*self.per_trial, *self.per_run, *self.per_unit)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of its fields, the widest."""
        every = (*self.per_trial.values(), *self.per_run.values(), *self.per_unit.values())
        types = {v.dtype for v in every if v.is_floating_point()}
        return max(types, key=lambda dtype: torch.finfo(dtype).bits, default=torch.float32)

    def status_counts(self) -> dict[str, int]:
        """How many networks ended in which status."""
        return {s.name: int((self.status == s).sum()) for s in Status}

    def rows(self, index: Tensor) -> Trajectory:
        """Some of the networks, without extras: by position `(n,)`, or those that are true of `(batch,)`."""
        if index.ndim != 1 or index.is_floating_point() or (index.dtype == torch.bool and len(index) != len(self)):
            raise ValueError(
                f"index must be positions (n,) or booleans ({len(self)},), got {index.dtype} of shape {tuple(index.shape)}."
            )
        if index.dtype != torch.bool and bool(((index < -len(self)) | (index >= len(self))).any()):
            raise ValueError(f"index must hold positions below {len(self)}, got {int(index.abs().max())}.")
        return Trajectory(
            self.status[index],
            self.trial_types[index],
            {n: v[index] for n, v in self.per_trial.items()},
            {n: v[index] for n, v in self.per_run.items()},
            per_unit={n: v[index] for n, v in self.per_unit.items()},
            type_names=self.type_names,
        )

    def completed(self, layout: Layout) -> Trajectory:
        """The same with the fields that follow from others."""
        return Trajectory(
            self.status,
            self.trial_types,
            layout.completed(self.per_trial, "trial"),
            layout.completed(self.per_run, "run"),
            per_unit=self.per_unit,
            type_names=self.type_names,
            extras=self.extras,
        )

    def cut(self, length: Tensor) -> Trajectory:
        """The first `length` `(batch,)` trials of each session, the rest marked as past the end."""
        if tuple(length.shape) != (len(self),):
            raise ValueError(
                f"length must have shape ({len(self)},), one number per session, got {tuple(length.shape)}."
            )
        index = torch.arange(self.trial_types.shape[1], device=length.device)
        keep = index < length[:, None]
        shown = {n: torch.where(keep, v, torch.nan) for n, v in self.per_trial.items()}
        units = {n: torch.where(keep[:, :, None], v, torch.nan) for n, v in self.per_unit.items()}
        # a network that diverged only later is a good one for this session
        whole = torch.ones_like(keep[:, 0])
        for value in self.per_trial.values():
            whole &= (torch.isfinite(value) | ~keep | (self.trial_types < 0)).all(dim=1)
        status = torch.where(whole & (self.status == Status.DIVERGED), Status.OK, self.status)
        types = torch.where(keep, self.trial_types, -1)
        return Trajectory(
            status.to(self.status.dtype),
            types,
            shown,
            self.per_run,
            per_unit=units,
            type_names=self.type_names,
            extras=self.extras,
        )

    def _padded(self, trials: int) -> Trajectory:
        """The same with empty trials at the end, up to `trials`."""
        more = trials - self.trial_types.shape[1]
        if more == 0:
            return self
        pad = torch.nn.functional.pad
        longer = {n: pad(v, (0, more), value=torch.nan) for n, v in self.per_trial.items()}
        units = {n: pad(v, (0, 0, 0, more), value=torch.nan) for n, v in self.per_unit.items()}
        types = pad(self.trial_types, (0, more), value=-1)
        return Trajectory(
            self.status, types, longer, self.per_run, per_unit=units, type_names=self.type_names, extras=self.extras
        )

    @staticmethod
    def cat(parts: Sequence[Trajectory]) -> Trajectory:
        """Trajectories of several batches as one."""
        if not parts:
            raise ValueError("parts must hold at least one trajectory.")
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        parts = [p._padded(max(q.trial_types.shape[1] for q in parts)) for p in parts]

        extras: dict[str, object] = dict(_joined([_tensors(p.extras) for p in parts]))
        if first.recording is not None:
            extras["recording"] = Recording.cat([p.recording for p in parts if p.recording is not None])
        return Trajectory(
            torch.cat([p.status for p in parts]),
            torch.cat([p.trial_types for p in parts]),
            _joined([p.per_trial for p in parts]),
            _joined([p.per_run for p in parts]),
            per_unit=_joined([p.per_unit for p in parts]),
            type_names=first.type_names,
            extras=extras,
        )


def _tensors(values: Mapping[str, object]) -> dict[str, Tensor]:
    return {n: v for n, v in values.items() if isinstance(v, Tensor)}


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {n: torch.cat([mapping[n] for mapping in parts]) for n in parts[0]}


def _as_before(
    old: dict[str, Any], per_trial: dict[str, Tensor], per_run: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Fields given as version 0.1 did: four of every trial, and `activity`."""
    before = ("error", "output", "reward", "correct", "activity", "num_types")
    for name in old:
        arguments.known("Trajectory's argument", name, before)
    warnings.warn(
        "Trajectory(error=..., activity=...) is now Trajectory(per_trial={'error': ...}, per_run={...}); the next version "
        "takes only that.",
        FutureWarning,
        stacklevel=3,
    )
    more = {name: torch.as_tensor(old[name]) for name in before[:4] if name in old}
    return {**more, **per_trial}, {**old.get("activity", {}), **per_run}
