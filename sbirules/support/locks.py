"""Locks on folders, so that two runs do not write the same files. A lock dies with its process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from sbirules.support.files import told_when_writing

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked"]

NAME = ".shard-lock"  # one byte of it for each shard, or whatever parts a folder has
_GUARD = Lock()
# files of locks that this process holds open, and the ranges locked: letting go of one handle would let go of all
_OPEN: dict[Path, tuple[int, list[range]]] = {}
ALL = range(0, 2**40)
if os.name == "posix":
    os.register_at_fork(after_in_child=_OPEN.clear)  # a forked child has none of its parent's locks


@contextmanager
def locked(folder: Path, parts: range | None = None) -> Iterator[None]:
    """Holds numbered parts of a folder, all of them by default, for the time of a block.

    Where the file system knows no locks, a warning says so and the block runs without.

    Raises:
        ValueError: If another run holds some of them.
        OSError: If the folder cannot be written.
    """
    parts = ALL if parts is None else parts
    place = folder.resolve() / NAME
    if not _take(place, parts, folder):
        raise ValueError(
            f"{folder} is in use by another run; wait until it has ended, or use another folder; array jobs share "
            f"one if each is given shards of its own."
        )
    try:
        yield
    finally:
        _let_go(place, parts)


def _take(place: Path, parts: range, folder: Path) -> bool:
    with _GUARD:
        handle, held = _OPEN.get(place, (-1, []))
        if any(other.start < parts.stop and parts.start < other.stop for other in held):
            return False
        if handle < 0:
            with told_when_writing(folder):
                handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not _lock_file(handle, parts, folder):
            if not held:
                os.close(handle)
            return False
        _OPEN[place] = (handle, [*held, parts])
        return True


def _lock_file(handle: int, parts: range, folder: Path) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, len(parts), parts.start)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        warnings.warn(f"{folder}: this file system knows no locks ({error.strerror}); start no second run there.")
    return True


def _let_go(place: Path, parts: range) -> None:
    with _GUARD:
        handle, held = _OPEN.pop(place)
        held.remove(parts)
        if held:
            _OPEN[place] = (handle, held)
            if fcntl is not None:
                fcntl.lockf(handle, fcntl.LOCK_UN, len(parts), parts.start)
        else:
            os.close(handle)
