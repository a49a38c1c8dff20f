"""Text of a rule, as a person or a language model writes it, into its structure. Nothing of it is ever executed.

Sums, products and whole powers are multiplied out, `c x (r - y)` is `c x r + c x y`; each product becomes a term with a
coefficient of its own, so that numbers in the text do not count.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from sbirules.model.structures.expressions import (
    FUNCTIONS,
    MOST_POWER,
    TARGETS,
    Factor,
    Structure,
    Term,
    canonical_term,
)
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["parse_structure"]

LONGEST = 2000  # characters
DEEPEST = 20  # brackets within brackets
MOST_TERMS = 64  # while multiplying out
GRAMMAR = r"""
start: _side? sum
_side: NAME "="
sum: SIGN? product (SIGN product)*
product: power ("*"? power | "/" NUMBER)*
power: atom (("^" | "**") NUMBER)?
?atom: NUMBER -> number
     | NAME -> variable
     | FUNCTION "(" sum ")" -> function
     | "(" sum ")"
SIGN: "+" | "-"
FUNCTION.2: /(?:relu|step)(?=[ \t]*\()/
NAME: /[A-Za-z][A-Za-z0-9_]*/
NUMBER: /(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?/
%ignore /[ \t\n]+/
"""
ALIASES = {
    "policy": {"pre": "x", "post": "y", "weight": "w", "reward": "r", "choice": "c", "error": "d", "surprise": "rd"},
    "trace": {"r": "pre", "d": "deviation", "w": "weight"},
}
MARKS = {
    **dict.fromkeys("\u2212\u2013", "-"),
    **dict.fromkeys("\u00d7\u00b7\u22c5", "*"),
    **dict.fromkeys("\u0394\u2206", "d"),
    "\u00b2": "^2",
    "\u00b3": "^3",
}
LEFT = ("dw", "dw_ij", "delta_w", "de", "de_ij")  # what may stand before "="

Sum = dict[Term, float]


@typed
def parse_structure(text: str, target: str = "policy") -> Structure:
    """The structure that a text such as `"c x rd - 0.1 w"` stands for.

    Factors are variables, `relu(x - 0.5)` and `step(x - 0.5)`, and whole powers of them, with or without `*` between them.

    Arguments:
        text: The right-hand side of the rule; `"0"` for a rule that changes nothing.
        target: `"policy"`, with the variables c, d, x, y, w, r, rd; or `"trace"`, with pre, deviation, weight.

    Raises:
        ValueError: If it is no such sum, longer than 2000 characters, nested more than 20 deep, or of more than 64 terms.

    Examples:
        >>> str(parse_structure("dw = 0.3 c*(r - w)"))
        'c w + c r'
    """
    arguments.known("target", target, tuple(TARGETS))
    if len(text) > LONGEST:
        raise ValueError(f"text of a rule must have at most {LONGEST} characters, got {len(text)}.")
    text = _plain_marks(text)
    if not text.strip():
        raise ValueError('text of a rule must be a sum of products such as "c x rd - w", got an empty one.')
    _refuse_depth(text)
    from lark.exceptions import LarkError, UnexpectedCharacters, UnexpectedEOF

    try:
        tree = _parser().parse(text)
    except UnexpectedEOF:
        raise ValueError(
            f"text of a rule must be a sum of products such as 'c x rd - w'; {_short(text)} ends too early."
        ) from None
    except UnexpectedCharacters as error:
        raise ValueError(
            f"text of a rule has {text[error.pos_in_stream or 0]!a} where none can stand: {_short(text)}; {_may(target)}."
        ) from None
    except LarkError as error:
        at = getattr(error, "pos_in_stream", None)
        where = f"at character {at + 1} " if isinstance(at, int) and at >= 0 else ""
        raise ValueError(
            f"text of a rule must be a sum of products such as 'c x rd - w'; {_short(text)} is none {where}({_may(target)})."
        ) from None
    left = [c for c in tree.children if getattr(c, "type", "") == "NAME"]
    if left and left[0] not in LEFT:
        raise ValueError(f"before '=' must stand dw or de, got {str(left[0])[:40]!r}.")
    total = _sum(tree.children[-1], target)
    return Structure.of([term for term, number in total.items() if number != 0], target)


def _plain_marks(text: str) -> str:
    """The text without what is put around formulas, and with ASCII marks for what is written otherwise."""
    for mark, own in MARKS.items():
        text = text.replace(mark, own)
    return text.strip().removeprefix("```text").removeprefix("```python").strip("`").strip().removesuffix(";")


@cache
def _parser() -> Any:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr")


def _may(target: str) -> str:
    return f"variables are {arguments.listed(TARGETS[target])}, functions {arguments.listed(FUNCTIONS)}"


def _short(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _refuse_depth(text: str) -> None:
    depth = 0
    for mark in text:
        depth += (mark == "(") - (mark == ")")
        if depth > DEEPEST:
            raise ValueError(f"text of a rule must nest brackets at most {DEEPEST} deep, {_short(text)} goes deeper.")


# Multiplying out --------------------------------------------------------------------------------------


def _sum(node: Any, target: str) -> Sum:
    total: Sum = {}
    sign = 1.0
    for part in node.children:
        if getattr(part, "type", "") == "SIGN":
            sign = -1.0 if part == "-" else 1.0
            continue
        for term, number in _product(part, target).items():
            total[term] = total.get(term, 0.0) + sign * number
        sign = 1.0
        _refuse_many(total)
    return total


def _product(node: Any, target: str) -> Sum:
    total: Sum = {(): 1.0}
    for part in node.children:
        if getattr(part, "type", "") == "NUMBER":  # after "/"
            divisor = _number(part)
            if divisor == 0:
                raise ValueError("text of a rule divides by 0.")
            total = {term: number / divisor for term, number in total.items()}
        else:
            total = _times(total, _power(part, target), target)
    return total


def _power(node: Any, target: str) -> Sum:
    base = _atom(node.children[0], target)
    if len(node.children) == 1:
        return base
    k = _number(node.children[1])
    if k != int(k) or not 1 <= k <= MOST_POWER:
        raise ValueError(f"powers must be whole numbers from 1 to {MOST_POWER}, got {str(node.children[1])[:20]}.")
    out: Sum = {(): 1.0}
    for _ in range(int(k)):
        out = _times(out, base, target)
    return out


def _atom(node: Any, target: str) -> Sum:
    if node.data == "number":
        return {(): _number(node.children[0])}
    if node.data == "variable":
        return {(_factor(str(node.children[0]), target),): 1.0}
    if node.data == "function":
        return {canonical_term([_rectified(str(node.children[0]), _sum(node.children[1], target))], target): 1.0}
    return _sum(node, target)


def _factor(name: str, target: str) -> Factor:
    own = ALIASES[target].get(name, name)
    order = list(TARGETS[target])
    if own not in order:
        raise ValueError(f"text of a rule has {name[:40]!r}, which is no variable: they are {arguments.listed(order)}.")
    return Factor(order.index(own), own)


def _rectified(function: str, inner: Sum) -> Factor:
    """relu or step of a variable minus a number."""
    shift = inner.get((), 0.0)
    rest = {term: number for term, number in inner.items() if term and number != 0}
    plain = len(rest) == 1 and next(iter(rest.values())) == 1.0
    factor = next(iter(rest))[0] if plain else None
    if factor is None or len(next(iter(rest))) != 1 or factor.function or factor.power != 1:
        raise ValueError(f"{function} takes a variable minus a number, such as {function}(x - 0.5).")
    return Factor(factor.place, factor.variable, function, float(f"{-shift + 0.0:.6g}") + 0.0)


def _times(a: Sum, b: Sum, target: str) -> Sum:
    out: Sum = {}
    for one, m in a.items():
        for other, n in b.items():
            term = canonical_term((*one, *other), target)
            out[term] = out.get(term, 0.0) + m * n
    _refuse_many(out)
    if not all(math.isfinite(n) for n in out.values()):
        raise ValueError("numbers in the text of a rule must be finite.")
    return out


def _refuse_many(terms: Sum) -> None:
    if len(terms) > MOST_TERMS:
        raise ValueError(f"text of a rule must have at most {MOST_TERMS} terms when multiplied out.")


def _number(token: Any) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise ValueError(f"numbers in the text of a rule must be finite, got {str(token)[:20]}.")
    return value
