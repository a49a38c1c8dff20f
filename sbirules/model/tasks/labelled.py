"""Noisy stimuli with a label each, shown one a trial: what feedforward networks learn."""

from __future__ import annotations

import string
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sbirules.model.tasks.task import Task, TrialTensors
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["LabelledStimuli"]

MOST_CHANNELS = 10**6


@typed_class
@dataclass(frozen=True)
class LabelledStimuli(Task):
    """Give each stimulus its label; a trial is one stimulus, a trial type is which.

    Every network has stimuli of its own, p_c ~ N(0, 1) in each channel. A trial shows `x = p_c + noise n` with n ~ N(0, 1) anew,
    and asks for `+target` at the first, third, ... stimulus and for `-target` at the others.

    Arguments:
        num_stimuli: C, up to 26; their names are A, B, ...
        channels: Input channels I.
        noise: S.d. of the noise of each channel in each trial.
        target: Absolute value of the targets.
    """

    num_stimuli: int = 4
    channels: int = 20
    noise: float = 0.3
    target: float = 0.98

    def __post_init__(self) -> None:
        arguments.whole("num_stimuli", self.num_stimuli, 1, len(string.ascii_uppercase))
        arguments.whole("channels", self.channels, 1, MOST_CHANNELS)
        arguments.at_least("noise", self.noise, 0.0)
        arguments.above("target", self.target, 0.0)

    @property
    def type_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the stimuli."""
        return tuple(string.ascii_uppercase[: self.num_stimuli])

    @property
    def targets(self) -> Tensor:
        """Target of each stimulus, `(C,)`."""
        signs = 1 - 2 * (torch.arange(self.num_stimuli, dtype=torch.float64) % 2)
        return self.target * signs

    def draw_stimuli(self, networks: int, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Stimuli of so many networks without noise, `(networks, C, I)`."""
        shape = (networks, self.num_stimuli, self.channels)
        return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)

    def draw_noise(self, networks: int, generator: Generator, dtype: torch.dtype) -> Tensor:
        """What is added to the stimulus of one trial in so many networks, `(networks, I)`."""
        shape = (networks, self.channels)
        return self.noise * torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)

    def tensors(self, dt: float) -> TrialTensors:
        """A task of labelled stimuli has none: each network has stimuli of its own, and a trial has one step.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "labelled stimuli have no time course for recurrent networks: use the simulator feedforward, or a task such as "
            "DelayedDiscrimination."
        )
