"""What drives the units apart from each other: task input and exploratory kicks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["Drive", "Kicks", "UniformKicks", "draw_kicks"]


@dataclass(frozen=True)
class Kicks:
    """Kicks of a batch as the few entries of `(batch, T, N)` that are hit; of an entry hit twice one counts.

    Arguments:
        counts: Hits in each network, `(batch,)`.
        place: Step times N plus unit of each hit, network after network, `(hits,)`.
        size: What is added to x, `(hits,)`.
    """

    counts: Tensor
    place: Tensor
    size: Tensor

    @staticmethod
    def cat(parts: list[Kicks]) -> Kicks:
        """Those of several batches as one."""
        return Kicks(*(torch.cat([getattr(p, name) for p in parts]) for name in ("counts", "place", "size")))

    def first(self, batch: int) -> Kicks:
        """Those of the first networks."""
        if batch == len(self.counts):
            return self
        counts = self.counts[:batch]
        hits = int(counts.sum())
        return Kicks(counts, self.place[:hits], self.size[:hits])

    def dense(self, steps: int, num_units: int) -> Tensor:
        """The kicks of every entry, `(batch, T, N)`."""
        out = self.size.new_zeros(len(self.counts), steps, num_units)
        first = torch.arange(len(self.counts)) * (steps * num_units)
        out.view(-1)[self.place + torch.repeat_interleave(first, self.counts)] = self.size
        return out


@dataclass(frozen=True)
class UniformKicks:
    """Kicks of a batch as one uniform number per entry: below `probability` it is a hit, and gives the size.

    Arguments:
        u: The numbers, `(batch, T, N)`.
        probability: That an entry is hit.
        amplitude: Kicks are uniform in +-amplitude.
        first: First step that may be kicked.
    """

    u: Tensor
    probability: float
    amplitude: float
    first: int

    def dense(self, steps: int, num_units: int) -> Tensor:
        """The kicks of every entry, `(batch, T, N)`."""
        later = torch.arange(steps, device=self.u.device)[:, None] >= self.first
        size = self.amplitude * (2 * self.u / max(self.probability, 1e-30) - 1)
        return torch.where((self.u < self.probability) & later, size, 0.0)


@dataclass(frozen=True)
class Drive:
    """What is added to x at each step of a trial.

    Arguments:
        inputs: Task input u, `(batch, T, I)`.
        weights: W_in, `(batch, I, N)`.
        leak: dt / tau, the share of the input that reaches x in one step.
        kicks: Kicks of every entry, `(batch, T, N)`, or of those that are hit.
    """

    inputs: Tensor
    weights: Tensor
    leak: float
    kicks: Tensor | Kicks | UniformKicks

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, T, N)."""
        return (*self.inputs.shape[:2], self.weights.shape[2])

    def dense_kicks(self) -> Tensor:
        """The kicks of every entry, `(batch, T, N)`."""
        return self.kicks if isinstance(self.kicks, Tensor) else self.kicks.dense(*self.shape[1:])

    def rows(self, index: Tensor) -> Drive:
        """That of some networks, of each as often as it is named."""
        return Drive(self.inputs[index], self.weights[index], self.leak, self.dense_kicks()[index])

    def dense(self) -> Tensor:
        """The sum for every entry, `(batch, T, N)`."""
        return torch.baddbmm(self.dense_kicks(), self.inputs, self.weights, alpha=self.leak)


def draw_kicks(
    batch: int,
    steps: int,
    num_units: int,
    blocks: Sequence[tuple[slice, int, Generator]],
    probability: float,
    amplitude: float,
    first: int,
    dtype: torch.dtype,
) -> Kicks | UniformKicks:
    """Kicks U(-amplitude, amplitude) of each entry of `(batch, T, N)` with `probability`, from step `first` on.

    On a CPU, where about 1 % of the entries are hit, hits are drawn instead of entries: a Poisson number of
    points with mean -log(1 - p) per entry, thrown uniformly, leaves each entry hit independently with
    probability p, exactly. Elsewhere one uniform number per entry decides and, where it is below p, gives
    the size, so that no host has to know how many there are.

    Arguments:
        batch: Networks.
        steps: T.
        num_units: N.
        blocks: Rows that share a stream, of how many that are drawn from it, and the stream.
        probability: That an entry is hit.
        amplitude: Of the kicks.
        first: First step that may be kicked.
        dtype: Floating type.
    """
    device = blocks[0][2].device
    if device.type != "cpu":
        u = torch.empty(batch, steps, num_units, device=device, dtype=dtype)
        for rows, whole, stream in blocks:
            if rows.stop - rows.start == whole:
                torch.rand(u[rows].shape, generator=stream, out=u[rows])
            else:
                drawn = torch.rand(whole, steps, num_units, generator=stream, device=device, dtype=dtype)
                u[rows] = drawn[: rows.stop - rows.start]
        return UniformKicks(u, probability, amplitude, first)
    parts = [
        _hits(whole, max(steps - first, 0), num_units, stream, probability, amplitude, first, dtype).first(
            rows.stop - rows.start
        )
        for rows, whole, stream in blocks
    ]
    return parts[0] if len(parts) == 1 else Kicks.cat(parts)


def _hits(
    batch: int,
    steps: int,
    num_units: int,
    stream: Generator,
    probability: float,
    amplitude: float,
    first: int,
    dtype: torch.dtype,
) -> Kicks:
    cells = steps * num_units
    mean = torch.full((batch,), -math.log1p(-probability) * cells, dtype=torch.float64)
    counts = torch.poisson(mean, generator=stream).long()
    hits = int(counts.sum())
    place = torch.randint(max(cells, 1), (hits,), generator=stream) + first * num_units
    size = torch.rand(hits, generator=stream, dtype=dtype).mul_(2 * amplitude).sub_(amplitude)
    return Kicks(counts, place, size)
