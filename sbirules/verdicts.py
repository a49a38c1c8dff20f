"""Verdicts: what each check found, in plain words, with its numbers, its figure, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sbirules import _check

if TYPE_CHECKING:
    import pandas as pd

    from sbirules.recover import Recovery
    from sbirules.resimulation import ConstraintCheck, Resimulation

__all__ = ["LEVELS", "Checks", "Verdict", "by_p_value"]

LEVELS = ("pass", "caution", "fail")
UNLIKELY, IMPOSSIBLE = 0.05, 0.001  # p-values below which a check cautions and fails


@dataclass(frozen=True, repr=False)
class Verdict:
    """One check.

    Arguments:
        name: Of the check.
        level: `"pass"`, `"caution"` or `"fail"`.
        finding: What was found, one sentence with numbers.
        advice: What to do next; empty where nothing needs doing.
        numbers: The numbers, for programs.
        draw: Makes the figure behind it and returns axes, or None.
        caption: Of that figure.
    """

    name: str
    level: str
    finding: str
    advice: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    draw: Callable[[], Any] | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        _check.known("level", self.level, LEVELS)

    def __repr__(self) -> str:
        return f"Verdict({self.name!r}, {self.level!r})"

    def __str__(self) -> str:
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.level.upper():<8} {self.name}: {self.finding}{advice}"


@dataclass(frozen=True, repr=False)
class Checks:
    """All checks of a posterior; made by `check`.

    Arguments:
        verdicts: One for each check.
        resimulation: Posterior rules in fresh networks, or None.
        calibration: True rules and their posteriors, or None.
    """

    verdicts: tuple[Verdict, ...]
    resimulation: Resimulation | None = None
    calibration: Recovery | None = None

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
        from sbirules.resimulation import ConstraintCheck

        if not isinstance(self.resimulation, ConstraintCheck):
            raise ValueError("success belongs to checks of constraints; see resimulation for what was checked here.")
        return self.resimulation

    def __getitem__(self, name: str) -> Verdict:
        _check.known("checks", name, tuple(v.name for v in self.verdicts))
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


def by_p_value(p: float, tests: int = 1) -> str:
    """The level of the smallest p-value of so many tests (Bonferroni); a test that could not be made fails."""
    if not p >= IMPOSSIBLE / tests:
        return "fail"
    return "caution" if p < UNLIKELY / tests else "pass"
