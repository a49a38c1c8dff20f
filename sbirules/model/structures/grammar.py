"""Which structures there may be, how probable each is, and reversible moves between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sbirules.model.structures.counts import SetCounts
from sbirules.model.structures.expressions import (
    BINARY,
    FUNCTIONS,
    MOST_POWER,
    TARGETS,
    Factor,
    Structure,
    Term,
    canonical_term,
    term_complexity,
    term_text,
)
from sbirules.model.structures.parsing import parse_structure
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.readable import one_line
from sbirules.support.typed import typed

__all__ = ["RuleGrammar"]

TELLING = ("c", "d", "y", "w")  # what may differ between options
LISTED = 1_000_000  # structures that are listed at most
MOST = 5000  # terms
MOVES = 4  # add, remove, swap, alter


class RuleGrammar(Shown):
    """Sums of at most so many terms, each a product of at most so many factors.

    The prior over structures is 2^-complexity across complexities and uniform over the structures of one: a coefficient, a
    factor, a power, a function and a threshold count 1 each (`Structure.complexity`).

    Arguments:
        variables: What factors are made of; all of the target's by default.
        target: `"policy"` or `"trace"`, see `Structure`.
        degree: Largest sum of powers in a term.
        most_power: Largest power of one factor.
        functions: `"relu"` and `"step"`, of each variable that is not 0 or 1; none by default.
        thresholds: Of the functions.
        max_terms: Largest number of terms.
        max_complexity: Largest complexity of a structure; None for no bound.
        common: Whether terms without c, d, y or w are among them. They move all options alike, which changes a choice to
            accept or reject only.

    Examples:
        >>> grammar = RuleGrammar(["c", "x", "w", "r"], degree=2, max_terms=2)
        >>> len(grammar.terms), grammar.count()
        (11, 67)
    """

    @typed
    def __init__(
        self,
        variables: Sequence[str] | None = None,
        *,
        target: str = "policy",
        degree: int = 3,
        most_power: int = 2,
        functions: Sequence[str] = (),
        thresholds: Sequence[float] = (0.0,),
        max_terms: int = 4,
        max_complexity: int | None = None,
        common: bool = False,
    ) -> None:
        arguments.known("target", target, tuple(TARGETS))
        every = tuple(TARGETS[target])
        chosen = every if variables is None else arguments.strings("variables", variables)
        for name in chosen:
            arguments.known("variables", name, every)
        for name in arguments.strings("functions", functions):
            arguments.known("functions", name, FUNCTIONS)
        if functions and not thresholds:
            raise ValueError("thresholds must have at least one number where there are functions.")
        self.variables = tuple(name for name in every if name in chosen)
        self.target, self.common = target, common
        self._instead: dict[Term, Term] = {}
        self.degree = arguments.whole("degree", degree, 1, MOST_POWER)
        self.most_power = arguments.whole("most_power", most_power, 1, MOST_POWER)
        self.functions = tuple(name for name in FUNCTIONS if name in functions)
        self.thresholds = tuple(float(f"{arguments.finite('thresholds', value):.6g}") for value in thresholds)
        self.max_terms = arguments.whole("max_terms", max_terms, 1, 20)
        bound = None if max_complexity is None else arguments.whole("max_complexity", max_complexity, 1, 1000)
        self.max_complexity = bound
        self.terms: tuple[Term, ...] = tuple(sorted(self._universe(), key=lambda t: (term_complexity(t), t)))
        if not self.terms:
            raise ValueError(
                f"no term of {arguments.listed(self.variables)} changes a probability of choice: add c, d, y or w to variables, "
                f"or set common=True."
            )

    def _universe(self) -> set[Term]:
        every = list(TARGETS[self.target])
        kinds: list[tuple[str, float]] = [("", 0.0), *itertools.product(self.functions, self.thresholds)]
        bases = [
            Factor(every.index(v), v, function, threshold)
            for v in self.variables
            for function, threshold in kinds
            if not (function and v in BINARY)
        ]
        ways = math.comb(len(bases) + self.degree, self.degree)
        if ways > 50 * MOST:
            raise ValueError(
                f"a grammar may have at most {MOST} terms; take fewer variables, functions or thresholds, or a lower degree."
            )
        out: set[Term] = set()
        for count in range(self.degree + 1):
            for chosen in itertools.combinations_with_replacement(bases, count):
                term = canonical_term(chosen, self.target)
                if any(f.power > self.most_power for f in term):
                    continue
                if self.target == "policy" and not self.common and not any(f.variable in TELLING for f in term):
                    continue
                out.add(term)
        if len(out) > MOST:
            raise ValueError(
                f"a grammar may have at most {MOST} terms, this one has {len(out)}; take a lower degree, or fewer variables."
            )
        return out

    @typed
    def without(self, terms: Sequence[str], equal: Mapping[str, str] | None = None) -> RuleGrammar:
        """The same grammar without some terms, such as those that do the same on a table.

        Arguments:
            terms: Texts of single terms.
            equal: By the text of a term that is left out, that of the one which is read in its place.
        """

        def read(text: str) -> Term:
            return parse_structure(text, self.target).terms[0]

        gone = {term for text in arguments.strings("terms", terms) for term in parse_structure(text, self.target).terms}
        out = RuleGrammar.__new__(RuleGrammar)
        out.__dict__.update({k: v for k, v in self.__dict__.items() if k not in _CACHED})
        out.terms = tuple(term for term in self.terms if term not in gone)
        if not out.terms:
            raise ValueError("terms must leave at least one term in the grammar.")
        out._instead = self._instead | {read(one): read(other) for one, other in (equal or {}).items()}
        return out

    # Structures -----------------------------------------------------------------------------------

    @typed
    def parse(self, text: str) -> Structure:
        """The structure of a text, if it is one of this grammar.

        Raises:
            ValueError: If it is not.
        """
        out = parse_structure(text, self.target)
        if self._instead:
            out = Structure.of([self._instead.get(term, term) for term in out.terms], self.target)
        if len(out) > self.max_terms:
            raise ValueError(f"a rule must have at most {self.max_terms} terms, {str(out)[:80]!r} has {len(out)}.")
        unknown = [term for term in out.terms if term not in self._places]
        if unknown:
            raise ValueError(
                f"the term {term_text(unknown[0])!r} is none of the grammar: it has {arguments.listed(self.variables)}"
                f"{' and ' + arguments.listed(self.functions) if self.functions else ''}, powers up to {self.most_power} and "
                f"degrees up to {self.degree}{self._why_not(unknown[0])}."
            )
        if out.complexity > self._largest:
            raise ValueError(
                f"a rule must have a complexity of at most {self._largest}, {str(out)[:80]!r} has {out.complexity}."
            )
        return out

    def _why_not(self, term: Term) -> str:
        alike = self.target == "policy" and not self.common and not any(f.variable in TELLING for f in term)
        return ", and such a term moves all options alike: it needs c, d, y or w" if alike else ""

    @property
    def root(self) -> Structure:
        """The rule that changes nothing."""
        return Structure((), self.target)

    @typed
    def contains(self, structure: Structure) -> bool:
        """Whether a structure is one of this grammar."""
        return (
            structure.target == self.target
            and len(structure) <= self.max_terms
            and structure.complexity <= self._largest
            and all(term in self._places for term in structure.terms)
        )

    @cached_property
    def _places(self) -> dict[Term, int]:
        return {term: k for k, term in enumerate(self.terms)}

    @cached_property
    def _sizes(self) -> list[int]:
        return [term_complexity(term) for term in self.terms]

    @cached_property
    def _largest(self) -> int:
        most = sum(sorted(self._sizes)[-self.max_terms :])
        return most if self.max_complexity is None else min(most, self.max_complexity)

    @cached_property
    def _counts(self) -> SetCounts:
        return SetCounts(self.terms, self._sizes, self.max_terms, self._largest)

    def count(self) -> int:
        """How many structures there are, the one without terms included."""
        return sum(self._counts.by_complexity.values())

    @typed
    def structures(self) -> Iterator[Structure]:
        """All of them, fewer terms first.

        Raises:
            ValueError: If there are more than a million.
        """
        if self.count() > LISTED:
            raise ValueError(
                f"a grammar of {self.count():,} structures is not listed (at most {LISTED:,}); draw with sample."
            )
        return (
            Structure(chosen, self.target)
            for t in range(self.max_terms + 1)
            for chosen in itertools.combinations(self.terms, t)
            if sum(self._sizes[self._places[term]] for term in chosen) <= self._largest
        )

    # Probabilities --------------------------------------------------------------------------------

    @typed
    def log_prob(self, structure: Structure) -> float:
        """Log prior probability of a structure; -inf of what is none of the grammar."""
        if not self.contains(structure):
            return -math.inf
        return self._counts.log_prob(structure.complexity)

    def sample(self, rng: np.random.Generator) -> Structure:
        """A draw from the prior."""
        return Structure(tuple(self._counts.sample(rng)), self.target)

    # Moves ----------------------------------------------------------------------------------------

    @cached_property
    def _near(self) -> dict[Term, tuple[Term, ...]]:
        """Terms that one factor more, one less or another one makes of a term."""
        by_bases = {_bag(term): term for term in self.terms}
        singles = {base for bag in by_bases for base in bag}
        out = {}
        for bag, term in by_bases.items():
            smaller = [tuple(sorted(_less(bag, base))) for base in set(bag)]
            larger = [tuple(sorted((*bag, base))) for base in singles]
            other = [tuple(sorted((*less, base))) for less in smaller for base in singles]
            found = {by_bases[b] for b in (*smaller, *larger, *other) if b in by_bases and b != bag}
            out[term] = tuple(sorted(found, key=lambda t: self._places[t]))
        return out

    @cached_property
    def _weights(self) -> np.ndarray:
        """Of terms to add, as the prior has them: 2^-complexity."""
        return 2.0 ** -np.array(self._sizes, dtype=float)

    def _other(self, structure: Structure, rng: np.random.Generator) -> list[Term]:
        """A term that a structure has not, simple ones rather; none if it has all."""
        free = [k for k, term in enumerate(self.terms) if term not in structure.terms]
        if not free:
            return []
        ends = self._weights[free].cumsum()
        return [self.terms[free[min(int(np.searchsorted(ends, rng.random() * ends[-1])), len(free) - 1)]]]

    def propose(self, structure: Structure, rng: np.random.Generator) -> Structure | None:
        """A neighbour, by adding a term, removing one, swapping one for any other, or altering one factor of one.

        Each with probability 1/4; terms that are added are drawn with weights 2^-complexity. None where that leads out of the
        grammar or nowhere.
        """
        here = list(structure.terms)
        kind = int(rng.integers(MOVES))
        if kind == 0:
            here += self._other(structure, rng)
        elif here:
            gone = here.pop(int(rng.integers(len(here))))
            if kind == 2:
                here += self._other(structure, rng) or [gone]
            elif kind == 3:
                near = self._near[gone]
                here += [near[int(rng.integers(len(near)))]] if near else [gone]
        if len(set(here)) < len(here):
            return None
        out = Structure(tuple(sorted(here, key=lambda term: self._places[term])), self.target)
        return out if out != structure and self.contains(out) else None

    def log_proposal(self, start: Structure, end: Structure) -> float:
        """Log probability with which `propose` leads from one structure to another; -inf where it cannot in one move."""
        gone = [term for term in start.terms if term not in end.terms]
        new = [term for term in end.terms if term not in start.terms]
        chance = 0.0
        if len(new) == 1:
            weight = self._weights[self._places[new[0]]]
            other = weight / (self._weights.sum() - sum(self._weights[self._places[term]] for term in start.terms))
        if not gone and len(new) == 1:
            chance = other
        elif not new and len(gone) == 1:
            chance = 1.0 / len(start)
        elif len(new) == len(gone) == 1:
            near = self._near[gone[0]]
            chance = (other + (1.0 / len(near) if new[0] in near else 0.0)) / len(start)
        return math.log(chance / MOVES) if chance > 0 else -math.inf

    # Text -----------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """What identifies the grammar, plain types only."""
        return {
            "target": self.target,
            "terms": [term_text(t) for t in self.terms],
            "max_terms": self.max_terms,
            "max_complexity": self._largest,
        }

    def __repr__(self) -> str:
        return one_line(
            self, arguments.listed(self.variables), f"{len(self.terms)} terms", f"{self.count():,} structures"
        )

    def _card(self) -> Card:
        facts = {
            "variables": arguments.listed(self.variables),
            "terms": len(self.terms),
            "most terms": self.max_terms,
            "structures": f"{self.count():,}",
        }
        return Card("RuleGrammar: which rules there may be", facts)


_CACHED = ("_places", "_sizes", "_largest", "_counts", "_near", "_weights")
Bag = tuple[tuple[str, str, float], ...]


def _bag(term: Term) -> Bag:
    return tuple(sorted(base for f in term for base in [f.base] * f.power))


def _less(bag: Bag, base: tuple[str, str, float]) -> list[tuple[str, str, float]]:
    out = list(bag)
    out.remove(base)
    return out
