"""What a trial starts from, draws, and how it is judged (Eq. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Generator, Tensor

from sbirules.model.tasks import Task, TrialTensors
from sbirules.support.own_code import called

from ._drive import Drive, Kicks, UniformKicks, draw_kicks
from ._episode import Clamp
from ._network import initial_state
from ._settings import Settings

__all__ = ["Block", "Networks", "Noise", "Stage", "State", "Trial"]


@dataclass(frozen=True)
class Networks:
    """A batch of networks before learning.

    Arguments:
        weights: W, `(batch, post, pre)`.
        input_weights: W_in, `(batch, N, I)`.
        readout: W_out, `(batch or 1, N)`, or None to read out one unit.
        mask: Existing synapses, `(batch or 1, post, pre)`, or None for all.
        expectation: Rbar before the first trial, `(batch, C)`, NaN for none yet.
        recorded: Recorded units, `(batch, K)`; None for none.
    """

    weights: Tensor
    input_weights: Tensor
    readout: Tensor | None
    mask: Tensor | None
    expectation: Tensor
    recorded: Tensor | None = None

    @cached_property
    def drive_weights(self) -> Tensor:
        """W_in as `(batch, I, N)`."""
        return self.input_weights.mT.contiguous()


@dataclass(frozen=True)
class Block:
    """Rows of a batch that share random streams, and are drawn as part of a block of `whole` rows."""

    rows: slice
    whole: int
    initial_states: Generator
    kicks: Generator
    inputs: Generator
    recordings: Generator | None = None

    @property
    def size(self) -> int:
        return int(self.rows.stop - self.rows.start)


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
class State:
    """What a batch of networks carries from trial to trial. A backend may change it in place.

    Arguments:
        kernel: Weights, `(batch, pre, post)`: the transpose of the public orientation, which makes the products
            read memory in order.
        expectation: Rbar, `(batch, C)`, NaN for types not seen yet.
        dead: Networks that have diverged, `(batch,)` boolean.
        mean: xbar, `(batch, N)`; used where it is carried over from trial to trial.
        slow: Slow variables of a local rule by name, `(batch, N)` each.
    """

    kernel: Tensor
    expectation: Tensor
    dead: Tensor
    mean: Tensor
    slow: Mapping[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def before_learning(net: Networks) -> State:
        """Of networks before their first trial, in memory of its own."""
        return State(
            kernel=net.weights.mT.clone(memory_format=torch.contiguous_format),
            expectation=net.expectation.clone(memory_format=torch.contiguous_format),
            dead=torch.zeros_like(net.weights[:, 0, 0], dtype=torch.bool),
            mean=torch.zeros_like(net.weights[:, 0]),
        )


@dataclass(frozen=True)
class Trial:
    """One trial in each network: states and rates (None where nobody asked for them), error and output."""

    x: Tensor | None  # (batch, T + 1, N)
    rate: Tensor | None  # (batch, T + 1, N)
    error: Tensor  # (batch,)
    output: Tensor  # (batch,)


@dataclass(frozen=True)
class Stage:
    """Where trials take place. Built once, so that no trial has to wait for it."""

    settings: Settings
    task: Task
    tensors: TrialTensors
    clamp: Clamp
    response: Tensor  # indices of the judged steps

    @staticmethod
    def build(s: Settings, task: Task, device: torch.device, dtype: torch.dtype) -> Stage:
        tensors = called(task.tensors, s.dt)
        response = tensors.response.nonzero()[:, 0].to(device)
        clamp = Clamp.of(dict(s.clamped), s.num_units, device, dtype)
        return Stage(s, task, tensors.to(device, dtype), clamp, response)

    def draw(self, net: Networks, types: Tensor, k: int, noise: Noise) -> tuple[Drive, Tensor]:
        """Input and kicks of trial k, and the initial states with clamped units set, `(batch, N)`."""
        s, given, blocks = self.settings, noise.given, noise.blocks
        if "inputs" in given:
            inputs = given["inputs"][:, k]
        else:
            inputs = _joined([self._inputs(types[b.rows], b) for b in blocks])
        _, steps, _ = inputs.shape
        kicks: Tensor | Kicks | UniformKicks
        if "kicks" in given:
            kicks = given["kicks"][:, k]
        else:
            chance = s.kick_rate * s.dt / 1000.0
            streams = [(b.rows, b.whole, b.kicks) for b in blocks]
            kicks = draw_kicks(
                len(inputs), steps, s.num_units, streams, chance, s.kick_size, s.kick_start, inputs.dtype
            )
        if "initial_states" in given:
            x0 = given["initial_states"][:, k]
        else:
            dtype = inputs.dtype
            parts = [initial_state(b.whole, s.num_units, b.initial_states, dtype)[: b.size] for b in blocks]
            x0 = _joined(parts)
        return Drive(inputs, net.drive_weights, s.dt / s.tau, kicks), self.clamp(x0)

    def _inputs(self, types: Tensor, block: Block) -> Tensor:
        """What the task draws for the rows of a block, checked: a task may be a user's own."""
        # rows beyond the batch repeat its last: what they are given is thrown away
        filled = torch.cat([types, types[-1:].expand(block.whole - len(types))])
        inputs = called(self.task.draw_inputs, self.tensors, filled, block.inputs)
        _, *shape = self.tensors.inputs.shape
        if tuple(inputs.shape) != (block.whole, *shape):
            raise ValueError(
                f"{type(self.task).__name__}.draw_inputs must return (batch, steps, channels), here "
                f"{(block.whole, *shape)}, got {tuple(inputs.shape)}."
            )
        return inputs[: block.size].to(self.tensors.inputs.dtype)

    def responses(self, rate: Tensor, net: Networks, noise: Noise) -> Tensor:
        """Mean rate of each recorded unit over the response window, with the noise of recording it, `(batch, K)`."""
        if net.recorded is None:
            raise ValueError("num_recorded = 0: no unit is recorded.")
        index = net.recorded[:, None].expand(-1, len(self.response), -1)
        mean = rate[:, 1:][:, self.response].gather(2, index).mean(dim=1)
        size = self.settings.recording_noise
        if not size:
            return mean
        drawn = [
            torch.randn(b.whole, mean.shape[1], generator=b.recordings, device=mean.device, dtype=mean.dtype)[: b.size]
            for b in noise.blocks
        ]
        return mean + size * _joined(drawn)

    def judge(self, rate: Tensor, types: Tensor, net: Networks) -> tuple[Tensor, Tensor]:
        """Error and mean output of a trial with rates `(batch, T + 1, N)`, both `(batch,)`."""
        if isinstance(self.settings.readout, int):
            z = rate[:, 1:, self.settings.readout][:, self.response]
        else:
            z = torch.einsum("bti,bi->bt", rate[:, 1:][:, self.response], net.readout)
        return (z - self.tensors.targets[types][:, None]).abs().mean(dim=1), z.mean(dim=1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
