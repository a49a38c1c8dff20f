"""What runs of other people's programs share: their rows, and a process of one thread with their interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

SEED = 20261126
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
Row = dict[str, Any]


def row(group: str, quantity: str, peer: float | None, ours: float | None, digits: int = 4) -> Row:
    """A quantity as a program and ours give it, to so many digits; None where one does not give it."""
    ratio = None if peer is None or not ours else _rounded(peer / ours, 3)
    return {
        "group": group,
        "quantity": quantity,
        "peer": _rounded(peer, digits),
        "ours": _rounded(ours, digits),
        "ratio": ratio,
    }


def between(group: str, quantity: str, value: float, digits: int = 2) -> Row:
    """How far a program and ours are apart, or how far they agree."""
    return {"group": group, "quantity": quantity, "between": _rounded(value, digits)}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def run(python: str, *arguments: str | Path, folder: Path | None = None) -> None:
    """A script in a process of its own; what it said stands in the error if it fails."""
    done = subprocess.run(
        [python, *map(str, arguments)], cwd=folder, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")


def installed(python: str, *names: str) -> dict[str, str]:
    """Versions of packages that an interpreter has."""
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    return dict(json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout))
