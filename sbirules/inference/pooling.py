r"""Partial pooling: animals whose rules are alike but not the same.

On the prior's unconstrained scale, for the coefficients that vary,

    mu ~ prior,    sigma_k ~ half-normal(spread),    u_a ~ N(mu, diag(sigma^2)),    choices of a ~ p(. | theta(u_a))

NUTS (Hoffman & Gelman 2014, pyro's) walks over (mu, log sigma, v) with u_a = m_a(mu, sigma) + L_a(sigma) v_a, where m_a and
L_a are the mean and a factor of the covariance of u_a's conditional distribution if the animal's log-likelihood were the
quadratic that it is near its most probable rule under a first guess of the population. Where data say little that is the
non-centred form, where they say much the centred one, and between them what suits the animal (Papaspiliopoulos et al.
2007); the density stays exact.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from tqdm.auto import tqdm

from sbirules.inference.animals import AnimalDraws
from sbirules.inference.exact import PooledPotential, TablePotential
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import Fitted
from sbirules.model.abilities import TableLikelihood
from sbirules.model.prior import Sparse
from sbirules.samplers.chains import Chains, agreement
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.counting import counted, counter
from sbirules.support.curvature import climbed, curvature
from sbirules.support.robust import kept
from sbirules.support.scale import Transform, log_prior_on, unconstrained
from sbirules.support.streams import Stream, child, seeded

__all__ = ["Population", "fit_partially", "guessed"]

CHAINS, WARM_UP, DRAWS = 4, 250, 750
GUESSES = 4  # rounds in which the population is guessed from its animals, and these from it
FIRST, STARTS, STEPS = 256, 3, 25  # draws of the prior, the best of them for an animal, and Newton steps from each
SCALE = 0.4  # about the s.d. of log s.d. of a population of a dozen animals
PRIOR = 0.3  # precision of a usual prior of the centre on that scale


@dataclass(frozen=True)
class Population:
    """The joint density of a population and its animals; A animals, D coefficients of which V vary.

    Arguments:
        likelihood: Of the table.
        prior: Of the centre.
        transform: To its unconstrained scale.
        varies: Columns that vary.
        spread: S.d. of the half-normal prior of their s.d.
        peak: Each animal's most probable rule under a guessed population, on the unconstrained scale, `(A, D)`.
        information: Minus the second derivative of its log-likelihood there by the columns that vary, `(A, V, V)`.
        pull: The quadratic's linear part: information times peak plus the slope there, `(A, V)`.
        guess: S.d. of the guessed population, `(V,)`.
        fixed: Scale of the coefficients that do not vary, `(D,)`.
    """

    likelihood: TableLikelihood
    prior: Distribution
    transform: Transform
    varies: tuple[int, ...]
    spread: float
    peak: Tensor
    information: Tensor
    pull: Tensor
    guess: Tensor
    fixed: Tensor

    @property
    def dim(self) -> int:
        """Number of coefficients."""
        return self.peak.shape[1]

    def population(self, z: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Centre `(D,)` and log s.d. `(V,)` of the population on the unconstrained scale, and log |d(centre)/dz|."""
        log_sd = self.guess.log() + SCALE * z["log_sd"]
        columns = list(self.varies)
        # were likelihoods Gaussian, the centre given the s.d. would be so, too: the animals' own are integrated out
        total = self.information + torch.diag(torch.exp(-2 * log_sd))
        both = torch.cat([self.information, self.pull[:, :, None]], dim=2)
        left = both - self.information @ torch.linalg.solve(total, both)
        precision = left[:, :, :-1].sum(dim=0) + PRIOR * torch.eye(len(columns), dtype=torch.float64)
        factor = torch.linalg.cholesky(0.5 * (precision + precision.T))
        mean = torch.cholesky_solve(left[:, :, -1].sum(dim=0)[:, None], factor)[:, 0]
        off = torch.linalg.solve_triangular(factor.T, z["centre"][columns][:, None], upper=True)[:, 0]
        centre = self.peak.mean(dim=0) + self.fixed * z["centre"]
        return centre.index_copy(0, torch.tensor(columns), mean + off), log_sd, -factor.diagonal().log().sum()

    def parts(self, z: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Animals `(A, D)`, centre `(D,)` and log s.d. `(V,)` on the unconstrained scale, and log |d(centre, u)/dz|."""
        centre, log_sd, of_centre = self.population(z)
        v = z["animals"]
        columns = list(self.varies)
        precision = torch.diag(torch.exp(-2 * log_sd))
        total = self.information + precision
        pull = self.pull + precision @ centre[columns]
        factor = torch.linalg.cholesky(total)
        mean = torch.cholesky_solve(pull[:, :, None], factor)[:, :, 0]
        off = torch.linalg.solve_triangular(factor.transpose(1, 2), v[:, :, None], upper=True)[:, :, 0]
        volume = of_centre - torch.diagonal(factor, dim1=1, dim2=2).log().sum()
        u = centre.expand(len(v), -1).clone()
        u[:, columns] = mean + off
        return u, centre, log_sd, volume

    def energy(self, z: dict[str, Tensor]) -> Tensor:
        """Minus the log-density of the population and its animals."""
        u, centre, log_sd, volume = self.parts(z)
        log_centre = log_prior_on(self.prior, self.transform, centre[None])
        sd = log_sd.exp()
        log_spread = (-0.5 * (sd / self.spread) ** 2 + log_sd).sum()
        columns = list(self.varies)
        away = (u[:, columns] - centre[columns]) / sd
        log_animals = -0.5 * away.square().sum() - len(u) * log_sd.sum()
        value = self.likelihood.log_prob(self.transform.inv(u)[None]).sum()
        energy: Tensor = -(log_centre.sum() + log_spread + log_animals + volume + value)
        return energy


def fit_partially(
    fitted: Fitted,
    prior: Distribution,
    simulator: Any,
    *,
    varies: Sequence[str] | None,
    spread: float,
    sampler: Any,
    seed: int,
    progress: bool,
) -> Posterior:
    """The posterior of a population and its animals; arguments as for `fit`.

    Raises:
        ValueError: If there are fewer than three animals, or the prior has terms that may be absent.
    """
    potential, names = fitted.potential, tuple(simulator.names)
    if not isinstance(potential, TablePotential):
        raise ValueError("partial pooling needs a table whose likelihood is known, of choices or recordings.")
    if isinstance(prior, Sparse):
        raise ValueError(
            'animals="partial" needs a prior under which all terms are present; spike-and-slab goes with "shared" and "own".'
        )
    if potential.likelihood.animals < 3:
        raise ValueError(
            f'animals="partial" needs at least three animals, got {potential.likelihood.animals}; use "own" or "shared".'
        )
    chosen = names if varies is None else arguments.strings("varies", varies)
    for name in chosen:
        arguments.known("varies", name, names)
    if not chosen:
        raise ValueError('varies must name at least one coefficient; for none use animals="shared".')
    columns = tuple(names.index(name) for name in names if name in chosen)
    population = guessed(potential.likelihood, prior, columns, spread, seed, progress)
    settings = sampler if isinstance(sampler, SamplerSettings) else None
    draws = DRAWS if settings is None else math.ceil(settings.num_particles / CHAINS)
    found = _chains(population, draws, seed, progress)
    return _collected(fitted, prior, names, population, found, potential)


def guessed(
    likelihood: TableLikelihood,
    prior: Distribution,
    columns: tuple[int, ...],
    spread: float,
    seed: int,
    progress: bool = False,
) -> Population:
    """A population by empirical Bayes, with each animal's likelihood as a quadratic near its most probable rule."""
    transform = unconstrained(prior)
    dim, animals, chosen = prior.event_shape.numel(), likelihood.animals, list(columns)
    with seeded(seed, Stream.POINTS):
        first = transform(prior.sample(Size((FIRST,)))).double()
    centre, sd = torch.zeros(dim, dtype=torch.float64), torch.full((dim,), float(spread), dtype=torch.float64)

    def value(u: Tensor) -> Tensor:
        at = torch.nan_to_num(likelihood.log_prob(transform.inv(u)), nan=-math.inf)
        return at - 0.5 * ((u - centre) / sd).square().sum(dim=-1)

    def of_data(u: Tensor) -> Tensor:  # (n, animals, D)
        own = u.clone().requires_grad_(True)
        with torch.enable_grad():
            theta = transform.inv(own)
            (by_u,) = torch.autograd.grad((theta * likelihood.value_and_slope(theta)[1]).sum(), own)
        return torch.nan_to_num(by_u)

    def slope(u: Tensor) -> Tensor:
        return of_data(u) - (u - centre) / sd.square()

    best = value(first[:, None].expand(-1, animals, -1)).topk(STARTS, dim=0).indices  # of each animal
    starts = first[best]
    for _ in tqdm(range(GUESSES), desc="guess population", unit="round", disable=not progress):
        ends, heights = climbed(value, slope, starts, STEPS)
        peak = ends.gather(0, heights.argmax(dim=0)[None, :, None].expand(1, animals, dim))[0]
        values, vectors = curvature(of_data, peak[None])
        values, vectors = values[0], vectors[0]
        whole = vectors @ torch.diag_embed(values.clamp(min=1e-6)) @ vectors.transpose(1, 2)
        error = torch.linalg.inv(whole + torch.diag(sd**-2)).diagonal(dim1=1, dim2=2)
        centre = peak.mean(dim=0)
        between = (peak - centre).square().sum(dim=0) + error.sum(dim=0)
        # the mode under the half-normal prior, roughly: as if it were one more animal of a small spread
        sd = ((between + (0.1 * spread) ** 2) / (animals + 1)).sqrt().clamp(max=3 * spread)
        starts = torch.stack([peak, centre.expand(animals, -1)])  # an animal's mode may not be the population's
    information = whole[:, chosen][:, :, chosen]
    pull = (information @ peak[:, chosen, None])[:, :, 0] + of_data(peak[None])[0, :, chosen]
    fixed = whole.sum(dim=0).diagonal().clamp(min=PRIOR).rsqrt()
    return Population(likelihood, prior, transform, columns, spread, peak, information, pull, sd[chosen], fixed)


def _chains(population: Population, draws: int, seed: int, progress: bool) -> list[tuple[dict[str, Tensor], int]]:
    """Draws of each chain, and how many of its steps diverged."""
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    # pyro cannot walk in several threads, which is all that a worker process of another job could start
    nested = getattr(get_active_backend()[0], "nesting_level", 0)
    workers = 1 if nested else min(CHAINS, os.cpu_count() or 1)
    seeds = [child(seed, Stream.SAMPLING, k) for k in range(CHAINS)]
    steps = warm_up(draws) + draws
    with counted(CHAINS * steps, f"{CHAINS} chains of {steps} steps", "step", progress) as folder:
        jobs = [delayed(_chain)(population, draws, own, workers > 1, folder, k) for k, own in enumerate(seeds)]
        return list(Parallel(n_jobs=workers, backend="loky")(jobs))


def warm_up(draws: int) -> int:
    """Steps of a chain before its first draw."""
    return min(WARM_UP, 2 * draws)


def _chain(
    population: Population, draws: int, seed: int, beside_others: bool, folder: Path | None, number: int
) -> tuple[dict[str, Tensor], int]:
    from pyro import infer

    kernel_of: Callable[..., Any] = infer.NUTS  # pyro has no types
    chain_of: Callable[..., Any] = infer.MCMC

    if beside_others:  # this process is a worker's own
        torch.set_num_threads(1)
        population.likelihood.threads = 1
    v = len(population.varies)
    with seeded(seed):
        start = {
            "log_sd": 0.5 * torch.randn(v, dtype=torch.float64),
            "centre": 0.5 * torch.randn(population.dim, dtype=torch.float64),
            "animals": 0.5 * torch.randn(len(population.peak), v, dtype=torch.float64),
        }
        kernel = kernel_of(
            potential_fn=population.energy, adapt_mass_matrix=False, target_accept_prob=0.85, max_tree_depth=8
        )
        chain = chain_of(
            kernel,
            num_samples=draws,
            warmup_steps=warm_up(draws),
            initial_params=start,
            hook_fn=counter(folder, number),
            disable_progbar=True,  # workers have no terminal of their own
        )
        chain.run()
        found = {name: value.detach() for name, value in chain.get_samples().items()}
        diverged = len(chain.diagnostics().get("divergences", {}).get("chain 0", []))
    return found, diverged


def _collected(
    fitted: Fitted,
    prior: Distribution,
    names: tuple[str, ...],
    population: Population,
    found: list[tuple[dict[str, Tensor], int]],
    potential: TablePotential,
) -> Posterior:
    """The posterior that chains are draws of."""
    transform = population.transform
    centres, spreads, animals = [], [], []
    with torch.no_grad():
        for chain, _ in found:
            every = [population.parts({k: v[n] for k, v in chain.items()}) for n in range(len(chain["centre"]))]
            centres.append(transform.inv(torch.stack([each[1] for each in every])))
            u = torch.stack([each[0] for each in every])
            animals.append(transform.inv(u.reshape(-1, population.dim)).reshape(u.shape))
            sd = torch.zeros(len(u), population.dim, dtype=torch.float64)
            sd[:, list(population.varies)] = torch.stack([each[2] for each in every]).exp()
            spreads.append(sd)
    by_chain = [torch.stack(v) for v in (centres, spreads, animals)]
    r_hat, ess = agreement(torch.cat([by_chain[0], by_chain[1], by_chain[2].flatten(2)], dim=2), {})
    diverged = sum(count for _, count in found)
    centre = by_chain[0].float()
    chains = Chains(centre, r_hat, ess)
    pooled = PooledPotential(potential, centre.flatten(0, 1))
    out = Posterior(prior, names, pooled, fitted.question, fitted.record).with_draws(chains)
    out.of_animals = AnimalDraws(
        potential.learners,
        names,
        kept(by_chain[2].flatten(0, 1)),
        by_chain[1].flatten(0, 1).float(),
        centre.flatten(0, 1),
        divergences=diverged,
    )
    return out
