"""A density over rules with draws of its own, and what is read off them."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from sbirules import figures
from sbirules.inference import parts, terms
from sbirules.inference.density import MOST, RuleDensity
from sbirules.samplers.chains import Chains
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sbirules.inference.terms import CollinearPair, TopRule
    from sbirules.model.rules import RuleFamily

__all__ = ["RuleDraws"]

DRAWS = 2000  # that a posterior has of its own, unless it was given others


@typed_class
class RuleDraws(RuleDensity):
    """A density over rules with draws that are made once and are always the same, or that it was given."""

    _given_chains: Chains | None = None
    own_seed: int = 0  # of the draws that it makes of its own

    @cached_property
    def chains(self) -> Chains:
        """The posterior's own draws, run by run: those it was given, or 2000 that are always the same."""
        return self.draw(DRAWS, seed=self.own_seed) if self._given_chains is None else self._given_chains

    @property
    def has_draws(self) -> bool:
        """Whether it was given draws."""
        return self._given_chains is not None

    @property
    def draws(self) -> Tensor:
        """The posterior's own draws, run after run, `(n, D)`."""
        return self.chains.draws.reshape(-1, len(self.names))

    def with_draws(self, chains: Chains | ArrayLike) -> Self:
        """The same posterior with other draws of its own: chains from `draw`, or draws `(n, D)`."""
        if isinstance(chains, Tensor) and (chains.ndim != 2 or chains.shape[1] != len(self.names) or not len(chains)):
            raise ValueError(f"chains must be draws of shape (n, {len(self.names)}), got {tuple(chains.shape)}.")
        out = copy.copy(self)
        out.__dict__.pop("chains", None)
        if not isinstance(chains, Chains):
            chains = Chains(arguments.theta_matrix(chains, self.names, argument="draws").float()[None])
        out._given_chains = chains
        return out

    def spread_out(self, n: int) -> Tensor:
        """n of the posterior's own draws `(n, D)`, evenly spaced over all chains."""
        arguments.whole("n", n, 1, MOST)
        draws = self.draws
        return draws[torch.linspace(0, len(draws) - 1, n).round().long()]

    def map(self, *, num_starts: int = 8, seed: int | None = None) -> Tensor:
        """The rule of highest posterior density `(D,)` (in natural units), by L-BFGS from several of the best draws.

        Arguments:
            num_starts: How many.
            seed: Of draws to start from; None takes the posterior's own.
        """
        return parts.maximum(self._drawn(seed), num_starts)

    def marginals(self, seed: int | None = None) -> pd.DataFrame:
        """Mean, s.d. and quantiles of each coefficient, beside the prior's s.d. and the contraction.

        Contraction is 1 - (posterior s.d. / prior s.d.)^2: 0 where nothing was learned, 1 where all was. Under a prior
        in which terms may be absent, the probability that they are present stands in its place.
        """
        return parts.marginals(self._drawn(seed))

    def _drawn(self, seed: int | None) -> Self:
        """Itself, or with draws of this seed."""
        return self if seed is None else self.with_draws(self.draw(DRAWS, seed=seed))

    # Structure: under a prior in which terms may be absent -------------------------------------------

    def inclusion_probabilities(self, seed: int | None = None) -> dict[str, float]:
        """Probability that each term is present, by coefficient name.

        Raises:
            ValueError: If the prior is not spike-and-slab.
        """
        return terms.inclusion_probabilities(self._drawn(seed))

    def top_rules(self, num_rules: int = 5, family: RuleFamily | None = None, seed: int | None = None) -> list[TopRule]:
        """The most probable sets of terms, with their coefficients.

        Arguments:
            num_rules: How many.
            family: To print them as the family's equations, in natural units.
            seed: Of draws; None takes the posterior's own.
        """
        return terms.top_rules(self._drawn(seed), num_rules, family)

    def collinear_terms(self, seed: int | None = None) -> list[CollinearPair]:
        """Pairs of terms that stand in for each other: one or the other is present, and the data cannot tell which."""
        return terms.collinear_terms(self._drawn(seed))

    # For other tools ------------------------------------------------------------------------------

    def to_frame(self, num_samples: int | None = None, seed: int = 0) -> pd.DataFrame:
        """Draws as a table, one column per coefficient, in natural units; an index by `run` and `draw`.

        Draws so many; None takes the posterior's own draws.
        """
        import pandas as pd

        chains = self.chains if num_samples is None else self.draw(num_samples, seed=seed)
        runs, draws = chains.draws.shape[:2]
        index = pd.MultiIndex.from_product([range(runs), range(draws)], names=["run", "draw"])
        return pd.DataFrame(chains.draws.reshape(-1, len(self.names)).numpy(), index=index, columns=list(self.names))

    def pairplot(self, num_samples: int | None = None, *, truth: Any = None, seed: int = 0) -> Figure:
        """One- and two-dimensional marginals of the coefficients learned most about; see `figures.pairs`.

        Draws so many; None takes the posterior's own draws.
        """
        shown = self if num_samples is None else self.with_draws(self.draw(num_samples, seed=seed))
        figure: Figure = figures.pairs(shown, truth=truth)[0, 0].figure
        return figure
