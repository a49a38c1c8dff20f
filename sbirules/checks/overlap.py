"""Several posteriors side by side: where they lie, and how much they overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules import figures
from sbirules.inference.posterior import Posterior
from sbirules.model.prior import prior_draws
from sbirules.support import arguments
from sbirules.support.borrowed import torch_as_found
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, generator, small
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

    from sbirules.figures.style import Grid, GridLike

__all__ = ["PosteriorComparison", "compare_posteriors", "overlap_of"]

POINTS = 1024  # of the grid on which densities are compared
ROUNDING = 1e-6  # relative, by which a coefficient that is fixed may differ
MOST = 500  # draws of each that a classifier is trained on


@typed_class
@dataclass(frozen=True, repr=False)
class PosteriorComparison(Shown):
    """Posteriors side by side; made by `compare_posteriors`.

    Arguments:
        labels: What they are called.
        names: Coefficients that all of them have.
        draws: Of each, `(n, D)`, in the order of `names`.
        overlap: Area that the marginal densities of two posteriors share, `(pairs, D)`: 1 where they are the same, 0 where they
            lie apart. Pairs are those of `itertools.combinations(labels, 2)`.
        c2st: Share of draws that a classifier puts to the right one of the two, `(pairs,)`: .5 where they are the same.
        prior: Draws of the first one's prior, `(n, D)`.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    draws: tuple[Tensor, ...]
    overlap: Tensor
    c2st: Tensor
    prior: Tensor

    def table(self) -> pd.DataFrame:
        """One row per coefficient: median and 95 % interval under each posterior, and the least overlap of any two."""
        import pandas as pd

        columns: dict[str, list[float]] = {}
        for label, draws in zip(self.labels, self.draws, strict=True):
            q = torch.quantile(draws.double(), torch.tensor([0.5, 0.025, 0.975]).double(), dim=0)
            for name, row in zip(("median", "2.5 %", "97.5 %"), q, strict=True):
                columns[f"{label}: {name}"] = row.tolist()
        columns["least overlap"] = self.overlap.min(dim=0).values.tolist()
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    def overlaps(self) -> pd.DataFrame:
        """One row per pair of posteriors: C2ST of all coefficients together, and the overlap of each."""
        import pandas as pd

        index = pd.MultiIndex.from_tuples(list(combinations(self.labels, 2)), names=["posterior", "other"])
        columns = {
            "c2st": self.c2st.tolist(),
            **{name: self.overlap[:, k].tolist() for k, name in enumerate(self.names)},
        }
        return pd.DataFrame(columns, index=index)

    def figure(self, axes: GridLike | None = None) -> Grid:
        """Densities over each other, see `figures.overlay`."""
        return figures.overlay(dict(zip(self.labels, self.draws, strict=True)), self.names, axes, prior=self.prior)

    def __repr__(self) -> str:
        return f"PosteriorComparison({', '.join(self.labels)})"

    def __str__(self) -> str:
        return f"{self.table().round(3).to_string()}\n\n{self.overlaps().round(3).to_string()}"

    def _card(self) -> Card:
        pairs = {f"{a} | {b}": v for (a, b), v in zip(combinations(self.labels, 2), self.c2st.tolist(), strict=True)}
        return Card("Posteriors side by side; C2ST, .5 where two are the same:", pairs, table=self.table())


@typed
def compare_posteriors(
    posteriors: Mapping[str, Posterior] | Sequence[Posterior], *, num_samples: int | None = None, seed: int = 0
) -> PosteriorComparison:
    """Any number of posteriors side by side: of other animals, data, priors, families or estimators.

    Coefficients that all of them have are compared, in natural units.

    Arguments:
        posteriors: By name; a list gets the names "1", "2", ...
        num_samples: Draws of each; None takes the posteriors' own.
        seed: Of draws and classifiers.

    Returns:
        Tables of intervals and overlaps, and a figure.

    Raises:
        ValueError: If there are fewer than two posteriors, or no coefficient is in all of them.

    Example:
        >>> found = sr.compare_posteriors({"first half": early, "second half": late})
        >>> print(found)
        >>> found.figure()[0, 0].figure.savefig("halves.png")
    """
    if num_samples is not None:
        arguments.whole("num_samples", num_samples, 100, arguments.MANY)
    by_name = posteriors if isinstance(posteriors, Mapping) else {str(k + 1): v for k, v in enumerate(posteriors)}
    if len(by_name) < 2:
        raise ValueError(f"posteriors must be at least two, got {len(by_name)}.")
    for label, posterior in by_name.items():
        arguments.instance(f"posteriors[{label!r}]", posterior, Posterior)
    first = next(iter(by_name.values()))
    names = tuple(name for name in first.names if all(name in p.names for p in by_name.values()))
    if not names:
        raise ValueError("posteriors must have a coefficient in common, by name; these have none.")
    draws = []
    for posterior in by_name.values():
        columns = [posterior.names.index(name) for name in names]
        drawn = posterior.draws if num_samples is None else posterior.sample((num_samples,), seed=seed)
        draws.append(drawn[:, columns])
    overlap = [[overlap_of(a[:, k], b[:, k]) for k in range(len(names))] for a, b in combinations(draws, 2)]
    told = [_c2st(a, b, seed) for a, b in combinations(draws, 2)]
    prior = prior_draws(first.prior, 4000).float()[:, [first.names.index(name) for name in names]]
    return PosteriorComparison(tuple(by_name), names, tuple(draws), torch.tensor(overlap), torch.tensor(told), prior)


def overlap_of(a: Tensor, b: Tensor) -> float:
    """Area that the densities of two samples `(n,)` and `(m,)` share, 1 less their total variation.

    Densities are Gaussian kernel estimates; draws that are exactly zero, of terms that are absent, are a mass of their own.
    """
    from scipy.integrate import trapezoid
    from scipy.stats import gaussian_kde

    x, y = (v.double().numpy() for v in (a, b))
    absent = float(min((x == 0).mean(), (y == 0).mean()))
    parts = [v[v != 0] for v in (x, y)]
    weights = [len(part) / len(v) for part, v in zip(parts, (x, y), strict=True)]
    if min(map(len, parts)) < 2:
        return absent
    still = [bool(np.ptp(part) <= ROUNDING * np.abs(part).max()) for part in parts]
    if any(still):  # a coefficient that is fixed overlaps with one fixed at the same value
        same = all(still) and bool(np.isclose(parts[0][0], parts[1][0], rtol=ROUNDING))
        return absent + same * min(weights)
    whole = np.concatenate(parts)
    margin = 0.1 * np.ptp(whole)
    grid = np.linspace(whole.min() - margin, whole.max() + margin, POINTS)
    densities = [weight * gaussian_kde(part)(grid) for weight, part in zip(weights, parts, strict=True)]
    return min(1.0, absent + float(trapezoid(np.minimum(*densities), grid)))


def _c2st(a: Tensor, b: Tensor, seed: int) -> float:
    """Classifier two-sample test by sbi, on as many draws of both."""
    with torch_as_found():
        from sbi.utils.metrics import c2st
    n = min(len(a), len(b), MOST)
    rows = [
        v[torch.randperm(len(v), generator=generator(seed, Stream.RESAMPLING, k))[:n]] for k, v in enumerate((a, b))
    ]
    return float(c2st(rows[0].float(), rows[1].float(), seed=small(seed, Stream.CLASSIFIER)))
