"""A rule as typeset mathematics for a page: MathML, made from LaTeX by a library."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

from torch import Tensor

from sbirules.polynomial import PolynomialRule
from sbirules.rules import TIME_CONSTANTS, RuleFamily

__all__ = ["typeset"]

ATTRIBUTES = {
    "display",
    "stretchy",
    "width",
    "mathvariant",
    "fence",
    "form",
    "minsize",
    "maxsize",
    "accent",
    "lspace",
    "rspace",
}
DEVIATION = r"(\bar x_i - x_i)"


def typeset(family: RuleFamily, theta: Tensor, digits: int = 2) -> dict[str, Any]:
    """The family's equations and one rule of it, as markup.

    Arguments:
        family: The family.
        theta: The rule, `(D,)`.
        digits: Of its numbers.

    Returns:
        `trace`, `change` and `mean` as MathML; `words`, what their letters mean.
    """
    inferred = set(family.infer)
    decay = r" - e_{ij}/\tau_e" if "tau_e" in inferred or math.isfinite(family.tau_e) else ""
    forget = r" - w_{ij}/\tau_w" if "tau_w" in inferred or math.isfinite(family.tau_w) else ""
    values = dict(zip(family.names, theta.tolist(), strict=True))
    if isinstance(family, PolynomialRule) and len(family.coefficients) > 6:
        weight = r"\, w_{ij}^m" if family.weight_degree else ""
        index = "klm" if family.weight_degree else "kl"
        growth = rf"\sum_{{{','.join(index)}}} \theta_{{{index}}}\, r_j^k\, {DEVIATION}^l{weight}"
    else:
        growth = " + ".join(rf"{_symbol(c.name)}\,{c.latex or _text(c.term)}" for c in family.coefficients)
    parts = [_math(r"\frac{d e_{ij}}{dt} =")]
    first = True
    for c in family.coefficients:
        value = values[c.name]
        if not c.linear:
            parts.append(_math(rf"[{_symbol(c.name)} = {value:.{digits}g}]"))
            continue
        if value == 0:
            continue
        sign = "-" if value < 0 else ("" if first else "+")
        parts.append(_math(rf"{sign} {_number(abs(value), digits)}\,{c.latex or _text(c.term)}"))
        first = False
    if first:
        parts.append(_math("0"))
    known = {n: values.get(n, getattr(family, n)) for n in TIME_CONSTANTS}
    if decay:
        parts.append(_math(decay))
    times = [
        rf"\tau_{n[-1]} = {_number(v, 3)}\,\mathrm{{{TIME_CONSTANTS[n].unit}}}"
        for n, v in known.items()
        if math.isfinite(v)
    ]
    parts += [_math(t) for t in times]
    from markupsafe import Markup

    words = Markup(
        "<var>r<sub>j</sub></var> is the presynaptic rate, <var>x<sub>i</sub></var> the postsynaptic state and <var>x̄<sub>i</sub>"
        "</var> its running mean, <var>R</var> the reward of the trial and <var>R̄</var> what was expected of that type of trial. "
    ) + (
        f"{len(family.coefficients)} coefficients"
        + (f" and {len(inferred)} time constant(s)" if inferred else "")
        + " are inferred."
    )
    mean = Markup(" ").join(Markup('<span class="term">{}</span>').format(p) for p in parts)
    return {
        "trace": _math(rf"\frac{{d e_{{ij}}}}{{dt}} = {growth}{decay}"),
        "change": _math(rf"\Delta w_{{ij}} = e_{{ij}}\,(R - \bar R){forget}"),
        "mean": mean,
        "words": words,
    }


def _symbol(name: str) -> str:
    """A coefficient's name in LaTeX."""
    if name.startswith("theta_"):
        return rf"\theta_{{{name[6:].replace('_', ',')}}}"
    return rf"\mathrm{{{name.replace('_', ' ')}}}"


def _text(words: str) -> str:
    """Plain text in LaTeX."""
    return rf"\mathrm{{{words.replace('_', ' ').replace('^', ' ')}}}"


def _number(value: float, digits: int) -> str:
    shown = f"{value:.{digits}g}"
    mantissa, _, power = shown.partition("e")
    return rf"{mantissa} \times 10^{{{int(power)}}}" if power else shown


def _math(latex: str) -> Any:
    """MathML of LaTeX; what cannot be converted, or would not be plain MathML, is shown as code."""
    from latex2mathml.converter import convert
    from markupsafe import Markup

    try:
        out = convert(latex)
        tree = ElementTree.fromstring(out)
        plain = all(
            str(e.tag).startswith("{http://www.w3.org/1998/Math/MathML}") and set(e.keys()) <= ATTRIBUTES
            for e in tree.iter()
        )
    except Exception:  # a user's own LaTeX; whatever it breaks, the page must not
        plain, out = False, ""
    out = out.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")  # HTML knows it; a page should name no address
    return Markup(out) if plain else Markup("<code>{}</code>").format(latex)
