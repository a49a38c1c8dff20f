"""The distribution over rules: samples, density, files."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from sbirules import _check
from sbirules.amortised import AmortisedPosterior
from sbirules.potentials import TrialsPotential
from sbirules.sampling import Chains, draw_chains
from sbirules.smc import SamplerSettings
from sbirules.streams import seeded

if TYPE_CHECKING:
    import arviz
    import pandas as pd
    from matplotlib.figure import Figure

    from sbirules.rules import RuleFamily
    from sbirules.structure import CollinearPair, TopRule

__all__ = ["Posterior"]


class Posterior:
    """A posterior over rules, in natural units, inside the prior's support.

    Made by `sbirules.fit`; `Posterior.wrap` makes one of any sbi posterior.

    Arguments:
        prior: The prior.
        names: Names of the columns of theta.
        potential: Log-likelihood `(n,)` of theta `(n, D)`, a module that knows what was asked.
        facts: What was asked, in plain types: constraints, number of networks, learners, summaries.
        settings: Of the sampler.
    """

    def __init__(
        self,
        prior: Distribution,
        names: Sequence[str],
        potential: nn.Module | None,
        facts: Mapping[str, Any] | None = None,
        settings: SamplerSettings | None = None,
    ) -> None:
        self.prior, self.names = prior, tuple(names)
        if potential is not None:
            potential.requires_grad_(False)
            if isinstance(potential, AmortisedPosterior):
                potential.bind(prior)
        self.potential_net, self.facts = potential, dict(facts or {})
        self.settings = settings or SamplerSettings()
        self.chains: Chains | None = None
        self.raw_per_unit: Tensor | None = None
        self.hold: dict[int, float] = {}  # fixed columns of theta
        self.region: dict[int, tuple[float, float]] = {}  # intervals that columns are kept to

    @staticmethod
    def wrap(posterior: Any, prior: Distribution, names: Sequence[str], x: Tensor | None = None) -> Posterior:
        """Any sbi posterior as one of ours, for checks and reports.

        Arguments:
            posterior: With `sample(shape, x=...)` and `log_prob(theta, x=...)`, as sbi's have.
            prior: Its prior.
            names: Names of the columns of theta.
            x: What to condition on; None for the posterior's default.
        """
        return _Wrapped(posterior, prior, names, x)

    # Sampling and density -------------------------------------------------------------------------

    def sample(self, sample_shape: Sequence[int] | Size = (), *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws theta, `(*sample_shape, D)`, in natural units; all chains, shuffled.

        The same seed gives the same draws, whatever torch's global seed.
        The chains themselves, with their R-hat, are then in `posterior.chains`.
        """
        n = _check.shape("sample_shape", sample_shape).numel()
        self.chains = self._draw(max(n, 1), seed, progress)
        flat = self.chains.draws.reshape(-1, len(self.names))
        with seeded(seed, 1):
            flat = flat[torch.randperm(len(flat))][:n]
        return flat.reshape(*Size(sample_shape), len(self.names))

    def __repr__(self) -> str:
        drawn = "no draws yet" if self.chains is None else f"{len(self.draws)} draws"
        return f"Posterior({self.facts.get('kind', '?')}, {len(self.names)} coefficients, {drawn})"

    def _draw(self, n: int, seed: int, progress: bool) -> Chains:
        if isinstance(self.potential_net, AmortisedPosterior) and not (self.hold or self.region):
            with seeded(seed):  # independent draws
                return Chains(self.potential_net.sample(n)[None])
        return draw_chains(
            self.log_likelihood, self.prior, n, self.settings, seed=seed, hold=self.hold, progress=progress
        )

    def sample_tempered(self, num_samples: int, power: float, *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws `(num_samples, D)` from prior x likelihood^power: wider than the posterior for a power below 1."""

        def flat(theta: Tensor) -> Tensor:
            return power * self.log_likelihood(theta)

        chains = draw_chains(flat, self.prior, num_samples, self.settings, seed=seed, hold=self.hold, progress=progress)
        return chains.draws.reshape(-1, len(self.names))[:num_samples]

    def sample_batched(
        self, sample_shape: Sequence[int] | Size, observations: Sequence[Any], *, seed: int = 0, progress: bool = False
    ) -> Tensor:
        """Draws `(*sample_shape, B, D)` given each of B observations, all in one batch; nothing is trained again.

        Arguments:
            sample_shape: Draws for each.
            observations: What `given` takes: tables of learners, or summaries of one network.
            seed: Makes the draws repeatable.
            progress: Whether to show a progress bar.

        An observation that cannot be used comes back as NaN, with a warning that says why; the others go on.
        """
        from sbirules.batched import sample_batched

        return sample_batched(self, sample_shape, observations, seed=seed, progress=progress)

    def potential(self, theta: Any) -> Tensor:
        """Unnormalised log-density `(n,)` of theta `(n, D)`: log prior + log-likelihood; -inf outside the prior."""
        theta = _check.theta_matrix(theta, self.names).float()
        value = self.prior.log_prob(theta).float()
        value = torch.where(self.within_limits(theta), value, -math.inf)
        if isinstance(self.potential_net, AmortisedPosterior):
            return torch.where(torch.isfinite(value), self.potential_net(theta), -math.inf)
        if self.potential_net is not None:
            value = torch.where(torch.isfinite(value), value + self.potential_net(theta), value)
        return value

    def log_likelihood(self, theta: Any) -> Tensor:
        """Log-likelihood `(n,)` of theta `(n, D)` up to a constant: what multiplies the prior; -inf outside it."""
        prior = self.prior.log_prob(_check.theta_matrix(theta, self.names).float())
        return torch.where(torch.isfinite(prior), self.potential(theta) - prior, -math.inf)

    def within_limits(self, theta: Tensor) -> Tensor:
        """Which rules `(..., D)` are in the part of the posterior that this is, `(...)` boolean."""
        # fixed columns may be off by rounding
        held = {k: (v - 1e-5 * max(1.0, abs(v)), v + 1e-5 * max(1.0, abs(v))) for k, v in self.hold.items()}
        inside = torch.ones(theta.shape[:-1], dtype=torch.bool)
        for column, (low, high) in (self.region | held).items():
            inside &= (theta[..., column] >= low) & (theta[..., column] <= high)
        return inside

    # Parts of the posterior -----------------------------------------------------------------------

    def conditioned(self, **fixed: float) -> Posterior:
        """The posterior of the other coefficients with some of them fixed, e.g. `conditioned(theta_11=0.0)`.

        Its draws have all columns, the fixed ones constant. The prior must have independent coefficients.

        Raises:
            ValueError: If a name is unknown, nothing is left free, or a value lies outside the prior.
        """
        from sbirules.regions import held

        return self._part(self.region, self.hold | held(self, fixed))

    def truncated(self, **intervals: tuple[float, float]) -> Posterior:
        """The posterior within a region, e.g. `truncated(theta_33=(-1.0, -0.2))`.

        Raises:
            ValueError: If a name is unknown or an interval is not two numbers in order.
        """
        from sbirules.regions import limited

        return self._part(limited(self, intervals), self.hold)

    def _part(self, region: dict[int, tuple[float, float]], hold: dict[int, float]) -> Posterior:
        out = copy.copy(self)
        out.region, out.hold, out.chains = region, hold, None
        return out

    def map(self, *, num_starts: int = 8, seed: int = 0) -> Tensor:
        """The rule of highest posterior density `(D,)` (in natural units), by L-BFGS from several of the best draws."""
        from sbirules.regions import maximum

        return maximum(self, num_starts, seed)

    def marginals(self, seed: int = 0) -> pd.DataFrame:
        """Mean, s.d. and quantiles of each coefficient, beside the prior's s.d. and the contraction.

        Contraction is 1 - (posterior s.d. / prior s.d.)^2: 0 where nothing was learned, 1 where all was. Under a prior
        in which terms may be absent, the probability that they are present stands in its place.
        """
        from sbirules.regions import marginals

        return marginals(self, seed)

    # Structure: under a prior in which terms may be absent -------------------------------------------

    def inclusion_probabilities(self, seed: int = 0) -> dict[str, float]:
        """Probability that each term is present, by coefficient name.

        Raises:
            ValueError: If the prior is not spike-and-slab.
        """
        from sbirules.structure import inclusion_probabilities

        return inclusion_probabilities(self, seed)

    def top_rules(self, num_rules: int = 5, family: RuleFamily | None = None, seed: int = 0) -> list[TopRule]:
        """The most probable sets of terms, with their coefficients.

        Arguments:
            num_rules: How many.
            family: To print them as the family's equations, in natural units.
            seed: Of the draws, if there are none yet.
        """
        from sbirules.structure import top_rules

        return top_rules(self, num_rules, family, seed)

    def collinear_terms(self, seed: int = 0) -> list[CollinearPair]:
        """Pairs of terms that stand in for each other: one or the other is present, and the data cannot tell which."""
        from sbirules.structure import collinear_terms

        return collinear_terms(self, seed)

    def given(self, observation: Any) -> Posterior:
        """The posterior given another observation of the same summaries; nothing is trained again.

        Arguments:
            observation: After `fit(..., x_o=...)`, a row of the summaries named in `posterior.facts["summaries"]`, or
                a table of them by name. After `fit(..., trials=...)`, another table of learners; the simulations
                should have had trials like theirs.

        Raises:
            ValueError: If this posterior was fitted to constraints, or the observation does not suit it.
        """
        from sbirules.fit_observation import observed_again
        from sbirules.fit_trials import learners_again

        if not isinstance(self.potential_net, (AmortisedPosterior, TrialsPotential)):
            raise ValueError("given() needs a posterior made by fit(store, prior, x_o=...) or fit(..., trials=...).")
        net: Any
        if self.facts["kind"] == "trials":
            net, facts = learners_again(self.potential_net, self.facts, observation)
        else:
            net, facts = observed_again(self.potential_net, self.facts, observation)
        out = Posterior(self.prior, self.names, net, facts, self.settings)
        out.raw_per_unit, out.region, out.hold = self.raw_per_unit, self.region, self.hold
        return out

    def log_prob(self, theta: Any) -> Tensor:
        """Log-density `(n,)`, the same as `potential`: normalised for `estimator="npe"`, otherwise not.

        Subtract `log_evidence()[0]` to normalise it; that estimate comes with its error.
        """
        return self.potential(theta)

    def log_evidence(self, seed: int = 0) -> tuple[float, float]:
        """Log of the normalising constant (the mean likelihood under the prior), and its standard error.

        By sequential Monte Carlo; the error is that between its independent runs. Likelihoods are known up to a
        constant for `estimator="ratio"`, and so is this.
        """
        if self.chains is None or math.isnan(self.chains.log_evidence[0]):
            self.chains = draw_chains(self.log_likelihood, self.prior, 1000, self.settings, seed=seed, hold=self.hold)
        return self.chains.log_evidence

    # For other tools ------------------------------------------------------------------------------

    def to_inference_data(self, num_samples: int | None = None, seed: int = 0) -> arviz.InferenceData:
        """Prior and posterior as ArviZ InferenceData, one scalar variable per coefficient.

        Draws so many; None takes the chains of the last `sample`, or draws 2000.
        """
        from sbirules.inference_data import inference_data

        if self.chains is None or num_samples is not None:
            self.sample((num_samples or 2000,), seed=seed)
        return inference_data(self, seed=seed)

    def pairplot(self, num_samples: int = 2000, *, truth: Any = None, seed: int = 0) -> Figure:
        """One- and two-dimensional marginals of the coefficients learned most about; see `figures.pairs`."""
        from sbirules.figures import pairs

        if self.chains is None:
            self.sample((num_samples,), seed=seed)
        return pairs(self, truth=truth)[0, 0].figure

    @property
    def draws(self) -> Tensor:
        """The draws of the last `sample`, chain after chain, `(n, D)`."""
        if self.chains is None:
            raise ValueError("there are no draws yet; call posterior.sample((1000,)) first.")
        return self.chains.draws.reshape(-1, len(self.names))

    # Files ----------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Writes `posterior.json` and `posterior.safetensors`: no pickle, so a file cannot run code."""
        from sbirules.posterior_files import save

        save(self, Path(folder))

    @staticmethod
    def load(folder: str | Path, prior: Distribution | None = None) -> Posterior:
        """A posterior written by `save`.

        Arguments:
            folder: Where it is.
            prior: The prior, needed only if it was not one of `sbirules.priors`.

        Raises:
            ValueError: If the files are missing, foreign or do not fit together.
        """
        from sbirules.posterior_files import load

        return load(Path(folder), prior)


class _Wrapped(Posterior):
    def __init__(self, posterior: Any, prior: Distribution, names: Sequence[str], x: Tensor | None) -> None:
        for method in ("sample", "log_prob"):
            if not callable(getattr(posterior, method, None)):
                raise ValueError(f"posterior must have a method {method!r}, as sbi's posteriors have.")
        width = len(prior.sample(Size((1,)))[0])
        if width != len(names):
            raise ValueError(f"names must be one per coefficient of the prior, {width}, got {_check.listed(names)}.")
        super().__init__(prior, names, None, {"kind": "wrapped"})
        self.inner, self.x = posterior, x

    def _draw(self, n: int, seed: int, progress: bool) -> Chains:
        if self.hold or self.region:
            return super()._draw(n, seed, progress)
        with seeded(seed):
            draws = self.inner.sample((n,), x=self.x, show_progress_bars=progress)
        if draws.shape[-1] != len(self.names):
            raise ValueError(f"the posterior has {draws.shape[-1]} columns, but {len(self.names)} names were given.")
        return Chains(draws.reshape(1, n, -1))

    def potential(self, theta: Any) -> Tensor:
        theta = _check.theta_matrix(theta, self.names).float()
        within = super().potential(theta)  # prior and region
        return torch.where(torch.isfinite(within), self.inner.log_prob(theta, x=self.x), -math.inf)
