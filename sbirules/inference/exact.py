"""Likelihoods of tables that are known exactly, of choices, recordings and session scales, as potentials."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sbirules.inference.potentials import NormalisedPotential, Potential
from sbirules.model.abilities import (
    LikelihoodOfChoices,
    PredictsActivity,
    PredictsChoices,
    PredictsSessions,
    TableLikelihood,
)
from sbirules.model.choices import ChoiceColumns
from sbirules.model.recordings import Recordings
from sbirules.model.runs import Status, Trajectory
from sbirules.model.session_scales import SessionScales
from sbirules.model.tables import Trials
from sbirules.simulators import rebuilt
from sbirules.support.files import Plain
from sbirules.support.room import free_memory

__all__ = [
    "ChoicePotential",
    "PooledPotential",
    "RecordingPotential",
    "SessionsPotential",
    "TablePotential",
    "probabilities_in_parts",
]


class TablePotential(Potential):
    """log p(table | theta), the product over animals that share one rule."""

    exact = True
    simulator: Any  # suited to the table; None where its rule is code of one's own, which files do not bring back
    learners: tuple[str, ...]
    _likelihood: TableLikelihood | None = None

    @property
    @abstractmethod
    def table(self) -> Any:
        """What was observed."""

    @abstractmethod
    def subset(self, index: Sequence[int]) -> TablePotential:
        """The same of some of the animals."""

    @property
    def likelihood(self) -> TableLikelihood:
        """Of what each animal showed.

        Raises:
            ValueError: If the rule is code of one's own, which files do not bring back.
        """
        if self.simulator is None:
            raise ValueError(
                "the rule of this posterior is code of your own, which files do not bring back: its draws are there, its "
                "likelihood is not; fit again for that."
            )
        if self._likelihood is None:
            self._likelihood = self.simulator.likelihood(self.table)
        return self._likelihood

    def log_likelihood(self, theta: Tensor) -> Tensor:
        return self.likelihood.log_prob(theta).sum(dim=1)

    def _simulator_config(self) -> dict[str, Any] | None:
        config: dict[str, Any] | None = None if self.simulator is None else self.simulator.config()
        return config


class ChoicePotential(TablePotential):
    """log p(choices | theta), the product over animals that share one rule.

    Arguments:
        simulator: Suited to the table.
        trials: The table.
    """

    kind = "choices"

    def __init__(self, simulator: PredictsChoices | None, trials: Trials) -> None:
        super().__init__()
        self.simulator, self.learners, self.meaning = simulator, trials.learners, trials.meaning
        self.register_buffer("types", trials.trial_types.clone())
        self.fields = tuple(trials.trajectory.per_trial)
        for k, name in enumerate(self.fields):
            self.register_buffer(f"field_{k}", trials.trajectory.per_trial[name].clone())

    @property
    def table(self) -> Trials:
        return self.trials

    def subset(self, index: Sequence[int]) -> ChoicePotential:
        return ChoicePotential(self.simulator, self.trials.subset(index))

    @property
    def trials(self) -> Trials:
        """The table."""
        types = torch.as_tensor(self.types)
        per_trial = {name: torch.as_tensor(getattr(self, f"field_{k}")) for k, name in enumerate(self.fields)}
        status = torch.full((len(types),), int(Status.OK), dtype=torch.int8)
        return Trials(self.learners, Trajectory(status, types, per_trial), None, self.meaning)

    def config(self) -> dict[str, Any]:
        return {
            "simulator": self._simulator_config(),
            "learners": list(self.learners),
            "meaning": None if self.meaning is None else self.meaning.config(),
            "fields": list(self.fields),
            "shape": list(torch.as_tensor(self.types).shape),
            "double": [getattr(self, f"field_{k}").dtype == torch.float64 for k in range(len(self.fields))],
        }

    @classmethod
    def from_config(cls, config: Plain) -> ChoicePotential:
        meaning = ChoiceColumns.from_config(config["meaning"])
        shape = [int(n) for n in config["shape"]]
        per_trial = {
            str(name): torch.zeros(shape, dtype=torch.float64 if double else torch.float32)
            for name, double in zip(config["fields"], config["double"], strict=True)
        }
        empty = Trajectory(torch.zeros(shape[0], dtype=torch.int8), torch.zeros(shape, dtype=torch.long), per_trial)
        trials = Trials(tuple(map(str, config["learners"])), empty, None, meaning)
        simulator = None if config["simulator"] is None else rebuilt(config["simulator"])
        return cls(simulator if isinstance(simulator, PredictsChoices) else None, trials)


def probabilities_in_parts(
    likelihood: LikelihoodOfChoices, rules: Tensor, decisions: int, answers: int
) -> Iterator[Tensor]:
    """Probabilities `(part, decisions, answers)` under rules of each animal `(n, animals, D)`, as memory allows."""
    at_once = max(1, min(len(rules), int(0.1 * free_memory() / (32 * decisions * answers))))
    for part in torch.split(rules, at_once):
        yield likelihood.probabilities(part)


class RecordingPotential(TablePotential):
    """log p(recordings | theta), the product over animals that share one rule.

    Arguments:
        simulator: Suited to the recordings.
        recordings: What was recorded.
    """

    kind = "recordings"
    parts = ("values", "trial_types", "sessions")

    def __init__(self, simulator: PredictsActivity | None, recordings: Recordings) -> None:
        super().__init__()
        self.simulator, self.learners, self.like = simulator, recordings.learners, recordings
        self.register_buffer("values", recordings.values.clone())
        self.register_buffer("trial_types", recordings.trial_types.clone())
        self.register_buffer("sessions", recordings.sessions.clone())
        for k, value in enumerate(recordings.events.values()):
            self.register_buffer(f"event_{k}", value.clone())

    @property
    def table(self) -> Recordings:
        values, types, sessions = (torch.as_tensor(getattr(self, name)) for name in self.parts)
        events = {name: torch.as_tensor(getattr(self, f"event_{k}")) for k, name in enumerate(self.like.events)}
        return replace(self.like, values=values, trial_types=types, sessions=sessions, events=events)

    def subset(self, index: Sequence[int]) -> RecordingPotential:
        return RecordingPotential(self.simulator, self.table.subset(index))

    def config(self) -> dict[str, Any]:
        r = self.like
        return {
            "simulator": self._simulator_config(),
            "learners": list(r.learners),
            "channels": list(r.channels),
            "type_names": list(r.type_names),
            "events": list(r.events),
            "labels": {name: list(v) for name, v in r.labels.items()},
            "unit": r.unit,
            "times": list(r.times),
            "shape": list(r.values.shape),
        }

    @classmethod
    def from_config(cls, config: Plain) -> RecordingPotential:
        shape = [int(n) for n in config["shape"]]
        whole = torch.zeros(shape[:2], dtype=torch.long)
        empty = Recordings(
            tuple(map(str, config["learners"])),
            torch.zeros(shape, dtype=torch.float64),
            whole,
            tuple(map(str, config["channels"])),
            tuple(map(str, config["type_names"])),
            whole,
            {str(name): whole.double() for name in config["events"]},
            {str(name): tuple(map(str, v)) for name, v in config["labels"].items()},
            str(config["unit"]),
            tuple(float(t) for t in config["times"]),
        )
        simulator = None if config["simulator"] is None else rebuilt(config["simulator"])
        return cls(simulator if isinstance(simulator, PredictsActivity) else None, empty)


class SessionsPotential(TablePotential):
    """log p(session scales | theta), the product over animals that share one law.

    Arguments:
        simulator: Suited to the sessions.
        sessions: What was measured.
    """

    kind = "sessions"
    parts = ("scales", "covariance", "stimulation", "time", "num_sessions")
    told = ("learners", "names", "channels")

    def __init__(self, simulator: PredictsSessions | None, sessions: SessionScales) -> None:
        super().__init__()
        self.simulator, self.learners, self.like = simulator, sessions.learners, sessions
        for name in self.parts:
            self.register_buffer(name, getattr(sessions, name).clone())

    @property
    def table(self) -> SessionScales:
        parts: dict[str, Any] = {name: torch.as_tensor(getattr(self, name)) for name in self.parts}
        return replace(self.like, **parts)

    def subset(self, index: Sequence[int]) -> SessionsPotential:
        return SessionsPotential(self.simulator, self.table.subset(index))

    def config(self) -> dict[str, Any]:
        told = {name: list(getattr(self.like, name)) for name in self.told}
        sessions = int(self.like.scales.shape[1])
        return {"simulator": self._simulator_config(), **told, "unit": self.like.unit, "sessions": sessions}

    @classmethod
    def from_config(cls, config: Plain) -> SessionsPotential:
        told: dict[str, Any] = {name: tuple(map(str, config[name])) for name in cls.told}
        a, k = len(told["learners"]), int(config["sessions"])
        r, b = len(told["names"]), len(told["channels"])
        shapes = {"scales": (a, k, r), "covariance": (a, k, r, r), "stimulation": (a, k, b), "time": (a, k)}
        empty: dict[str, Any] = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
        none = torch.zeros(a, dtype=torch.long)
        sessions = SessionScales(**told, **empty, num_sessions=none, unit=str(config["unit"]))
        simulator = None if config["simulator"] is None else rebuilt(config["simulator"])
        return cls(simulator if isinstance(simulator, PredictsSessions) else None, sessions)


TABLES: dict[str, type[TablePotential]] = {
    kind.kind: kind for kind in (ChoicePotential, RecordingPotential, SessionsPotential)
}


class PooledPotential(NormalisedPotential):
    """Rules of animals that differ, by draws: of the population's centre, or of any of the animals.

    Arguments:
        inner: The likelihood of the table.
        draws: `(n, D)`.
    """

    kind = "pooled choices"

    def __init__(self, inner: TablePotential, draws: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("draws", draws.float())

    def sample(self, n: int) -> Tensor:
        draws = torch.as_tensor(self.draws)
        return draws[torch.randint(len(draws), (n,))]

    def log_prob(self, theta: Tensor) -> Tensor:
        raise ValueError(
            "the density of rules of animals that differ is known by draws only: use those, or posterior.animal(name), whose "
            "density is known."
        )

    def config(self) -> dict[str, Any]:
        return {"kind": self.inner.kind, "inner": self.inner.config(), "draws": list(torch.as_tensor(self.draws).shape)}

    @classmethod
    def from_config(cls, config: Plain) -> PooledPotential:
        inner = TABLES[str(config.get("kind", ChoicePotential.kind))].from_config(config["inner"])
        if not isinstance(inner, TablePotential):
            raise ValueError("the file holds no likelihood of a table.")
        return cls(inner, torch.zeros([int(n) for n in config["draws"]]))
