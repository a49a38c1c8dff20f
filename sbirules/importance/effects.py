"""Numbers about coefficients, each with its standard error; and directions in the space of rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from sbirules import figures

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike

__all__ = ["Directions", "Effects"]


@dataclass(frozen=True, repr=False)
class Effects:
    """One number per coefficient.

    Arguments:
        names: Names of the coefficients.
        value: The numbers, `(D,)`.
        se: Their standard errors, `(D,)`.
        label: What they are, in a few words.
        quantity: What they measure, with its unit, for an axis.
        note: A sentence on numbers that do not mean what they seem to; empty where there are none.
    """

    names: tuple[str, ...]
    value: Tensor
    se: Tensor
    label: str
    quantity: str
    note: str = ""

    def table(self) -> pd.DataFrame:
        """`value` and `se` by coefficient, the largest in size first."""
        import pandas as pd

        out = pd.DataFrame({"value": self.value.numpy(), "se": self.se.numpy()}, index=list(self.names))
        return out.reindex(out["value"].abs().sort_values(ascending=False).index)

    def figure(self, ax: Axes | None = None) -> Axes:
        """Bars with standard errors."""
        return figures.effects(self, ax)

    def __repr__(self) -> str:
        return f"Effects({self.label!r}, {len(self.names)} coefficients)"

    def __str__(self) -> str:
        note = f"\n{self.note}" if self.note else ""
        return f"{self.label} ({self.quantity})\n{self.table().round(3).to_string()}{note}"


@dataclass(frozen=True, repr=False)
class Directions:
    """Directions in the space of rules, the strongest first.

    Arguments:
        names: Names of the coefficients.
        vectors: One a column, `(D, K)`, of unit length where each coefficient counts in s.d. of the prior.
        value: How strong each is, `(K,)`.
        se: Standard errors, `(K,)`.
        label: What they are, in a few words.
        quantity: What `value` measures, for an axis.
    """

    names: tuple[str, ...]
    vectors: Tensor
    value: Tensor
    se: Tensor
    label: str
    quantity: str

    def table(self, count: int = 4) -> pd.DataFrame:
        """The strongest directions: value, se, and the weight of each coefficient."""
        import pandas as pd

        count = min(count, len(self.value))
        rows = {"value": self.value[:count].numpy(), "se": self.se[:count].numpy()}
        rows |= {n: self.vectors[i, :count].numpy() for i, n in enumerate(self.names)}
        return pd.DataFrame(rows, index=pd.RangeIndex(1, count + 1, name="direction"))

    def combination(self, k: int = 0, digits: int = 2, least: float = 0.2, most: int = 4) -> str:
        """A direction as a sum of coefficients; those of little weight, and all but the `most` heaviest, are left out."""
        weights = self.vectors[:, k]
        order = weights.abs().argsort(descending=True).tolist()[:most]
        parts = [f"{float(weights[i]):+.{digits}f} {self.names[i]}" for i in order if abs(float(weights[i])) >= least]
        return " ".join(parts)

    def figure(self, axes: GridLike | None = None) -> Grid:
        """Strength of each direction, and the coefficients of the strongest."""
        return figures.directions(self, axes=axes)

    def __repr__(self) -> str:
        return f"Directions({self.label!r}, {len(self.value)})"

    def __str__(self) -> str:
        lines = [
            f"{float(v):8.3f} ± {float(s):.3f}   {self.combination(k)}"
            for k, (v, s) in enumerate(zip(self.value[:4], self.se[:4], strict=True))
        ]
        return "\n".join([f"{self.label} ({self.quantity})", *lines])
