"""How far a learned posterior is from one that is known: classifier, distances, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Size, Tensor

from sbirules.inference.posterior import Posterior
from sbirules.model.prior import names_of
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.borrowed import torch_as_found
from sbirules.support.streams import Stream, child, seeded, small
from sbirules.support.typed import typed, typed_class

__all__ = ["Comparison", "compare"]


@typed_class
@dataclass(frozen=True)
class Comparison:
    """A posterior beside a reference.

    Arguments:
        c2st: Accuracy of a classifier that tells their draws apart, by sbi's `c2st`; 0.5 where it cannot.
        wasserstein: Distance of each marginal, in s.d. of the reference, by coefficient.
        coverage: Share of the reference's draws inside the posterior's central interval, by coefficient.
        level: Nominal coverage of that interval.
        num_samples: Draws of each that were compared.
    """

    c2st: float
    wasserstein: dict[str, float]
    coverage: dict[str, float]
    level: float
    num_samples: int

    def __str__(self) -> str:
        width = max(len(name) for name in self.wasserstein)
        lines = [f"C2ST {self.c2st:.3f} ({self.num_samples} draws of each; 0.5 is perfect)"]
        lines.append(f"{'':<{width}}  Wasserstein / s.d.  coverage of {self.level:.0%}")
        for name, distance in self.wasserstein.items():
            lines.append(f"{name:<{width}}  {distance:>18.3f}  {self.coverage[name]:>15.3f}")
        return "\n".join(lines)


@typed
def compare(
    posterior: Posterior | _Samples | ArrayLike,
    reference: Posterior | _Samples | ArrayLike,
    *,
    names: Sequence[str] | None = None,
    num_samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Holds a posterior against a reference.

    Arguments:
        posterior: A `Posterior`, a torch distribution, or draws `(n, D)`.
        reference: The same, for instance `LinearGaussian().posterior(x_o, prior)`, or draws of the prior whose
            fresh simulations met the constraints.
        names: Of the coefficients; by default the posterior's.
        num_samples: Draws of each; if draws were passed in, the most there are of both.
        level: Of the central intervals.
        seed: Makes draws and classifier repeatable.

    Raises:
        ValueError: If the two have different numbers of columns, or fewer than 100 draws.
    """
    with torch_as_found():
        from sbi.utils.metrics import c2st
    from scipy.stats import wasserstein_distance

    arguments.whole("num_samples", num_samples, 100, arguments.MANY)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
    a, b = (_draws(v, num_samples, child(seed, Stream.SAMPLING, k)) for k, v in enumerate((posterior, reference)))
    n = min(len(a), len(b))
    if a.shape[1] != b.shape[1] or n < 100:
        raise ValueError(
            f"posterior and reference must have the same columns and at least 100 draws each, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    if names is None:
        names = names_of(posterior, [f"theta_{k + 1}" for k in range(a.shape[1])])
    if len(names) != a.shape[1]:
        raise ValueError(f"names must be {a.shape[1]}, got {len(names)}.")
    a, b = a[:n], b[:n]
    tail = (1 - level) / 2
    low, high = np.quantile(a.numpy(), [tail, 1 - tail], axis=0)
    inside = ((b.numpy() >= low) & (b.numpy() <= high)).mean(axis=0)
    distance = [float(wasserstein_distance(p.numpy(), q.numpy()) / q.std()) for p, q in zip(a.T, b.T, strict=True)]
    return Comparison(
        c2st=float(c2st(a, b, seed=small(seed, Stream.CLASSIFIER))),
        wasserstein=dict(zip(names, distance, strict=True)),
        coverage=dict(zip(names, inside.tolist(), strict=True)),
        level=level,
        num_samples=n,
    )


@runtime_checkable
class _Samples(Protocol):
    def sample(self, sample_shape: Size) -> Tensor: ...


def _draws(source: Posterior | _Samples | ArrayLike, n: int, seed: int) -> Tensor:
    """`(n, D)` draws in random order."""
    if isinstance(source, Posterior):
        return source.sample((n,), seed=seed).float()
    with seeded(seed, Stream.SAMPLING):
        if isinstance(source, _Samples):
            draws = torch.as_tensor(source.sample(Size((n,))))
            return draws.float()
        try:
            draws = torch.as_tensor(source, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"posterior and reference must be a Posterior, a distribution or draws (n, D), got {source!r:.80}."
            ) from error
        if draws.ndim != 2:
            raise ValueError(f"draws must have shape (n, D), got {tuple(draws.shape)}.")
        return draws[torch.randperm(len(draws))][:n]
