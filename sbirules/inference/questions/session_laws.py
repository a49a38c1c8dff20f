"""Session scales: by which law did the connectivity of a circuit change from session to session?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sbirules.inference.exact import PooledPotential, SessionsPotential
from sbirules.inference.potentials import Potential
from sbirules.inference.questions.base import Asked, FigureOf, Predictive
from sbirules.inference.questions.fresh import Fresh
from sbirules.inference.questions.session_checks import SessionsCheck, predicted_sessions
from sbirules.inference.questions.session_verdicts import session_figures, session_verdicts
from sbirules.inference.questions.tables import POOLED, RULES, TableQuestion
from sbirules.model.abilities import PredictsSessions
from sbirules.model.fields import Layout
from sbirules.model.session_scales import SessionScales
from sbirules.model.simulator import Simulator
from sbirules.model.verdicts import Verdict

__all__ = ["SessionsQuestion"]


@dataclass(frozen=True)
class _Known:
    """What is known of sessions that are not there any more."""

    learners: tuple[str, ...] = ()
    sessions: int = 0
    digest: str = ""
    scales: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    unit: str = ""
    cautions: tuple[str, ...] = ()


class SessionsQuestion(TableQuestion):
    """The scales of a circuit's connectivity over sessions.

    Arguments:
        table: The session scales; None where only what was learned from them is known.
        animals: Whether one law is `"shared"`, each animal has its `"own"`, or they are `"partial"`ly pooled.
        known: Without session scales: what is known of them.
    """

    kind, units = "sessions", "spreads per session"
    predicted_by, potential, argument = PredictsSessions, SessionsPotential, "sessions"
    predicted_with = "SessionLaw"
    reading = ("columns", "rows", "unit")
    section_keys = ("sessions", "animals", *reading)
    remembered = _Known
    checked_by = (
        "each session as laws predict it from those before, beside scales that wander and sessions in another order"
    )
    potentials: ClassVar[Mapping[str, type[Potential]]] = {
        "sessions": SessionsPotential,
        "pooled choices": PooledPotential,
    }

    @classmethod
    def known_of(cls, table: SessionScales) -> _Known:
        count, cautions = int(table.num_sessions.sum()), table.describe().cautions
        return _Known(table.learners, count, table.digest(), table.names, table.channels, table.unit, cautions)

    @classmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> SessionsQuestion:
        return cls(SessionScales.read(value), options.get("animals", "shared"))

    @classmethod
    def read(cls, source: Any, simulator: Simulator | None, **reading: Any) -> SessionScales:
        return SessionScales.read(source, **reading)

    # Checks ---------------------------------------------------------------------------------------

    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> SessionsCheck:
        if self.table is None:
            raise ValueError(self.lacking())
        return predicted_sessions(posterior, simulator, self.table, fresh)

    def verdicts(self, found: SessionsCheck, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        return session_verdicts(found)

    # Words ----------------------------------------------------------------------------------------

    def words(self, subject: str, setting: str) -> str:
        return (
            f"{subject} could have moved {len(self.known.scales)} scales of the connectivity of {self.size} animals over "
            f"{self.known.sessions} sessions{setting}, {POOLED[self.animals]}?"
        )

    def facts(self) -> dict[str, Any]:
        return {
            "animals": self.size,
            "sessions": self.known.sessions,
            "scales": list(self.known.scales),
            "stimulation": list(self.known.channels),
            "unit": self.known.unit or None,
            "rules": RULES[self.animals],
        }

    def findings(self, found: SessionsCheck) -> list[str]:
        return [
            f"{name[0].upper()}{name[1:]}: {middle:.3g} (95 % {low:.3g} to {high:.3g})."
            for name, (middle, low, high) in found.quantiles().items()
        ]

    def figures(self, found: SessionsCheck, simulator: Simulator) -> list[FigureOf]:
        return session_figures(found)

    def numbers(self, found: SessionsCheck) -> dict[str, dict[str, Any]]:
        return {
            "data": {
                "learners": self.size,
                "trials": self.known.sessions,
                "predictive_coverage": found.inside,
                "explained": dict(found.explained),
                "order_p": found.order,
                "invariants": {name: list(value) for name, value in found.quantiles().items()},
            }
        }

    def predictive(self, found: SessionsCheck | None) -> Predictive:
        if found is None:
            return Predictive()
        return Predictive(
            {}, {"scales": found.scales}, {"scales": ["animal", "session", "scale"]}, {"scale": list(found.names)}
        )
