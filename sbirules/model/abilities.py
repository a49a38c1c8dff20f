"""What a simulator may be able to do beyond running: each ability a small protocol that callers ask for.

if isinstance(simulator, Differentiable): ...
gradients = needed(simulator, Differentiable, "BPTL")      # or one clear sentence
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.choices import ChoiceColumns
from sbirules.model.recorded import RecordingLikelihood
from sbirules.model.recordings import Recordings
from sbirules.model.rules import RuleFamily
from sbirules.model.runs import Trajectory
from sbirules.model.session_scales import SessionScales
from sbirules.model.simulator import Simulator
from sbirules.model.spikes import SpikeTrains
from sbirules.model.tables import Trials
from sbirules.model.tasks.task import Task
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Key

__all__ = [
    "Adjustable",
    "Configured",
    "Differentiable",
    "ExactLikelihood",
    "FiresSpikes",
    "HasWarmUp",
    "LearningGradient",
    "LikelihoodOfChoices",
    "NetworkSettings",
    "OnDevice",
    "PredictsActivity",
    "PredictsChoices",
    "PredictsSessions",
    "PredictsTables",
    "RecurrentNetwork",
    "ReplaysChoices",
    "ReplaysWeights",
    "TableLikelihood",
    "WithoutPlasticity",
    "needed",
    "without_plasticity",
]


@dataclass(frozen=True)
class LearningGradient:
    """One row per network.

    Arguments:
        value: What is to be increased, `(batch,)`: the mean reward of the trials with plasticity.
        gradient: Its gradient with respect to theta in natural units, `(batch, D)`.
        error: Error of every trial, `(batch, trials)`.
        ok: Networks that did not diverge and whose value and gradient are finite, `(batch,)` boolean.
    """

    value: Tensor
    gradient: Tensor
    error: Tensor
    ok: Tensor

    @staticmethod
    def cat(parts: list[LearningGradient], raw_per_unit: Tensor) -> LearningGradient:
        """Several batches as one; their gradients, with respect to raw theta, in natural units."""
        whole = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(LearningGradient)}
        whole["gradient"] = whole["gradient"] * raw_per_unit.to(whole["gradient"])
        return LearningGradient(**whole)


@runtime_checkable
class Differentiable(Protocol):
    """Knows how well rules make networks learn, and the gradient of that: what BPTL asks."""

    def value_and_grad(
        self,
        theta: ArrayLike,
        *,
        gradient: str = "reverse",
        seed: Key | None = None,
        trial_types: ArrayLike | None = None,
        teacher: ArrayLike | None = None,
        **draws: ArrayLike | None,
    ) -> LearningGradient:
        """Mean reward of the trials with plasticity, and its gradient, one row per rule."""
        ...


@runtime_checkable
class WithoutPlasticity(Protocol):
    """Can keep its networks from changing, for the rule that does nothing."""

    def without_plasticity(self) -> Simulator:
        """The same networks, whose weights never change."""
        ...


@runtime_checkable
class Adjustable(Protocol):
    """Can be had with other settings."""

    def with_settings(self, **changes: Any) -> Simulator:
        """A simulator that differs in the given settings."""
        ...


@runtime_checkable
class ExactLikelihood(Protocol):
    """Knows the likelihood of what was observed."""

    def log_likelihood(self, theta: Tensor, x_o: ArrayLike) -> Tensor:
        """log p(x_o | theta) `(batch,)` of rules `(batch, D)` in natural units."""
        ...


class TableLikelihood(Protocol):
    """The likelihood of one table of trials."""

    threads: int | None

    @property
    def animals(self) -> int: ...

    def log_prob(self, theta: Tensor) -> Tensor:
        """`(n, animals)` of rules `(n, D)`, or of each animal's `(n, animals, D)`; gradients flow."""
        ...

    def value_and_slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, animals)`, and its gradient `(n, animals, D)`."""
        ...


class LikelihoodOfChoices(TableLikelihood, Protocol):
    """The likelihood of a table of choices."""

    def probabilities(self, theta: Tensor) -> Tensor:
        """Probability of each answer given the animal's own past, `(n, decisions, answers)`."""
        ...


@runtime_checkable
class ReplaysWeights(Protocol):
    """A likelihood of a table that knows the policy's weights along it."""

    @property
    def weight_names(self) -> tuple[str, ...]:
        """W names: of a feature, for one option against the others."""
        ...

    def weights(self, theta: Tensor, animals: Sequence[int], at: Tensor) -> Tensor:
        """`(n, A, points, W)` under rules `(n, animals, D)`, before decisions `at` `(A, points)` of A of the animals."""
        ...


@runtime_checkable
class FiresSpikes(Protocol):
    """Networks of spiking neurons."""

    def spikes(self, theta: ArrayLike, *, seed: Key = 0) -> tuple[SpikeTrains, ...]:
        """What one network of each rule `(batch, D)` did."""
        ...


@runtime_checkable
class PredictsTables(Protocol):
    """Knows the likelihood of a table exactly, so that nothing is simulated for a fit: of choices, or of recordings."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def nuisances(self) -> Mapping[str, Distribution]:
        """Coefficients that are not of the rule, and their usual priors."""
        ...

    def suited(self, table: Any, /) -> Any:
        """The same, suited to a table."""
        ...

    def likelihood(self, table: Any, /) -> TableLikelihood:
        """The exact likelihood of a table."""
        ...

    def cautions(self, table: Any, /) -> tuple[str, ...]:
        """What a table cannot tell, whatever its size, a sentence each."""
        ...


@runtime_checkable
class PredictsChoices(PredictsTables, Protocol):
    """Knows the probability of each choice of an animal, given what it saw, did and got before."""

    @property
    def meaning(self) -> ChoiceColumns:
        """What answers and stimuli are."""
        ...

    def suited(self, trials: Trials, /) -> Any:
        """The same with the answers and stimuli of a table."""
        ...

    def likelihood(self, trials: Trials, /) -> LikelihoodOfChoices:
        """The exact likelihood of a table."""
        ...

    def cautions(self, trials: Trials, /) -> tuple[str, ...]:
        """What a table cannot tell, whatever its size, a sentence each."""
        ...


@runtime_checkable
class PredictsActivity(PredictsTables, Protocol):
    """Knows the probability of what was recorded of an animal, given what happened to it."""

    def suited(self, recordings: Recordings, /) -> Any:
        """The same with the events and the scale of recordings."""
        ...

    def likelihood(self, recordings: Recordings, /) -> RecordingLikelihood:
        """The exact likelihood of recordings."""
        ...

    def cautions(self, recordings: Recordings, /) -> tuple[str, ...]:
        """What recordings cannot tell, whatever their size, a sentence each."""
        ...

    def without_plasticity(self) -> Any:
        """The same circuit and measurement, which never changes; its theta has no coefficients of a rule."""
        ...

    def recorded(
        self, theta: ArrayLike, recordings: Recordings | None = None, *, seed: Key | None = None
    ) -> Recordings:
        """Recordings of simulated animals, which are given what those of the recordings were."""
        ...


@runtime_checkable
class PredictsSessions(PredictsTables, Protocol):
    """Knows the probability of how the scales of a circuit move from session to session."""

    def suited(self, sessions: SessionScales, /) -> Any:
        """The same with the spread of the scales and the strength of stimulation."""
        ...

    def without_plasticity(self) -> Any:
        """No law: scales that wander; its theta has no coefficients of a law."""
        ...

    def measured(
        self, theta: ArrayLike, sessions: SessionScales | None = None, *, seed: Key | None = None
    ) -> SessionScales:
        """Session scales of simulated animals, stimulated and measured as those of `sessions` were."""
        ...


@runtime_checkable
class ReplaysChoices(PredictsChoices, Protocol):
    """Can also simulate animals that see what those of a table saw."""

    @property
    def knows_rewards(self) -> bool:
        """Whether what other choices would have brought is known, which `replaying` needs."""
        ...

    def replaying(self, trials: Trials) -> Any:
        """The same, suited to the table, whose run k is shown what animal `k % len(trials)` of it was."""
        ...

    def animals(self, theta: ArrayLike, *, seed: Key | None = None) -> Trials:
        """A simulated animal for each row of theta `(animals, D)`, as a table."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """Runs on a torch device."""

    device: torch.device


@runtime_checkable
class Configured(Protocol):
    """Keeps its settings in one dataclass."""

    @property
    def settings(self) -> object: ...


@runtime_checkable
class HasWarmUp(Protocol):
    """Settings of sessions whose first trials are without plasticity."""

    @property
    def warm_up(self) -> int: ...


class NetworkSettings(Protocol):
    """Settings of recurrent networks; the read-out is one unit, or something else."""

    @property
    def num_units(self) -> int: ...

    @property
    def readout(self) -> object: ...


@runtime_checkable
class RecurrentNetwork(Adjustable, Protocol):
    """Networks whose weights can be kept, given and recorded: what measures of regimes ask."""

    @property
    def settings(self) -> NetworkSettings: ...

    @property
    def family(self) -> RuleFamily: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def task(self) -> Task: ...

    def run(self, theta: ArrayLike, *, seed: Key | None = None, **options: Any) -> Trajectory:
        """As `Simulator.run`, with `weights`, `keep_weights` and `record` among the options."""
        ...


Ability = TypeVar("Ability")


def needed(simulator: object, ability: Callable[..., Ability], who: str) -> Ability:
    """The simulator, which has this ability.

    Raises:
        ValueError: If it has not.
    """
    kind: Any = ability  # a protocol, which type checkers take for abstract
    if isinstance(simulator, kind):
        found: Ability = simulator
        return found
    every = {*dir(Simulator), *Simulator.__annotations__}  # what all simulators have
    wanted = sorted(name for name in {*dir(kind), *kind.__annotations__} - every if not name.startswith("_"))
    raise ValueError(
        f"{who} needs a simulator with {arguments.listed(wanted)}, such as RateRNN, got {type(simulator).__name__}."
    )


def without_plasticity(simulator: Simulator) -> Simulator:
    """The same networks without plasticity where the simulator can; else itself, for rules whose coefficients are zero."""
    return simulator.without_plasticity() if isinstance(simulator, WithoutPlasticity) else simulator
