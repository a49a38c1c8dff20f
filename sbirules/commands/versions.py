"""What a report of a fault needs: versions and the machine."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

__all__ = ["versions"]

REPORTED = ("torch", "numpy", "sbi", "zuko", "pyro-ppl", "arviz", "numba")  # besides Python and the machine


def versions() -> Iterator[str]:
    """Lines of a name and what there is of it."""

    def line(name: str) -> str:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            return f"{name} not installed"

    yield line("sbirules")
    yield f"python {platform.python_version()}"
    yield from map(line, REPORTED)
    yield f"machine {platform.platform()}, {platform.processor() or platform.machine()}"
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield f"gpu {', '.join(names) or 'none'}"
