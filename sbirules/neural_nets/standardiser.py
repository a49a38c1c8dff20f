"""Standardised coefficients as networks see them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sbirules.support.files import Plain

__all__ = ["Standardiser", "spread", "with_squares"]


class Standardiser(nn.Module):
    """Columns to zero mean and unit s.d., some of them on a log scale.

    Arguments:
        mean: `(D,)`, of the logarithm where `log` holds.
        sd: `(D,)`.
        log: Which columns are taken as logarithms.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: Tensor, sd: Tensor, log: Sequence[bool]) -> None:
        super().__init__()
        self.log = tuple(log)
        self.register_buffer("mean", mean.float())
        self.register_buffer("sd", sd.float())

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.log)

    @classmethod
    def of(cls, values: Tensor, log: Sequence[bool] | None = None) -> Standardiser:
        """The standardiser of a sample `(n, D)`."""
        log = tuple(log) if log is not None else (False,) * values.shape[1]
        seen = _logged(values, log)
        return cls(seen.mean(dim=0), spread(seen), log)

    def forward(self, values: Tensor) -> Tensor:
        return (_logged(values, self.log) - self.mean) / self.sd

    def config(self) -> dict[str, object]:
        """What rebuilds it, beside its tensors."""
        return {"log": list(self.log)}

    @classmethod
    def from_config(cls, config: Plain) -> Standardiser:
        """One of that shape, to load tensors into."""
        n = len(config["log"])
        return cls(torch.zeros(n), torch.ones(n), config["log"])


def spread(values: Tensor) -> Tensor:
    """S.d. of each column; 1 for a column that is constant, which must not blow up what differs from it."""
    sd, size = values.std(dim=0), values.abs().mean(dim=0)
    return torch.where(sd > 1e-6 * size.clamp(min=1e-6), sd, 1.0)


def _logged(values: Tensor, log: Sequence[bool]) -> Tensor:
    if not any(log):
        return values
    mask = torch.tensor(list(log))
    return torch.where(mask, torch.log(values.clamp(min=1e-12)), values)


def with_squares(z: Tensor) -> Tensor:
    """Coefficients and their squares, `(..., 2 D)`: learning depends on size as well as on sign."""
    return torch.cat([z, z**2], dim=-1)
