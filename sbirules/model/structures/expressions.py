r"""A rule's structure: a sum of terms, each a coefficient times factors, in one canonical form, so that equal rules are one.

dw_ij = sum over terms of theta_term times a product of factors,      factor = variable^k, [variable - b]_+^k, 1(variable > b)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.support import arguments

__all__ = ["FUNCTIONS", "MOST_POWER", "TARGETS", "Factor", "Structure", "Term"]

MOST_POWER = 6
FUNCTIONS = ("relu", "step")
# what a rule sees, by what it is compiled to, in the order in which terms name it: the symbol in LaTeX and what it is
TARGETS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "policy": {
        "c": ("c_i", "1 for the chosen option"),
        "d": ("d_i", "choice minus its probability"),
        "x": ("x_j", "feature of the stimulus"),
        "y": ("y_i", "weights times stimulus"),
        "w": ("w_{ij}", "the weight"),
        "r": ("r", "reward"),
        "rd": (r"(r - \bar r)", "reward above its expectation"),
    },
    "trace": {
        "pre": ("r_j", "presynaptic rate"),
        "deviation": (r"(\bar x_i - x_i)", "deviation of the postsynaptic state"),
        "weight": ("w_{ij}", "the weight"),
    },
}
BINARY = ("c",)  # 0 or 1, so that a power of it is itself


@dataclass(frozen=True, order=True)
class Factor:
    """One factor of a term.

    Arguments:
        place: Of its variable among those of the target.
        variable: Name of the variable.
        function: `""` for the variable itself, `"relu"` for what of it is above the threshold, `"step"` for whether it is above.
        threshold: Of the function.
        power: Whole number, at least 1.
    """

    place: int
    variable: str
    function: str = ""
    threshold: float = 0.0
    power: int = 1

    @property
    def complexity(self) -> int:
        """Its power, one more with a function, and one more with a threshold other than 0."""
        return self.power + bool(self.function) + (self.threshold != 0)

    @property
    def base(self) -> tuple[str, str, float]:
        """What is raised to the power."""
        return self.variable, self.function, self.threshold

    def text(self) -> str:
        """As the parser reads it, such as `x^2` or `relu(x - 0.5)`."""
        return self._inner() + (f"^{self.power}" if self.power > 1 else "")

    def _inner(self) -> str:
        if not self.function:
            return self.variable
        sign = "-" if self.threshold > 0 else "+"
        shift = f" {sign} {abs(self.threshold):g}" if self.threshold else ""
        return f"{self.function}({self.variable}{shift})"

    def name(self) -> str:
        """Its part of a coefficient's name."""
        inner = self.variable
        if self.function:
            shift = f"{'m' if self.threshold > 0 else 'p'}{abs(self.threshold):g}" if self.threshold else ""
            inner = f"{self.function}_{self.variable}{shift}".replace(".", "p").replace("-", "m").replace("+", "")
        return inner + (str(self.power) if self.power > 1 else "")

    def tex(self, target: str) -> str:
        """In LaTeX."""
        symbol = TARGETS[target][self.variable][0]
        power = f"^{{{self.power}}}" if self.power > 1 else ""
        if not self.function:
            return symbol + power
        shift = f" {'-' if self.threshold > 0 else '+'} {abs(self.threshold):g}" if self.threshold else ""
        if self.function == "relu":
            return rf"[{symbol}{shift}]_+{power}"
        return rf"\mathbb{{1}}({symbol} > {self.threshold:g})"

    def value(self, seen: Mapping[str, Tensor]) -> Tensor:
        """What it is, of what a synapse sees."""
        v = seen[self.variable]
        if self.function == "relu":
            v = torch.relu(v - self.threshold)
        elif self.function == "step":
            v = (v > self.threshold).to(v.dtype)
        return v if self.power == 1 else v**self.power


Term = tuple[Factor, ...]


def canonical_term(factors: Iterable[Factor], target: str) -> Term:
    """Factors in order, equal ones as one power, without powers of what is 0 or 1.

    Raises:
        ValueError: If a power is above 6.
    """
    powers: dict[tuple[str, str, float], int] = {}
    for f in factors:
        powers[f.base] = powers.get(f.base, 0) + f.power
    order = list(TARGETS[target])
    out = []
    for (variable, function, threshold), power in powers.items():
        if variable in BINARY and function:
            raise ValueError(
                f"{variable} is 0 or 1: {function}({variable}) is {variable} itself or constant; write {variable}."
            )
        if function == "step" and powers.get((variable, "relu", threshold)):
            continue  # a rectified variable is 0 where its step is
        k = 1 if function == "step" or variable in BINARY else power
        if k > MOST_POWER:
            raise ValueError(f"powers must be at most {MOST_POWER}, got {variable}^{k}.")
        out.append(Factor(order.index(variable), variable, function, threshold, k))
    return tuple(sorted(out))


def term_complexity(term: Term) -> int:
    """One for its coefficient, and that of its factors."""
    return 1 + sum(f.complexity for f in term)


def term_text(term: Term) -> str:
    """As the parser reads it."""
    return " ".join(f.text() for f in term) or "1"


@dataclass(frozen=True)
class Structure:
    """The terms of a rule, without their coefficients; made by `parse_structure` or a `RuleGrammar`.

    Arguments:
        terms: Products of factors, each in canonical form and in order. None at all is a rule that changes nothing.
        target: `"policy"` for rules of a `PolicyNetwork`, `"trace"` for the eligibility trace of a `RateRNN`.
    """

    terms: tuple[Term, ...]
    target: str = "policy"

    @staticmethod
    def of(terms: Iterable[Term], target: str = "policy") -> Structure:
        """With each term once, in order."""
        arguments.known("target", target, tuple(TARGETS))
        kept = {canonical_term(term, target) for term in terms}
        return Structure(tuple(sorted(kept, key=lambda t: (term_complexity(t), t))), target)

    def __len__(self) -> int:
        return len(self.terms)

    def __repr__(self) -> str:
        return f"Structure({str(self)!r})"

    def __str__(self) -> str:
        return " + ".join(term_text(term) for term in self.terms) or "0"

    @property
    def complexity(self) -> int:
        """Coefficients, factors, powers and thresholds, counted."""
        return sum(term_complexity(term) for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its coefficients, such as `c_r`."""
        return tuple("_".join(f.name() for f in term) or "constant" for term in self.terms)

    @property
    def latex(self) -> str:
        r"""The equation with a symbol for each coefficient, without dollar signs."""
        left = r"\Delta w_{ij}" if self.target == "policy" else r"\dot e_{ij}"
        sums = [
            r"\,".join([rf"\theta_{{{k + 1}}}", *(f.tex(self.target) for f in term)])
            for k, term in enumerate(self.terms)
        ]
        return f"{left} = {' + '.join(sums) or '0'}"
