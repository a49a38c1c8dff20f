"""The exact likelihood of a table of choices as a potential."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sbirules.inference.potentials import NormalisedPotential, Potential
from sbirules.model.abilities import PredictsChoices, TableLikelihood
from sbirules.model.choices import ChoiceColumns
from sbirules.model.runs import Status, Trajectory
from sbirules.model.tables import Trials
from sbirules.simulators import rebuilt
from sbirules.support.files import Plain
from sbirules.support.room import free_memory

__all__ = ["ChoicePotential", "PooledPotential", "probabilities_in_parts"]


class ChoicePotential(Potential):
    """log p(choices | theta), the product over animals that share one rule.

    Arguments:
        simulator: Suited to the table.
        trials: The table.
    """

    kind, exact = "choices", True

    def __init__(self, simulator: PredictsChoices | None, trials: Trials) -> None:
        super().__init__()
        self.simulator, self.learners, self.meaning = simulator, trials.learners, trials.meaning
        self.register_buffer("types", trials.trial_types.clone())
        self.fields = tuple(trials.trajectory.per_trial)
        for k, name in enumerate(self.fields):
            self.register_buffer(f"field_{k}", trials.trajectory.per_trial[name].clone())
        self._likelihood: TableLikelihood | None = None

    @property
    def trials(self) -> Trials:
        """The table."""
        types = torch.as_tensor(self.types)
        per_trial = {name: torch.as_tensor(getattr(self, f"field_{k}")) for k, name in enumerate(self.fields)}
        status = torch.full((len(types),), int(Status.OK), dtype=torch.int8)
        return Trials(self.learners, Trajectory(status, types, per_trial), None, self.meaning)

    @property
    def likelihood(self) -> TableLikelihood:
        """Of each animal's choices.

        Raises:
            ValueError: If the rule is code of one's own, which files do not bring back.
        """
        if self.simulator is None:
            raise ValueError(
                "the rule of this posterior is code of your own, which files do not bring back: its draws are there, its "
                "likelihood is not; fit again for that."
            )
        if self._likelihood is None:
            self._likelihood = self.simulator.likelihood(self.trials)
        return self._likelihood

    def log_likelihood(self, theta: Tensor) -> Tensor:
        return self.likelihood.log_prob(theta).sum(dim=1)

    def config(self) -> dict[str, Any]:
        simulator: Any = self.simulator
        return {
            "simulator": None if simulator is None else simulator.config(),
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
    likelihood: TableLikelihood, rules: Tensor, decisions: int, answers: int
) -> Iterator[Tensor]:
    """Probabilities `(part, decisions, answers)` under rules of each animal `(n, animals, D)`, as memory allows."""
    at_once = max(1, min(len(rules), int(0.1 * free_memory() / (32 * decisions * answers))))
    for part in torch.split(rules, at_once):
        yield likelihood.probabilities(part)


class PooledPotential(NormalisedPotential):
    """Rules of animals that differ, by draws: of the population's centre, or of any of the animals.

    Arguments:
        inner: The likelihood of the table.
        draws: `(n, D)`.
    """

    kind = "pooled choices"

    def __init__(self, inner: ChoicePotential, draws: Tensor) -> None:
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
        return {"inner": self.inner.config(), "draws": list(torch.as_tensor(self.draws).shape)}

    @classmethod
    def from_config(cls, config: Plain) -> PooledPotential:
        return cls(ChoicePotential.from_config(config["inner"]), torch.zeros([int(n) for n in config["draws"]]))
