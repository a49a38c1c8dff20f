"""All checks of a posterior, collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sbirules.checks.recovery import Recovery
from sbirules.inference.questions import ConstraintCheck, Question, Resimulation
from sbirules.model.verdicts import LEVELS, Verdict
from sbirules.support import arguments
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Checks"]


@typed_class
@dataclass(frozen=True, repr=False)
class Checks:
    """All checks of a posterior; made by `check`.

    Arguments:
        verdicts: One for each check.
        resimulation: Posterior rules in fresh networks, or None.
        calibration: True rules and their posteriors, or None.
        question: What rules were held against, or None.
    """

    verdicts: tuple[Verdict, ...]
    resimulation: Resimulation | None = None
    calibration: Recovery | None = None
    question: Question | None = None

    @property
    def level(self) -> str:
        """The worst of all verdicts."""
        return LEVELS[max((LEVELS.index(v.level) for v in self.verdicts), default=0)]

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
        return {"verdict": self.level, "checks": each}

    def figures(self) -> dict[str, tuple[Callable[[], Any], str]]:
        """By check: what draws its figure and returns axes, and a caption."""
        return {v.name: (v.draw, v.caption) for v in self.verdicts if v.draw is not None}

    def __repr__(self) -> str:
        return f"Checks({self.level!r}, {len(self.verdicts)} checks)"

    def __str__(self) -> str:
        return "\n".join(str(v) for v in self.verdicts)
