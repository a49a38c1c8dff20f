"""Settings of `RateRNN`, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor

from sbirules.model.tasks import TrialTensors
from sbirules.support import arguments
from sbirules.support.room import free_memory, refuse_beyond

from ._episode import NONLINEARITIES
from ._network import Connectivity

__all__ = ["Settings"]

Mask = Tensor | float | None
MEASURED = 64  # networks in which natural units are measured at a time
RECORDING = ("num_recorded", "recording_noise")
# bytes in memory for each weight (weights, trace and its square in double precision), rate of a step, and trial
OF_A_WEIGHT, OF_A_RATE, OF_A_TRIAL = 28, 16, 40


@dataclass(frozen=True)
class Settings:
    """All that defines a `RateRNN` beside its family, task and summaries; see there for the meaning."""

    num_units: int = 64
    num_trials: int = 400
    gain: float = 1.5
    tau: float = 30.0
    dt: float = 5.0
    nonlinearity: str = "tanh"
    clamped: Mapping[int, float] = field(default_factory=lambda: {1: 1.0, 10: 1.0, 11: -1.0})
    readout: int | Tensor | str = 0
    kick_rate: float = 3.0
    kick_size: float = 1.0
    kick_start: int = 0
    trace_start: int = 0
    tau_xbar: float = 0.0
    reset_xbar: bool = True
    warm_up: int = 20
    expectation_share: float = 0.25
    initial_expectation: float | None = None
    error_factor: bool = False
    max_weight_change: float = math.inf
    mask: Mask = None
    dale: bool = False
    excitatory: float = 0.8
    input_to_readout: bool = True
    criterion: float = 0.5
    divergence: float = 100.0
    num_recorded: int = 0
    recording_noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("num_units", "num_trials"):
            arguments.whole(name, getattr(self, name), 1)
        for name in ("warm_up", "kick_start", "trace_start"):
            arguments.whole(name, getattr(self, name), 0)
        for name in ("gain", "tau", "dt", "criterion", "divergence"):
            arguments.above(name, getattr(self, name), 0.0)
        for name in ("kick_rate", "kick_size", "tau_xbar"):
            arguments.at_least(name, getattr(self, name), 0.0)
        arguments.above("max_weight_change", self.max_weight_change, 0.0, infinite=True)
        arguments.share("expectation_share", self.expectation_share)
        arguments.share("excitatory", self.excitatory)
        arguments.known("nonlinearity", self.nonlinearity, tuple(NONLINEARITIES))
        if self.dt > self.tau:
            raise ValueError(f"dt must not exceed tau = {self.tau:g} ms, got {self.dt:g} ms.")
        for name in ("reset_xbar", "error_factor", "dale", "input_to_readout"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}.")
        if self.kick_rate * self.dt >= 1000.0:
            raise ValueError(
                f"kick_rate times dt must be below one kick per step, got {self.kick_rate:g} Hz at {self.dt:g} ms."
            )
        if self.initial_expectation is not None:
            arguments.finite("initial_expectation", self.initial_expectation)
        if isinstance(self.readout, np.ndarray):
            raise ValueError("readout weights must be a tensor, got an array; pass torch.as_tensor(readout).")
        if isinstance(self.readout, SupportsIndex) and not isinstance(self.readout, (bool, type, Tensor)):
            object.__setattr__(self, "readout", int(self.readout))  # numpy's integers too
        if not self.input_to_readout and not isinstance(self.readout, int):
            raise ValueError(
                "input_to_readout = False keeps task input from the read-out unit, but the read-out here is weights over all "
                "units; leave it out, or name a unit with readout."
            )
        self._check_units()
        self._check_mask()
        free = self.num_units - len(self.clamped)
        if arguments.whole("num_recorded", self.num_recorded, 0) > free:
            raise ValueError(
                f"num_recorded must be at most the {free} units that are not clamped, got {self.num_recorded}."
            )
        arguments.at_least("recording_noise", self.recording_noise, 0.0)

    def _check_units(self) -> None:
        if not isinstance(self.clamped, Mapping) or not all(isinstance(unit, int) for unit in self.clamped):
            raise ValueError(f"clamped must map units to values of x, e.g. {{1: 1.0}}, got {self.clamped!r}.")
        for unit, x in self.clamped.items():
            if not 0 <= unit < self.num_units:
                raise ValueError(
                    f"clamped names unit {unit}, but units run from 0 to {self.num_units - 1}; "
                    f"pass clamped={{}} or other units."
                )
            arguments.finite(f"clamped[{unit}]", x)
        n = self.num_units
        if isinstance(self.readout, Tensor):
            if tuple(self.readout.shape) != (n,) or not torch.isfinite(self.readout).all():
                raise ValueError(f"readout weights must be finite of shape ({n},), got {tuple(self.readout.shape)}.")
        elif isinstance(self.readout, str):
            arguments.known("readout", self.readout, ("random",))
        elif not 0 <= arguments.whole("readout", self.readout, 0) < n:
            raise ValueError(f"readout must be a unit from 0 to {n - 1}, got {self.readout}.")
        elif self.readout in self.clamped:
            raise ValueError(f"readout is unit {self.readout}, which is clamped and cannot answer; choose another.")

    def _check_mask(self) -> None:
        n = self.num_units
        if isinstance(self.mask, Tensor):
            if tuple(self.mask.shape) != (n, n) or self.mask.dtype != torch.bool:
                raise ValueError(
                    f"mask must be boolean of shape ({n}, {n}) as (post, pre), or a density in (0, 1], "
                    f"got {self.mask.dtype} of shape {tuple(self.mask.shape)}."
                )
            if not self.mask.any():
                raise ValueError("mask must hold at least one synapse, got none.")
        elif self.mask is not None:
            arguments.share("mask (a density)", self.mask)

    def check_task(self, tensors: TrialTensors, num_types: int) -> None:
        """Raises ValueError if the tensors are not of all types, or the read-out cannot reach the targets."""
        if len(tensors.targets) != num_types:
            raise ValueError(
                f"the task names {num_types} trial types, but its tensors have {len(tensors.targets)}; they must agree."
            )
        if self.trace_start >= len(tensors.response):
            raise ValueError(
                f"trace_start must be a step of the trial's {len(tensors.response)}, got {self.trace_start}."
            )
        bounded_below = self.nonlinearity in ("threshold_linear", "sigmoid")
        if bounded_below and isinstance(self.readout, int) and bool((tensors.targets < 0).any()):
            raise ValueError(
                f"rates of {self.nonlinearity} units are never negative, but the task has a target of "
                f"{tensors.targets.min().item():g}; read out with weights (readout='random' or a tensor W_out)."
            )

    def check_room(self, steps: int, measured: bool) -> None:
        """Raises ValueError if what must be in memory together does not fit.

        Arguments:
            steps: Of a trial.
            measured: Whether natural units are measured, in `MEASURED` networks at a time.
        """
        room, networks = free_memory(), MEASURED if measured else 1
        refuse_beyond("num_trials", self.num_trials, lambda n: n * OF_A_TRIAL, room, "memory", "one network")
        refuse_beyond(
            "num_units",
            self.num_units,
            lambda n: networks * n * (OF_A_WEIGHT * n + OF_A_RATE * steps),
            room,
            "memory",
            f"{networks} network(s) together, whose trials have {steps:,} steps",
        )

    def config(self) -> dict[str, object]:
        """Plain types for the manifest."""
        out: dict[str, object] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, Tensor):
                value = value.tolist()
            elif name == "clamped":
                value = {str(k): float(v) for k, v in sorted(value.items())}
            if name not in RECORDING or value:  # stores from before there were recordings keep their configuration
                out[name] = value
        return out

    @property
    def connectivity(self) -> Connectivity:
        """How initial weights are drawn."""
        return Connectivity(self.num_units, self.gain, self.mask, self.dale, self.excitatory)

    @property
    def xbar_factor(self) -> float:
        """What xbar keeps of itself per step."""
        return math.exp(-self.dt / self.tau_xbar) if self.tau_xbar > 0 else 0.0
