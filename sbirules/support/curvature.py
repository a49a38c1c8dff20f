"""Second derivatives of what has gradients, by differences of them, and the way uphill that they show."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["STEP", "climbed", "curvature"]

STEP = 1e-3  # on an unconstrained scale
SHARES = (1.0, 0.4, 0.1, 0.02, 0.002)  # of a step that are tried
FLAT = 0.1  # least curvature that a step is made for
CLOSE = 1e-3  # nats that are left to gain where a climb ends


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


def climbed(
    value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Where Newton steps from each row of `start` `(..., D)` lead, and the value there `(...)`; never below the start's.

    Each step is the longest of a few that gains; where the surface bends upwards its curvature is taken for its opposite.

    Arguments:
        value: Values `(...)`; -inf where impossible.
        slope: Gradients `(..., D)`; rows do not depend on each other.
        start: `(n, ..., D)`; the first axis may be of any length.
        steps: How many at most.
    """
    at, height = start.clone(), value(start)
    rows = torch.arange(len(at))  # that still climb
    for _ in range(steps):
        here, was = at[rows], height[rows]
        pull = slope(here)
        values, vectors = curvature(slope, here)
        along = (vectors.transpose(-2, -1) @ pull[..., None])[..., 0]
        size = values.abs().clamp(min=FLAT)
        to_gain = 0.5 * (along.square() / size).sum(dim=-1)
        step = (vectors @ (along / size)[..., None])[..., 0]
        best, most = here, was
        for share in SHARES:
            new = here + share * step
            reached = value(new)
            better = reached > most
            best = torch.where(better[..., None], new, best)
            most = torch.where(better, reached, most)
        at[rows], height[rows] = best, most
        rows = rows[((to_gain > CLOSE) & (most > was)).reshape(len(rows), -1).any(dim=1)]
        if not len(rows):
            break
    return at, height
