"""Directions and pairs: what the data constrain, what they leave free, and what compensates for what."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Size, Tensor

from sbirules.importance.effects import Directions
from sbirules.inference.posterior import Posterior
from sbirules.model.prior import prior_draws
from sbirules.support import arguments
from sbirules.support.borrowed import torch_as_found
from sbirules.support.streams import Stream, generator, seeded

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["active_subspace", "compensation", "stiff_and_sloppy"]

PRIOR_DRAWS = 10_000
BOOTSTRAPS = 100
REPEATS = 3  # regressions of an active subspace, whose spread is its uncertainty


def _effective(posterior: Posterior) -> int:
    """How many independent draws the posterior's are worth, of the 2000 at most that are used."""
    ess = posterior.chains.ess
    drawn = min(len(posterior.draws), 2000)
    return int(min(drawn, ess)) if ess == ess else drawn


def _free(posterior: Posterior, what: str) -> list[int]:
    """Columns that vary over the posterior; those that are held fixed have no direction."""
    columns = [k for k in range(len(posterior.names)) if bool((posterior.draws[:, k] != posterior.draws[0, k]).any())]
    if len(columns) < 2:
        raise ValueError(f"{what} needs at least two coefficients that vary, got {len(columns)}.")
    return columns


def stiff_and_sloppy(posterior: Posterior, *, seed: int = 0) -> Directions:
    """Directions from the stiffest (most constrained) to the sloppiest: posterior against prior covariance.

    Generalised eigenvectors v of C_post v = s^2 C_prior v; the value is log(1 / s), the nats by which the data narrow
    that direction. Their sum is the information gained where both distributions are Gaussian. Standard errors by the
    bootstrap over as many draws as the sampler's effective size.

    Arguments:
        posterior: With draws, or some are made.
        seed: Of draws and bootstrap.
    """
    from scipy.linalg import eigh

    draws = posterior.spread_out(2000).double()
    before = prior_draws(posterior.prior, PRIOR_DRAWS).double()
    sd = before.std(dim=0)
    prior = torch.cov((before / sd).T).reshape(len(sd), -1).numpy()

    def spectrum(rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
        covariance = torch.cov((rows / sd).T).reshape(len(sd), -1).numpy()
        values, columns = eigh(covariance, prior)
        return values, columns

    value, vectors = spectrum(draws)
    effective = _effective(posterior)
    stream = generator(seed, Stream.BOOTSTRAP)
    again = [
        spectrum(draws[torch.randint(len(draws), (max(effective, len(sd) + 2),), generator=stream)])[0]
        for _ in range(BOOTSTRAPS)
    ]
    narrowing = torch.as_tensor(-0.5 * np.log(np.maximum(value, 1e-12)))
    se = torch.as_tensor(-0.5 * np.log(np.maximum(np.stack(again), 1e-12))).std(dim=0)
    # a linear combination that is constrained: the coefficients that read it off, not the direction moved along
    readers = torch.as_tensor(vectors) / torch.as_tensor(vectors).norm(dim=0)
    return Directions(
        posterior.names, readers, narrowing, se, "stiff and sloppy directions", "narrowing against the prior (nats)"
    )


def active_subspace(
    posterior: Posterior, theta: Tensor, outcome: Tensor, *, label: str = "outcome", seed: int = 0
) -> Directions:
    """Directions along which an outcome changes fastest over the posterior, by sbi's `ActiveSubspace`.

    A network is trained to predict the outcome from the rule; the value is the share of the mean squared gradient
    (coefficients in s.d. of the prior) along each direction. Standard errors are those between three trainings.

    Arguments:
        posterior: With draws, or some are made.
        theta: Simulated rules, `(n, D)`.
        outcome: Outcome of each, `(n,)`; NaN rows are left out.
        label: Of the outcome.
        seed: Of the trainings.
    """
    with torch_as_found():
        from sbi.analysis import ActiveSubspace

    there = torch.isfinite(outcome)
    if int(there.sum()) < 100:
        raise ValueError(f"active_subspace needs at least 100 rules with a finite outcome, got {int(there.sum())}.")
    if len(posterior.names) < 2:
        raise ValueError("active_subspace needs at least two coefficients.")
    theta, y = theta[there].float(), outcome[there].float()[:, None]
    plain = _ForSbi(posterior, seed)
    matrices = []
    for k in range(REPEATS):
        with seeded(seed, Stream.TRAINING, k), contextlib.redirect_stdout(io.StringIO()):
            space = ActiveSubspace(plain).add_property(theta, y)
            space.train()
            value, vectors = space.find_directions()
        matrices.append((vectors * value) @ vectors.T / value.sum())
    mean = torch.stack(matrices).mean(dim=0).double()
    value, vectors = torch.linalg.eigh(mean)
    along = torch.stack([(vectors.T @ m.double() @ vectors).diagonal() for m in matrices])
    order = value.argsort(descending=True)
    se = along.std(dim=0)[order] / REPEATS**0.5
    return Directions(
        posterior.names, vectors[:, order], value[order], se, f"active subspace of {label}", "share of squared gradient"
    )


class _ForSbi:
    """What sbi's ActiveSubspace asks of a posterior."""

    _device = "cpu"

    def __init__(self, posterior: Posterior, seed: int) -> None:
        self.posterior, self.prior, self.seed = posterior, _Scale(posterior), seed

    def sample(self, shape: Sequence[int]) -> Tensor:
        return self.posterior.spread_out(Size(shape).numel()).float().clone()


class _Scale:
    def __init__(self, posterior: Posterior) -> None:
        draws = prior_draws(posterior.prior, PRIOR_DRAWS).double().float()
        self.mean, self.stddev = draws.mean(dim=0), draws.std(dim=0)


class _InSingle:
    """A posterior whose log-densities are of single precision, as sbi's function takes them for; likelihoods may be double."""

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior

    def log_prob(self, theta: Tensor) -> Tensor:
        return self.posterior.log_prob(theta).float()


def compensation(posterior: Posterior, *, conditions: int = 20, seed: int = 0) -> pd.DataFrame:
    """Pairs of coefficients that can stand in for each other, the strongest first.

    `correlation` in the posterior, with its standard error; `partial`: that with all others held fixed, from the
    inverse covariance; `conditional`: in the density around posterior draws, the others fixed there, by sbi's
    `conditional_corrcoeff` (mean over draws).

    Arguments:
        posterior: With draws, or some are made.
        conditions: Draws around which conditionals are taken, 0 to leave that column out.
        seed: Of draws.
    """
    import pandas as pd

    with torch_as_found():
        from sbi.analysis import conditional_corrcoeff

    arguments.whole("conditions", conditions, 0)
    draws = posterior.spread_out(2000).double()
    free = _free(posterior, "compensation")
    every, draws, d = draws, draws[:, free], len(free)
    names = [posterior.names[k] for k in free]
    r = torch.corrcoef(draws.T)
    precision = torch.linalg.pinv(torch.cov(draws.T))
    scale = precision.diagonal().sqrt()
    partial = -precision / (scale[:, None] * scale)
    se = (1 - r.square()) / max(_effective(posterior) - 1, 1) ** 0.5
    columns = {"correlation": r, "se": se, "partial": partial}
    if conditions:
        low, high = every.min(dim=0).values, every.max(dim=0).values
        at = every[torch.linspace(0, len(draws) - 1, conditions).long()].float()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on how sbi calls meshgrid
            columns["conditional"] = conditional_corrcoeff(
                _InSingle(posterior), torch.stack([low, high], dim=1).float(), at, subset=free, resolution=20
            ).double()
    upper = [(i, j) for i in range(d) for j in range(i + 1, d)]
    index = [f"{names[i]}, {names[j]}" for i, j in upper]
    table = pd.DataFrame({name: [float(m[i, j]) for i, j in upper] for name, m in columns.items()}, index=index)
    return table.reindex(table["correlation"].abs().sort_values(ascending=False).index)
