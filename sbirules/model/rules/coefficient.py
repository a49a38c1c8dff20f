"""One named coefficient of a rule family."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch.distributions import Distribution

from sbirules.support.typed import typed_class

__all__ = ["RESERVED", "TIME_CONSTANTS", "Coefficient"]

RESERVED = ("chain", "draw")  # ArviZ has these for dimensions of draws


@typed_class
@dataclass(frozen=True)
class Coefficient:
    r"""One named coefficient of a rule family.

    Arguments:
        name: The name users see in priors, posteriors and files.
        term: What it multiplies, in plain text, for `describe`, e.g. `"r_j (xbar_i - x_i)"`.
        latex: The same in LaTeX; `term` if empty.
        low: Smallest legal raw value.
        high: Largest legal raw value.
        linear: Whether the change is linear in the coefficient, so that natural units have a meaning.
            A coefficient that is not (a threshold, an exponent) keeps unit 1.
        default: Value the coefficient keeps while the natural unit of another one is measured.
        unit: Unit for axis labels, e.g. `"ms"`; empty for natural units.
        log: Whether it is best seen on a log scale, as a time constant is.
        symbol: Its symbol in LaTeX; made from the name if empty.
        prior: Its prior where none is given, for nuisances that have a usual one.
    """

    name: str
    term: str = ""
    latex: str = ""
    low: float = -math.inf
    high: float = math.inf
    linear: bool = True
    default: float = 0.0
    unit: str = ""
    log: bool = False
    symbol: str = ""
    prior: Distribution | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name of a Coefficient must be a Python identifier, such as theta_00, got {self.name!r}.")
        if not self.low < self.high:
            raise ValueError(f"{self.name}: low must be less than high, got low={self.low:g}, high={self.high:g}.")
        if not self.low <= self.default <= self.high or (self.linear and math.isinf(self.default)):
            kind = "a finite number" if self.linear else "a number"
            raise ValueError(
                f"{self.name}: default must be {kind} in [{self.low:g}, {self.high:g}], got {self.default:g}."
            )

    @property
    def tex(self) -> str:
        """Its symbol in LaTeX."""
        if self.symbol:
            return self.symbol
        if self.name.startswith("theta_"):
            return rf"\theta_{{{self.name[6:].replace('_', ',')}}}"
        return rf"\mathrm{{{self.name.replace('_', ' ')}}}"

    @property
    def term_tex(self) -> str:
        """What it multiplies, in LaTeX."""
        return self.latex or _tex_of(self.term)

    @property
    def may_vanish(self) -> bool:
        """Whether its term can be taken out of a rule by setting it to zero."""
        return self.linear and self.low <= 0 <= self.high


GREEK = frozenset(
    (
        *(
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
        ),
        *("pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
        *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"),
    )
)
# spaces, then a name with its index, a number, a power, or any one other character
TOKEN = re.compile(
    r"(?P<gap>\s*+)(?:(?P<name>[A-Za-z]++)(?:_(?P<braced>\{[A-Za-z0-9, ]*+\})|_(?P<index>[A-Za-z0-9](?:,?[A-Za-z0-9])*+)"
    r"|(?P<digits>\d++))?|(?P<number>\d++(?:\.\d++)?)|(?P<power>\*\*|\^)|(?P<sign>\S))"
)
MARKS = {mark: rf"\{mark}" for mark in "%#&${}_"} | {"*": "", "\\": r"\backslash "}
LONGEST = 400  # characters of a term that are read


def _tex_of(term: str) -> str:
    """LaTeX of a term in plain text, such as `d_i^2 (xbar_i - theta)`: names with subscripts, powers, brackets, signs."""
    return _joined(list(TOKEN.finditer(term.strip()[:LONGEST])))


def _joined(tokens: Sequence[re.Match[str]]) -> str:
    text, at = "", 0
    while at < len(tokens):
        token = tokens[at]
        if token["power"]:
            exponent, at = _exponent(tokens, at + 1)
            text += f"^{{{exponent}}}"
            continue
        piece = _piece(token)
        if piece:
            spaced = token["gap"] and text and text[-1] not in "(" and piece not in "),"
            text += (" " if piece in "+-=<>" or text[-1] in "+-=<>" else r"\,") + piece if spaced else piece
        at += 1
    return text


def _exponent(tokens: Sequence[re.Match[str]], at: int) -> tuple[str, int]:
    """What stands after a power, a sign or bracket with it, and where it ends."""
    if at >= len(tokens):
        return "", at
    sign = tokens[at]["sign"]
    if sign in ("-", "+"):
        rest, end = _exponent(tokens, at + 1)
        return f"{sign}{rest}", end
    if sign == "(":
        depth = 0
        for end in range(at, len(tokens)):
            depth += {"(": 1, ")": -1}.get(tokens[end]["sign"] or "", 0)
            if not depth:
                return _joined(tokens[at + 1 : end]), end + 1
    return _piece(tokens[at]), at + 1


def _piece(token: re.Match[str]) -> str:
    name = token["name"]
    if not name:
        return token["number"] or MARKS.get(token["sign"] or "", token["sign"] or "")
    stem, above = name[:-3], name[-3:]
    accented = above in ("bar", "hat", "dot") and (len(stem) == 1 or stem in GREEK)
    name = stem if accented else name
    short = rf"\{name}" if name in GREEK else (name if len(name) == 1 else rf"\mathrm{{{name}}}")
    index = token["index"] or token["digits"] or (token["braced"] or "{}")[1:-1]
    return (rf"\{above} {short}" if accented else short) + (f"_{{{index}}}" if index else "")


TIME_CONSTANTS = {
    # tau_w counts trials, and w keeps the share 1 - 1/tau_w of itself per trial, hence at least 1
    "tau_e": Coefficient("tau_e", low=0.0, linear=False, default=math.inf, unit="ms", log=True, symbol=r"\tau_e"),
    "tau_w": Coefficient("tau_w", low=1.0, linear=False, default=math.inf, unit="trials", log=True, symbol=r"\tau_w"),
}
