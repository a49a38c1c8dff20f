"""Where simulated rules came from, for estimators of the posterior itself: they take rules as often as they come."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.model.prior import Sparse, written
from sbirules.priors import of_plain_form
from sbirules.stores.store import SimulationStore
from sbirules.support.files import plain
from sbirules.support.streams import Stream, generator, seeded

__all__ = ["drawn_from", "log_weight_of", "refuse_other_rules"]

UNLIKELY = 1e-4  # p-value, of all tests together, below which rules are not draws of the prior
CLEARLY = 0.1  # distance between distribution functions above which the answer would be another
FEWEST = 200  # rows that weighted ones must be worth
DRAWS, DIRECTIONS = 20_000, 4  # of the prior; directions for each coefficient


def log_weight_of(store: SimulationStore, prior: Distribution) -> Callable[[Tensor], Tensor] | None:
    """Log of prior / proposal of rules `(n, D)`, where the store knows a proposal other than the prior; else None.

    Raises:
        ValueError: If the weighted rules would be worth too few, or the prior reaches beyond the proposal.
    """
    proposal = _known_proposal(store, prior)
    if proposal is None:
        return None

    def log_weight(theta: Tensor) -> Tensor:
        own = prior.log_prob(theta)
        return torch.where(torch.isfinite(own), own - proposal.log_prob(theta), -math.inf)

    with seeded(0, Stream.PRIOR_SPREAD):
        unreached = torch.isinf(proposal.log_prob(prior.sample(Size((DRAWS,))).float())).double().mean()
    if float(unreached) > 0:
        raise ValueError(
            f"{100 * float(unreached):.2g} % of the prior lies where the proposal of {store.path} has no rules; give a prior "
            f"within the proposal, or simulate rules from the prior."
        )
    weight = torch.softmax(log_weight(store.theta).double(), dim=0)
    worth = 1 / float((weight**2).sum())
    told = (
        f"the rules of {store.path} were drawn from another distribution than the prior; weighted by prior / proposal, all "
        f"{len(store)} are worth {worth:.0f}"
    )
    if worth < FEWEST:
        raise ValueError(
            f"{told}, at least {FEWEST} are needed: simulate rules from the prior, or leave estimator out, which takes rules "
            f"from anywhere."
        )
    warnings.warn(f"{told}.")
    return log_weight


def _known_proposal(store: SimulationStore, prior: Distribution) -> Distribution | None:
    """What a store's rules were drawn from, where that is known and not the prior."""
    told = store.manifest["config"].get("proposal")
    if not isinstance(told, dict) or not isinstance(told.get("prior"), dict) or drawn_from(store, prior):
        return None
    found = of_plain_form(told["prior"])
    # terms that are absent have no density
    return None if isinstance(found, Sparse) or isinstance(prior, Sparse) else found


def refuse_other_rules(store: SimulationStore, prior: Distribution, names: Sequence[str]) -> None:
    """Warns, or raises ValueError, where a store's rules do not look like draws of the prior.

    Kolmogorov-Smirnov tests of each coefficient, and along random directions, which see dependence; rules that share
    several networks count once.
    """
    from scipy.stats import ks_2samp

    theta = torch.unique(store.theta, dim=0).double()
    if len(theta) < 20 or drawn_from(store, prior):
        return
    with seeded(0, Stream.PRIOR_SPREAD):
        draws = prior.sample(Size((DRAWS,))).double()
    middle, sd = draws.median(dim=0).values, (draws.quantile(0.9, dim=0) - draws.quantile(0.1, dim=0)).clamp(min=1e-300)
    dim = len(names)
    directions = torch.eye(dim, dtype=torch.float64)
    if dim > 1:
        signs = torch.randn(DIRECTIONS * dim, dim, generator=generator(0, Stream.REFERENCES), dtype=torch.float64)
        directions = torch.cat([directions, signs])
    a, b = (((t - middle) / sd @ directions.T).numpy() for t in (theta, draws))
    found = [ks_2samp(u, v, method="asymp") for u, v in zip(a.T, b.T, strict=True)]
    p, distance = np.array([f.pvalue for f in found]), np.array([f.statistic for f in found])
    if p.min() * len(p) > UNLIKELY:
        return
    worst = int(np.argmin(p[:dim]))
    what = names[worst] if p[worst] * len(p) <= UNLIKELY else "how coefficients go together"
    text = (
        f"the rules of {store.path} do not look like draws of the prior ({what}: Kolmogorov-Smirnov distance "
        f'{distance[worst] if what == names[worst] else distance.max():.2f}, p = {p.min():.1g}), and estimator="npe" takes '
        f"rules as often as they come: simulate rules from the prior, or leave estimator out, which takes them from anywhere."
    )
    if distance.max() > CLEARLY:
        raise ValueError(text)
    warnings.warn(text)


def drawn_from(store: SimulationStore, prior: Distribution) -> bool:
    """Whether the store says that its rules are draws of this prior."""
    told, mine = store.manifest["config"].get("proposal"), written(prior)
    return isinstance(told, dict) and mine is not None and told.get("prior") == plain(dict(mine))
