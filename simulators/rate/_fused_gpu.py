"""The fused GPU backend: one program per network runs a whole episode in one Triton kernel.

Weights of up to 256 units are held on chip for the episode; larger ones are read again at each step, in tiles. For the
polynomial families the trace's factors and the weight update are one kernel each, around one batched matrix product.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor

from ._backends import Plasticity, TorchBackend
from ._drive import Drive, UniformKicks
from ._episode import Clamp
from ._kernels_gpu import apply_kernel, episode_kernel, panels_kernel

__all__ = ["TritonBackend"]

NONLINEARITY = {"tanh": 0, "threshold_linear": 1, "sigmoid": 2}
HELD = 256  # units whose weights fit on chip
TILE = 32  # rows of larger weight matrices read at a time
# by the power of two that holds the units; the fewest whose registers hold the weights are fastest (benchmarks/RESULTS.md)
WARPS = {16: 1, 32: 1, 64: 1, 128: 2, 256: 8}


class TritonBackend(TorchBackend):
    """Fused episode; fused trace and update for the polynomial families, the reference's for others."""

    name = "triton"

    def episode(
        self, weights: Tensor, drive: Drive, x0: Tensor, nonlinearity: str, clamp: Clamp
    ) -> tuple[Tensor, Tensor]:
        batch, steps, n = drive.shape
        channels = drive.inputs.shape[2]
        x, rate = weights.new_empty(batch, steps + 1, n), weights.new_empty(batch, steps + 1, n)
        block = max(triton.next_power_of_2(n), 16)
        kicks = drive.kicks
        uniform = isinstance(kicks, UniformKicks)
        if isinstance(kicks, UniformKicks):
            entries, chance, amplitude, first = kicks.u, kicks.probability, kicks.amplitude, kicks.first
        else:
            entries, chance, amplitude, first = drive.dense_kicks(), 1.0, 1.0, 0
        with _on(weights):
            episode_kernel[(batch,)](
                weights.contiguous(),
                drive.inputs.contiguous(),
                drive.weights.contiguous(),
                entries.contiguous(),
                x0.contiguous(),
                clamp.free,
                clamp.value,
                x,
                rate,
                drive.leak,
                steps,
                max(chance, 1e-30),
                amplitude,
                first,
                N=n,
                CHANNELS=channels,
                LINES=triton.next_power_of_2(channels),
                BLOCK=block,
                TILE=block if n <= HELD else TILE,
                KIND=NONLINEARITY[nonlinearity],
                UNIFORM=uniform,
                num_warps=WARPS.get(block, 8),
            )
        return x, rate

    def update(
        self, kernel: Tensor, x: Tensor, rate: Tensor, mean: Tensor, rule: Plasticity, surprise: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor]:
        if rule.panels is None or any(rule.panels[2]):  # powers of the weight
            return super().update(kernel, x, rate, mean, rule, surprise, alive)
        s = rule.settings
        coefficients, levels, _ = rule.panels
        batch, n = kernel.shape[:2]
        steps, block = x.shape[1] - 1, max(triton.next_power_of_2(n), 16)
        flat = levels[0] == 0  # they are in order
        kept, moving = steps - s.trace_start, len(levels) - flat
        shape = (batch, moving * kept, n)
        left, right = kernel.new_empty(shape), kernel.new_empty(shape)
        constant = kernel.new_empty(batch, n)
        ones = kernel.new_ones(batch)
        log_decay = 0 * ones if rule.decay is None else rule.decay.log().clamp(min=-1e4)
        within = torch.empty(batch, dtype=torch.int8, device=kernel.device)
        with _on(kernel):
            panels_kernel[(batch,)](
                x,
                rate,
                mean.contiguous(),
                coefficients.contiguous(),
                log_decay,
                left,
                right,
                constant,
                s.dt,
                s.xbar_factor,
                steps,
                s.trace_start,
                N=n,
                BLOCK=block,
                PANELS=len(levels),
                TERMS=coefficients.shape[2],
                LEVELS=sum(level << (4 * p) for p, level in enumerate(levels)),
                CONSTANT=int(flat),
                num_warps=1 if block <= 128 else 4,
            )
            trace = torch.bmm(left.mT, right) if moving else kernel
            clip = s.max_weight_change
            mask, signs = rule.mask, rule.signs
            apply_kernel[(batch,)](
                kernel,
                trace,
                constant,
                surprise.contiguous(),
                ones if rule.keep is None else rule.keep.contiguous(),
                alive.to(torch.int8),
                kernel if mask is None else mask,
                0 if mask is None or len(mask) == 1 else n * n,
                kernel if signs is None else signs,
                within,
                clip if math.isfinite(clip) else 0.0,
                rule.limit,
                N=n,
                BLOCK=block,
                TILE=min(block, max(4096 // block, 1)),
                TRACE=moving > 0,
                CONSTANT=int(flat),
                CLIP=math.isfinite(clip),
                MASK=mask is not None,
                SIGNS=signs is not None,
                num_warps=4,
            )
        return kernel, ~alive | (within == 1)


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
