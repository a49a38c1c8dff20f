"""What figures ask of the things they draw: names and tensors, nothing of how these were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor
from torch.distributions import Distribution

from sbirules.support.rates import Rate

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CalibratedRules",
    "CoefficientEffects",
    "ObservedSummaries",
    "PredictedSuccess",
    "RoundsOfRules",
    "RuleDirections",
    "RuleDistribution",
    "RuleRegimes",
    "SuccessfulRules",
]


class RuleDistribution(Protocol):
    """Draws over rules, with the prior they came from."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def draws(self) -> Tensor: ...

    @property
    def prior(self) -> Distribution: ...

    def inclusion_probabilities(self) -> dict[str, float]: ...

    def map(self) -> Tensor: ...


class PredictedSuccess(RuleDistribution, Protocol):
    """A distribution that knows how probably one network of a rule satisfies what was asked."""

    def predicted_success(self, theta: Tensor) -> Tensor | None: ...


class CalibratedRules(Protocol):
    """True rules, `(rules, D)`, posterior draws of each, `(rules, draws, D)`, and ranks of the truth among these."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def truth(self) -> Tensor: ...

    @property
    def draws(self) -> Tensor: ...

    @property
    def ranks(self) -> Tensor: ...

    def coverage(self, level: float = ...) -> dict[str, float]: ...


class SuccessfulRules(Protocol):
    """Share of networks of each posterior rule that succeeded, `(rules,)`, and the rates over all."""

    @property
    def networks_per_rule(self) -> int: ...

    @property
    def share(self) -> Tensor: ...

    @property
    def predicted(self) -> Tensor | None: ...

    @property
    def posterior_success(self) -> Rate: ...

    @property
    def prior_success(self) -> Rate: ...

    @property
    def zero_rule_success(self) -> Rate: ...


class ObservedSummaries(Protocol):
    """Observed summaries `(S,)` and those of fresh networks `(n, S)`."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def x_o(self) -> Tensor: ...

    @property
    def x(self) -> Tensor: ...


class _Round(Protocol):
    @property
    def constraints(self) -> Mapping[str, object]: ...

    @property
    def accepted(self) -> float: ...

    @property
    def se(self) -> float: ...


class RoundsOfRules(Protocol):
    """Rounds of simulation, each with what was asked and how many networks met it."""

    @property
    def rounds(self) -> Sequence[_Round]: ...


class CoefficientEffects(Protocol):
    """One number per coefficient, with its standard error, `(D,)` each."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def value(self) -> Tensor: ...

    @property
    def se(self) -> Tensor: ...

    @property
    def label(self) -> str: ...

    @property
    def quantity(self) -> str: ...


class RuleDirections(CoefficientEffects, Protocol):
    """Directions in the space of rules, one a column of `(D, K)`, with a strength `(K,)` each."""

    @property
    def vectors(self) -> Tensor: ...


class RuleRegimes(Protocol):
    """Measures of learning by name, `(rules, networks)` each."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def theta(self) -> Tensor: ...

    @property
    def values(self) -> dict[str, Tensor]: ...

    def table(self) -> pd.DataFrame: ...

    def correlations(self) -> pd.DataFrame: ...
