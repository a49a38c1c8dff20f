"""MCMC over the support of a prior, by sbi's vectorised slice sampler."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules import _check
from sbirules.streams import seeded

__all__ = ["Chains", "SamplerSettings", "draw_chains"]


@dataclass(frozen=True)
class SamplerSettings:
    """Settings of the sampler.

    Arguments:
        num_chains: Chains, run side by side.
        warmup_steps: Sweeps over all coefficients before the first kept draw.
        thin: Sweeps per kept draw.
        num_candidates: Draws of the prior among which the chains' starting points are chosen.
    """

    num_chains: int = 20
    warmup_steps: int = 100
    thin: int = 2
    num_candidates: int = 5000

    def __post_init__(self) -> None:
        for name in ("num_chains", "thin", "num_candidates"):
            _check.whole(name, getattr(self, name), 1)
        _check.whole("warmup_steps", self.warmup_steps, 0)


@dataclass(frozen=True)
class Chains:
    """Draws by chain, `(chains, draws, D)`, and whether the chains agree.

    Arguments:
        draws: The draws.
        r_hat: Largest rank-normalised R-hat of any coefficient (Vehtari et al. 2021).
        ess: Smallest bulk effective sample size.
    """

    draws: Tensor
    r_hat: float
    ess: float


class _Start(Distribution):
    """Starting points of the chains, handed out in turn."""

    def __init__(self, points: Tensor) -> None:
        super().__init__(event_shape=points.shape[1:], validate_args=False)
        self.points, self.used = points, 0

    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        n = Size(sample_shape).numel()
        index = (torch.arange(n) + self.used) % len(self.points)
        self.used += n
        return self.points[index].reshape(*sample_shape, -1)


def draw_chains(
    potential: Callable[[Tensor], Tensor],
    prior: Distribution,
    num_samples: int,
    settings: SamplerSettings,
    *,
    seed: int,
    starts: Tensor | None = None,
    progress: bool = False,
) -> Chains:
    """Samples from the density proportional to exp(potential) on the prior's support.

    Arguments:
        potential: Unnormalised log-density `(n,)` of theta `(n, D)`, prior included.
        prior: Its support is sampled on an unconstrained scale, so no draw can leave it.
        num_samples: Draws over all chains; rounded up to the same number in each.
        settings: Of the sampler.
        seed: Makes the draws repeatable.
        starts: Further candidates for the starting points, `(n, D)`.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If no candidate has a finite potential: then there is nowhere to start.
    """
    from sbi.inference.posteriors import MCMCPosterior
    from sbi.inference.potentials.base_potential import BasePotential
    from sbi.utils import mcmc_transform

    class Potential(BasePotential):
        def __call__(self, theta: Tensor, track_gradients: bool = True) -> Tensor:
            with torch.set_grad_enabled(track_gradients):
                return potential(theta)

    chains = settings.num_chains
    per_chain = math.ceil(num_samples / chains)
    with seeded(seed), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = prior.sample(Size((settings.num_candidates,)))
        points = points if starts is None else torch.cat([points, starts.to(points)])
        value = torch.cat([potential(part) for part in points.split(1000)])
        if not bool((value > -math.inf).any()):
            raise ValueError(
                f"none of {len(points)} rules drawn from the prior has a posterior density above zero, so there "
                f"is nowhere to start sampling; ask for less, or widen the prior."
            )
        weight = torch.softmax(torch.where(torch.isnan(value), -math.inf, value).double(), dim=0)
        start = points[torch.multinomial(weight, chains, replacement=True)]
        sampler = MCMCPosterior(
            Potential(prior, x_o=torch.zeros(1, 1)),
            proposal=_Start(start),
            theta_transform=mcmc_transform(prior),
            method="slice_np_vectorized",
            num_chains=chains,
            warmup_steps=settings.warmup_steps,
            thin=settings.thin,
            init_strategy="proposal",
        )
        flat = sampler.sample((chains * per_chain,), x=torch.zeros(1, 1), show_progress_bars=progress)
    draws = flat.reshape(chains, per_chain, -1)
    return Chains(draws, *_agreement(draws))


def _agreement(draws: Tensor) -> tuple[float, float]:
    import arviz

    if draws.shape[0] < 2 or draws.shape[1] < 4:
        return math.nan, math.nan
    data = arviz.convert_to_dataset({"theta": draws.double().numpy()})
    return float(arviz.rhat(data)["theta"].max()), float(arviz.ess(data)["theta"].min())
