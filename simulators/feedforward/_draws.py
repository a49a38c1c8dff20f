"""What is random about a batch of networks, drawn in blocks of rows so that the batch can have any size.

As in the recurrent networks: every block has streams of its own, named by its place and by what they are for, and is drawn
whole even where fewer of its rows are asked for. What a network is drawn with depends neither on how many there are, nor on
other sources of randomness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sbirules.model.tasks import LabelledStimuli
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Stream, generator

from ._settings import BLOCK, Settings

__all__ = ["DRAWS", "Networks", "Noise", "draw", "passed_in"]

DRAWS = ("weights", "readout", "feedback", "stimuli")  # what may be passed in
OF_TRIALS = (Stream.INPUTS, Stream.KICKS, Stream.MEASUREMENT_NOISE)


@dataclass(frozen=True)
class Networks:
    """A batch of networks before learning.

    Arguments:
        weights: Input weights of the hidden layer, `(batch, H, I)` as (post, pre).
        readout: Output weights, `(batch, H)`.
        feedback: Fixed feedback weights, `(batch, H)`.
        stimuli: Stimuli without noise, `(batch, C, I)`.
        recorded: Recorded units, `(batch, K)`.
    """

    weights: Tensor
    readout: Tensor
    feedback: Tensor
    stimuli: Tensor
    recorded: Tensor


class Noise:
    """What is drawn anew in each trial, in the order of the trials.

    Arguments:
        settings: The network's settings.
        task: The task.
        streams: Of each block: of input, of units and of recordings.
        rows: Networks of the batch.
        dtype: Floating type.
    """

    def __init__(
        self,
        settings: Settings,
        task: LabelledStimuli,
        streams: Sequence[tuple[torch.Generator, ...]],
        rows: int,
        dtype: torch.dtype,
    ) -> None:
        self.settings, self.task, self.streams, self.rows, self.dtype = settings, task, streams, rows, dtype

    def of_input(self) -> Tensor:
        """Noise of the input, `(batch, I)`."""
        return torch.cat([self.task.draw_noise(BLOCK, s[0], self.dtype) for s in self.streams])[: self.rows]

    def of_units(self) -> Tensor:
        """xi, `(batch, H)`."""
        s = self.settings
        return s.unit_noise * self._normal(1, s.num_hidden)

    def of_recordings(self) -> Tensor:
        """Noise of the recordings, `(batch, K)`."""
        s = self.settings
        return s.recording_noise * self._normal(2, s.num_recorded)

    def _normal(self, which: int, columns: int) -> Tensor:
        parts = [
            torch.randn(BLOCK, columns, generator=s[which], device=s[which].device, dtype=self.dtype)
            for s in self.streams
        ]
        return torch.cat(parts)[: self.rows]


def draw(
    s: Settings,
    task: LabelledStimuli,
    key: list[int],
    rows: slice,
    given: Mapping[str, Tensor],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Networks, Noise]:
    """Networks and noise of rows that start with a block; what was passed in, of all rows of the run, replaces the draw.

    Arguments:
        s: The network's settings.
        task: The task.
        key: Name of the run's streams.
        rows: Rows of the run that form the batch.
        given: Draws passed in, by name.
        device: Where to draw.
        dtype: Floating type.
    """
    size = rows.stop - rows.start
    blocks = range(rows.start // BLOCK, -(-rows.stop // BLOCK))
    drawn: list[dict[str, Tensor]] = []
    streams = []
    into, out = s.initial_sd(task.channels)
    for block in blocks:
        stream = partial(generator, [*key, block], device=device)
        shapes = {
            "weights": (into, Stream.INPUT_WEIGHTS, (s.num_hidden, task.channels)),
            "readout": (out, Stream.READOUT, (s.num_hidden,)),
            "feedback": (out, Stream.FEEDBACK, (s.num_hidden,)),
        }
        one = {
            name: sd * torch.randn(BLOCK, *shape, generator=stream(purpose), device=device, dtype=dtype)
            for name, (sd, purpose, shape) in shapes.items()
        }
        one["stimuli"] = task.draw_stimuli(BLOCK, stream(Stream.STIMULI), dtype)
        order = torch.rand(BLOCK, s.num_hidden, generator=stream(Stream.RECORDED), device=device).argsort(dim=1)
        one["recorded"] = order[:, : s.num_recorded]
        drawn.append(one)
        streams.append(tuple(stream(purpose) for purpose in OF_TRIALS))
    together = {name: torch.cat([one[name] for one in drawn])[:size] for name in drawn[0]}
    together |= {name: value[rows] for name, value in given.items()}
    return Networks(**together), Noise(s, task, streams, size, dtype)


def passed_in(
    draws: Mapping[str, ArrayLike | None], s: Settings, task: LabelledStimuli, batch: int, like: Tensor
) -> dict[str, Tensor]:
    """The draws that are not None, checked, all with a batch dimension.

    Raises:
        ValueError: If one has a wrong shape, or is not finite.
    """
    shapes = {
        "weights": (s.num_hidden, task.channels),
        "readout": (s.num_hidden,),
        "feedback": (s.num_hidden,),
        "stimuli": (task.num_stimuli, task.channels),
    }
    out = {}
    for name in DRAWS:
        given = draws.get(name)
        if given is None:
            continue
        value, shape = torch.as_tensor(given).to(like), shapes[name]
        if tuple(value.shape) not in (shape, (batch, *shape)):
            raise ValueError(f"{name} must have shape {(batch, *shape)} or {shape}, got {tuple(value.shape)}.")
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} must be finite.")
        out[name] = value.expand(batch, *shape)
    return out
