"""The fused GPU kernel: run on a GPU or in Triton's interpreter, and compiled for GPUs on any machine."""

import subprocess
import sys

import pytest
import torch
from test_backends import DEVICE, INTERPRETED, TRITON, pair

from sbirules import PolynomialRule
from sbirules.simulators.rate._backends import TorchBackend
from sbirules.simulators.rate._drive import Drive, UniformKicks
from sbirules.simulators.rate._episode import Clamp

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sbirules.simulators.rate import _fused_gpu as gpu, _kernels_gpu as kernels

def compiles(kernel, fixed, whole, real, warps):
    names = kernel.arg_names
    types = {**dict.fromkeys(names, "*fp32"), **dict.fromkeys(real, "fp32"), **dict.fromkeys(whole, "i32")}
    types |= {"alive": "*i8", "within": "*i8", **dict.fromkeys(fixed, "constexpr")}
    source = ASTSource(
        kernel, {name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in fixed.items()},
    )
    for capability in (80, 90):
        code = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
        assert code.asm["cubin"]

for units in (64, 100, 200, 300):
    block = triton.next_power_of_2(units)
    size = {"N": units, "BLOCK": block}
    for kind in gpu.NONLINEARITY.values():
        tile = block if units <= gpu.HELD else gpu.TILE
        fixed = {**size, "CHANNELS": 3, "LINES": 4, "TILE": tile, "KIND": kind, "UNIFORM": True}
        real = ("leak", "chance", "amplitude")
        compiles(kernels.episode_kernel, fixed, ("steps", "first_kick"), real, gpu.WARPS.get(block, 8))
    fixed = {**size, "PANELS": 4, "TERMS": 4, "LEVELS": 0x3210, "CONSTANT": 1}
    compiles(kernels.panels_kernel, fixed, ("steps", "first"), ("dt", "factor"), 1)
    fixed = {**size, "TILE": max(4096 // block, 1), "TRACE": True, "CONSTANT": 1, "CLIP": True, "MASK": True, "SIGNS": True}
    compiles(kernels.apply_kernel, fixed, ("mask_stride",), ("clip", "limit"), 4)
"""


@pytest.mark.skipif(not TRITON, reason="no GPU, no interpreter")
@pytest.mark.parametrize("units", [16, 64, 100, 300])
def test_weights_held_on_chip_and_read_in_tiles(units):
    torch.manual_seed(1)
    reference, fused = pair("triton", PolynomialRule(), num_units=units, num_trials=3, warm_up=1)
    theta = 0.3 * torch.randn(3, 9)
    wanted, got = (s.run(theta, seed=3, keep_weights=True) for s in (reference, fused))
    torch.testing.assert_close(got.final_weights, wanted.final_weights, rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(got.error, wanted.error, rtol=0, atol=2e-4)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
def test_the_kernel_compiles_for_gpus_that_are_not_there():
    pytest.importorskip("triton")
    subprocess.run([sys.executable, "-c", COMPILE], check=True)


@pytest.mark.skipif(not TRITON, reason="no GPU, no interpreter")
def test_kicks_are_read_from_uniform_numbers_as_the_reference_does():
    torch.manual_seed(2)
    n, steps, batch = 20, 12, 3
    kicks = UniformKicks(torch.rand(batch, steps, n, device=DEVICE), 0.2, 0.7, 3)
    weights = 0.3 * torch.randn(batch, n, n, device=DEVICE)
    drive = Drive(torch.randn(batch, steps, 3, device=DEVICE), torch.randn(batch, 3, n, device=DEVICE), 0.2, kicks)
    x0, clamp = 0.1 * torch.randn(batch, n, device=DEVICE), Clamp.of({1: 0.5}, n, weights.device, weights.dtype)
    from sbirules.simulators.rate._fused_gpu import TritonBackend

    wanted, got = (b.episode(weights, drive, x0, "tanh", clamp) for b in (TorchBackend(), TritonBackend()))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    assert (kicks.dense(steps, n)[:, 3:] != 0).any()
    assert (kicks.dense(steps, n)[:, :3] == 0).all()
