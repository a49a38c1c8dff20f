"""The inner loop: one episode of network activity with fixed weights (Eq. 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NONLINEARITIES", "Clamp", "deviation_from_mean", "episode"]

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "threshold_linear": torch.relu,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Clamp:
    """Units held at a fixed x: `x <- x * free + value`.

    Arguments:
        free: 0 for clamped units, 1 for others, `(N,)`.
        value: x of the clamped units, 0 for others, `(N,)`.
    """

    free: Tensor
    value: Tensor

    @staticmethod
    def of(units: dict[int, float], num_units: int, device: torch.device, dtype: torch.dtype) -> Clamp:
        free = torch.ones(num_units, device=device, dtype=dtype)
        value = torch.zeros(num_units, device=device, dtype=dtype)
        for unit, x in units.items():
            free[unit], value[unit] = 0.0, x
        return Clamp(free, value)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.value, x, self.free)


def episode(
    weights: Tensor, drive: Tensor, x0: Tensor, leak: float, phi: Callable[[Tensor], Tensor], clamp: Clamp
) -> tuple[Tensor, Tensor]:
    r"""Activity of a batch of networks during one episode.

        x' = (1 - leak) x + leak W r + drive,    r' = phi(x')      with leak = dt / tau

    Arguments:
        weights: `(batch, pre, post)`: the transpose of the public orientation, which makes the products
            read memory in order.
        drive: `leak W_in u + kick` for each step, `(batch, T, N)`.
        x0: Initial state with clamped units set, `(batch, N)`.
        leak: dt / tau.
        phi: Nonlinearity.
        clamp: Units held fixed.

    Returns:
        States and rates including the initial ones, both `(batch, T + 1, N)`.
    """
    x, r = x0, phi(x0)
    xs, rs = [x], [r]
    for t in range(drive.shape[1]):
        decayed = torch.add(drive[:, t], x, alpha=1.0 - leak)
        x = torch.baddbmm(decayed[:, None], r[:, None], weights, alpha=leak)[:, 0]
        x = clamp(x)
        r = phi(x)
        xs.append(x)
        rs.append(r)
    return torch.stack(xs, dim=1), torch.stack(rs, dim=1)


def deviation_from_mean(x: Tensor, mean: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """`xbar - x'` for each step, and xbar after the last one.

    Arguments:
        x: States including the initial one, `(batch, T + 1, N)`.
        mean: xbar at the start, `(batch, N)`.
        factor: What xbar keeps of itself per step; 0 makes it the previous step's x.

    Returns:
        Deviations `(batch, T, N)` and the final xbar `(batch, N)`.
    """
    if factor == 0.0:
        deviation = x[:, :-1] - x[:, 1:]
        deviation[:, 0] = mean - x[:, 1]  # xbar may come from the trial before
        return deviation, x[:, -1]
    steps = []
    for t in range(1, x.shape[1]):
        steps.append(mean - x[:, t])
        mean = torch.lerp(x[:, t], mean, factor)
    return torch.stack(steps, dim=1), mean
