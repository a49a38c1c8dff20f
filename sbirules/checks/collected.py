"""All checks of a posterior, collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sbirules.checks.recovery import Recovery
from sbirules.inference.questions import ConstraintCheck, Question, Resimulation
from sbirules.model.verdicts import LEVELS, Verdict
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONTRACTION", "LITTLE", "NATS", "Checks"]

CONTRACTION = "contraction_"  # of a coefficient, among the numbers of the verdict on information
NATS = "nats"  # learned over the prior, likewise
LITTLE = 0.15  # contraction below which next to nothing was learned: that of a few hundred draws is off by as much


@typed_class
@dataclass(frozen=True, repr=False)
class Checks(Shown):
    """All checks of a posterior; made by `check`.

    Arguments:
        verdicts: One for each check.
        resimulation: Posterior rules in fresh networks, or None.
        calibration: True rules and their posteriors, or None.
        question: What rules were held against, or None.
        left_out: Why a part that was wanted does not apply, by part.
    """

    verdicts: tuple[Verdict, ...]
    resimulation: Resimulation | None = None
    calibration: Recovery | None = None
    question: Question | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """The worst of all verdicts."""
        return LEVELS[max((LEVELS.index(v.level) for v in self.verdicts), default=0)]

    @property
    def headline(self) -> str:
        """How many checks pass, what was asked for and reached, and how much was learned."""
        if not self.verdicts:
            return ""
        bad = [v.name for v in self.verdicts if v.level == self.level]
        word = {
            "pass": f"All {len(self)} checks pass.",
            "caution": f"{len(bad)} of {len(self)} checks need attention ({', '.join(bad)}).",
            "fail": f"{len(bad)} of {len(self)} checks failed: do not rely on this posterior before that is mended "
            f"({', '.join(bad)}).",
        }[self.level]
        reached = (
            "" if self.question is None or self.resimulation is None else self.question.headline(self.resimulation)
        )
        left = f"Left out: {arguments.listed(self.left_out)}." if self.left_out else ""
        return " ".join(part for part in (word, reached, self._learned(), left) if part)

    @property
    def contractions(self) -> dict[str, float]:
        """What was learned of each coefficient, as the check of information has it; empty where that was not made."""
        found = self._information.items()
        return {name.removeprefix(CONTRACTION): v for name, v in found if name.startswith(CONTRACTION)}

    @property
    def _information(self) -> Mapping[str, float]:
        return next((v.numbers for v in self.verdicts if v.name == "information"), {})

    def _learned(self) -> str:
        """How much the posterior says beyond the prior, in a sentence."""
        narrowed, found = self.contractions, self._information
        if not narrowed:
            return ""
        best = max(narrowed, key=lambda name: narrowed[name])
        little = sum(value < LITTLE for value in narrowed.values())
        told = f"{found[NATS]:.1f} nats over the prior, " if NATS in found else ""
        return (
            f"Learned: {told}{best} most (contraction {narrowed[best]:.2f} of 1); {little} of {len(narrowed)} coefficients "
            f"next to nothing (below {LITTLE:g})."
        )

    @property
    def success(self) -> ConstraintCheck:
        """How often constraints hold in fresh networks.

        Raises:
            ValueError: If no constraints were checked.
        """
        if not isinstance(self.resimulation, ConstraintCheck):
            raise ValueError("success belongs to checks of constraints; see resimulation for what was checked here.")
        return self.resimulation

    def __getitem__(self, name: str) -> Verdict:
        arguments.known("checks", name, tuple(v.name for v in self.verdicts))
        return next(v for v in self.verdicts if v.name == name)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def table(self) -> pd.DataFrame:
        """One row per check: verdict, finding, advice."""
        import pandas as pd

        rows = [{"verdict": v.level, "finding": v.finding, "advice": v.advice} for v in self.verdicts]
        return pd.DataFrame(rows, index=[v.name for v in self.verdicts], columns=["verdict", "finding", "advice"])

    def to_dict(self) -> dict[str, Any]:
        """Plain types: the worst level, and every verdict with its numbers."""
        each = {
            v.name: {"verdict": v.level, "finding": v.finding, "advice": v.advice, "numbers": dict(v.numbers)}
            for v in self.verdicts
        }
        return {"verdict": self.level, "headline": self.headline, "checks": each, "left_out": dict(self.left_out)}

    def figures(self) -> dict[str, tuple[Callable[[], Any], str]]:
        """By check: what draws its figure and returns axes, and a caption."""
        return {v.name: (v.draw, v.caption) for v in self.verdicts if v.draw is not None}

    def __repr__(self) -> str:
        return f"Checks({self.level!r}, {len(self.verdicts)} checks)"

    def _card(self) -> Card:
        table = self.table().sort_values("verdict", key=lambda v: -v.map(LEVELS.index), kind="stable")
        return Card("Checks", dict(self.left_out), self.headline, table.rename_axis("check"))

    def __str__(self) -> str:
        return "\n".join((self.headline, *(str(v) for v in self.verdicts), *self._left()))

    def _left(self) -> list[str]:
        return [f"LEFT OUT {part.replace('_', ' ')}: {why}" for part, why in self.left_out.items()]
