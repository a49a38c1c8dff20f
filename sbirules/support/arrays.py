"""Tensors as loops that numba compiles take them; apart from these, so that numba is imported where one runs."""

from __future__ import annotations

import numpy as np
from torch import Tensor

__all__ = ["as_array"]


def as_array(value: Tensor) -> np.ndarray:
    """A tensor as an array, without a copy where it is contiguous."""
    array: np.ndarray = value.detach().contiguous().numpy()
    return array
