"""Standardised columns as networks see them: coefficients, and summaries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sbirules.support.files import Plain
from sbirules.support.robust import centre_and_spread

__all__ = ["Standardiser", "with_squares"]


class Standardiser(nn.Module):
    """Columns to zero mean and unit s.d., some of them on a log scale; a constant column to 0, whatever comes later.

    Rows that are far out of a column do not count. Columns in double precision are centred before they are cast.

    Arguments:
        mean: `(D,)`, of the logarithm where `log` holds.
        sd: `(D,)`, infinite for a constant column.
        log: Which columns are taken as logarithms.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: Tensor, sd: Tensor, log: Sequence[bool]) -> None:
        super().__init__()
        self.log = tuple(log)
        self.register_buffer("mean", mean)
        self.register_buffer("sd", sd)

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.log)

    @property
    def varies(self) -> Tensor:
        """Which columns are not constant, `(D,)` boolean."""
        return torch.isfinite(self.sd)

    @classmethod
    def of(cls, values: Tensor, log: Sequence[bool] | None = None) -> Standardiser:
        """The standardiser of a sample `(n, D)`."""
        log = tuple(log) if log is not None else (False,) * values.shape[1]
        mean, sd = centre_and_spread(_logged(values, log))
        return cls(mean, torch.where(sd > 0, sd, torch.inf), log)

    def forward(self, values: Tensor) -> Tensor:
        return ((_logged(values, self.log) - self.mean) / self.sd).float()

    def config(self) -> dict[str, object]:
        """What rebuilds it, beside its tensors."""
        return {"log": list(self.log), **({"double": True} if self.mean.dtype == torch.float64 else {})}

    @classmethod
    def from_config(cls, config: Plain) -> Standardiser:
        """One of that shape, to load tensors into."""
        n, dtype = len(config["log"]), torch.float64 if config.get("double") else torch.float32
        return cls(torch.zeros(n, dtype=dtype), torch.ones(n, dtype=dtype), config["log"])


def _logged(values: Tensor, log: Sequence[bool]) -> Tensor:
    if not any(log):
        return values
    mask = torch.tensor(list(log))
    # where log is not asked for, a logarithm that is not finite would spoil gradients
    return torch.where(
        mask, torch.log(torch.where(mask, values.clamp(min=torch.finfo(values.dtype).tiny), 1.0)), values
    )


def with_squares(z: Tensor) -> Tensor:
    """Coefficients and their squares, `(..., 2 D)`: learning depends on size as well as on sign."""
    return torch.cat([z, z**2], dim=-1)
