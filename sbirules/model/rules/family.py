"""Families of rules: named coefficients with what is known of each, and how a rule reads.

What a rule sees and does is the business of the kinds below: `ThreeFactorRule` with its eligibility trace, `LocalRule`
that no reward gates. A simulator says which kinds it takes. A family is raw and pure; natural units belong to the
simulator, which can measure how much change a coefficient causes.
"""

from __future__ import annotations

import warnings
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from sbirules.model.rules.coefficient import RESERVED, Coefficient
from sbirules.model.rules.text import (
    RuleText,
    general_sum,
    others_in_words,
    others_tex,
    plain_others,
    plain_sum,
    terms_tex,
)
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.readable import arguments_of, one_line
from sbirules.support.typed import typed

__all__ = ["RuleFamily"]


class RuleFamily(Shown, ABC):
    """A parameterised set of rules: the names of theta's columns, and what is known of each.

    A subclass names its `coefficients`.

    Raises:
        ValueError: If there is no coefficient, or two have one name.
    """

    coefficients: tuple[Coefficient, ...]
    # kinds of rules by the method that makes a class one of them; for classes written before there were kinds
    kinds: ClassVar[dict[str, type[RuleFamily]]] = {}

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        for method, kind in RuleFamily.kinds.items():
            if method in vars(cls) and not set(RuleFamily.kinds.values()) & set(cls.__mro__):
                warnings.warn(
                    f"{cls.__name__} writes {method}(), which makes it a {kind.__name__}: derive it from "
                    f"sbirules.{kind.__name__} instead of RuleFamily. The next version will not do that by itself.",
                    FutureWarning,
                )
                cls.__bases__ = tuple(kind if base is RuleFamily else base for base in cls.__bases__)

    @typed
    def __init__(self) -> None:
        if not getattr(self, "coefficients", ()):
            raise ValueError(f"{type(self).__name__}.coefficients must list at least one Coefficient.")
        taken = [name for name in self.names if name in RESERVED]
        if taken:
            raise ValueError(
                f"a coefficient cannot be called {taken[0]!r}: ArviZ has that name for a dimension of draws."
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"coefficient names must differ, got {arguments.listed(self.names)}.")

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        """All columns of theta."""
        return tuple(self.coefficients)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return tuple(p.name for p in self.parameters)

    @property
    def dim(self) -> int:
        """Number of columns of theta."""
        return len(self.parameters)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Legal raw values, by name."""
        return {p.name: (p.low, p.high) for p in self.parameters}

    def config(self) -> dict[str, object]:
        """What identifies the family in a manifest: class and settings, plain types only."""
        return {"family": f"{type(self).__module__}:{type(self).__qualname__}", "names": list(self.names)}

    def columns(self, raw: Tensor) -> dict[str, Tensor]:
        """Columns of raw theta `(batch, D)` by name, each `(batch, 1, 1)`."""
        return {name: column[:, None, None] for name, column in zip(self.names, raw.unbind(dim=1), strict=True)}

    @typed
    def check_raw(self, raw: Tensor) -> None:
        """Raises ValueError if a raw value of `(batch, D)` lies outside its coefficient's bounds."""
        if raw.ndim != 2 or raw.shape[1] != self.dim:
            raise ValueError(
                f"raw must have shape (batch, {self.dim}), one column per coefficient ({arguments.listed(self.names)}), got "
                f"{tuple(raw.shape)}."
            )
        for p, column in zip(self.parameters, raw.unbind(dim=1), strict=True):
            wrong = (column < p.low) | (column > p.high)
            if wrong.any():
                value = column[wrong][0].item()
                raise ValueError(f"{p.name} must lie in [{p.low:g}, {p.high:g}], got {value:g}.")

    def __repr__(self) -> str:
        return one_line(self, *arguments_of(self), f"{self.dim} coefficient{'s' * (self.dim != 1)}")

    # Text -----------------------------------------------------------------------------------------

    def _card(self) -> Card:
        import pandas as pd

        rows = [{"term": c.term, "unit": c.unit or "natural", "from": c.low, "to": c.high} for c in self.parameters]
        table = pd.DataFrame(rows, index=pd.Index(self.names, name="coefficient"))
        facts = {"coefficients": self.dim, **{k: v for k, v in self.config().items() if k not in ("family", "names")}}
        return Card(
            f"{type(self).__name__}: a family of plasticity rules",
            facts,
            table=table,
            caption="From and to in raw values.",
        )

    @typed
    def describe(self, theta: Tensor | Sequence[float], *, latex: bool = False, digits: int = 3) -> str:
        r"""The rule as an equation with its numbers.

        Arguments:
            theta: One rule, `(D,)`, in the units the numbers should appear in.
            latex: LaTeX (without dollar signs) instead of plain text.
            digits: Significant digits.

        Returns:
            For instance `de_ij/dt = -0.8 r_j^3 (xbar_i - x_i)^3 - e_ij / tau_e,  tau_e = inf ...`.
        """
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        equation = self._equation(plain_sum(self.coefficients, values, latex, digits), values, latex, digits)
        return (r",\quad " if latex else "\n").join([equation, *plain_others(self.coefficients, values, latex, digits)])

    def _equation(self, growth: str, values: Mapping[str, float], latex: bool, digits: int) -> str:
        """The equation around a sum of terms."""
        return growth

    @typed
    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        """How the family and one rule of it read in a report; `theta` `(D,)` in the units of its numbers."""
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        return RuleText(
            intro="A rule is a sum of terms:",
            equations=(general_sum(self.coefficients),),
            rule=(*terms_tex(self.coefficients, values, digits), *others_tex(self.coefficients, values, digits)),
            words=f"{len(self.coefficients)} coefficients are inferred.{others_in_words(self.coefficients)}",
            units="",
        )
