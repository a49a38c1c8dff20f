"""Second derivatives of what has gradients, by differences of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["curvature"]

STEP = 1e-3  # on an unconstrained scale


def curvature(slope: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues `(..., D)` and eigenvectors `(..., D, D)` of minus the second derivative at each row of `at` `(..., D)`.

    Arguments:
        slope: Gradients `(..., D)`; rows do not depend on each other.
        at: Where.
    """
    rows = []
    for step in STEP * torch.eye(at.shape[-1], dtype=at.dtype):
        rows.append((slope(at - step) - slope(at + step)) / (2 * STEP))
    whole = torch.stack(rows, dim=-2)
    values, vectors = torch.linalg.eigh(0.5 * (whole + whole.transpose(-2, -1)))
    return values, vectors
