"""Prior times potential: a density over rules, and draws from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.inference.potentials import FunctionPotential, NormalisedPotential, Potential
from sbirules.model.prior import log_prior_of, prior_draws
from sbirules.priors import PriorLike, as_prior
from sbirules.samplers.chains import Chains, draw_chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed_class

__all__ = ["MOST", "RuleDensity"]

MOST = 10**8  # draws that fit in memory
FEW_RUNS = 3.0  # by which the error between fewer than four runs is widened: that between two is hardly one
OF_A_DRAW = 64  # bytes in memory for each coefficient, with what samplers carry along
EVIDENCE = 1000  # draws for the evidence
ROUNDING = 1e-5  # by which fixed columns may be off, as a share of their value or of the prior's s.d.


@typed_class
class RuleDensity:
    """A density over rules, in natural units, inside the prior's support.

    Arguments:
        prior: The prior: a torch distribution over vectors, a list of one for each coefficient, or one of
            `sbirules.priors`.
        names: Names of the columns of theta.
        potential: What multiplies the prior; or a function, the log-likelihood `(n,)` of theta `(n, D)`.
        settings: Of the sampler.
    """

    def __init__(
        self,
        prior: PriorLike,
        names: Sequence[str],
        potential: Potential | Callable[[Tensor], Tensor],
        settings: SamplerSettings | None = None,
    ) -> None:
        self.names = tuple(names)
        if isinstance(names, str) or len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be a different one for each coefficient, got {names!r}.")
        self.prior: Distribution = as_prior(prior, self.names)
        width = self.prior.event_shape.numel()
        if width != len(self.names):
            raise ValueError(
                f"names must be one per coefficient of the prior, {width}, got {arguments.listed(self.names)}."
            )
        net = potential if isinstance(potential, Potential) else FunctionPotential(potential)
        net.requires_grad_(False)
        net.bind(self.prior)
        self.potential_net, self.settings = net, settings or SamplerSettings()
        self.hold: dict[int, float] = {}  # fixed columns of theta
        self.region: dict[int, tuple[float, float]] = {}  # intervals that columns are kept to

    def sample(self, sample_shape: Sequence[int] | Size = (), *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws theta, `(*sample_shape, D)`, in natural units; all chains, shuffled.

        The same seed gives the same draws, whatever torch's global seed. `draw` returns the chains with their R-hat.
        """
        n = arguments.shape("sample_shape", sample_shape).numel()
        flat = self.draw(max(n, 1), seed=seed, progress=progress).draws.reshape(-1, len(self.names))
        with seeded(seed, Stream.SHUFFLE):
            flat = flat[torch.randperm(len(flat))][:n]
        return flat.reshape(*Size(sample_shape), len(self.names))

    def draw(self, num_samples: int, *, seed: int = 0, progress: bool = False) -> Chains:
        """At least so many draws, run by run, with what tells whether the runs agree."""
        arguments.whole("num_samples", num_samples, 1, MOST)
        each = OF_A_DRAW * len(self.names)
        refuse_beyond("num_samples", num_samples, lambda n: n * each, free_memory(), "memory", "draws")
        potential = self.potential_net
        if isinstance(potential, NormalisedPotential) and not (self.hold or self.region):
            with seeded(seed, Stream.SAMPLING):  # independent draws
                return Chains(potential.sample(num_samples)[None])
        return self._chains(num_samples, seed, progress)

    def _chains(self, num_samples: int, seed: int, progress: bool = False) -> Chains:
        """Draws by sequential Monte Carlo, from the modes where the likelihood is known and nothing is cut off."""
        whole = self.potential_net.exact and not self.region
        return draw_chains(
            self.potential_net.log_likelihood if whole else self.log_likelihood,
            self.prior,
            num_samples,
            self.settings,
            seed=seed,
            hold=self.hold,
            from_modes=whole,
            progress=progress,
        )

    def sample_tempered(self, num_samples: int, power: float, *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws `(num_samples, D)` from prior x likelihood^power: wider than the posterior for a power below 1."""

        arguments.whole("num_samples", num_samples, 1, MOST)
        arguments.at_least("power", power, 0.0)

        def flat(theta: Tensor) -> Tensor:
            return power * self.log_likelihood(theta)

        chains = draw_chains(flat, self.prior, num_samples, self.settings, seed=seed, hold=self.hold, progress=progress)
        return chains.draws.reshape(-1, len(self.names))[:num_samples]

    def potential(self, theta: ArrayLike) -> Tensor:
        """Unnormalised log-density `(n,)` of theta `(n, D)`: log prior + log-likelihood; -inf outside the prior."""
        theta = self.rules(theta)
        value = self.prior.log_prob(theta).float()
        value = torch.where(self.within_limits(theta), value, -math.inf)
        if isinstance(self.potential_net, NormalisedPotential):
            return torch.where(torch.isfinite(value), self.potential_net.log_prob(theta), -math.inf)
        return torch.where(torch.isfinite(value), value + self.potential_net.log_likelihood(theta), value)

    def log_likelihood(self, theta: ArrayLike) -> Tensor:
        """Log-likelihood `(n,)` of theta `(n, D)` up to a constant: what multiplies the prior; -inf outside it."""
        theta = self.rules(theta)
        prior = self.prior.log_prob(theta)
        return torch.where(torch.isfinite(prior), self.potential(theta) - prior, -math.inf)

    @property
    def normalised(self) -> bool:
        """Whether `log_prob` integrates to one: with `estimator="npe"` and wrapped posteriors, their parts included."""
        return isinstance(self.potential_net, NormalisedPotential)

    def log_prob(self, theta: ArrayLike) -> Tensor:
        """Log-density `(n,)` of theta `(n, D)`, of the free coefficients where some are fixed; see `normalised`.

        Where it is not normalised, subtract `log_evidence()[0]`. Parts of a normalised posterior are normalised by the
        sampler's evidence, the same for every theta, whose standard error is `log_evidence()[1]`.
        """
        value = self.potential(theta)
        if self.hold:
            value = value - log_prior_of(self.prior, self.names, self.hold)
        if self.normalised and (self.hold or self.region):
            value = value - self._share[0]
        return value

    @cached_property
    def _share(self) -> tuple[float, float]:
        """Log of what a part of a normalised posterior integrates to, and its standard error."""
        return self.log_evidence()

    def within_limits(self, theta: Tensor) -> Tensor:
        """Which rules `(..., D)` are in the part of the posterior that this is, `(...)` boolean."""
        theta = arguments.theta_columns(theta, self.names)
        inside = torch.ones(theta.shape[:-1], dtype=torch.bool)
        for column, (low, high) in self.region.items():
            inside &= (theta[..., column] >= low) & (theta[..., column] <= high)
        for column, value in self.hold.items():  # fixed columns may be off by rounding
            inside &= (theta[..., column] - value).abs() <= ROUNDING * max(abs(value), float(self._spread[column]))
        return inside

    @cached_property
    def _spread(self) -> Tensor:
        """S.d. of draws of the prior, `(D,)`."""
        return prior_draws(self.prior, 200).std(dim=0)

    def predicted_success(self, theta: ArrayLike) -> Tensor | None:
        """Learned probability `(n,)` that one network of each rule `(n, D)` satisfies the constraints; None without any."""
        return self.potential_net.predicted_success(self.rules(theta))

    def rules(self, theta: ArrayLike) -> Tensor:
        """Anything array-like as rules `(n, D)`, in the type in which potentials compute."""
        return arguments.theta_matrix(theta, self.names).cpu().float()

    def log_evidence(self, seed: int = 0) -> tuple[float, float]:
        """Log of the normalising constant (the mean likelihood under the prior), and its standard error.

        By bridge sampling from draws of sequential Monte Carlo; by its steps where that has a large error, where coefficients
        are fixed or may be absent, and under a prior of a class of one's own, whose density may lack a constant. The error
        joins that of sampling to that of what was learned, from how far its replicates, each learned without some of the
        simulations, give other constants (the jackknife; of flows with two members or more). Where exact values are known,
        differences from them were 0.2 to 1.8 times the error. It leaves out what all replicates have in common, such as
        networks too small for the summaries; a demanded `reliability`, and potentials without `replicates`, have the error of
        sampling only. Likelihoods are known up to a constant for `estimator="ratio"`, and so is this.

        Where coefficients are fixed, the mean is over the prior of the others; in a region, rules outside it count as 0.
        """
        s = self.settings
        chains = self._chains(EVIDENCE, seed)
        value, error = chains.log_evidence
        # the error between few runs is uncertain itself
        error *= math.sqrt((s.num_runs - 1) / (s.num_runs - 3)) if s.num_runs > 3 else FEW_RUNS
        rules = chains.draws.reshape(-1, len(self.names))
        return value, math.hypot(error, self._error_of_learning(rules))

    def _error_of_learning(self, draws: Tensor) -> float:
        """Standard error of the log-evidence by what was learned, from draws of the posterior `(n, D)`."""
        total = 0.0
        with torch.no_grad():
            for each in self.potential_net.replicates(draws):
                tilt = (each.log_likelihood - self.potential_net.log_likelihood(draws)).double()
                offset = torch.logsumexp(tilt, dim=1) - math.log(len(draws))
                total += each.factor * float(offset.var(correction=0))
        return math.sqrt(total)
