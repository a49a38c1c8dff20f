"""What training does to summaries that have probability mass on single values: with those there is no density.

Discrete values get uniform noise as wide as their spacing. Atoms amid other values are each spread over an interval
of their own, opened by moving all that lies above them up; the order stays. What is observed takes the middle of the
interval, now and at every later observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sbirules.support.files import Plain
from sbirules.support.streams import Stream, generator

__all__ = ["SummaryTransform"]

DISCRETE = 0.05  # share of rows whose value no other has, below which a summary counts as discrete
RARE = 0.005  # share of rows above which a value of any other summary is an atom
MIDDLE = 0.5


class SummaryTransform(nn.Module):
    """Columns of summaries without atoms.

    Arguments:
        gaps: By column that is discrete: the spacing of its values.
        widths: By column with atoms amid other values: the width that each is spread over.
        atoms: By such a column: where its atoms are.
    """

    def __init__(
        self, gaps: Mapping[int, float], widths: Mapping[int, float], atoms: Mapping[int, Sequence[float]]
    ) -> None:
        super().__init__()
        self.gaps, self.widths = dict(gaps), dict(widths)
        self.atoms = {column: torch.as_tensor(list(values), dtype=torch.float64) for column, values in atoms.items()}

    @staticmethod
    def of(x: Tensor, ok: Tensor, columns: Sequence[int]) -> SummaryTransform:
        """For rows `(n, S)`, of which those `ok` `(n,)` count, and the columns that have atoms."""
        gaps, widths, atoms = {}, {}, {}
        for k in columns:
            values, counts = torch.unique(x[ok][:, k], return_counts=True)
            if len(values) == 1:  # a constant has no part in a density
                continue
            alone = float(counts[counts == 1].sum()) / int(ok.sum())
            if alone < DISCRETE:
                gaps[k] = float(values.diff().min())
            else:
                widths[k] = float(x[ok][:, k].std()) / 2
                atoms[k] = values[counts > max(3, RARE * int(ok.sum()))].tolist()
        return SummaryTransform(gaps, widths, atoms)

    def forward(self, x: Tensor) -> Tensor:
        """Observed summaries `(..., S)`."""
        return self._moved(x, dict.fromkeys((*self.gaps, *self.widths), MIDDLE))

    def spread(self, x: Tensor, seed: int) -> Tensor:
        """Simulated summaries `(n, S)`, each at a random place of its interval."""
        columns = (*self.gaps, *self.widths)
        return self._moved(
            x, {k: torch.rand(x[:, k].shape, generator=generator(seed, Stream.SPREAD, k)) for k in columns}
        )

    def _moved(self, x: Tensor, u: Mapping[int, Tensor | float]) -> Tensor:
        out = x.clone()
        for k, gap in self.gaps.items():
            out[..., k] = x[..., k] + gap * (u[k] - 0.5)
        for k, width in self.widths.items():
            column, atoms = x[..., k], self.atoms[k].to(x.dtype)
            below = (column[..., None] > atoms).sum(dim=-1)
            at = (column[..., None] == atoms).any(dim=-1)
            out[..., k] = column + width * (below + torch.where(at, u[k], 0.0))
        return out

    def config(self) -> dict[str, object]:
        """Plain types."""
        return {
            "gaps": {str(k): v for k, v in self.gaps.items()},
            "widths": {str(k): v for k, v in self.widths.items()},
            "atoms": {str(k): v.tolist() for k, v in self.atoms.items()},
        }

    @classmethod
    def from_config(cls, config: Plain | None) -> SummaryTransform:
        """The transform that gave this `config()`; one that changes nothing for None."""
        parts = [{int(k): v for k, v in (config or {}).get(name, {}).items()} for name in ("gaps", "widths", "atoms")]
        return cls(*parts)
