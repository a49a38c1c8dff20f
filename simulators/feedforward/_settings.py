"""Settings of `FeedforwardNetwork`, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.room import free_memory, refuse_beyond

__all__ = ["BLOCK", "NONLINEARITIES", "Settings"]

BLOCK = 128  # networks that are drawn from one set of streams, and on a CPU simulated together
# bytes in memory for each input weight of a block (weights, their start, change and two parts of it, in double precision)
OF_A_WEIGHT, OF_A_TRIAL, OF_A_RESPONSE = 64, 64, 24

# activity and its slope, from the unit's drive and from its activity
NONLINEARITIES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (torch.tanh, lambda h: 1.0 - h * h),
    "linear": (lambda a: a, torch.ones_like),
}


@dataclass(frozen=True)
class Settings:
    """All that defines a `FeedforwardNetwork` beside its family, task and summaries; see there for the meaning."""

    num_hidden: int = 40
    num_trials: int = 300
    num_recorded: int = 10
    recording_noise: float = 0.0
    unit_noise: float = 0.1
    nonlinearity: str = "tanh"
    warm_up: int = 0
    expectation_share: float = 0.25
    criterion: float = 0.5
    divergence: float = 100.0

    def __post_init__(self) -> None:
        for name in ("num_hidden", "num_trials"):
            arguments.whole(name, getattr(self, name), 1)
        for name in ("num_recorded", "warm_up"):
            arguments.whole(name, getattr(self, name), 0)
        for name in ("recording_noise", "unit_noise"):
            arguments.at_least(name, getattr(self, name), 0.0)
        for name in ("criterion", "divergence"):
            arguments.above(name, getattr(self, name), 0.0)
        arguments.known("nonlinearity", self.nonlinearity, tuple(NONLINEARITIES))
        arguments.share("expectation_share", self.expectation_share)
        if self.num_recorded > self.num_hidden:
            raise ValueError(
                f"num_recorded must not exceed num_hidden = {self.num_hidden}, got {self.num_recorded}; record fewer units, or "
                f"give the network more."
            )

    def check_room(self, channels: int) -> None:
        """Raises ValueError if a block of networks does not fit in memory, with so many input channels."""
        room = free_memory()
        what = f"{BLOCK} networks together"
        layer = BLOCK * OF_A_WEIGHT * (channels + 1)
        refuse_beyond("num_hidden", self.num_hidden, lambda n: n * layer, room, "memory", what)
        trial = BLOCK * (OF_A_TRIAL + OF_A_RESPONSE * self.num_recorded)
        refuse_beyond("num_trials", self.num_trials, lambda n: n * trial, room, "memory", what)

    def config(self) -> dict[str, object]:
        """Plain types for the manifest."""
        return asdict(self)

    def initial_sd(self, channels: int) -> tuple[float, float]:
        """S.d. of initial weights into the hidden layer and out of it."""
        return 1.0 / math.sqrt(channels), 1.0 / math.sqrt(self.num_hidden)
