"""MCMC over the support of a prior, by emcee's ensembles of walkers.

Walkers move along the differences between each other (ter Braak & Vrugt 2008; Foreman-Mackey et al. 2013),
so strongly correlated coefficients, the rule here, do not slow them down, and a whole ensemble is one
evaluation of the potential. Ensembles are independent: their R-hat tells whether they agree.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules import _check
from sbirules.streams import seeded

__all__ = ["Chains", "SamplerSettings", "draw_chains"]

Potential = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SamplerSettings:
    """Settings of the sampler.

    Arguments:
        num_ensembles: Independent ensembles.
        num_walkers: Walkers of each; raised to four per coefficient if that is more.
        num_steps: Steps of warm-up, and as many that draws are taken from.
        r_hat: While the ensembles disagree by more than this, the run goes on, twice as long each time.
        max_doublings: How often at most; then a warning says that they still disagree.
        num_candidates: Draws of the prior among which the starting points are chosen.
    """

    num_ensembles: int = 4
    num_walkers: int = 64
    num_steps: int = 400
    r_hat: float = 1.03
    max_doublings: int = 3
    num_candidates: int = 10_000

    def __post_init__(self) -> None:
        for name in ("num_ensembles", "num_walkers", "num_steps", "num_candidates"):
            _check.whole(name, getattr(self, name), 1)
        _check.whole("max_doublings", self.max_doublings, 0)
        _check.above("r_hat", self.r_hat, 1.0)


@dataclass(frozen=True)
class Chains:
    """Draws by ensemble, `(ensembles, draws, D)`, and whether the ensembles agree.

    Arguments:
        draws: The draws.
        r_hat: Largest rank-normalised R-hat of any coefficient over ensembles (Vehtari et al. 2021).
        ess: Smallest bulk effective sample size of all walkers.
    """

    draws: Tensor
    r_hat: float
    ess: float


def draw_chains(
    potential: Potential,
    prior: Distribution,
    num_samples: int,
    settings: SamplerSettings,
    *,
    seed: int,
    progress: bool = False,
) -> Chains:
    """Samples from the density proportional to exp(potential) on the prior's support.

    Arguments:
        potential: Unnormalised log-density `(n,)` of theta `(n, D)`, prior included.
        prior: Its support is sampled on sbi's unconstrained scale, so no draw can leave it.
        num_samples: Draws over all ensembles; rounded up to the same number in each.
        settings: Of the sampler.
        seed: Makes the draws repeatable.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If too few candidates have a density above zero to start from.
    """
    import emcee
    from sbi.utils import mcmc_transform
    from tqdm.auto import tqdm

    s = settings
    with seeded(seed), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = _starting_points(potential, prior, s)
        dim = start.shape[-1]
        transform = mcmc_transform(prior)

        def log_prob(u: np.ndarray) -> np.ndarray:
            free = torch.as_tensor(u, dtype=torch.float32)
            theta = transform.inv(free).float()
            value = (potential(theta) - transform.log_abs_det_jacobian(theta, free)).double()
            # far out on the unconstrained scale theta rounds to the edge of the support
            return torch.where(torch.isfinite(value), value, -math.inf).numpy()

        moves = [(emcee.moves.DEMove(), 0.7), (emcee.moves.DESnookerMove(), 0.1), (emcee.moves.StretchMove(), 0.2)]
        samplers = [emcee.EnsembleSampler(start.shape[1], dim, log_prob, vectorize=True, moves=moves) for _ in start]
        for sampler in samplers:  # else all would copy numpy's global state, and move alike
            sampler.random_state = np.random.RandomState(np.random.randint(2**31)).get_state()
        state: list[Any] = [transform(points).double().numpy() for points in start]
        steps = s.num_steps
        with tqdm(total=2 * steps * len(samplers), desc="sample", unit="step", disable=not progress) as bar:
            state = [_advance(a, b, steps, bar) for a, b in zip(samplers, state, strict=True)]
            for doubling in range(s.max_doublings + 1):
                for sampler in samplers:
                    sampler.reset()
                state = [_advance(a, b, steps, bar) for a, b in zip(samplers, state, strict=True)]
                walks = np.stack([sampler.get_chain() for sampler in samplers])  # (ensembles, steps, walkers, D)
                r_hat, ess = _agreement(walks)
                if not r_hat > s.r_hat or doubling == s.max_doublings:
                    break
                steps *= 2
                bar.total += steps * len(samplers)
        per_ensemble = math.ceil(num_samples / len(samplers))
        picked = walks[:, *_spread(per_ensemble, walks.shape[1], walks.shape[2])]
        draws = transform.inv(torch.as_tensor(picked, dtype=torch.float32))
    if r_hat > max(1.1, s.r_hat):
        warnings.warn(
            f"the sampler's ensembles disagree (R-hat {r_hat:.2f} after {steps} steps): do not trust these draws; "
            f"raise num_steps, or check whether the posterior has separate modes."
        )
    return Chains(draws, r_hat, ess)


def _spread(n: int, steps: int, walkers: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and walkers of n draws: all walkers in turn, each at moments as far apart as can be.

    Draws of one walker that follow each other closely are all but copies.
    """
    per_walker = -(-n // walkers)
    moments = ((np.arange(per_walker) + 1) * steps) // per_walker - 1 if per_walker <= steps else np.arange(steps)
    places = np.arange(n) % (len(moments) * walkers)
    return moments[places // walkers], places % walkers


def _advance(sampler: Any, state: Any, steps: int, bar: Any) -> Any:
    for reached in sampler.sample(state, iterations=steps):
        state = reached
        bar.update()
    return state


def _starting_points(potential: Potential, prior: Distribution, s: SamplerSettings) -> Tensor:
    """Distinct starting points `(ensembles, walkers, D)`: draws of the prior, those of higher density first."""
    points, values = [], []
    for _ in range(20):
        theta = prior.sample(Size((s.num_candidates,))).float()
        value = torch.cat([potential(part) for part in theta.split(2000)]).double()
        keep = torch.isfinite(value)
        points.append(theta[keep])
        values.append(value[keep])
        walkers = max(s.num_walkers, 4 * theta.shape[1])
        walkers += walkers % 2
        count = sum(len(p) for p in points)
        if count >= 2 * walkers:
            break
    if count < 2 * walkers:
        raise ValueError(
            f"only {count} of {20 * s.num_candidates} rules drawn from the prior have a posterior density above zero, "
            f"too few to start {walkers} walkers from; ask for less, or change the prior."
        )
    pool, value = torch.cat(points), torch.cat(values)
    temperature = 1.0
    while True:
        # flattened until the weight lies on enough points for distinct walkers
        weight = torch.softmax(value / temperature, dim=0)
        if 1.0 / float((weight**2).sum()) >= walkers or temperature > 1e6:
            break
        temperature *= 1.5
    index = [torch.multinomial(weight + 1e-12, walkers, replacement=False) for _ in range(s.num_ensembles)]
    return torch.stack([pool[i] for i in index])


def _agreement(walks: np.ndarray) -> tuple[float, float]:
    """R-hat over ensembles and effective sample size over walkers, of the worst coefficient."""
    import arviz

    ensembles, steps, walkers, dim = walks.shape
    by_walker = walks.transpose(0, 2, 1, 3).reshape(ensembles * walkers, steps, dim)
    ess = float(arviz.ess({"u": by_walker})["u"].min())
    if ensembles < 2:
        return math.nan, ess
    return float(arviz.rhat({"u": walks.reshape(ensembles, steps * walkers, dim)})["u"].max()), ess
