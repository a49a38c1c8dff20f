"""The distribution over rules: prior, potential and draws. Asking it something never changes it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Size, Tensor

from sbirules.inference import batches, files, parts
from sbirules.inference.animals import AnimalDraws
from sbirules.inference.arviz_data import inference_data
from sbirules.inference.density import MOST
from sbirules.inference.own_draws import RuleDraws
from sbirules.inference.potentials import Given, Observed, Potential, WrappedPotential
from sbirules.inference.questions import Question
from sbirules.inference.record import FitRecord
from sbirules.priors import PriorLike
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.files import reading
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import arviz
    import pandas as pd

__all__ = ["Posterior"]


@typed_class
class Posterior(Shown, RuleDraws):
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
        learned = f", {self.record.simulations} simulations" if self.record.simulations else ""
        part = f", {len(self.hold)} fixed" * bool(self.hold) + ", truncated" * bool(self.region)
        return f"Posterior({asked}, {len(self.names)} coefficients{learned}{part})"

    def _card(self) -> Card:
        facts = {} if self.question is None else self.question.facts()
        units = "natural units" if self.question is None else self.question.units
        facts = {name.replace("_", " "): v for name, v in (facts | self.record.facts()).items() if v is not None}
        if self._given_chains is None and "chains" not in self.__dict__:
            return Card(
                repr(self), facts, "Nothing was drawn yet: marginals() and figures draw, sample((n,)) leaves no trace."
            )
        return Card(
            repr(self), facts, table=self.marginals(), caption=f"In {units}; contraction is 1 where all was learned."
        )

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
