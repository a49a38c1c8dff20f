"""The fused GPU kernel: run on a GPU or in Triton's interpreter, and compiled for GPUs on any machine."""

import subprocess
import sys

import pytest
import torch
from test_backends import INTERPRETED, TRITON, pair

from sbirules import PolynomialRule

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sbirules.simulators import _fused_gpu as gpu

for units in (64, 100, 200):
    for kind in gpu.NONLINEARITY.values():
        block = triton.next_power_of_2(units)
        fixed = {"N": units, "BLOCK": block, "TILE": block if units <= gpu.HELD else gpu.TILE, "KIND": kind}
        names = gpu._episode.arg_names
        types = {"leak": "fp32", "steps": "i32", **dict.fromkeys(fixed, "constexpr")}
        source = ASTSource(
            gpu._episode, {name: types.get(name, "*fp32") for name in names},
            constexprs={(names.index(name),): value for name, value in fixed.items()},
        )
        for capability in (80, 90):
            code = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 8})
            assert "st.local" not in code.asm["ptx"] and code.asm["cubin"]
"""


@pytest.mark.skipif(not TRITON, reason="no GPU, no interpreter")
@pytest.mark.parametrize("units", [16, 64, 100, 150])
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
