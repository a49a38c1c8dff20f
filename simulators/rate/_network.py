"""Random draws of a rate network: initial weights, masks and initial states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["Connectivity", "initial_state"]

_HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)
INHIBITION = 4.0  # strength of an inhibitory synapse relative to an excitatory one


@dataclass(frozen=True)
class Connectivity:
    """How initial weights are drawn.

    Arguments:
        num_units: N.
        gain: g; entries have variance g^2/K for in-degree K.
        mask: Boolean `(N, N)` as (post, pre), a density in (0, 1], or None for all to all.
        dale: Whether each unit is excitatory or inhibitory.
        excitatory: Share of excitatory units, which come first.
    """

    num_units: int
    gain: float
    mask: Tensor | float | None = None
    dale: bool = False
    excitatory: float = 0.8

    @property
    def in_degree(self) -> float:
        """Mean in-degree K."""
        if self.mask is None:
            return float(self.num_units)
        if isinstance(self.mask, Tensor):
            return float(self.mask.sum()) / self.num_units
        return self.mask * self.num_units

    @property
    def initial_sd(self) -> float:
        """S.d. of the initial weights of existing synapses, g / sqrt(K)."""
        return self.gain / math.sqrt(self.in_degree)

    def signs(self, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """+1 for excitatory, -1 for inhibitory units, `(N,)`; None without Dale's law."""
        if not self.dale:
            return None
        index = torch.arange(self.num_units, device=device)
        return torch.where(index < round(self.excitatory * self.num_units), 1.0, -1.0).to(dtype)

    def draw_mask(self, batch: int, generator: Generator) -> Tensor | None:
        """Which synapses exist, boolean `(batch or 1, post, pre)`."""
        if self.mask is None:
            return None
        if isinstance(self.mask, Tensor):
            return self.mask.to(generator.device)[None]
        shape = (batch, self.num_units, self.num_units)
        return torch.rand(shape, generator=generator, device=generator.device) < self.mask

    def draw(self, batch: int, mask: Tensor | None, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Initial weights `(batch, post, pre)`."""
        shape = (batch, self.num_units, self.num_units)
        w = torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
        signs = self.signs(generator.device, dtype)
        scale = self.initial_sd
        if signs is not None:
            strength = torch.where(signs > 0, 1.0, -INHIBITION).to(dtype)
            w = w.abs() * strength
            # variance of a row's entries: E|n|^2 = 1 and E|n| = sqrt(2/pi), mixed over the columns
            row_mean = _HALF_NORMAL_MEAN * float(strength.mean())
            scale /= math.sqrt(float((strength**2).mean()) - row_mean**2)
        w = w * scale
        return w if mask is None else w * mask


def initial_state(batch: int, num_units: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """x(0) ~ U(-0.1, 0.1), `(batch, N)`."""
    u = torch.rand(batch, num_units, generator=generator, device=generator.device, dtype=dtype)
    return 0.2 * u - 0.1
