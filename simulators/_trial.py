"""One trial: draws, the episode, and how it is judged (Eq. 1-3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from sbirules.task import Task, TrialTensors

from ._backends import Backend
from ._drive import Drive, Kicks, draw_kicks
from ._episode import Clamp
from ._network import initial_state
from ._settings import Settings

__all__ = ["Block", "Networks", "Noise", "Stage", "Trial"]


@dataclass(frozen=True)
class Networks:
    """A batch of networks before learning.

    Arguments:
        weights: W, `(batch, post, pre)`.
        input_weights: W_in, `(batch, N, I)`.
        readout: W_out, `(batch or 1, N)`, or None to read out one unit.
        mask: Existing synapses, `(batch or 1, post, pre)`, or None for all.
        expectation: Rbar before the first trial, `(batch, C)`, NaN for none yet.
    """

    weights: Tensor
    input_weights: Tensor
    readout: Tensor | None
    mask: Tensor | None
    expectation: Tensor

    @cached_property
    def drive_weights(self) -> Tensor:
        """W_in as `(batch, I, N)`."""
        return self.input_weights.mT.contiguous()


@dataclass(frozen=True)
class Block:
    """`size` rows of a batch that share random streams: of initial states and kicks, and of task input."""

    size: int
    rows: slice
    stream: Generator
    inputs: Generator


@dataclass(frozen=True)
class Noise:
    """What is random from trial to trial.

    Arguments:
        blocks: The streams.
        given: What replaces them where a user passes draws: `"initial_states"` `(batch, trials, N)`, `"kicks"` and
            `"inputs"` `(batch, trials, T, ...)`.
    """

    blocks: tuple[Block, ...]
    given: Mapping[str, Tensor]


@dataclass(frozen=True)
class Trial:
    """Activity of one trial in each network: states, rates, read-out and error."""

    x: Tensor  # (batch, T + 1, N)
    rate: Tensor  # (batch, T + 1, N)
    error: Tensor  # (batch,)
    output: Tensor  # (batch,)


@dataclass(frozen=True)
class Stage:
    """Where trials take place: settings, task, and who computes. Built once, so that no trial waits for it."""

    settings: Settings
    task: Task
    backend: Backend
    tensors: TrialTensors
    clamp: Clamp
    response: Tensor  # indices of the judged steps

    @staticmethod
    def build(s: Settings, task: Task, backend: Backend, device: torch.device, dtype: torch.dtype) -> Stage:
        tensors = task.tensors(s.dt)
        response = tensors.response.nonzero()[:, 0].to(device)
        clamp = Clamp.of(dict(s.clamped), s.num_units, device, dtype)
        return Stage(s, task, backend, tensors.to(device, dtype), clamp, response)

    def run(self, net: Networks, kernel: Tensor, types: Tensor, k: int, noise: Noise) -> Trial:
        """Trial k with weights `kernel` `(batch, pre, post)` and trial types `(batch,)`."""
        s = self.settings
        drive, x0 = self._drive(net, types, k, noise)
        x, rate = self.backend.episode(kernel, drive, self.clamp(x0), s.nonlinearity, self.clamp)
        if isinstance(s.readout, int):
            z = rate[:, 1:, s.readout][:, self.response]
        else:
            z = torch.einsum("bti,bi->bt", rate[:, 1:][:, self.response], net.readout)
        error = (z - self.tensors.targets[types][:, None]).abs().mean(dim=1)
        return Trial(x, rate, error, z.mean(dim=1))

    def _drive(self, net: Networks, types: Tensor, k: int, noise: Noise) -> tuple[Drive, Tensor]:
        """Input and kicks, and the initial states `(batch, N)`."""
        s, given, blocks = self.settings, noise.given, noise.blocks
        leak = s.dt / s.tau
        if "inputs" in given:
            inputs = given["inputs"][:, k]
        else:
            inputs = _joined([self.task.draw_inputs(self.tensors, types[b.rows], b.inputs) for b in blocks])
        _, steps, _ = inputs.shape
        dtype = inputs.dtype
        if "kicks" in given:
            kicks = given["kicks"][:, k]
        else:
            probability, size = s.kick_rate * s.dt / 1000.0, s.kick_size
            kicks = _joined(
                [
                    draw_kicks((b.size, steps, s.num_units), probability, size, s.kick_start, b.stream, dtype)
                    for b in blocks
                ]
            )
        if "initial_states" in given:
            x0 = given["initial_states"][:, k]
        else:
            x0 = _joined([initial_state(b.size, s.num_units, b.stream, dtype) for b in blocks])
        return Drive(inputs, net.drive_weights, leak, kicks), x0


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return Kicks.cat(parts) if isinstance(parts[0], Kicks) else torch.cat(parts)
