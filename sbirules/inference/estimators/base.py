"""What estimators are given, and what they give back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.potentials import Observed, Potential
from sbirules.neural_nets.classifiers import EventProbability, fit_event_probability
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.neural_nets.summary_transform import SummaryTransform
from sbirules.support.files import Plain

__all__ = ["Estimator", "Job", "Learned", "ProductPotential", "Rows", "share_of"]

LogWeight = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """Simulations to learn from.

    Arguments:
        theta: Rules, `(n, D)`.
        x: Their summaries, `(n, S)`.
        length: Their numbers of trials, `(n,)`.
        ok: Which count, `(n,)` boolean: the network did not fail, and every summary is defined.
        atoms: Columns of x that have probability mass on single values.
        grouped: Whether rules share several rows, so that sets of networks can be made of them.
    """

    theta: Tensor
    x: Tensor
    length: Tensor
    ok: Tensor
    atoms: tuple[int, ...] = ()
    grouped: bool = False


@dataclass(frozen=True)
class Job:
    """How to learn.

    Arguments:
        prior: The prior.
        standardiser: Of theta.
        settings: Of the estimator, or None for its defaults.
        classifier: Of the classifier of failures, or of success.
        seed: Makes it repeatable.
        progress: Whether to show progress bars.
        log_weight: Log of prior / proposal `(n,)` of rules `(n, D)`, -inf outside the prior; None for draws of the prior.
    """

    prior: Distribution
    standardiser: Standardiser
    settings: Any = None
    classifier: EnsembleSettings | None = None
    seed: int = 0
    progress: bool = False
    log_weight: LogWeight | None = None

    def failures(self, rows: Rows) -> EventProbability:
        """p(valid | theta), since only learners that did not fail can be observed."""
        return fit_event_probability(rows.theta, rows.ok, self.standardiser, settings=self.classifier, seed=self.seed)

    def without_atoms(self, rows: Rows) -> tuple[Rows, SummaryTransform]:
        """Rows whose summaries have a density, and what was done to them."""
        transform = SummaryTransform.of(rows.x, rows.ok, rows.atoms)
        return replace(rows, x=transform.spread(rows.x, self.seed)), transform


@dataclass(frozen=True)
class Learned:
    """What a fit found out.

    Arguments:
        potential: The potential.
        curves: Held-out loss by epoch, by name, beside those that its networks keep themselves.
        details: Numbers for the record.
    """

    potential: Potential
    curves: Mapping[str, list[float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimator:
    """A way to learn a potential from simulations.

    Arguments:
        settings: Class of its settings.
        learn: From rows, what was observed and how to learn.
    """

    settings: type[Any]
    learn: Callable[[Rows, Observed, Job], Learned]


class _LearnerModel(Protocol):
    valid: EventProbability

    def log_prob(self, theta: Tensor, x: Tensor, length: Tensor) -> Tensor: ...

    def config(self) -> dict[str, Any]: ...


class ProductPotential(Potential):
    """Several learners that share a rule: the sum of their log-likelihoods, up to a constant, at what it is worth.

    What was learned from finitely many simulations has an error that all learners share, and that does not average out. Where
    it is as large as the sampling error of `limit` learners, n of them tell as much as n / (1 + n / limit): their sum is
    multiplied by the share 1 / (1 + n / limit). `recalibrate` finds the limit; without it n learners count as n.

    Arguments:
        likelihood: Of one learner, or its ratio.
        x: Their summaries, `(L, S)`.
        length: Their numbers of trials, `(L,)`.
        transform: What training did to summaries.
        limit: Learners that the estimator's own error is worth.
    """

    x: Tensor
    length: Tensor

    def __init__(
        self,
        likelihood: Any,
        x: Tensor,
        length: Tensor,
        transform: SummaryTransform | None = None,
        limit: float = math.inf,
    ) -> None:
        super().__init__()
        self.limit = limit
        self.likelihood: Any = likelihood
        self.transform: SummaryTransform = SummaryTransform({}, {}, {}) if transform is None else transform
        self.register_buffer("x", x)
        self.register_buffer("length", length)

    @property
    def observed(self) -> Observed:
        """What was observed."""
        return Observed(self.x, self.length)

    def log_likelihood(self, theta: Tensor) -> Tensor:
        model: _LearnerModel = self.likelihood
        return self.weighed(model.log_prob(theta, self.transform(self.x), self.length), theta)

    @property
    def share(self) -> float:
        """What of the sum over learners counts."""
        return share_of(len(self.x), self.limit)

    def weighed(self, whole: Tensor, theta: Tensor) -> Tensor:
        """A sum over learners `(..., n)` at what it is worth; that all of their networks ran through counts in full."""
        if self.share == 1.0:
            return whole
        return self.share * whole + (1 - self.share) * self.survival(theta)

    def survival(self, theta: Tensor) -> Tensor:
        """Log-probability `(n,)` that the networks of all learners ran through."""
        model: _LearnerModel = self.likelihood
        return len(self.x) * model.valid.log_prob(theta)

    def given(self, observed: Observed) -> ProductPotential:
        """The same for other learners."""
        return self._of(observed.x.to(self.x.dtype), observed.length, self.limit)

    def with_limit(self, limit: float) -> ProductPotential:
        """The same learners at another limit."""
        return self._of(self.x, self.length, limit)

    def _of(self, x: Tensor, length: Tensor, limit: float) -> ProductPotential:
        out = type(self)(self.likelihood, x, length, self.transform, limit)
        out.eval()
        return out

    def config(self) -> dict[str, Any]:
        model: _LearnerModel = self.likelihood
        return {
            "likelihood": model.config(),
            "shape": list(self.x.shape),
            "transform": self.transform.config(),
            "double": self.x.dtype == torch.float64,
            "limit": self.limit if math.isfinite(self.limit) else None,
        }

    @staticmethod
    def empty(config: Plain) -> tuple[Tensor, Tensor, SummaryTransform, float]:
        """Places for what was observed, the transform and the limit, of a `config()`."""
        learners, columns = config["shape"]
        transform = SummaryTransform.from_config(config.get("transform"))
        dtype = torch.float64 if config.get("double") else torch.float32
        limit = config.get("limit")
        told = math.inf if limit is None else float(limit)
        return torch.zeros(learners, columns, dtype=dtype), torch.zeros(learners, dtype=torch.long), transform, told


def share_of(learners: int, limit: float) -> float:
    """What of a sum over so many learners counts; see `ProductPotential`."""
    return 1.0 / (1.0 + learners / limit)
