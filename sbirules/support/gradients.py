"""Gradients where they are needed, whatever the caller has switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["gradients", "values_and_slopes"]


@contextmanager
def gradients() -> Iterator[None]:
    """Runs a block, or the function it decorates, with gradients, inside `torch.no_grad` and `inference_mode` as well."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def values_and_slopes(parts: Iterable[Tensor], function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Values `(n, A)` of a function at rows `(n, A, D)`, a part at a time, and its gradient `(n, A, D)`; 0 where unknown."""
    values, slopes = [], []
    for part in parts:
        with torch.enable_grad():
            own = part.clone().requires_grad_(True)
            value = function(own)
            (slope,) = torch.autograd.grad(value.sum(), own)
        known = torch.isfinite(value.detach())[..., None] & torch.isfinite(slope)
        values.append(value.detach())
        slopes.append(torch.where(known, slope, 0.0))
    return torch.cat(values), torch.cat(slopes)
