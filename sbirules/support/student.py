"""The multivariate t distribution, by distances from its centre."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_student"]


def log_student(squared: Tensor, log_scale: Tensor | float, dim: int, freedom: float) -> Tensor:
    """Log-density in `dim` dimensions.

    Arguments:
        squared: Squared distances from the centre, in units of the scale.
        log_scale: Log-determinant of a factor of the scale matrix; broadcasts to `squared`.
        dim: Dimensions.
        freedom: Degrees of freedom.
    """
    constant = math.lgamma((freedom + dim) / 2) - math.lgamma(freedom / 2) - dim / 2 * math.log(freedom * math.pi)
    return constant - log_scale - (freedom + dim) / 2 * torch.log1p(squared / freedom)
