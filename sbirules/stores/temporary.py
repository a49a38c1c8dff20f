"""Folders of stores that nobody asked to keep."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["removed_with", "temporary_folder"]


class _InFolder(Protocol):
    @property
    def path(self) -> Path: ...


Kept = TypeVar("Kept", bound=_InFolder)


def temporary_folder() -> Path:
    """A folder for a store that nobody asked to keep."""
    return Path(tempfile.mkdtemp(prefix="sbirules-"))


def removed_with(store: Kept) -> Kept:
    """The store, whose folder goes when nothing refers to it any more."""
    weakref.finalize(store, _remove, store.path, os.getpid())
    return store


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not take it from its parent
        shutil.rmtree(folder, ignore_errors=True)
