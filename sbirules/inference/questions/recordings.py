"""Recordings: which rule changed what was recorded, in a circuit whose variables are those that were recorded?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sbirules.inference.exact import PooledPotential, RecordingPotential
from sbirules.inference.potentials import Potential
from sbirules.inference.questions.base import Asked, FigureOf, Predictive
from sbirules.inference.questions.fresh import Fresh
from sbirules.inference.questions.recording_checks import (
    RecordingsCheck,
    predicted_recordings,
    recording_figures,
    recording_verdicts,
)
from sbirules.inference.questions.tables import POOLED, RULES, TableQuestion
from sbirules.model.abilities import PredictsActivity
from sbirules.model.fields import Layout
from sbirules.model.recordings import Recordings
from sbirules.model.simulator import Simulator
from sbirules.model.verdicts import Verdict

__all__ = ["RecordingsQuestion"]


@dataclass(frozen=True)
class _Known:
    """What is known of recordings that are not there any more."""

    learners: tuple[str, ...] = ()
    values: int = 0
    digest: str = ""
    channels: tuple[str, ...] = ()
    unit: str = ""
    cautions: tuple[str, ...] = ()


class RecordingsQuestion(TableQuestion):
    """What was recorded of animals.

    Arguments:
        table: The recordings; None where only what was learned from them is known.
        animals: Whether one rule is `"shared"`, each animal has its `"own"`, or they are `"partial"`ly pooled.
        known: Without recordings: what is known of them.
    """

    kind, units = "recordings", "naive weights"
    predicted_by, potential, argument = PredictsActivity, RecordingPotential, "recordings"
    predicted_with = "MushroomBody"
    reading = ("columns", "rows", "unit")
    section_keys = ("recordings", "animals", *reading)
    remembered = _Known
    checked_by = "each response as posterior rules predict it, beside the circuit without plasticity"
    potentials: ClassVar[Mapping[str, type[Potential]]] = {
        "recordings": RecordingPotential,
        "pooled choices": PooledPotential,
    }

    @classmethod
    def known_of(cls, table: Recordings) -> _Known:
        count = int((~table.values.isnan()).sum())
        cautions = table.describe().cautions
        return _Known(table.learners, count, table.digest(), table.channels, table.unit, cautions)

    @classmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> RecordingsQuestion:
        return cls(Recordings.read(value), options.get("animals", "shared"))

    @classmethod
    def read(cls, source: Any, simulator: Simulator | None, **reading: Any) -> Recordings:
        return Recordings.read(source, **reading)

    # Checks ---------------------------------------------------------------------------------------

    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> RecordingsCheck:
        if self.table is None:
            raise ValueError(self.lacking())
        return predicted_recordings(posterior, simulator, self.table, fresh)

    def verdicts(self, found: RecordingsCheck, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        return recording_verdicts(found)

    # Words ----------------------------------------------------------------------------------------

    def words(self, subject: str, setting: str) -> str:
        return (
            f"{subject} could have changed what was recorded of {self.size} animals ({self.known.values:,} responses), given "
            f"what "
            f"happened to each{setting}, {POOLED[self.animals]}?"
        )

    def facts(self) -> dict[str, Any]:
        return {
            "animals": self.size,
            "responses": self.known.values,
            "channels": list(self.known.channels),
            "unit": self.known.unit or None,
            "rules": RULES[self.animals],
        }

    def findings(self, found: RecordingsCheck) -> list[str]:
        return found.findings

    def figures(self, found: RecordingsCheck, simulator: Simulator) -> list[FigureOf]:
        return recording_figures(found)

    def numbers(self, found: RecordingsCheck) -> dict[str, dict[str, Any]]:
        return {
            "data": {
                "learners": self.size,
                "trials": self.known.values,
                "predictive_coverage": found.inside,
                "explained": found.explained,
                "ceiling": found.ceiling,
            }
        }

    def predictive(self, found: RecordingsCheck | None) -> Predictive:
        if found is None:
            return Predictive()
        return Predictive(
            {"mean_response": found.predicted},
            {"mean_response": found.observed},
            {"mean_response": ["response"]},
            {"response": list(found.names)},
        )
