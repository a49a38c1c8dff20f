"""Prior times potential: a density over rules, and draws from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.inference.potentials import FunctionPotential, NormalisedPotential, Potential
from sbirules.samplers.chains import Chains, draw_chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.streams import seeded

__all__ = ["RuleDensity"]

OF_A_DRAW = 64  # bytes in memory for each coefficient, with what samplers carry along
EVIDENCE = 1000  # draws for the evidence


class RuleDensity:
    """A density over rules, in natural units, inside the prior's support.

    Arguments:
        prior: The prior.
        names: Names of the columns of theta.
        potential: What multiplies the prior; or a function, the log-likelihood `(n,)` of theta `(n, D)`.
        settings: Of the sampler.
    """

    def __init__(
        self,
        prior: Distribution,
        names: Sequence[str],
        potential: Potential | Callable[[Tensor], Tensor],
        settings: SamplerSettings | None = None,
    ) -> None:
        self.prior, self.names = prior, tuple(names)
        net = potential if isinstance(potential, Potential) else FunctionPotential(potential)
        net.requires_grad_(False)
        net.bind(prior)
        self.potential_net, self.settings = net, settings or SamplerSettings()
        self.hold: dict[int, float] = {}  # fixed columns of theta
        self.region: dict[int, tuple[float, float]] = {}  # intervals that columns are kept to

    def sample(self, sample_shape: Sequence[int] | Size = (), *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws theta, `(*sample_shape, D)`, in natural units; all chains, shuffled.

        The same seed gives the same draws, whatever torch's global seed. `draw` returns the chains with their R-hat.
        """
        n = arguments.shape("sample_shape", sample_shape).numel()
        flat = self.draw(max(n, 1), seed=seed, progress=progress).draws.reshape(-1, len(self.names))
        with seeded(seed, 1):
            flat = flat[torch.randperm(len(flat))][:n]
        return flat.reshape(*Size(sample_shape), len(self.names))

    def draw(self, num_samples: int, *, seed: int = 0, progress: bool = False) -> Chains:
        """At least so many draws, run by run, with what tells whether the runs agree."""
        arguments.whole("num_samples", num_samples, 1)
        each = OF_A_DRAW * len(self.names)
        refuse_beyond("num_samples", num_samples, lambda n: n * each, free_memory(), "memory", "draws")
        potential = self.potential_net
        if isinstance(potential, NormalisedPotential) and not (self.hold or self.region):
            with seeded(seed):  # independent draws
                return Chains(potential.sample(num_samples)[None])
        return draw_chains(
            self.log_likelihood, self.prior, num_samples, self.settings, seed=seed, hold=self.hold, progress=progress
        )

    def sample_tempered(self, num_samples: int, power: float, *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws `(num_samples, D)` from prior x likelihood^power: wider than the posterior for a power below 1."""

        def flat(theta: Tensor) -> Tensor:
            return power * self.log_likelihood(theta)

        chains = draw_chains(flat, self.prior, num_samples, self.settings, seed=seed, hold=self.hold, progress=progress)
        return chains.draws.reshape(-1, len(self.names))[:num_samples]

    def potential(self, theta: ArrayLike) -> Tensor:
        """Unnormalised log-density `(n,)` of theta `(n, D)`: log prior + log-likelihood; -inf outside the prior."""
        theta = arguments.theta_matrix(theta, self.names).float()
        value = self.prior.log_prob(theta).float()
        value = torch.where(self.within_limits(theta), value, -math.inf)
        if isinstance(self.potential_net, NormalisedPotential):
            return torch.where(torch.isfinite(value), self.potential_net.log_prob(theta), -math.inf)
        return torch.where(torch.isfinite(value), value + self.potential_net.log_likelihood(theta), value)

    def log_likelihood(self, theta: ArrayLike) -> Tensor:
        """Log-likelihood `(n,)` of theta `(n, D)` up to a constant: what multiplies the prior; -inf outside it."""
        prior = self.prior.log_prob(arguments.theta_matrix(theta, self.names).float())
        return torch.where(torch.isfinite(prior), self.potential(theta) - prior, -math.inf)

    def log_prob(self, theta: ArrayLike) -> Tensor:
        """Log-density `(n,)`, the same as `potential`: normalised for `estimator="npe"`, otherwise not.

        Subtract `log_evidence()[0]` to normalise it.
        """
        return self.potential(theta)

    def within_limits(self, theta: Tensor) -> Tensor:
        """Which rules `(..., D)` are in the part of the posterior that this is, `(...)` boolean."""
        # fixed columns may be off by rounding
        held = {k: (v - 1e-5 * max(1.0, abs(v)), v + 1e-5 * max(1.0, abs(v))) for k, v in self.hold.items()}
        inside = torch.ones(theta.shape[:-1], dtype=torch.bool)
        for column, (low, high) in (self.region | held).items():
            inside &= (theta[..., column] >= low) & (theta[..., column] <= high)
        return inside

    def predicted_success(self, theta: Tensor) -> Tensor | None:
        """Learned probability `(n,)` that one network of each rule `(n, D)` satisfies the constraints; None without any."""
        return self.potential_net.predicted_success(theta)

    def log_evidence(self, seed: int = 0) -> tuple[float, float]:
        """Log of the normalising constant (the mean likelihood under the prior), and its standard error.

        By sequential Monte Carlo; the error is that between its independent runs. Likelihoods are known up to a
        constant for `estimator="ratio"`, and so is this.
        """
        s = self.settings
        return draw_chains(self.log_likelihood, self.prior, EVIDENCE, s, seed=seed, hold=self.hold).log_evidence
