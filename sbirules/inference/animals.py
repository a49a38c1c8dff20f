"""Rules of animals that differ: draws of each animal's coefficients, and of the population's."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from sbirules.inference.exact import PooledPotential
from sbirules.support.files import Plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AnimalDraws"]

Whole = TypeVar("Whole")  # a posterior


@dataclass(frozen=True)
class AnimalDraws:
    """Draws of each animal's rule.

    Arguments:
        names: Of the animals.
        coefficients: Names of the columns of theta.
        draws: `(n, animals, D)`, in natural units.
        spread: With partial pooling: s.d. of the population of each coefficient on the prior's unconstrained scale,
            `(n, D)`, 0 for those that do not vary; None where each animal has a rule of its own.
        centre: With partial pooling: the population's centre in natural units, `(n, D)`.
        log_evidence: Log-evidence of each animal's own rule and its standard error, `(animals, 2)`; None with pooling.
        divergences: Of the sampler, with partial pooling.
    """

    names: tuple[str, ...]
    coefficients: tuple[str, ...]
    draws: Tensor
    spread: Tensor | None = None
    centre: Tensor | None = None
    log_evidence: Tensor | None = None
    divergences: int = 0

    def spread_out(self, n: int) -> Tensor:
        """n of the draws, evenly spaced, `(n, animals, D)`."""
        return self.draws[torch.linspace(0, len(self.draws) - 1, n).round().long()]

    def population(self) -> pd.DataFrame:
        """A row for each coefficient; see `Posterior.population`."""
        import pandas as pd

        if self.spread is None or self.centre is None:
            means = self.draws.double().mean(dim=0)
            columns = {"mean": means.mean(dim=0), "spread": means.std(dim=0)}
        else:
            low, high = (torch.quantile(self.centre.double(), q, dim=0) for q in (0.025, 0.975))
            columns = {
                "mean": self.centre.double().mean(dim=0),
                "sd": self.centre.double().std(dim=0),
                "2.5%": low,
                "97.5%": high,
                "spread": self.spread.double().mean(dim=0),
                "spread_sd": self.spread.double().std(dim=0),
            }
        return pd.DataFrame({n: v.numpy() for n, v in columns.items()}, index=list(self.coefficients))

    def posterior(self, at: int, whole: Whole) -> Whole:
        """The posterior given one animal's choices alone, without draws."""
        out: Any = copy.copy(whole)
        out.__dict__.pop("chains", None)
        net = out.potential_net
        if isinstance(net, PooledPotential):
            out.potential_net = net.inner.subset([at]).requires_grad_(False)
        out.of_animals, out._given_chains, out.question = None, None, None
        found: Whole = out
        return found

    # Files ----------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """What a file holds of it."""
        found = {"draws": self.draws, "spread": self.spread, "centre": self.centre, "log_evidence": self.log_evidence}
        return {f"animals.{name}": v for name, v in found.items() if v is not None}

    def config(self) -> dict[str, Any]:
        """Its names and numbers, plain types."""
        return {"names": list(self.names), "coefficients": list(self.coefficients), "divergences": self.divergences}

    @classmethod
    def from_config(cls, config: Plain, tensors: Mapping[str, Tensor]) -> AnimalDraws:
        """The draws that gave this `config()` and these tensors."""
        found = {n: tensors.get(f"animals.{n}") for n in ("spread", "centre", "log_evidence")}
        names, columns = (tuple(map(str, config[k])) for k in ("names", "coefficients"))
        return cls(names, columns, tensors["animals.draws"], **found, divergences=int(config["divergences"]))
