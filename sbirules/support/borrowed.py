"""Imports of libraries that change settings of torch on the way, or advertise their next version."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributions import Distribution

__all__ = ["torch_as_found", "without_notice"]

NOTICE = r"\s*ArviZ is undergoing a major refactor"  # pyproject.toml holds ArviZ below that version


@contextmanager
def torch_as_found() -> Iterator[None]:
    """Puts back whether torch's distributions check their arguments.

    zuko, which sbi imports, switches that off for everybody, and Pyro switches it on: a user's own distribution
    with a wrong scale would pass without a word.
    """
    before = Distribution._validate_args
    try:
        yield
    finally:
        Distribution._validate_args = before


@contextmanager
def without_notice() -> Iterator[None]:
    """For imports of ArviZ: without its warning, once a day, that its next version will be another."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", NOTICE, FutureWarning)
        yield
