"""Loops that numba compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["compiled", "for_one_process", "inlined"]

# sums may be reordered and fused, but NaN and infinity keep their meaning: they mark networks that blew up
_OPTIONS: dict[str, Any] = {"fastmath": {"contract", "reassoc"}, "nogil": True, "error_model": "numpy"}

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compiled at the first call, and kept on disk where a folder can be written."""
    fast: Function
    try:
        fast = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no such folder
        fast = numba.njit(**_OPTIONS)(function)
    return fast


def inlined(function: Function) -> Function:
    """Compiled into each function that calls it: with many arrays as arguments, calls cost more than what they do."""
    fast: Function = numba.njit(inline="always", **_OPTIONS)(function)
    return fast


def for_one_process(function: Function) -> Function:
    """Compiled anew in each process: what was written while it ran has no file to be kept beside."""
    fast: Function = numba.njit(**_OPTIONS)(function)
    return fast
