"""What a table of choices tells of a rule's coefficients: terms that do the same on it, and the rank of its information."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.inference.questions.base import Asked
from sbirules.model.abilities import TableLikelihood
from sbirules.model.prior import prior_draws
from sbirules.support.curvature import curvature

__all__ = ["Information", "information_of"]

SHARE = 0.2  # of a coefficient in the direction that is told least, from which on it is named
TOLD = 1.0  # information, in units of the prior's s.d., at which data say as much as a Gaussian prior


@dataclass(frozen=True)
class Information:
    """The information matrix of a table at the posterior's mean, in units of the prior's s.d.

    Arguments:
        rank: Directions in which data tell more than the prior.
        condition: Largest over smallest eigenvalue; infinite where one is not above zero.
        least: Coefficients of the direction that is told least, the largest share first.
    """

    rank: int
    condition: float
    least: tuple[str, ...]

    def sentence(self, coefficients: int) -> str:
        """Both, in words."""
        how = f"{self.condition:.2g}" if math.isfinite(self.condition) else "infinite"
        said = (
            f"The table tells {self.rank} of {coefficients} directions of the coefficients better than the prior (information "
            f"matrix at the posterior's mean, in units of the prior's s.d.; condition number {how})."
        )
        if self.rank == coefficients:
            return said
        return f"{said} Least told: {', '.join(self.least)}."


def information_of(likelihood: TableLikelihood, posterior: Asked, names: Sequence[str]) -> Information | None:
    """That of all animals together; None where gradients of the likelihood are not finite."""
    rules = posterior.spread_out(200).double()
    unit = prior_draws(posterior.prior, 2000).double().std(dim=0)
    unit = torch.where(torch.isfinite(unit) & (unit > 0), unit, 1.0)

    def slope(at: Tensor) -> Tensor:
        return likelihood.value_and_slope(at * unit)[1].sum(dim=1) * unit

    values, vectors = (v[0] for v in curvature(slope, (rules.mean(dim=0) / unit)[None]))
    if not bool(torch.isfinite(values).all()):
        return None
    least, most = float(values[0]), float(values[-1])
    share = vectors[:, 0].square()
    named = [names[k] for k in share.argsort(descending=True).tolist() if float(share[k]) > SHARE]
    condition = most / least if least > 0 else math.inf
    return Information(int((values > TOLD).sum()), condition, tuple(named or names[:1]))
