"""Which terms a rule has: what a posterior under a spike-and-slab prior says of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.prior import Sparse
from sbirules.model.rules import RuleFamily
from sbirules.support import arguments

__all__ = ["CollinearPair", "TopRule", "collinear_terms", "inclusion_probabilities", "top_rules"]

STAND_IN = -0.3  # correlation of presence below which two terms stand in for each other
MATTERS = 0.05  # by which "either" must be likelier than the likelier of the two


@dataclass(frozen=True)
class TopRule:
    """One set of terms.

    Arguments:
        probability: Posterior probability of exactly these terms.
        terms: Names of the coefficients present.
        mean: Posterior mean of theta `(D,)` given these terms.
        sd: Its posterior s.d. `(D,)`.
        equation: The rule with the mean coefficients.
    """

    probability: float
    terms: tuple[str, ...]
    mean: Tensor
    sd: Tensor
    equation: str

    def __str__(self) -> str:
        return f"{self.probability:.3f}  {self.equation}"


@dataclass(frozen=True)
class CollinearPair:
    """Two terms of which the data ask for one, without telling which.

    Arguments:
        terms: Their names.
        either: Probability that at least one is present.
        both: Probability that both are.
        each: Probability of each.
        correlation: Correlation of their presence over the posterior.
    """

    terms: tuple[str, str]
    either: float
    both: float
    each: tuple[float, float]
    correlation: float

    def __str__(self) -> str:
        a, b = self.terms
        return (
            f"{a} or {b}: {self.either:.2f} for at least one ({a} {self.each[0]:.2f}, {b} {self.each[1]:.2f}, "
            f"both {self.both:.2f})"
        )


class Drawn(Protocol):
    """Draws over rules, with the prior they came from."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def prior(self) -> Distribution: ...

    @property
    def draws(self) -> Tensor: ...


def _presence(posterior: Drawn) -> Tensor:
    """Which terms each draw has, `(n, D)`."""
    prior = posterior.prior
    if not isinstance(prior, Sparse):
        raise ValueError("only a posterior under a spike_and_slab prior tells which terms are present.")
    return (posterior.draws != 0) | ~prior.optional


def inclusion_probabilities(posterior: Drawn) -> dict[str, float]:
    """See `Posterior.inclusion_probabilities`."""
    share = _presence(posterior).float().mean(dim=0).tolist()
    return dict(zip(posterior.names, share, strict=True))


def top_rules(posterior: Drawn, num_rules: int, family: RuleFamily | None) -> list[TopRule]:
    """See `Posterior.top_rules`."""
    arguments.whole("num_rules", num_rules, 1)
    present = _presence(posterior)
    if family is not None:
        arguments.instance("family", family, RuleFamily)
    if family is not None and family.names != posterior.names:
        mine, theirs = arguments.listed(family.names), arguments.listed(posterior.names)
        raise ValueError(f"family has {mine}, the posterior {theirs}.")
    sets, which, counts = torch.unique(present, dim=0, return_inverse=True, return_counts=True)
    out = []
    for k in counts.argsort(descending=True)[:num_rules].tolist():
        draws = posterior.draws[which == k]
        mean = draws.mean(dim=0)
        sd = draws.std(dim=0) if len(draws) > 1 else torch.zeros_like(mean)
        terms = tuple(n for n, p in zip(posterior.names, sets[k].tolist(), strict=True) if p)
        plain = ", ".join(f"{n} = {float(mean[posterior.names.index(n)]):.3g}" for n in terms) or "no term"
        equation = plain if family is None else family.describe(mean).split("\n")[0]
        out.append(TopRule(float(counts[k]) / len(present), terms, mean, sd, equation))
    return out


def collinear_terms(posterior: Drawn) -> list[CollinearPair]:
    """See `Posterior.collinear_terms`."""
    present = _presence(posterior).float()
    share = present.mean(dim=0)
    out = []
    for a, b in combinations(range(len(posterior.names)), 2):
        if not 0 < share[a] < 1 or not 0 < share[b] < 1:
            continue
        correlation = float(torch.corrcoef(present[:, [a, b]].T)[0, 1])
        either = float(((present[:, a] + present[:, b]) > 0).float().mean())
        if correlation < STAND_IN and either > float(torch.maximum(share[a], share[b])) + MATTERS:
            both = float((present[:, a] * present[:, b]).mean())
            names = (posterior.names[a], posterior.names[b])
            out.append(CollinearPair(names, either, both, (float(share[a]), float(share[b])), correlation))
    return sorted(out, key=lambda pair: -pair.either)
