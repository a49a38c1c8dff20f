"""Parts of a posterior: fixed coefficients, regions, its mode and its marginals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Size, Tensor

from sbirules import _check
from sbirules.streams import seeded

if TYPE_CHECKING:
    import pandas as pd

    from sbirules.posterior import Posterior

__all__ = ["held", "limited", "marginals", "maximum"]


FEWEST = 1000  # draws that a table of quantiles needs


def held(posterior: Posterior, fixed: Mapping[str, float]) -> dict[int, float]:
    """Columns to fix, and at what; see `Posterior.conditioned`."""
    if not fixed:
        raise ValueError("conditioned needs at least one coefficient, e.g. conditioned(theta_11=0.0).")
    for name, value in fixed.items():
        _check.known("conditioned", name, posterior.names)
        _check.finite(f"conditioned: {name}", value)
    if len(posterior.hold.keys() | {posterior.names.index(n) for n in fixed}) == len(posterior.names):
        raise ValueError("conditioned must leave at least one coefficient free.")
    prior: Any = posterior.prior
    if not hasattr(prior, "components") and not hasattr(prior, "slab"):
        raise ValueError("conditioned needs a prior with independent coefficients, such as uniform or spike_and_slab.")
    with seeded(0):
        theta = prior.sample(Size((1,))).float()
    for name, value in fixed.items():
        theta[0, posterior.names.index(name)] = value
    if not bool(torch.isfinite(prior.log_prob(theta)).all()):
        raise ValueError(f"conditioned: {dict(fixed)} lies outside the prior.")
    return {posterior.names.index(name): float(value) for name, value in fixed.items()}


def limited(posterior: Posterior, intervals: Mapping[str, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """Intervals by column, within those there were; see `Posterior.truncated`."""
    if not intervals:
        raise ValueError("truncated needs at least one interval, e.g. truncated(theta_33=(-1.0, -0.2)).")
    out = dict(posterior.region)
    for name, pair in intervals.items():
        _check.known("truncated", name, posterior.names)
        try:
            low, high = (float(v) for v in pair)
        except (TypeError, ValueError):
            raise ValueError(f"truncated: {name} must be (low, high), got {pair!r}.") from None
        column = posterior.names.index(name)
        before = out.get(column, (-math.inf, math.inf))
        low, high = max(low, before[0]), min(high, before[1])
        if not low < high:
            raise ValueError(f"truncated: {name} must have low < high, within {before}; got {pair!r}.")
        out[column] = (low, high)
    return out


def maximum(posterior: Posterior, num_starts: int, seed: int) -> Tensor:
    """The best rule found by L-BFGS-B within the prior's box, from the best draws."""
    _check.whole("num_starts", num_starts, 1)
    if posterior.chains is None:
        posterior.sample((1000,), seed=seed)
    draws = torch.unique(posterior.draws, dim=0)
    with torch.no_grad():
        value = posterior.potential(draws)
    starts = draws[value.argsort(descending=True)[:num_starts]]
    ends = [climb(posterior, start) for start in starts]
    best = max(ends, key=lambda end: end[1])
    return best[0] if best[1] > float(value.max()) else starts[0]


def climb(posterior: Posterior, start: Tensor) -> tuple[Tensor, float]:
    """The local maximum `(D,)` of the density that L-BFGS-B reaches from a rule, and its log-density."""
    from scipy.optimize import minimize

    bounds = _bounds(posterior)
    # absent terms stay absent: the density counts them apart
    moving = [
        k for k in range(len(start)) if k not in posterior.hold and not (_can_be_absent(posterior) and start[k] == 0)
    ]

    if not moving:  # the rule without terms
        return start, float(posterior.potential(start[None]))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        theta = start.clone()
        theta[moving] = torch.as_tensor(values, dtype=torch.float32)
        theta.requires_grad_(True)
        value = posterior.potential(theta[None])[0]
        if not bool(torch.isfinite(value)):
            return 1e10, np.zeros(len(moving))
        if not value.requires_grad:  # flat, as under a demanded reliability
            return -float(value), np.zeros(len(moving))
        (slope,) = torch.autograd.grad(value, theta)
        return -float(value.detach()), -torch.nan_to_num(slope[moving]).double().numpy()

    found = minimize(
        loss, start[moving].double().numpy(), jac=True, method="L-BFGS-B", bounds=[bounds[k] for k in moving]
    )
    end = start.clone()
    end[moving] = torch.as_tensor(found.x, dtype=torch.float32)
    return end, -float(found.fun)


def _can_be_absent(posterior: Posterior) -> bool:
    return hasattr(posterior.prior, "slab")


def _bounds(posterior: Posterior) -> list[tuple[float, float]]:
    """Ends of each coefficient under the prior and the region, just inside."""
    prior: Any = posterior.prior
    parts = getattr(getattr(prior, "slab", prior), "components", {})
    out = []
    for k, name in enumerate(posterior.names):
        support: Any = parts[name].support if name in parts else None
        low, high = float(getattr(support, "lower_bound", -math.inf)), float(getattr(support, "upper_bound", math.inf))
        more = posterior.region.get(k, (-math.inf, math.inf))
        low, high = max(low, more[0]), min(high, more[1])
        inset = 1e-6 * (high - low) if math.isfinite(high - low) else 1e-6
        out.append((low + inset, high - inset))
    return out


def marginals(posterior: Posterior, seed: int) -> pd.DataFrame:
    """One row for each coefficient; see `Posterior.marginals`."""
    import pandas as pd

    if posterior.chains is None or len(posterior.draws) < FEWEST:
        posterior.sample((2000,), seed=seed)
    draws = posterior.draws.double()
    with seeded(seed):
        prior = posterior.prior.sample(Size((10_000,))).double()
    low, median, high = (torch.quantile(draws, q, dim=0) for q in (0.025, 0.5, 0.975))
    sd, before = draws.std(dim=0), prior.std(dim=0)
    columns = {
        "mean": draws.mean(dim=0), "sd": sd, "2.5%": low, "median": median, "97.5%": high, "prior_sd": before,
        "contraction": 1 - (sd / before) ** 2,
    }  # fmt: skip
    if _can_be_absent(posterior):  # to find a term present widens its distribution: contraction would mislead
        columns["inclusion"] = (draws != 0).double().mean(dim=0)
        del columns["contraction"]
    return pd.DataFrame({name: v.numpy() for name, v in columns.items()}, index=list(posterior.names))
