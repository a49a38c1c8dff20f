"""How a rule reads: LaTeX and plain words, for reports and for printing. Typesetting is done elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbirules.model.rules.coefficient import Coefficient

__all__ = [
    "RuleText",
    "general_sum",
    "number_tex",
    "others_in_words",
    "others_tex",
    "plain_others",
    "plain_sum",
    "terms_tex",
]

LONGEST = 6  # terms that a general equation spells out


@dataclass(frozen=True)
class RuleText:
    """A rule family and one rule of it, in words and in LaTeX (without dollar signs).

    Arguments:
        intro: What happens at a synapse, one sentence that ends in a colon.
        equations: The family's equations.
        rule: One rule's equation, cut into pieces that a line may break between.
        words: What the letters mean; LaTeX between dollar signs.
        units: What the numbers are measured in.
    """

    intro: str
    equations: tuple[str, ...]
    rule: tuple[str, ...]
    words: str
    units: str


def number_tex(value: float, digits: int) -> str:
    """A number in LaTeX."""
    shown = f"{value:.{digits}g}"
    mantissa, _, power = shown.partition("e")
    return rf"{mantissa} \times 10^{{{int(power)}}}" if power else shown


def general_sum(coefficients: Sequence[Coefficient]) -> str:
    """The sum of all terms with their symbols, in LaTeX."""
    terms = [rf"{c.tex}\,{c.term_tex}" if c.term_tex else c.tex for c in coefficients if c.linear]
    return " + ".join(terms) or "0"


def others_in_words(coefficients: Sequence[Coefficient]) -> str:
    """What coefficients are that multiply no term, such as thresholds; empty without any."""
    others = [f"${c.tex}$" + (f" ({c.term})" if c.term else "") for c in coefficients if not c.linear]
    if not others:
        return ""
    return f" {' and '.join(others)} {'enters' if len(others) == 1 else 'enter'} the terms in another way than as a factor."


def terms_tex(coefficients: Sequence[Coefficient], values: Mapping[str, float], digits: int) -> list[str]:
    """The terms of one rule with their numbers, one piece each; a zero where there is none."""
    pieces: list[str] = []
    for c in coefficients:
        value = values[c.name]
        if c.linear and value != 0:
            sign = "-" if value < 0 else ("+" if pieces else "")
            pieces.append(rf"{sign} {number_tex(abs(value), digits)}\,{c.term_tex}")
    return pieces or ["0"]


def plain_sum(coefficients: Sequence[Coefficient], values: Mapping[str, float], latex: bool, digits: int) -> str:
    """The sum of one rule's terms with their numbers, in plain text or LaTeX."""
    growth = ""
    for c in coefficients:
        value = values[c.name]
        if value == 0 or not c.linear:
            continue
        term = c.term_tex if latex else c.term
        number = f"{abs(value):.{digits}g}" + ((r"\," if latex else " ") + term if term else "")
        if growth:
            growth += f" {'-' if value < 0 else '+'} {number}"
        else:
            growth = f"{'-' if value < 0 else ''}{number}"
    return growth or "0"


def others_tex(coefficients: Sequence[Coefficient], values: Mapping[str, float], digits: int) -> list[str]:
    """Coefficients that multiply no term, such as thresholds, with their numbers: pieces that go on with an equation."""
    return [rf",\quad {piece}" for piece in plain_others(coefficients, values, True, digits)]


def plain_others(
    coefficients: Sequence[Coefficient], values: Mapping[str, float], latex: bool, digits: int
) -> list[str]:
    """Each of them alone, in plain text or LaTeX."""
    others = [(c, values[c.name]) for c in coefficients if not c.linear]
    if latex:
        return [rf"{c.tex} = {number_tex(value, digits)}" for c, value in others]
    return [f"{c.name} = {value:.{digits}g}" for c, value in others]
