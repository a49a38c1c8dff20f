"""Gradients where they are needed, whatever the caller has switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["gradients"]


@contextmanager
def gradients() -> Iterator[None]:
    """Runs a block, or the function it decorates, with gradients, inside `torch.no_grad` and `inference_mode` as well."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
