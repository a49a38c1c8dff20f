"""Imports of libraries that change settings of torch on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributions import Distribution

__all__ = ["torch_as_found"]


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
