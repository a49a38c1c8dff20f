"""The distribution over rules: prior, potential and draws. Asking it something never changes it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor

from sbirules import figures
from sbirules.inference import batches, files, parts, terms
from sbirules.inference.animals import AnimalDraws
from sbirules.inference.arviz_data import inference_data
from sbirules.inference.density import MOST, RuleDensity
from sbirules.inference.potentials import Given, Observed, Potential, WrappedPotential
from sbirules.inference.questions import Question
from sbirules.inference.record import FitRecord
from sbirules.priors import PriorLike
from sbirules.samplers.chains import Chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.files import reading
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import arviz
    import pandas as pd
    from matplotlib.figure import Figure

    from sbirules.inference.terms import CollinearPair, TopRule
    from sbirules.model.rules import RuleFamily

__all__ = ["Posterior"]

DRAWS = 2000  # that a posterior has of its own, unless it was given others


@typed_class
class Posterior(RuleDensity):
    """A posterior over rules, in natural units, inside the prior's support.

    Made by `sbirules.fit`; `Posterior.wrap` makes one of any sbi posterior. `sample` returns draws and leaves no state;
    what looks at the posterior as a whole (`marginals`, `check`, `report`, figures) uses `draws`, which are made once and
    always the same, or those that `with_draws` was given.

    Arguments:
        prior: The prior.
        names: Names of the columns of theta.
        potential: What multiplies the prior; or a function, the log-likelihood `(n,)` of theta `(n, D)`.
        question: What was asked; None where that is not known.
        record: How the potential was learned.
        settings: Of the sampler.
        raw_per_unit: Raw value of one natural unit of each column, `(D,)`, where known.
    """

    def __init__(
        self,
        prior: PriorLike,
        names: Sequence[str],
        potential: Potential | Callable[[Tensor], Tensor],
        question: Question | None = None,
        record: FitRecord | None = None,
        settings: SamplerSettings | None = None,
        raw_per_unit: Tensor | None = None,
    ) -> None:
        if question is not None:
            arguments.instance("question", question, Question)
        super().__init__(prior, names, potential, settings)
        self.question, self.record, self.raw_per_unit = question, record or FitRecord(), raw_per_unit
        self._given_chains: Chains | None = None
        self.of_animals: AnimalDraws | None = None

    @staticmethod
    def wrap(posterior: Any, prior: PriorLike, names: Sequence[str], x: Tensor | None = None) -> Posterior:
        """Any sbi posterior as one of ours, for checks and reports.

        Arguments:
            posterior: With `sample(shape, x=...)` and `log_prob(theta, x=...)`, as sbi's have.
            prior: Its prior.
            names: Names of the columns of theta.
            x: What to condition on; None for the posterior's default.
        """
        potential = WrappedPotential(posterior, x, len(names))
        return Posterior(prior, names, potential)

    def __repr__(self) -> str:
        asked = self.potential_net.kind if self.question is None else self.question.kind
        return f"Posterior({asked}, {len(self.names)} coefficients)"

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
        return batches.sample_batched(self, sample_shape, observations, seed=seed, progress=progress)

    # Draws of its own -----------------------------------------------------------------------------

    @cached_property
    def chains(self) -> Chains:
        """The posterior's own draws, run by run: those it was given, or 2000 that are always the same."""
        return self.draw(DRAWS) if self._given_chains is None else self._given_chains

    @property
    def draws(self) -> Tensor:
        """The posterior's own draws, run after run, `(n, D)`."""
        return self.chains.draws.reshape(-1, len(self.names))

    def with_draws(self, chains: Chains | ArrayLike) -> Posterior:
        """The same posterior with other draws of its own: chains from `draw`, or draws `(n, D)`."""
        if isinstance(chains, Tensor) and (chains.ndim != 2 or chains.shape[1] != len(self.names) or not len(chains)):
            raise ValueError(f"chains must be draws of shape (n, {len(self.names)}), got {tuple(chains.shape)}.")
        out = copy.copy(self)
        out.__dict__.pop("chains", None)
        if not isinstance(chains, Chains):
            chains = Chains(arguments.theta_matrix(chains, self.names, argument="draws").float()[None])
        out._given_chains = chains
        return out

    def spread_out(self, n: int) -> Tensor:
        """n of the posterior's own draws `(n, D)`, evenly spaced over all chains."""
        arguments.whole("n", n, 1, MOST)
        draws = self.draws
        return draws[torch.linspace(0, len(draws) - 1, n).round().long()]

    # Animals that differ --------------------------------------------------------------------------

    def rules_of_animals(self, n: int, animals: int | None = None) -> Tensor:
        """n rules of each animal, `(n, animals, D)`: their own, or the one that so many `animals` share."""
        arguments.whole("n", n, 1, MOST)
        if self.of_animals is None:
            return self.spread_out(n)[:, None].expand(-1, arguments.whole("animals", animals, 1), -1)
        return self.of_animals.spread_out(n)

    def animal(self, name: str) -> Posterior:
        """The posterior of one animal's rule, where animals have rules of their own or are partially pooled.

        Its density is that given this animal's own choices; its draws are those of the whole fit.

        Raises:
            ValueError: If all animals share one rule, or there is none of this name.
        """
        found = self._animals()
        arguments.known("animal", name, found.names)
        at = found.names.index(name)
        return found.posterior(at, self).with_draws(found.draws[:, at])

    @property
    def population(self) -> pd.DataFrame:
        """Centre and spread of coefficients over animals; of partial pooling the spread is on the prior's unconstrained scale.

        Raises:
            ValueError: If all animals share one rule.
        """
        return self._animals().population()

    def _animals(self) -> AnimalDraws:
        if self.of_animals is None:
            raise ValueError(
                'all animals share one rule here; for rules that differ, fit with animals="own" or animals="partial".'
            )
        return self.of_animals

    # Parts of the posterior -----------------------------------------------------------------------

    def conditioned(self, **fixed: float) -> Posterior:
        """The posterior of the other coefficients with some of them fixed, e.g. `conditioned(theta_11=0.0)`.

        Its draws have all columns, the fixed ones constant. The prior's coefficients must be independent, or jointly
        Gaussian. `log_prob` is then the density of the others.

        Raises:
            ValueError: If a name is unknown, nothing is left free, or a value lies outside the prior.
        """
        return self._part(self.region, self.hold | parts.held(self.prior, self.names, self.hold, fixed))

    def truncated(self, **intervals: tuple[float, float]) -> Posterior:
        """The posterior within a region, e.g. `truncated(theta_33=(-1.0, -0.2))`; `log_prob` is that within it.

        Raises:
            ValueError: If a name is unknown or an interval is not two numbers in order.
        """
        return self._part(parts.limited(self.names, self.region, intervals), self.hold)

    def _part(self, region: dict[int, tuple[float, float]], hold: dict[int, float]) -> Posterior:
        out = copy.copy(self)
        for found in ("chains", "_share"):
            out.__dict__.pop(found, None)
        out.region, out.hold, out._given_chains = region, hold, None
        return out

    def map(self, *, num_starts: int = 8, seed: int | None = None) -> Tensor:
        """The rule of highest posterior density `(D,)` (in natural units), by L-BFGS from several of the best draws.

        Arguments:
            num_starts: How many.
            seed: Of draws to start from; None takes the posterior's own.
        """
        return parts.maximum(self._drawn(seed), num_starts)

    def marginals(self, seed: int | None = None) -> pd.DataFrame:
        """Mean, s.d. and quantiles of each coefficient, beside the prior's s.d. and the contraction.

        Contraction is 1 - (posterior s.d. / prior s.d.)^2: 0 where nothing was learned, 1 where all was. Under a prior
        in which terms may be absent, the probability that they are present stands in its place.
        """
        return parts.marginals(self._drawn(seed))

    def _drawn(self, seed: int | None) -> Posterior:
        """Itself, or with draws of this seed."""
        return self if seed is None else self.with_draws(self.draw(DRAWS, seed=seed))

    # Structure: under a prior in which terms may be absent -------------------------------------------

    def inclusion_probabilities(self, seed: int | None = None) -> dict[str, float]:
        """Probability that each term is present, by coefficient name.

        Raises:
            ValueError: If the prior is not spike-and-slab.
        """
        return terms.inclusion_probabilities(self._drawn(seed))

    def top_rules(self, num_rules: int = 5, family: RuleFamily | None = None, seed: int | None = None) -> list[TopRule]:
        """The most probable sets of terms, with their coefficients.

        Arguments:
            num_rules: How many.
            family: To print them as the family's equations, in natural units.
            seed: Of draws; None takes the posterior's own.
        """
        return terms.top_rules(self._drawn(seed), num_rules, family)

    def collinear_terms(self, seed: int | None = None) -> list[CollinearPair]:
        """Pairs of terms that stand in for each other: one or the other is present, and the data cannot tell which."""
        return terms.collinear_terms(self._drawn(seed))

    # Other observations ---------------------------------------------------------------------------

    def given(self, observation: Any) -> Posterior:
        """The posterior given another observation of the same summaries; nothing is trained again.

        Arguments:
            observation: After `fit(..., x_o=...)`, a row of the summaries named in `posterior.question.names`, or
                a table of them by name. After `fit(..., trials=...)`, another table of learners; the simulations
                should have had trials like theirs.

        Warns where no simulation came near the observation.

        Raises:
            ValueError: If this posterior answers one question only, or the observation does not suit it.
        """
        out, beyond = self.asked(observation)
        if beyond:
            warnings.warn(beyond)
        return out

    def asked(self, observation: Any) -> tuple[Posterior, str]:
        """What `given` returns, and instead of a warning its text: empty where simulations came near the observation."""
        beyond = ""
        if self.question is None:
            row = arguments.numbers("observation", observation).flatten()
            known = self.potential_net.observed
            if known is not None and len(row) != known.x.shape[1]:
                raise ValueError(f"observation must hold {known.x.shape[1]} summaries, got {len(row)}.")
            question, observed = None, Observed.of_one(row)
        else:
            question, observed = self.question.again(observation)
            said = self.record.reach.says(observed.x, self.question.feature_names), self.record.untried(len(observed.x))
            beyond = " ".join(text for text in said if text)
        if not isinstance(self.potential_net, Given):
            raise ValueError(
                f"a posterior of {self.potential_net.kind} cannot be asked about other observations; fit again to those."
            )
        out = Posterior(
            self.prior,
            self.names,
            self.potential_net.given(observed),
            question,
            self.record,
            self.settings,
            self.raw_per_unit,
        )
        out.region, out.hold = self.region, self.hold
        return out, beyond

    # For other tools ------------------------------------------------------------------------------

    def to_inference_data(self, num_samples: int | None = None, seed: int = 0) -> arviz.InferenceData:
        """Prior and posterior as ArviZ InferenceData, one scalar variable per coefficient.

        Draws so many; None takes the posterior's own draws.
        """
        shown = self if num_samples is None else self.with_draws(self.draw(num_samples, seed=seed))
        return inference_data(shown, seed=seed)

    def pairplot(self, num_samples: int | None = None, *, truth: Any = None, seed: int = 0) -> Figure:
        """One- and two-dimensional marginals of the coefficients learned most about; see `figures.pairs`.

        Draws so many; None takes the posterior's own draws.
        """
        shown = self if num_samples is None else self.with_draws(self.draw(num_samples, seed=seed))
        figure: Figure = figures.pairs(shown, truth=truth)[0, 0].figure
        return figure

    # Files ----------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Writes `posterior.json` and `posterior.safetensors`: no pickle, so a file cannot run code."""
        kept = files.Kept(
            self.prior,
            self.names,
            self.potential_net,
            self.question,
            self.record,
            self.settings,
            self.raw_per_unit,
            self.hold,
            self.region,
            self._given_chains,
            self.of_animals,
        )
        files.save(kept, Path(folder))

    @staticmethod
    def load(folder: str | Path, prior: PriorLike | None = None) -> Posterior:
        """A posterior written by `save`.

        Arguments:
            folder: Where it is.
            prior: The prior, needed only if it has no plain form in the file, as one of a class of one's own.

        Raises:
            ValueError: If the files are missing, foreign or do not fit together, or the prior is another one.
        """
        k = files.load(Path(folder), prior)
        with reading(Path(folder) / files.CONTENT, files.REMEDY):
            question = None if k.question is None else k.question.restored(k.potential)
            out = Posterior(k.prior, k.names, k.potential, question, k.record, k.settings, k.raw_per_unit)
        out.hold, out.region, out._given_chains, out.of_animals = k.hold, k.region, k.chains, k.animals
        return out
