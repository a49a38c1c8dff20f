"""Catalogue of tasks. Times in ms; every timing is an argument."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sbirules.model.tasks.task import Task, TrialTensors, steps_of
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["DelayedDiscrimination", "DelayedNonMatchToSample", "SelectiveIntegration"]


class _Timed(Task):
    """A task whose settings are all finite numbers."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            arguments.finite(name, value)


@typed_class
@dataclass(frozen=True)
class DelayedDiscrimination(_Timed):
    """Tell two stimuli apart after a delay.

    Type c shows a stimulus on channel c; the target is `-target` for type 0 and `+target` for type 1.

    Arguments:
        stimulus: Duration of the stimulus.
        delay: Duration of the delay.
        response: Duration of the response window.
        target: Absolute value of the targets.
        amplitude: Input during the stimulus.
    """

    stimulus: float = 100.0
    delay: float = 50.0
    response: float = 100.0
    target: float = 0.98
    amplitude: float = 1.0
    type_names = ("A", "B")

    def tensors(self, dt: float) -> TrialTensors:
        stimulus, delay = steps_of("stimulus", self.stimulus, dt), steps_of("delay", self.delay, dt)
        steps = stimulus + delay + steps_of("response", self.response, dt)
        inputs = torch.zeros(2, steps, 2, dtype=torch.float64)
        for c in range(2):
            inputs[c, :stimulus, c] = self.amplitude
        targets = torch.tensor([-self.target, self.target], dtype=torch.float64)
        return TrialTensors(inputs, targets, torch.arange(steps) >= stimulus + delay)


@typed_class
@dataclass(frozen=True)
class DelayedNonMatchToSample(_Timed):
    """Say whether the second of two stimuli differs from the first (Miconi 2017, sequential XOR).

    Types AA, AB, BA, BB in turn; the target is `+target` where the stimuli differ.

    Arguments:
        stimulus: Duration of each stimulus.
        delay: Time between the stimuli.
        wait: Time between the second stimulus and the response window.
        response: Duration of the response window.
        target: Absolute value of the targets.
        amplitude: Input during a stimulus.
    """

    stimulus: float = 200.0
    delay: float = 200.0
    wait: float = 200.0
    response: float = 200.0
    target: float = 0.98
    amplitude: float = 1.0
    type_names = ("AA", "AB", "BA", "BB")

    def tensors(self, dt: float) -> TrialTensors:
        stimulus = steps_of("stimulus", self.stimulus, dt)
        second = stimulus + steps_of("delay", self.delay, dt)
        start = second + stimulus + steps_of("wait", self.wait, dt)
        steps = start + steps_of("response", self.response, dt)
        inputs = torch.zeros(4, steps, 2, dtype=torch.float64)
        for c in range(4):
            inputs[c, :stimulus, c // 2] = self.amplitude
            inputs[c, second : second + stimulus, c % 2] = self.amplitude
        targets = torch.tensor([-1.0, 1.0, 1.0, -1.0], dtype=torch.float64) * self.target
        return TrialTensors(inputs, targets, torch.arange(steps) >= start)


@typed_class
@dataclass(frozen=True)
class SelectiveIntegration(_Timed):
    """Integrate one of two noisy streams, as a context line tells (Mante et al. 2013, as in Miconi 2017).

    Channels 0 and 1 carry `gain * (N(0, 1) +- bias)` at each step, channels 2 and 3 the context (which
    stream counts) throughout the trial. The type fixes the context and the sign of the relevant stream;
    the sign of the irrelevant one is random. The target has the sign of the relevant stream.

    Arguments:
        integration: Duration of the noisy input.
        response: Duration of the response window that follows.
        bias: Absolute mean of a stream, in s.d. of its noise.
        gain: Scale of both streams.
        noise: S.d. of the noise before `gain`, per step.
        context: Input on the context line.
        target: Absolute value of the targets.
    """

    integration: float = 500.0
    response: float = 200.0
    bias: float = 0.5
    gain: float = 0.5
    noise: float = 1.0
    context: float = 1.0
    target: float = 0.98
    type_names = ("stream 1 down", "stream 1 up", "stream 2 down", "stream 2 up")

    def tensors(self, dt: float) -> TrialTensors:
        arguments.at_least("noise", self.noise, 0.0)
        streams = steps_of("integration", self.integration, dt)
        steps = streams + steps_of("response", self.response, dt)
        inputs = torch.zeros(4, steps, 4, dtype=torch.float64)
        for c in range(4):
            inputs[c, :streams, c // 2] = self.gain * self.bias * (1 if c % 2 else -1)
            inputs[c, :, 2 + c // 2] = self.context
        targets = torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64) * self.target
        return TrialTensors(inputs, targets, torch.arange(steps) >= streams)

    def draw_inputs(self, tensors: TrialTensors, types: Tensor, generator: Generator) -> Tensor:
        u = tensors.inputs[types]  # mean of the relevant stream, and the context
        device, dtype = u.device, u.dtype
        on = (~tensors.response).to(dtype)[None, :, None]
        coin = torch.randint(0, 2, (len(u),), generator=generator, device=device).to(dtype)
        irrelevant = 1 - types // 2
        mean = self.gain * self.bias * (2 * coin - 1)
        one_hot = torch.nn.functional.one_hot(irrelevant, 2).to(dtype)
        noise = torch.randn(*u.shape[:2], 2, generator=generator, device=device, dtype=dtype)
        streams = u[:, :, :2] + on * ((mean[:, None] * one_hot)[:, None, :] + self.gain * self.noise * noise)
        return torch.cat([streams, u[:, :, 2:]], dim=2)
