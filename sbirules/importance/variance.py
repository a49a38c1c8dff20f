"""Which coefficients an outcome's variance comes from: Sobol indices in a box, Shapley effects in a posterior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules import figures
from sbirules.importance.effects import Effects
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Stream, generator, small

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Sobol", "shapley", "sobol"]

Outcome = Callable[[Tensor], Tensor]  # theta (n, D) to (n,), or (members, n) of an ensemble
SHARE = "share of the outcome's variance"
INNER, OUTER = 3, 16  # conditional draws for a variance, and how often, per subset and permutation


@dataclass(frozen=True, repr=False)
class Sobol:
    """Sobol indices (Saltelli et al. 2010).

    Arguments:
        first: Variance by each coefficient on its own.
        total: Variance in which it has a part, interactions included.
        pairs: By pair of coefficients: `value` and `se` of their interaction, the largest first.
    """

    first: Effects
    total: Effects
    pairs: pd.DataFrame

    def figure(self, ax: Axes | None = None) -> Axes:
        """Both kinds as bars."""
        return figures.effects([self.first, self.total], ax)

    def __repr__(self) -> str:
        return f"Sobol({len(self.first.names)} coefficients)"

    def __str__(self) -> str:
        table = self.total.table().join(self.first.table(), rsuffix=" first")
        return f"Sobol indices: total and first order\n{table.round(3).to_string()}"


def sobol(
    outcome: Outcome, low: ArrayLike, high: ArrayLike, names: Sequence[str], *, num_samples: int = 1024, seed: int = 0
) -> Sobol:
    """Sobol indices of an outcome over a box of independent, uniform coefficients, by SALib.

    Arguments:
        outcome: `(n,)` or `(members, n)` of theta `(n, D)`. Of an ensemble, indices are averaged over members, and
            their spread enters the standard errors.
        low: Lower corner, `(D,)`.
        high: Upper corner, `(D,)`.
        names: Of the coefficients.
        num_samples: Base samples, a power of two; the outcome is evaluated at `num_samples (2 D + 2)` rules.
        seed: Of the design and of the bootstrap.

    Raises:
        ValueError: If the outcome is constant or not finite, or the box is empty.
        ImportError: If SALib is not installed.
    """
    try:
        from SALib.analyze import sobol as analyse
        from SALib.sample import sobol as design
    except ImportError as error:
        raise ImportError("Sobol indices need the package SALib (pip install 'sbirules[sensitivity]').") from error
    import pandas as pd

    low, high = (torch.as_tensor(v, dtype=torch.float64).flatten() for v in (low, high))
    arguments.whole("num_samples", num_samples, 16)
    if len(low) != len(names) or len(high) != len(names) or not bool((low < high).all()):
        raise ValueError(f"low and high must hold {len(names)} values each, low below high everywhere.")
    problem = {"num_vars": len(names), "names": list(names), "bounds": torch.stack([low, high], dim=1).tolist()}
    theta = torch.as_tensor(
        design.sample(problem, num_samples, calc_second_order=True, seed=small(seed, Stream.REFERENCES))
    ).float()
    with torch.no_grad():
        parts = [outcome(part) for part in torch.split(theta, 20_000)]
        values = torch.cat([y[None] if y.ndim == 1 else y for y in parts], dim=1).double()
    if not bool(torch.isfinite(values).all()) or not bool((values.std(dim=1) > 1e-7 * values.abs().mean(dim=1)).all()):
        raise ValueError("the outcome must be finite and not the same everywhere in the box.")
    found = [
        analyse.analyze(problem, row.numpy(), calc_second_order=True, seed=small(seed, Stream.BOOTSTRAP))
        for row in values
    ]

    def both(key: str) -> tuple[Tensor, Tensor]:
        """Mean over members, and its standard error: the bootstrap's and that between members."""
        value = torch.as_tensor(np.stack([f[key] for f in found]))
        se = torch.as_tensor(np.stack([f[f"{key}_conf"] for f in found])).mean(dim=0) / 1.96
        between = value.std(dim=0) / len(value) ** 0.5 if len(value) > 1 else torch.zeros_like(se)
        return value.mean(dim=0), (se.square() + between.square()).sqrt()

    first, total, second = both("S1"), both("ST"), both("S2")
    upper = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    rows = [
        {"pair": f"{names[i]}, {names[j]}", "value": float(second[0][i, j]), "se": float(second[1][i, j])}
        for i, j in upper
    ]
    pairs = pd.DataFrame(rows, columns=["pair", "value", "se"]).sort_values("value", ascending=False, ignore_index=True)
    names = tuple(names)
    return Sobol(
        Effects(names, *first, "alone (first order)", SHARE),
        Effects(names, *total, "with interactions (total)", SHARE),
        pairs,
    )


def shapley(
    outcome: Outcome, draws: ArrayLike, names: Sequence[str], *, num_permutations: int = 256, seed: int = 0
) -> Effects:
    """Shapley effects: shares of an outcome's variance where coefficients depend on each other (Song et al. 2016).

    They sum to one. Coefficients are drawn given others by a Gaussian copula fitted to the draws, so their margins
    are the draws' and their dependence is that of normal scores.

    Arguments:
        outcome: As for `sobol`; an ensemble is averaged.
        draws: Of the posterior, `(n, D)`.
        names: Of the coefficients.
        num_permutations: Random orders of the coefficients; errors shrink with their square root.
        seed: Of permutations and draws.

    Raises:
        ValueError: If the outcome is constant over the draws.
    """
    from scipy.stats import norm

    draws = arguments.theta_matrix(draws, names, argument="draws").double()
    arguments.whole("num_permutations", num_permutations, 8)
    d = draws.shape[1]
    stream = generator(seed, Stream.PERMUTATIONS)
    # draws of one value, as of an absent term, take places in an order that has nothing to do with other columns
    shuffled = torch.stack([torch.randperm(len(draws), generator=stream) for _ in range(d)], dim=1)
    mixed = draws.gather(0, shuffled)
    ranks = torch.empty_like(shuffled)
    ranks.scatter_(0, shuffled, mixed.argsort(dim=0, stable=True).argsort(dim=0))
    scores = torch.as_tensor(norm.ppf((ranks.numpy() + 0.5) / len(draws)))
    correlation = torch.corrcoef(scores.T).reshape(d, d)
    correlation = 0.999 * correlation + 0.001 * torch.eye(d, dtype=torch.float64)
    ordered = draws.sort(dim=0).values

    def value(z: Tensor) -> Tensor:
        """The outcome at normal scores `(n, D)`."""
        place = torch.special.ndtr(z) * len(draws) - 0.5
        below = place.floor().clamp(0, len(draws) - 2)
        share = (place - below).clamp(0, 1)
        low, high = (ordered.gather(0, (below + k).long()) for k in (0, 1))
        with torch.no_grad():
            out = outcome((low + share * (high - low)).float())
        return (out.mean(dim=0) if out.ndim == 2 else out).double()

    root = torch.linalg.cholesky(correlation)

    def normal(n: int, k: int) -> Tensor:
        return torch.randn(n, k, generator=stream, dtype=torch.float64)

    drawn = value(normal(20_000, d) @ root.T)
    variance = float(drawn.var())
    if not variance > (1e-7 * float(drawn.abs().mean())) ** 2:
        raise ValueError("the outcome must not be the same over all draws; choose another outcome.")
    shares = torch.zeros(num_permutations, d, dtype=torch.float64)
    for p in range(num_permutations):
        order = torch.randperm(d, generator=stream)
        whole = normal(OUTER, d) @ root.T
        batch = []
        for size in range(1, d):  # E[Var(outcome | the rest)], the first `size` of the order drawn given the rest
            inside, rest = order[:size], order[size:]
            pull = torch.linalg.solve(correlation[rest][:, rest], correlation[rest][:, inside])
            left = correlation[inside][:, inside] - correlation[inside][:, rest] @ pull
            own = torch.linalg.cholesky(left + 1e-9 * torch.eye(size, dtype=torch.float64))
            z = whole.repeat_interleave(INNER, dim=0)
            z[:, inside] = z[:, rest] @ pull + normal(len(z), size) @ own.T
            batch.append(z)
        values = value(torch.cat(batch)).reshape(d - 1, OUTER, INNER) if d > 1 else torch.zeros(0, OUTER, INNER)
        ends = torch.tensor([0.0, variance], dtype=torch.float64)
        costs = torch.cat([ends[:1], values.var(dim=2).mean(dim=1), ends[1:]])
        shares[p, order] = costs.diff() / variance
    label = "Shapley effect"
    return Effects(tuple(names), shares.mean(dim=0), shares.std(dim=0) / num_permutations**0.5, label, SHARE)
