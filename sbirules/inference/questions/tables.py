"""Tables whose likelihood is known exactly: what choices and recordings of animals have in common as questions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from sbirules.inference.estimators import Job
from sbirules.inference.exact import PooledPotential, TablePotential
from sbirules.inference.potentials import Observed, Potential
from sbirules.inference.questions.base import Fitted, Question
from sbirules.inference.record import FitRecord
from sbirules.model.abilities import PredictsTables, needed
from sbirules.model.simulator import Simulator
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.files import Plain

__all__ = ["ANIMALS", "POOLED", "RULES", "TableQuestion"]

ANIMALS = ("shared", "own", "partial")
POOLED = {
    "shared": "if all of them share one rule",
    "own": "if each has a rule of its own",
    "partial": "if their rules are alike but not the same",
}
RULES = {
    "shared": "one for all animals",
    "own": "one for each animal",
    "partial": "one for each animal, partially pooled",
}


class TableQuestion(Question):
    """A table of animals, under a likelihood that is known.

    Arguments:
        table: The animals; None where only what was learned from them is known.
        animals: Whether one rule is `"shared"`, each animal has its `"own"`, or they are `"partial"`ly pooled.
        known: Without a table: what is known of it.
    """

    section = "data"
    fit_keys = ("varies", "spread")
    simulated = False
    predicted_by: ClassVar[Any]  # what a simulator must be able to do
    predicted_with: ClassVar[str]  # a simulator that can
    potential: ClassVar[Any]  # of a simulator and a table
    argument: ClassVar[str]  # of fit, and the key of [data]
    reading: ClassVar[tuple[str, ...]] = ()  # further keys of [data], which say how the table is read

    remembered: ClassVar[type[Any]]  # dataclass of what is known of a table that is not there any more
    known: Any

    def __init__(self, table: Any, animals: str = "shared", known: Plain | None = None) -> None:
        arguments.known("animals", animals, ANIMALS)
        self.table, self.animals = table, animals
        if table is None:
            told = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(known or {}).items()}
            self.known = self.remembered(**told)
        else:
            self.known = self.known_of(table)

    @classmethod
    @abstractmethod
    def known_of(cls, table: Any) -> Any:
        """What is to be known of a table once it is not there any more."""

    # Plain form -----------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        told = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self.known).items()}
        return {"animals": self.animals, "known": told}

    @classmethod
    def from_config(cls, config: Plain) -> TableQuestion:
        return cls(None, str(config["animals"]), config["known"])

    @property
    def size(self) -> int:
        return len(self.known.learners)

    @classmethod
    @abstractmethod
    def read(cls, source: Any, simulator: Simulator | None, **reading: Any) -> Any:
        """The table from what a user gives."""

    def cautions(self) -> tuple[str, ...]:
        """What to be careful about in the table, a sentence each."""
        told: tuple[str, ...] = self.known.cautions
        return told

    def again(self, observation: Any) -> tuple[Question, Observed]:
        raise ValueError(
            f"given() needs a posterior that learned from simulations; this one has a likelihood: fit(simulator, prior, "
            f"{self.argument}=...) to other data."
        )

    def with_table(self, table: Any) -> TableQuestion:
        """The same question of another table."""
        return type(self)(table, self.animals)

    @classmethod
    def from_study(cls, section: Plain, fit: Plain, simulator: Simulator, folder: Path) -> TableQuestion:
        if cls.argument not in section:
            raise ValueError(
                f'[data] lacks {cls.argument}, the file of the table, such as {cls.argument} = "{cls.argument}.csv".'
            )
        for key in section:
            arguments.known("key of [data]", key, cls.section_keys or ())
        path = (folder / str(section[cls.argument])).resolve()
        reading = {key: section[key] for key in cls.reading if key in section}
        return cls(cls.read(path, simulator, **reading), str(section.get("animals", "shared")))

    def resolved(self, section: Plain, folder: Path) -> dict[str, Any]:
        return {**section, self.argument: str((folder / str(section[self.argument])).resolve())}

    # The fit --------------------------------------------------------------------------------------

    def restored(self, potential: Potential) -> TableQuestion:
        net = potential.inner if isinstance(potential, PooledPotential) else potential
        return self.with_table(net.table) if isinstance(net, TablePotential) else self

    def suited(self, simulator: Simulator) -> Simulator:
        if self.table is None or not isinstance(simulator, self.predicted_by):
            return simulator
        out: Simulator = simulator.suited(self.table)
        return out

    def exactly(self, simulator: Simulator) -> Fitted:
        """The exact likelihood, which nothing needs to be learned for."""
        if self.table is None:
            raise ValueError(self.lacking())
        model = needed(simulator, PredictsTables, f"a table of {self.kind}")
        cautions = (*self.cautions(), *model.cautions(self.table))
        record = FitRecord(estimator="exact likelihood", cautions=cautions, used_for="decisions")
        return Fitted(self, self.potential(model, self.table), record)

    def fit(self, stores: Sequence[SimulationStore], job: Job, estimator: str) -> Fitted:
        raise ValueError(
            f"the likelihood of {self.kind} is known exactly: fit(simulator, prior, {self.argument}=...), with the simulator in "
            f"place of a store."
        )

    def lacking(self) -> str:
        if self.table is not None:
            return ""
        return (
            f"check needs the table that fit was given, {self.argument}=...: a posterior's question keeps what it is about "
            f"only."
        )

    def costs(self, rules: int, networks: int | None, calibration: int, variants: int) -> dict[str, int]:
        return {}

    def refuse(self, simulator: Simulator, networks: int | None) -> None:
        super().refuse(simulator, networks)
        if networks not in (None, self.size):
            raise ValueError(
                f"networks_per_rule must be the number of animals ({self.size}), or left out; got {networks}."
            )
