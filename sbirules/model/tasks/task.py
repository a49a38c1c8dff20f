"""What a network has to do: inputs, targets and the window in which it is judged, as plain tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, is_dataclass

import torch
from torch import Generator, Tensor

from sbirules.support import arguments
from sbirules.support.devices import usable
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.typed import typed, typed_class

__all__ = ["Task", "TrialTensors"]

MOST = 10**8  # trials, or steps, of a session
MOST_STEPS = 1e15
OF_A_STEP = 64  # bytes of a task for each step: inputs and targets of a few types and channels


@typed_class
@dataclass(frozen=True)
class TrialTensors:
    """A task laid out on a time grid.

    Arguments:
        inputs: Input of each trial type, `(C, T, I)`: types, steps, channels. Step t covers
            `[t dt, (t + 1) dt)`.
        targets: Target of the read-out for each type, `(C,)`.
        response: Steps in which the read-out is judged, `(T,)` boolean.
    """

    inputs: Tensor
    targets: Tensor
    response: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.inputs.shape)
        if self.inputs.ndim != 3 or min(shape) < 1:
            raise ValueError(f"inputs must have shape (types, steps, channels), got {shape}.")
        if tuple(self.targets.shape) != shape[:1]:
            raise ValueError(
                f"targets must have shape ({shape[0]},), one per trial type, got {tuple(self.targets.shape)}."
            )
        if tuple(self.response.shape) != shape[1:2] or self.response.dtype != torch.bool:
            raise ValueError(
                f"response must be boolean of shape ({shape[1]},), one per step, "
                f"got {self.response.dtype} of shape {tuple(self.response.shape)}."
            )
        if not self.response.any():
            raise ValueError("response marks no step: the read-out would never be judged; mark at least one.")
        for name in ("inputs", "targets"):
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite.")

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TrialTensors:
        """The same on another device and floating type."""
        device = usable(device)
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating type such as torch.float32, got {dtype}.")
        return TrialTensors(self.inputs.to(device, dtype), self.targets.to(device, dtype), self.response.to(device))


@typed_class
class Task(ABC):
    """A task with a fixed set of trial types.

    A subclass sets `type_names` and writes `tensors`; a task whose input is random from trial to trial
    also overrides `draw_inputs`. A frozen dataclass is a good base, since its fields then name the task
    in manifests.

    Examples:
        >>> @dataclass(frozen=True)
        ... class GoNoGo(Task):
        ...     type_names = ("go", "no-go")
        ...
        ...     def tensors(self, dt):
        ...         inputs = torch.zeros(2, 40, 2)
        ...         inputs[0, :20, 0] = inputs[1, :20, 1] = 1.0
        ...         response = torch.arange(40) >= 20
        ...         return TrialTensors(inputs, torch.tensor([0.98, -0.98]), response)
    """

    type_names: tuple[str, ...]

    @abstractmethod
    def tensors(self, dt: float) -> TrialTensors:
        """The task on a grid of `dt` ms."""

    @property
    def num_types(self) -> int:
        """Number of trial types."""
        return len(self.type_names)

    def draw_inputs(self, tensors: TrialTensors, types: Tensor, generator: Generator) -> Tensor:
        """Inputs of one trial in each network.

        Arguments:
            tensors: The task on the simulator's grid, device and type.
            types: Trial type of each network, `(batch,)`.
            generator: Source of randomness, on the tensors' device.

        Returns:
            Inputs, `(batch, T, I)`.
        """
        return tensors.inputs[types]

    def sequence(self, num_trials: int) -> Tensor:
        """Trial types of a session, `(num_trials,)`: the types in turn."""
        return torch.arange(arguments.whole("num_trials", num_trials, 0, MOST)) % self.num_types

    def config(self) -> dict[str, object]:
        """What identifies the task in a manifest: class and settings."""
        settings: dict[str, object] = asdict(self) if is_dataclass(self) else {}
        return {"task": f"{type(self).__module__}:{type(self).__qualname__}", **settings}


@typed
def steps_of(argument: str, duration: float, dt: float) -> int:
    """Number of steps in `duration` ms, refused if dt does not divide it."""
    arguments.at_least(argument, duration, 0.0)
    arguments.above("dt", dt, 0.0)
    if not duration / dt < MOST_STEPS:
        raise ValueError(f"{argument} = {duration:g} ms is too long for steps of dt = {dt:g} ms; choose a larger dt.")
    steps = round(duration / dt)
    refuse_beyond(
        f"{argument} in steps of dt = {dt:g} ms", steps, lambda n: n * OF_A_STEP, free_memory(), "memory", "the task"
    )
    if abs(steps * dt - duration) > 1e-6 * max(dt, duration):
        raise ValueError(f"{argument} must be a multiple of dt = {dt:g} ms, got {duration:g} ms.")
    return steps
