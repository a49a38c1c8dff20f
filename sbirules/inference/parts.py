"""Parts of a posterior: fixed coefficients, regions, its mode and its marginals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.prior import Sparse, bounds_of, log_prior_of, prior_draws
from sbirules.support import arguments
from sbirules.support.gradients import gradients

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["climb", "held", "limited", "marginals", "maximum"]

FAR = 1e10  # minus the log-density of impossible rules, for optimisers that need a number


class Density(Protocol):
    """What is climbed and described: a density over rules with draws."""

    @property
    def prior(self) -> Distribution: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def draws(self) -> Tensor: ...

    hold: dict[int, float]
    region: dict[int, tuple[float, float]]

    def potential(self, theta: Tensor) -> Tensor: ...

    def sample(self, sample_shape: Sequence[int], *, seed: int = ..., progress: bool = ...) -> Tensor: ...


def held(
    prior: Distribution, names: Sequence[str], before: Mapping[int, float], fixed: Mapping[str, float]
) -> dict[int, float]:
    """Columns to fix, and at what; see `Posterior.conditioned`."""
    if not fixed:
        raise ValueError("conditioned needs at least one coefficient, e.g. conditioned(theta_11=0.0).")
    for name, value in fixed.items():
        arguments.known("conditioned", name, tuple(names))
        arguments.finite(f"conditioned: {name}", value)
    if len(before.keys() | {list(names).index(n) for n in fixed}) == len(names):
        raise ValueError("conditioned must leave at least one coefficient free.")
    columns = {list(names).index(name): float(value) for name, value in fixed.items()}
    if not math.isfinite(log_prior_of(prior, names, {**before, **columns})):
        raise ValueError(f"conditioned: {dict(fixed)} lies outside the prior.")
    return columns


def limited(
    names: Sequence[str], region: Mapping[int, tuple[float, float]], intervals: Mapping[str, tuple[float, float]]
) -> dict[int, tuple[float, float]]:
    """Intervals by column, within those there were; see `Posterior.truncated`."""
    if not intervals:
        raise ValueError("truncated needs at least one interval, e.g. truncated(theta_33=(-1.0, -0.2)).")
    out = dict(region)
    for name, pair in intervals.items():
        arguments.known("truncated", name, tuple(names))
        try:
            low, high = (float(v) for v in pair)
        except (TypeError, ValueError):
            raise ValueError(f"truncated: {name} must be (low, high), got {pair!r}.") from None
        column = list(names).index(name)
        before = out.get(column, (-math.inf, math.inf))
        low, high = max(low, before[0]), min(high, before[1])
        if not low < high:
            raise ValueError(f"truncated: {name} must have low < high, within {before}; got {pair!r}.")
        out[column] = (low, high)
    return out


def maximum(posterior: Density, num_starts: int) -> Tensor:
    """The best rule found by L-BFGS-B within the prior's box, from the best draws."""
    arguments.whole("num_starts", num_starts, 1)
    draws = torch.unique(posterior.draws, dim=0)
    with torch.no_grad():
        value = posterior.potential(draws)
    starts = draws[value.argsort(descending=True)[:num_starts]]
    ends = [climb(posterior, start) for start in starts]
    best = max(ends, key=lambda end: end[1])
    return best[0] if best[1] > float(value.max()) else starts[0]


@gradients()
def climb(posterior: Density, start: Tensor) -> tuple[Tensor, float]:
    """The local maximum `(D,)` of the density that L-BFGS-B reaches from a rule, and its log-density; never outside the prior.

    Where the prior's density has no gradient, or its bounds are not known, by Nelder and Mead's simplex.
    """
    from scipy.optimize import minimize

    start = start.detach().clone()
    # absent terms stay absent: the density counts them apart
    sparse = isinstance(posterior.prior, Sparse)
    moving = [k for k in range(len(start)) if k not in posterior.hold and not (sparse and start[k] == 0)]
    here = float(posterior.potential(start[None]).detach())
    if not moving:  # the rule without terms
        return start, here
    # in units of how far draws spread, which may be tiny or huge
    spread = posterior.draws.double().std(dim=0)[moving]
    width: np.ndarray = torch.where(spread > 0, spread, 1.0).numpy()
    centre = start[moving].double().numpy()
    bounds = [
        tuple((end - c) / w for end in ends)
        for ends, c, w in zip(_bounds(posterior, moving), centre, width, strict=True)
    ]

    def rule(values: np.ndarray) -> Tensor:
        theta = start.clone()
        theta[moving] = torch.as_tensor(centre + width * values, dtype=torch.float32)
        return theta

    def loss(values: np.ndarray) -> float:
        with torch.no_grad():
            value = float(posterior.potential(rule(values)[None]))
        return -value if math.isfinite(value) else FAR

    def loss_and_slope(values: np.ndarray) -> tuple[float, np.ndarray]:
        theta = rule(values).requires_grad_(True)
        value = posterior.potential(theta[None])[0]
        if not bool(torch.isfinite(value)):
            return FAR, np.zeros(len(moving))
        if not value.requires_grad:  # flat, as under a demanded reliability
            return -float(value), np.zeros(len(moving))
        (slope,) = torch.autograd.grad(value, theta)
        return -float(value.detach()), -torch.nan_to_num(slope[moving]).double().numpy() * width

    if _has_slope(posterior.prior, start):
        found = minimize(loss_and_slope, np.zeros(len(moving)), jac=True, method="L-BFGS-B", bounds=bounds)
    else:
        found = minimize(loss, np.zeros(len(moving)), method="Nelder-Mead", bounds=bounds)
    end = rule(found.x)
    there = -loss(found.x)
    return (end, there) if there >= here else (start, here)


def _has_slope(prior: Distribution, theta: Tensor) -> bool:
    """Whether automatic differentiation knows how the log-density changes, as it does of torch's own distributions."""
    try:
        if prior.log_prob(theta.clone().requires_grad_(True)[None]).requires_grad:
            return True
    except (RuntimeError, TypeError):  # a function of numpy's
        return False
    density = prior.log_prob(prior_draws(prior, 64))
    return float(density.max() - density.min()) < 1e-6  # flat, which has no slope to know


def _bounds(posterior: Density, columns: Sequence[int]) -> list[tuple[float, float]]:
    """Ends of coefficients under the prior and the region, just inside."""
    every, out = bounds_of(posterior.prior, posterior.names), []
    width = posterior.draws.std(dim=0).tolist()
    for k in columns:
        (low, high), more = every[k], posterior.region.get(k, (-math.inf, math.inf))
        low, high = max(low, more[0]), min(high, more[1])
        inset = 1e-6 * ((high - low) if math.isfinite(high - low) else width[k])
        out.append((low + inset, high - inset))
    return out


def clear_of_zero(posterior: Density) -> list[str]:
    """Coefficients whose 95 % interval excludes zero where the prior's does not: one that must be positive always would."""
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(posterior.draws.double(), ends, dim=0)
    before_low, before_high = torch.quantile(prior_draws(posterior.prior, 10_000).double(), ends, dim=0)
    clear = ((low > 0) | (high < 0)) & (before_low <= 0) & (before_high >= 0)
    return [name for name, told in zip(posterior.names, clear.tolist(), strict=True) if told]


def marginals(posterior: Density) -> pd.DataFrame:
    """One row for each coefficient; see `Posterior.marginals`."""
    import pandas as pd

    draws = posterior.draws.double()
    prior = prior_draws(posterior.prior, 10_000).double()
    low, median, high = (torch.quantile(draws, q, dim=0) for q in (0.025, 0.5, 0.975))
    sd, before = draws.std(dim=0), prior.std(dim=0)
    columns = {
        "mean": draws.mean(dim=0),
        "sd": sd,
        "2.5%": low,
        "median": median,
        "97.5%": high,
        "prior_sd": before,
        "contraction": 1 - (sd / before) ** 2,
    }
    if isinstance(posterior.prior, Sparse):  # to find a term present widens its distribution: contraction would mislead
        columns["inclusion"] = (draws != 0).double().mean(dim=0)
        del columns["contraction"]
    return pd.DataFrame({name: v.numpy() for name, v in columns.items()}, index=list(posterior.names))
