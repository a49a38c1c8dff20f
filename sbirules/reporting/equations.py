"""A rule as typeset mathematics for a page: MathML, made from LaTeX by a library."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from sbirules.model.rules import RuleText

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["math_of", "typeset"]

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


def typeset(text: RuleText) -> dict[str, Markup | list[Markup] | str]:
    """How a rule reads, as markup: `intro`, `equations`, `rule`, `words` and `units`."""
    from markupsafe import Markup

    rule = Markup(" ").join(Markup('<span class="term">{}</span>').format(math_of(piece)) for piece in text.rule)
    parts = text.words.split("$")
    words = Markup("").join(math_of(part) if k % 2 else Markup.escape(part) for k, part in enumerate(parts))
    return {
        "intro": text.intro,
        "equations": [math_of(line) for line in text.equations],
        "rule": rule,
        "words": words,
        "units": text.units,
    }


def math_of(latex: str) -> Markup:
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
