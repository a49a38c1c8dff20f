"""Where a column of numbers is and how wide, whatever a few of its rows hold: runaway values, codes such as -999.

Columns that have no such rows have the mean and the s.d. of all of them.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["centre_and_spread", "far_out", "kept", "width_of"]

FAR = 20.0  # half-widths of the central 80 % of values from the middle, about 26 s.d. of a Gaussian
FEWEST = 50  # rows below which none is called far
# a column of fewer has no central 80 %: there it is FAR times as far from the commonest as the next nearest
FEW_VALUES = 10
RESOLUTION = 1e-4  # of the central width; what is stored more coarsely than that is not what was given


def width_of(values: Tensor) -> Tensor:
    """Width `(D,)` of the central 80 % of each column of `(n, D)`, in double precision; 0 for a constant."""
    points = [_central(column) for column in values.double().unbind(dim=1)]
    return torch.tensor([high - low for low, _, high in points], dtype=torch.float64)


def _central(column: Tensor) -> tuple[float, float, float]:
    """The 10 %, 50 % and 90 % points of the distinct finite values: a code counts once, however many rows have it."""
    values = torch.unique(column[torch.isfinite(column)])
    if not len(values):
        return 0.0, 0.0, 0.0
    at = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64) * (len(values) - 1)
    low, middle, high = values[at.round().long()].tolist()
    return low, middle, high


def far_out(values: Tensor) -> Tensor:
    """Which values `(n, S)` lie far from nearly all others of their column, boolean; NaN does not."""
    if len(values) < FEWEST:
        return torch.zeros(values.shape, dtype=torch.bool)
    return torch.stack([_far(column) for column in values.unbind(dim=1)], dim=1)


def _far(column: Tensor) -> Tensor:
    values, counts = torch.unique(column[torch.isfinite(column)], return_counts=True)
    if len(values) < 3:  # of two, neither is the odd one
        return torch.zeros(column.shape, dtype=torch.bool)
    if len(values) < FEW_VALUES:
        middle = float(values[counts.argmax()])
        distance = (values.double() - middle).abs().sort().values[1:].tolist()
        reach = next((a for a, b in pairwise(distance) if b > FAR * a), math.inf)
    else:
        low, middle, high = _central(column)
        reach = FAR * max(high - middle, middle - low)
    found = (column.double() - middle).abs() > reach
    return found if 2 * int(found.sum()) < len(column) else torch.zeros_like(found)


def centre_and_spread(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and s.d. `(S,)` of each column of `(n, S)` over the rows that are not far out; s.d. 0 for a constant column."""
    mean, sd = values.mean(dim=0), values.std(dim=0)
    size = values.abs().mean(dim=0)
    far = far_out(values)
    for k in far.any(dim=0).nonzero()[:, 0].tolist():
        column = values[~far[:, k], k]
        mean[k], sd[k], size[k] = column.mean(), column.std(), column.abs().mean()
    # what is left of a constant after rounding is no spread
    return mean, torch.where(sd > 4 * torch.finfo(values.dtype).eps * size, sd, 0.0)


def kept(values: Tensor) -> Tensor:
    """Numbers `(n, S)` or `(n,)` in single precision where that loses nothing that matters, else in double.

    It would lose whole numbers above 2^24, values on top of a large offset, and what is too large or too small for it.
    """
    if values.dtype in (torch.float16, torch.bfloat16, torch.float32):
        return values.float()
    wide = values.double()
    narrow = wide.float()
    columns = wide.reshape(len(wide), -1).unbind(dim=1)
    same = all(_kept(a, b) for a, b in zip(columns, narrow.reshape(len(wide), -1).unbind(dim=1), strict=True))
    return narrow if same else wide


def _kept(wide: Tensor, narrow: Tensor) -> bool:
    there = torch.isfinite(wide)
    wide, narrow = wide[there], narrow[there].double()
    if bool((torch.isinf(narrow) | ((narrow == 0) & (wide != 0))).any()):
        return False
    if bool((wide == wide.round()).all()):
        return bool((wide == narrow).all())
    low, _, high = _central(wide)
    inside = (wide >= low) & (wide <= high)
    return bool(((wide - narrow)[inside].abs() <= RESOLUTION * (high - low)).all()) or high == low
