"""Choices: which rule moves the policy of animals, given what each of them saw, did and got?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sbirules.inference.exact import ChoicePotential, PooledPotential
from sbirules.inference.potentials import Potential
from sbirules.inference.questions.base import Asked, FigureOf, Predictive
from sbirules.inference.questions.choice_checks import ChoicesCheck, choice_figures, choice_verdicts, predicted_choices
from sbirules.inference.questions.fresh import Fresh
from sbirules.inference.questions.tables import POOLED, RULES, TableQuestion
from sbirules.model.abilities import PredictsChoices
from sbirules.model.fields import Layout
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.model.verdicts import Verdict

__all__ = ["ChoicesQuestion"]


@dataclass(frozen=True)
class _Known:
    """What is known of a table that is not there any more."""

    learners: tuple[str, ...] = ()
    decisions: int = 0
    digest: str = ""
    options: tuple[str, ...] = ()
    stimuli: tuple[str, ...] = ()
    cautions: tuple[str, ...] = field(default=())


class ChoicesQuestion(TableQuestion):
    """The choices of animals.

    Arguments:
        table: The animals; None where only what was learned from them is known.
        animals: Whether one rule is `"shared"`, each animal has its `"own"`, or they are `"partial"`ly pooled.
        known: Without a table: what is known of it.
    """

    kind, units = "choices", "logit units"
    predicted_by, potential, argument = PredictsChoices, ChoicePotential, "trials"
    predicted_with = "PolicyNetwork"
    reading = ("columns", "rows", "options", "one_hot")
    section_keys = ("trials", "animals", *reading)
    remembered = _Known
    checked_by = "each choice as posterior rules predict it, or animals in closed loop where the task is known"
    potentials: ClassVar[Mapping[str, type[Potential]]] = {
        "choices": ChoicePotential,
        "pooled choices": PooledPotential,
    }

    @classmethod
    def known_of(cls, table: Trials) -> _Known:
        if table.meaning is None:
            raise ValueError("trials must be a table of choices; see Trials.read, columns={'choice': ...}.")
        cautions = tuple(table.describe().cautions)
        m, decisions = table.meaning, int(table.num_trials.sum())
        return _Known(table.learners, decisions, table.digest(), m.options, m.stimuli, cautions)

    @classmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> ChoicesQuestion:
        table = value if isinstance(value, Trials) else Trials.read(value, layout)
        return cls(table, options.get("animals", "shared"))

    @classmethod
    def read(cls, source: Any, simulator: Simulator | None, **reading: Any) -> Trials:
        return Trials.read(source, None if simulator is None else simulator.layout, **reading)

    # Checks ---------------------------------------------------------------------------------------

    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> ChoicesCheck:
        if self.table is None:
            raise ValueError(self.lacking())
        return predicted_choices(posterior, simulator, self.table, fresh)

    def verdicts(self, found: ChoicesCheck, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        return choice_verdicts(found)

    # Words ----------------------------------------------------------------------------------------

    def words(self, subject: str, setting: str) -> str:
        pooled = POOLED[self.animals]
        return (
            f"{subject} could move the policy of {self.size} animals, given {self.known.decisions:,} choices and what each "
            f"animal saw, did and got before{setting}, {pooled}?"
        )

    def facts(self) -> dict[str, Any]:
        return {
            "animals": self.size,
            "choices": self.known.decisions,
            "answers": list(self.known.options),
            "stimuli": list(self.known.stimuli) or None,
            "rules": RULES[self.animals],
        }

    def findings(self, found: ChoicesCheck) -> list[str]:
        return found.findings

    def figures(self, found: ChoicesCheck, simulator: Simulator) -> list[FigureOf]:
        return choice_figures(found)

    def numbers(self, found: ChoicesCheck) -> dict[str, dict[str, Any]]:
        return {
            "data": {
                "learners": self.size,
                "trials": self.known.decisions,
                "deviance_explained": found.deviance_explained,
                "predictive_coverage": found.coverage,
            }
        }

    def predictive(self, found: ChoicesCheck | None) -> Predictive:
        if found is None:
            return Predictive()
        shown = {s.group.replace(" ", "_").replace(",", "").replace("-", "_"): s for s in found.predicted}
        seen = dict(zip(shown, found.observed, strict=True))
        dims = {name: [f"{name}_of"] for name in shown}
        coords: dict[str, list[Any]] = {f"{name}_of": list(s.names) for name, s in shown.items()}
        return Predictive(
            {n: s.values for n, s in shown.items()}, {n: s.values[0] for n, s in seen.items()}, dims, coords
        )
