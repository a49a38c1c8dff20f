"""Pieces of work that do not depend on each other, in the processes that simulations run in."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from sbirules.support.ending import end_with

__all__ = ["in_processes", "one_thread", "processes", "side_by_side"]


def in_processes() -> dict[str, Any]:
    """Options of `joblib.Parallel` that all calls share, so that processes that were started are used again."""
    return {"initializer": end_with, "initargs": (os.getpid(),)}


def processes(workers: int | None) -> int:
    """So many as pieces of work run in: those asked for, one per core if None; 1 within another's worker or on a cluster."""
    import joblib

    backend, _ = joblib.parallel.get_active_backend()
    nested = getattr(backend, "nesting_level", 0) or not isinstance(backend, joblib.parallel.LokyBackend)
    return 1 if nested else workers or joblib.cpu_count()


def side_by_side(
    work: Sequence[Callable[[], Any]], workers: int | None, *, label: str = "", progress: bool = False
) -> list[Any]:
    """What each gives, in order; the same however many processes there are.

    Arguments:
        work: Functions without arguments. What cannot be sent to another process is done in this one.
        workers: Processes; None for one per core.
        label: Of a progress bar.
        progress: Whether to show it.
    """
    import joblib
    from tqdm.auto import tqdm

    count = processes(workers)
    if min(count, len(work)) < 2:
        return [_alone(piece) for piece in work]
    parallel = joblib.Parallel(n_jobs=count, return_as="generator", **in_processes())
    try:
        results = parallel(joblib.delayed(_told)(piece) for piece in work)
        found = list(tqdm(results, total=len(work), desc=label, disable=not progress))
    except pickle.PicklingError:
        return [_alone(piece) for piece in work]
    for _, said in found:
        for kind, text in said:
            warnings.warn(text, kind)
    return [value for value, _ in found]


@contextmanager
def one_thread() -> Iterator[None]:
    """With one thread of torch, as in processes: sums are then the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _alone(piece: Callable[[], Any]) -> Any:
    with one_thread():
        return piece()


def _told(piece: Callable[[], Any]) -> tuple[Any, list[tuple[type[Warning], str]]]:
    """What it gives, and what it warned of, which would be said where nobody reads it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        value = _alone(piece)
    return value, [(w.category, str(w.message)) for w in said]
