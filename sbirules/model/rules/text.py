"""How a rule reads: LaTeX and plain words, for reports and for printing. Typesetting is done elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbirules.model.rules.coefficient import Coefficient

__all__ = ["RuleText", "general_sum", "number_tex", "plain_sum", "terms_tex"]

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
    return " + ".join(rf"{c.tex}\,{c.term_tex}" for c in coefficients)


def terms_tex(coefficients: Sequence[Coefficient], values: Mapping[str, float], digits: int) -> list[str]:
    """The terms of one rule with their numbers, one piece each; a zero where there is none."""
    pieces: list[str] = []
    summed = False
    for c in coefficients:
        value = values[c.name]
        if not c.linear:
            pieces.append(rf"[{c.tex} = {value:.{digits}g}]")
        elif value != 0:
            sign = "-" if value < 0 else ("+" if summed else "")
            pieces.append(rf"{sign} {number_tex(abs(value), digits)}\,{c.term_tex}")
            summed = True
    return pieces if summed else [*pieces, "0"]


def plain_sum(coefficients: Sequence[Coefficient], values: Mapping[str, float], latex: bool, digits: int) -> str:
    """The sum of one rule's terms with their numbers, in plain text or LaTeX."""
    growth = ""
    for c in coefficients:
        value = values[c.name]
        if value == 0 and c.linear:
            continue
        term = c.term_tex if latex else c.term
        # a coefficient that does not multiply a term is listed by name
        number = f"{abs(value):.{digits}g}" + ((r"\," if latex else " ") + term if term else "")
        number = number if c.linear else f"[{c.name} = {value:.{digits}g}]"
        negative = value < 0 and c.linear
        if growth:
            growth += f" {'-' if negative else '+'} {number}"
        else:
            growth = f"{'-' if negative else ''}{number}"
    return growth or "0"
