"""What drives the units apart from each other: task input and exploratory kicks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["Drive", "Kicks", "draw_kicks"]


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

    def dense(self, steps: int, num_units: int) -> Tensor:
        """The kicks of every entry, `(batch, T, N)`."""
        out = self.size.new_zeros(len(self.counts), steps, num_units)
        first = torch.arange(len(self.counts)) * (steps * num_units)
        out.view(-1)[self.place + torch.repeat_interleave(first, self.counts)] = self.size
        return out


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
    kicks: Tensor | Kicks

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, T, N)."""
        return (*self.inputs.shape[:2], self.weights.shape[2])

    def _dense_kicks(self) -> Tensor:
        return self.kicks.dense(*self.shape[1:]) if isinstance(self.kicks, Kicks) else self.kicks

    def rows(self, index: Tensor) -> Drive:
        """That of some networks, of each as often as it is named."""
        return Drive(self.inputs[index], self.weights[index], self.leak, self._dense_kicks()[index])

    def dense(self) -> Tensor:
        """The sum for every entry, `(batch, T, N)`."""
        return torch.baddbmm(self._dense_kicks(), self.inputs, self.weights, alpha=self.leak)


def draw_kicks(
    shape: tuple[int, int, int], probability: float, amplitude: float, first: int, stream: Generator, dtype: torch.dtype
) -> Kicks | Tensor:
    """Kicks U(-amplitude, amplitude) of each entry of `(batch, T, N)` with `probability`, from step `first` on.

    On a CPU, where about 1 % of the entries are hit, hits are drawn instead of entries: a Poisson number of
    points with mean -log(1 - p) per entry, thrown uniformly, leaves each entry hit independently with
    probability p, exactly. Elsewhere one uniform number per entry decides and, where it is below p, gives
    the size, so that no host has to know how many there are.
    """
    batch, steps, num_units = shape
    cells = max(steps - first, 0) * num_units
    device = stream.device
    if device.type != "cpu":
        u = torch.rand(shape, generator=stream, device=device, dtype=dtype)
        later = torch.arange(steps, device=device)[:, None] >= first
        return torch.where((u < probability) & later, amplitude * (2 * u / max(probability, 1e-30) - 1), 0.0)
    mean = torch.full((batch,), -math.log1p(-probability) * cells, dtype=torch.float64)
    counts = torch.poisson(mean, generator=stream).long()
    hits = int(counts.sum())
    place = torch.randint(max(cells, 1), (hits,), generator=stream) + first * num_units
    size = torch.rand(hits, generator=stream, dtype=dtype).mul_(2 * amplitude).sub_(amplitude)
    return Kicks(counts, place, size)
