"""Rules made of structures: products of powers become a `TaylorRule`, which is compiled; all else is stepped by torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sbirules.model.rules import Coefficient, PolicyRule, RuleFamily, TaylorRule, ThreeFactorRule
from sbirules.model.structures.expressions import Structure, term_text
from sbirules.model.structures.parsing import parse_structure
from sbirules.support.typed import typed

__all__ = ["ExpressionRule", "TraceExpression", "family_of"]


def _read(structure: Structure | str, target: str) -> Structure:
    out = parse_structure(structure, target) if isinstance(structure, str) else structure
    if out.target != target:
        raise ValueError(f"structure must be one of a {target}, got one of a {out.target}.")
    if not out.terms:
        raise ValueError("structure must have at least one term; this one changes nothing.")
    return out


def _coefficients(structure: Structure) -> tuple[Coefficient, ...]:
    pairs = zip(structure.names, structure.terms, strict=True)
    return tuple(
        Coefficient(name, term_text(term) if term else "", r"\,".join(f.tex(structure.target) for f in term))
        for name, term in pairs
    )


def _grown(structure: Structure, theta: Mapping[str, Tensor], seen: Mapping[str, Tensor]) -> Tensor:
    total = torch.zeros(())
    for name, term in zip(structure.names, structure.terms, strict=True):
        product = theta[name]
        for factor in term:
            product = product * factor.value(seen)
        total = total + product
    return total


class ExpressionRule(PolicyRule):
    """A rule of a policy from the text of its structure, in which variables may be rectified or compared with a threshold.

    Arguments:
        structure: A `Structure`, or its text; see `parse_structure`.
        options: Of the expectation of reward, see `PolicyRule`.

    Examples:
        >>> ExpressionRule("d relu(rd) + d x rd").names
        ('d_relu_rd', 'd_x_rd')
    """

    @typed
    def __init__(self, structure: Structure | str, **options: Any) -> None:
        self.structure = _read(structure, "policy")
        self.coefficients = _coefficients(self.structure)
        super().__init__(**options)

    def config(self) -> dict[str, object]:
        return {**super().config(), "structure": str(self.structure)}

    def update(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        return _grown(self.structure, theta, seen)


class TraceExpression(ThreeFactorRule):
    """The growth of an eligibility trace from the text of its structure, for a `RateRNN`.

    Arguments:
        structure: A `Structure`, or its text, with the variables pre, deviation and weight; see `parse_structure`.
        options: Time constants, see `ThreeFactorRule`.

    Examples:
        >>> TraceExpression("pre^3 deviation^3 - relu(pre - 0.5) weight").names
        ('pre3_deviation3', 'relu_prem0p5_weight')
    """

    @typed
    def __init__(self, structure: Structure | str, **options: Any) -> None:
        self.structure = _read(structure, "trace")
        self.coefficients = _coefficients(self.structure)
        super().__init__(**options)

    def config(self) -> dict[str, object]:
        return {**super().config(), "structure": str(self.structure)}

    def drive(self, theta: Mapping[str, Tensor], rate: Tensor, deviation: Tensor, weight: Tensor) -> Tensor:
        return _grown(self.structure, theta, {"pre": rate, "deviation": deviation, "weight": weight})


def family_of(structure: Structure, **options: Any) -> RuleFamily:
    """The rule family of a structure: a `TaylorRule` where factors are powers of a policy's variables, else torch's own.

    Arguments:
        structure: With at least one term.
        options: Of the family.
    """
    if structure.target == "trace":
        return TraceExpression(structure, **options)
    if structure.terms and not any(f.function for term in structure.terms for f in term):
        return TaylorRule([term_text(term) for term in structure.terms], **options)
    return ExpressionRule(structure, **options)
