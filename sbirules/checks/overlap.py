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
from sbirules.support.streams import Stream, child, generator, small
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

    from sbirules.figures.style import Grid, GridLike

__all__ = ["PosteriorComparison", "compare_posteriors", "overlap_of"]

BINS = 20  # in which shares of draws are compared
FEWEST = 100  # draws that can be compared
PAIRS = 15  # for which classifiers are trained: all of six posteriors
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
        c2st: Share of draws that a classifier puts to the right one of the two, `(pairs,)`: .5 where they are the same; NaN
            where there are more than fifteen pairs.
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
    posteriors: Mapping[str, Posterior] | Sequence[Posterior], *, num_samples: int = 2000, seed: int = 0
) -> PosteriorComparison:
    """Any number of posteriors side by side: of other animals, data, priors, families or estimators.

    Coefficients that all of them have are compared, in the natural units of the first: where another one's are known to differ,
    as those of another task, its draws are converted.

    Arguments:
        posteriors: By name; a list gets the names "1", "2", ...
        num_samples: Draws of each; of a posterior that was given draws (`with_draws`), so many of those at most.
        seed: Of draws and classifiers.

    Returns:
        Tables of intervals and overlaps, and a figure.

    Raises:
        ValueError: If there are fewer than two posteriors, or no coefficient is in all of them.

    Examples:
        >>> found = sr.compare_posteriors({"first half": early, "second half": late})
        >>> print(found)
        >>> found.figure()[0, 0].figure.savefig("halves.png")
    """
    arguments.whole("num_samples", num_samples, FEWEST, arguments.MANY)
    by_name = posteriors if isinstance(posteriors, Mapping) else {str(k + 1): v for k, v in enumerate(posteriors)}
    if len(by_name) < 2:
        raise ValueError(f"posteriors must be at least two, got {len(by_name)}.")
    for label, posterior in by_name.items():
        arguments.instance(f"posteriors[{label!r}]", posterior, Posterior)
    first = next(iter(by_name.values()))
    names = tuple(name for name in first.names if all(name in p.names for p in by_name.values()))
    if not names:
        raise ValueError("posteriors must have a coefficient in common, by name; these have none.")
    draws = [
        _draws(posterior, first, names, num_samples, child(seed, Stream.SAMPLING, k))
        for k, posterior in enumerate(by_name.values())
    ]
    pairs = list(combinations(draws, 2))
    overlap = [[overlap_of(a[:, k], b[:, k]) for k in range(len(names))] for a, b in pairs]
    told = [_c2st(a, b, seed) if len(pairs) <= PAIRS else float("nan") for a, b in pairs]
    prior = prior_draws(first.prior, 4000).float()[:, [first.names.index(name) for name in names]]
    return PosteriorComparison(tuple(by_name), names, tuple(draws), torch.tensor(overlap), torch.tensor(told), prior)


def _draws(posterior: Posterior, first: Posterior, names: Sequence[str], n: int, seed: int) -> Tensor:
    """Draws `(n, D)` of some coefficients, in the first posterior's natural units; other ones of each posterior."""
    if posterior.has_draws:
        drawn = posterior.draws
        drawn = drawn[torch.randperm(len(drawn), generator=generator(seed, Stream.RESAMPLING))[:n]]
    else:
        drawn = posterior.sample((n,), seed=seed)
    if len(drawn) < FEWEST:
        raise ValueError(f"posteriors must have at least {FEWEST} draws each to be compared, got {len(drawn)}.")
    drawn = drawn[:, [posterior.names.index(name) for name in names]]
    if posterior.raw_per_unit is None or first.raw_per_unit is None:
        return drawn
    mine = posterior.raw_per_unit[[posterior.names.index(name) for name in names]]
    theirs = first.raw_per_unit[[first.names.index(name) for name in names]]
    return (drawn * (mine / theirs)).to(drawn.dtype)


def overlap_of(a: Tensor, b: Tensor) -> float:
    """Area that the densities of two samples `(n,)` and `(m,)` share, 1 less their total variation.

    By shares of the samples in bins that hold as many of both together, so that neither the scale nor a few far draws matter;
    what two samples of one density differ by is taken off. Draws that are exactly zero, of terms that are absent, are a bin of
    their own.
    """
    x, y = (v.double().numpy() for v in (a, b))
    whole = np.concatenate([x[x != 0], y[y != 0]])
    if not len(whole):
        return 1.0
    inner = np.unique(np.quantile(whole, np.linspace(0, 1, BINS + 1)[1:-1], method="nearest"))
    counts = []
    for v in (x, y):
        rest = v[v != 0]
        counts.append(
            np.append(np.bincount(np.searchsorted(inner, rest), minlength=len(inner) + 1), len(v) - len(rest))
        )
    p, q = (count / len(v) for count, v in zip(counts, (x, y), strict=True))
    both = (counts[0] + counts[1]) / (len(x) + len(y))
    by_chance = both * (1 - both) * (1 / len(x) + 1 / len(y))
    apart = np.sqrt(np.clip((p - q) ** 2 - by_chance, 0, None))
    return float(np.clip(1 - apart.sum() / 2, 0, 1))


def _c2st(a: Tensor, b: Tensor, seed: int) -> float:
    """Classifier two-sample test by sbi, on as many draws of both; a draw that both hold counts for the first alone."""
    with torch_as_found():
        from sbi.utils.metrics import c2st
    known = {tuple(row) for row in a.tolist()}
    b = b[torch.tensor([tuple(row) not in known for row in b.tolist()])]
    n = min(len(a), len(b), MOST)
    if n < FEWEST // 2:  # the same draws
        return 0.5
    a, b = (
        v[torch.randperm(len(v), generator=generator(seed, Stream.RESAMPLING, k))[:n]] for k, v in enumerate((a, b))
    )
    varies = (torch.cat([a, b]).std(dim=0) > 0).nonzero()[:, 0]
    if not len(varies):
        return 0.5
    # below one half is chance: a classifier that is wrong on purpose would tell as much, but it learned nothing
    return max(0.5, float(c2st(a[:, varies].float(), b[:, varies].float(), seed=small(seed, Stream.CLASSIFIER))))
