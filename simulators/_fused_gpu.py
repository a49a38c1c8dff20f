"""The fused GPU backend: one program per network runs a whole episode in one Triton kernel.

Weights of up to 128 units are held on chip for the episode; larger ones are read again at each step, in tiles.
Only as many networks run at once as the GPU has processors, so that their weights come from its cache. The
weight update is the reference's: batched matrix products.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ._backends import TorchBackend
from ._drive import Drive
from ._episode import Clamp

__all__ = ["TritonBackend"]

NONLINEARITY = {"tanh": 0, "threshold_linear": 1, "sigmoid": 2}
HELD = 128  # units whose weights fit on chip
TILE = 32  # rows of larger weight matrices read at a time


@triton.jit
def _rate(x, KIND: tl.constexpr):
    if KIND == 0:
        return 2.0 * tl.sigmoid(2.0 * x) - 1.0
    elif KIND == 1:
        return tl.where(x < 0.0, 0.0, x)
    else:
        return tl.sigmoid(x)


@triton.jit
def _episode(
    weights, drive, x0, free, value, xs, rates, leak, steps, N: tl.constexpr, BLOCK: tl.constexpr,
    TILE: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    network = tl.program_id(0).to(tl.int64)
    w0 = weights + network * N * N
    row = network * (steps + 1) * N  # of the states and rates
    post = tl.arange(0, BLOCK)
    on = post < N
    pre = tl.arange(0, TILE)
    open_, held = tl.load(free + post, mask=on, other=0.0), tl.load(value + post, mask=on, other=0.0)
    x = tl.load(x0 + network * N + post, mask=on, other=0.0)
    r = tl.where(on, _rate(x, KIND), 0.0)
    tl.store(xs + row + post, x, mask=on)
    tl.store(rates + row + post, r, mask=on)
    if TILE == BLOCK:
        w = tl.load(w0 + pre[:, None] * N + post[None, :], mask=(pre[:, None] < N) & on[None, :], other=0.0)
    for t in range(steps):
        if TILE == BLOCK:
            total = tl.sum(w * r[:, None], axis=0)
        else:
            tl.debug_barrier()  # the rates of the last step must have been written by all threads
            total = tl.zeros((BLOCK,), tl.float32)
            for first in range(0, N, TILE):
                j = first + pre
                rate = tl.load(rates + row + j, mask=j < N, other=0.0)
                w = tl.load(w0 + j[:, None] * N + post[None, :], mask=(j[:, None] < N) & on[None, :], other=0.0)
                total += tl.sum(w * rate[:, None], axis=0)
        u = tl.load(drive + (network * steps + t) * N + post, mask=on, other=0.0)
        x = ((1.0 - leak) * x + u + leak * total) * open_ + held
        r = tl.where(on, _rate(x, KIND), 0.0)
        row += N
        tl.store(xs + row + post, x, mask=on)
        tl.store(rates + row + post, r, mask=on)


class TritonBackend(TorchBackend):
    """Fused episode; the reference's update."""

    name = "triton"

    def episode(
        self, weights: Tensor, drive: Drive, x0: Tensor, nonlinearity: str, clamp: Clamp
    ) -> tuple[Tensor, Tensor]:
        batch, steps, n = drive.shape
        x, rate = weights.new_empty(batch, steps + 1, n), weights.new_empty(batch, steps + 1, n)
        block = max(triton.next_power_of_2(n), 16)
        launch: Any = torch.cuda.device(weights.device) if weights.is_cuda else nullcontext()
        with launch:
            _episode[(batch,)](
                weights.contiguous(), drive.dense().contiguous(), x0.contiguous(), clamp.free, clamp.value, x, rate,
                drive.leak, steps, N=n, BLOCK=block, TILE=block if n <= HELD else TILE, KIND=NONLINEARITY[nonlinearity],
                num_warps=4 if block <= 64 else 8,
            )  # fmt: skip
        return x, rate
