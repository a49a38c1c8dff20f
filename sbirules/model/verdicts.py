"""Verdicts as plain values: what a check found, in words, with its numbers, its figure, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sbirules.support import arguments
from sbirules.support.notebook import SIGNS, Card, Shown
from sbirules.support.typed import typed_class

__all__ = ["LEVELS", "Verdict", "attempted", "by_p_value"]

LEVELS = ("pass", "caution", "fail")
# about so many tests by p-values are made of one posterior: together they caution of a right one in one of twenty, and fail
# it in one of two hundred
TESTS = 6
UNLIKELY, IMPOSSIBLE = 0.05 / TESTS, 0.005 / TESTS  # p-values below which one of them does


@typed_class
@dataclass(frozen=True, repr=False)
class Verdict(Shown):
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
    draw: Callable[[], object] | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        arguments.known("level", self.level, LEVELS)

    def __repr__(self) -> str:
        return f"Verdict({self.name!r}, {self.level!r})"

    def _card(self) -> Card:
        return Card(f"{self.name}: {SIGNS[self.level]}", self.numbers, f"{self.finding} {self.advice}".strip())

    def __str__(self) -> str:
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.level.upper():<8} {self.name}: {self.finding}{advice}"


def by_p_value(p: float, tests: int = 1) -> str:
    """The level of the smallest p-value of so many tests (Bonferroni); a test that could not be made fails."""
    if not p >= IMPOSSIBLE / tests:
        return "fail"
    return "caution" if p < UNLIKELY / tests else "pass"


def attempted(name: str, look: Callable[[], list[Verdict]]) -> list[Verdict]:
    """What a check says; a caution with the reason where it cannot be made, so that the others go on.

    A full disk and the like are no matter of one check, and are raised.
    """
    try:
        return look()
    except OSError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        reason = str(error).strip().split("\n")[0].rstrip(".") or "without a message"
        finding = f"This could not be checked: {kind}{reason}."
        return [Verdict(name, "caution", finding, "It is not known whether it would pass; the other checks stand.")]
