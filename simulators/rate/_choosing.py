"""Which backend does a job: the named one, or the fastest that can."""

from __future__ import annotations

import importlib.util
import os

import torch

from sbirules.support import arguments

from ._backends import TorchBackend

__all__ = ["BACKENDS", "choose"]

BACKENDS = ("auto", "torch", "numba", "triton")


def choose(name: str, device: torch.device, dtype: torch.dtype, differentiable: bool) -> TorchBackend:
    """The backend of this name; `"auto"` takes the fastest that can do the job.

    Raises:
        ValueError: If the named one cannot.
    """
    arguments.known("backend", name, BACKENDS)
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's kernels then run, slowly, on any machine
    wanted = {"numba": "cpu", "triton": device.type if interpreted else "cuda"}
    if name == "auto":
        able = dtype == torch.float32 and not differentiable
        fused = {"cpu": "numba", "cuda": "triton"}.get(device.type, "")
        name = fused if able and fused and importlib.util.find_spec(fused) else "torch"
    reason = ""
    if name == "torch":
        return TorchBackend()
    elif device.type != wanted[name]:
        reason = f"runs on {wanted[name]}, not on {device.type}"
    elif dtype != torch.float32:
        reason = f"computes in float32, not in {str(dtype).removeprefix('torch.')}"
    elif differentiable:
        reason = "cannot be differentiated"
    elif not importlib.util.find_spec(name):
        reason = f"needs the package {name} (pip install {name})"
    if reason:
        raise ValueError(f"backend {name!r} {reason}; use backend='torch' or 'auto'.")
    # imported when used: neither numba nor Triton is loaded, or needed, before
    if name == "numba":
        from ._fused_cpu import NumbaBackend

        return NumbaBackend()
    from ._fused_gpu import TritonBackend

    return TritonBackend()
