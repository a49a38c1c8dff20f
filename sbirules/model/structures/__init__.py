"""Structures of rules: which terms a rule has. Expressions, their text there and back, and a grammar with probabilities."""

from sbirules.model.structures.expression_rules import ExpressionRule, TraceExpression, family_of
from sbirules.model.structures.expressions import Factor, Structure, Term
from sbirules.model.structures.grammar import RuleGrammar
from sbirules.model.structures.parsing import parse_structure

__all__ = [
    "ExpressionRule",
    "Factor",
    "RuleGrammar",
    "Structure",
    "Term",
    "TraceExpression",
    "family_of",
    "parse_structure",
]
