"""One named coefficient of a rule family."""

from __future__ import annotations

import math
import re
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


GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
    *("nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
)
INDEX = r"[A-Za-z0-9](?:[A-Za-z0-9,]*[A-Za-z0-9])?"
NAME = rf"([A-Za-z]+?)(bar|hat|dot)?(?:_({INDEX})|(\d+))?(?![A-Za-z0-9])"
PIECE = re.compile(
    rf"(\s*)(?:{NAME}|(\d+\.?\d*)|(\S))"
)  # spaces; a name with what is above and below it, a number, a sign
MARKS = {mark: rf"\{mark}" for mark in "%#&${}_"} | {"*": "", "\\": r"\backslash "}


def _tex_of(term: str) -> str:
    """LaTeX of a term in plain text, such as `d_i^2 (xbar_i - theta)`: names with subscripts, powers, brackets, signs."""
    text, raised = "", False
    for gap, name, above, below, digits, number, other in PIECE.findall(term):
        if other == "^":
            raised = True
            continue
        piece = number or MARKS.get(other, other)
        if name:
            short = rf"\{name}" if name.lower() in GREEK else (name if len(name) == 1 else rf"\mathrm{{{name}}}")
            piece = (rf"\{above} {short}" if above else short) + (f"_{{{below or digits}}}" if below or digits else "")
        if raised:
            text += f"^{{{piece}}}"
        elif piece:
            spaced = gap and text and text[-1] not in "(" and piece not in "),"
            text += (" " if piece in "+-=<>" or text[-1] in "+-=<>" else r"\,") + piece if spaced else piece
        raised = False
    return text


TIME_CONSTANTS = {
    # tau_w counts trials, and w keeps the share 1 - 1/tau_w of itself per trial, hence at least 1
    "tau_e": Coefficient("tau_e", low=0.0, linear=False, default=math.inf, unit="ms", log=True, symbol=r"\tau_e"),
    "tau_w": Coefficient("tau_w", low=1.0, linear=False, default=math.inf, unit="trials", log=True, symbol=r"\tau_w"),
}
