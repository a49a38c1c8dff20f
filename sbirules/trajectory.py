"""What a simulation returns: one row per network, with a status that says whether it can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

__all__ = ["Recording", "Status", "Trajectory"]


class Status(IntEnum):
    """How a network ended. Everything but `OK` is a failure: its summaries are NaN."""

    OK = 0
    DIVERGED = 1  # a non-finite value, or |w| above 100 times the initial s.d.
    SILENT = 2  # mean |rate| of the free units below 1e-3 over the last trials
    FAILED = 3  # a simulation made elsewhere whose summaries are not finite


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


@dataclass(frozen=True)
class Trajectory:
    """Learning runs of a batch of networks.

    Per-trial fields are `(batch, trials)`; trials past the end of a network's sequence or its failure are
    NaN, and `trial_types` is -1 past the end.

    Arguments:
        status: A `Status` per network, `(batch,)`.
        trial_types: Type of each trial.
        error: Mean |read-out - target| over the response window.
        output: Mean read-out over the response window.
        reward: `-error`.
        correct: 1 where the error is below the task's criterion, else 0.
        activity: Measures of activity and weights by name, each `(batch,)`.
        num_types: Number of trial types of the task.
        type_names: Their names.
        final_weights: Weights after the last trial, `(batch, N, N)` as (post, pre), on request.
        initial_weights: Weights before the first trial, likewise.
        input_weights: W_in, `(batch, N, I)`, on request.
        readout: W_out, `(batch, N)`, on request and where a random one is read out.
        recording: Full recordings of chosen trials, on request.
    """

    status: Tensor
    trial_types: Tensor
    error: Tensor
    output: Tensor
    reward: Tensor
    correct: Tensor
    activity: Mapping[str, Tensor] = field(default_factory=dict)
    num_types: int = 1
    type_names: tuple[str, ...] = ()
    final_weights: Tensor | None = None
    initial_weights: Tensor | None = None
    input_weights: Tensor | None = None
    readout: Tensor | None = None
    recording: Recording | None = None

    PER_TRIAL = ("error", "output", "reward", "correct")
    NETWORK = ("final_weights", "initial_weights", "input_weights", "readout")

    def __len__(self) -> int:
        return len(self.status)

    @property
    def ok(self) -> Tensor:
        """Which networks did not fail, `(batch,)` boolean."""
        return self.status == Status.OK

    @property
    def available(self) -> tuple[str, ...]:
        """Names of the fields a summary may read here."""
        have = [n for n in self.PER_TRIAL if not torch.isnan(getattr(self, n)).all()]
        return (*have, *self.activity)

    def status_counts(self) -> dict[str, int]:
        """How many networks ended in which status."""
        return {s.name: int((self.status == s).sum()) for s in Status}

    def rows(self, index: Tensor) -> Trajectory:
        """Some of the networks, without recordings and weights."""
        names = ("status", "trial_types", *self.PER_TRIAL)
        picked: dict[str, Any] = {name: getattr(self, name)[index] for name in names}
        activity = {name: value[index] for name, value in self.activity.items()}
        without: dict[str, Any] = dict.fromkeys((*self.NETWORK, "recording"))
        return replace(self, activity=activity, **without, **picked)

    def _padded(self, trials: int) -> Trajectory:
        """The same with empty trials at the end, up to `trials`."""
        more = trials - self.trial_types.shape[1]
        if more == 0:
            return self
        pad = torch.nn.functional.pad
        longer: dict[str, Any] = {n: pad(getattr(self, n), (0, more), value=torch.nan) for n in self.PER_TRIAL}
        return replace(self, trial_types=pad(self.trial_types, (0, more), value=-1), **longer)

    @staticmethod
    def cat(parts: list[Trajectory]) -> Trajectory:
        """Trajectories of several batches as one."""
        if len(parts) == 1:
            return parts[0]
        parts = [p._padded(max(q.trial_types.shape[1] for q in parts)) for p in parts]
        joined: dict[str, Any] = {
            f.name: torch.cat([getattr(p, f.name) for p in parts])
            for f in fields(Trajectory)
            if isinstance(getattr(parts[0], f.name), Tensor)
        }
        activity = {k: torch.cat([p.activity[k] for p in parts]) for k in parts[0].activity}
        recording = None
        if parts[0].recording is not None:
            recs = [p.recording for p in parts if p.recording is not None]
            names = ("x", "rate", "weights", "trace")
            recording = replace(recs[0], **{n: torch.cat([getattr(r, n) for r in recs]) for n in names})
        return replace(parts[0], activity=activity, recording=recording, **joined)
