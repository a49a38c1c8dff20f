"""Where an optimised rule lies in the distribution over rules, and which of them works better."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Size, Tensor

from sbirules import figures
from sbirules.inference.exact import ChoicePotential
from sbirules.inference.parts import climb
from sbirules.inference.posterior import Posterior
from sbirules.model.simulator import Simulator
from sbirules.optimise.points import PointEstimate, success_of
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.rates import Rate
from sbirules.support.streams import Stream, child, generator, seeded
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sbirules.figures.style import GridLike

__all__ = ["PointComparison", "compare_point"]


@typed_class
@dataclass(frozen=True)
class PointComparison:
    """A point against a posterior.

    Arguments:
        posterior: The posterior, with draws.
        ends: The point first, then the other restarts' end points, `(n, D)`.
        log_density: The point's log-density less the posterior draws' mean; -inf outside the prior.
        level: By coefficient: mass of the smallest central interval that holds the point, `(D,)`. 0 is the median.
        joint_level: Mass of the smallest region of highest density that holds the point: 1 is outside all draws.
        mode: The posterior mode that is reached uphill from the point, `(D,)`; from the nearest draw where the
            point lies outside the prior.
        distance: From the point to that mode, in posterior standard deviations (Mahalanobis) over sqrt(D).
        success: Share of fresh networks that satisfy the posterior's constraints, or else learn, under `"point"`,
            `"posterior mean"`, `"MAP"`, `"posterior draws"`; empty for choices of animals.
        log_likelihood: Of choices of animals, the same: log p(choices | rule) in nats, of draws the mean; else empty.
    """

    posterior: Posterior
    ends: Tensor
    log_density: float
    level: Tensor
    joint_level: float
    mode: Tensor
    distance: float
    success: dict[str, Rate]
    log_likelihood: dict[str, float] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """By coefficient: point, posterior mean and s.d., credible level."""
        import pandas as pd

        draws = self.posterior.draws.double()
        columns = {
            "point": self.ends[0].double(),
            "mean": draws.mean(dim=0),
            "sd": draws.std(dim=0),
            "level": self.level,
        }
        return pd.DataFrame({n: v.numpy() for n, v in columns.items()}, index=list(self.posterior.names))

    def figure(self, axes: GridLike | None = None) -> Figure:
        """Posterior and prior of the coefficients learned most about, with the end points of all restarts."""
        figure: Figure = figures.pairs(self.posterior, points=self.ends, axes=axes)[0, 0].figure
        return figure

    def _outside(self) -> list[str]:
        """A sentence where the point lies outside the prior."""
        if self.log_density > -math.inf:
            return []
        with seeded(0, Stream.PRIOR_SPREAD):  # printing must not move the caller's random stream
            draws = self.posterior.prior.sample(Size((4000,))).float()
        low, high = draws.min(dim=0).values, draws.max(dim=0).values
        beyond = [n for n, v, a, b in zip(self.posterior.names, self.ends[0], low, high, strict=True) if v < a or v > b]
        where = f": {', '.join(beyond)} beyond what it allows" if beyond else ", in a gap between what it allows"
        return [f"The point lies outside the prior{where}; density and joint level say no more than that."]

    def __str__(self) -> str:
        return "\n".join(
            [
                self.table().round(3).to_string(),
                *self._outside(),
                f"joint: outside the {100 * self.joint_level:.1f} % region of highest density; log-density "
                f"{self.log_density:+.1f} against the mean of draws; {self.distance:.2f} s.d. from the nearest mode",
                *(f"success of {name}: {rate}" for name, rate in self.success.items()),
                *(f"log-likelihood of {name}: {value:.2f}" for name, value in self.log_likelihood.items()),
            ]
        )


@typed
def compare_point(
    posterior: Posterior,
    point: PointEstimate | ArrayLike,
    simulator: Simulator,
    *,
    networks: int = 128,
    rules: int = 128,
    seed: int = 0,
) -> PointComparison:
    """Where a point lies in a posterior, and how both do in fresh networks.

    Arguments:
        posterior: From `fit`.
        point: From `BPTL.fit`, or a rule in natural units, `(D,)`.
        simulator: What to try them in, over its own session.
        networks: Fresh networks for the point, the posterior mean and the MAP.
        rules: Posterior draws, one fresh network each.
        seed: Of draws and networks.

    Raises:
        ValueError: If the point's coefficients are not the posterior's.
    """
    arguments.whole("networks", networks, 2, arguments.MANY)
    arguments.whole("rules", rules, 2, arguments.MANY)
    if isinstance(point, PointEstimate):
        if point.names != posterior.names:
            mine, theirs = arguments.listed(point.names), arguments.listed(posterior.names)
            raise ValueError(f"the point has coefficients {mine}, the posterior {theirs}.")
        order = [point.best, *(k for k in range(len(point.theta)) if k != point.best and not point.diverged[k])]
        ends = point.theta[order].float()
    else:
        ends = arguments.theta_matrix(point, posterior.names, argument="point").float()
    draws = posterior.draws.float()
    with torch.no_grad():
        every, own = posterior.potential(draws).double(), float(posterior.potential(ends[:1]))
    below = (draws < ends[0]).double().mean(dim=0) + 0.5 * (draws == ends[0]).double().mean(dim=0)
    spread = torch.linalg.pinv(torch.cov(draws.double().T).reshape(len(posterior.names), -1))
    inside = own > -torch.inf
    start = ends[0] if inside else draws[(draws - ends[0]).norm(dim=1).argmin()]
    mode = climb(posterior, start)[0]
    gap = (ends[0] - mode).double()
    single = {"point": ends[0], "posterior mean": draws.mean(dim=0), "MAP": posterior.map()}
    value: dict[str, float] = {}
    success: dict[str, Rate] = {}
    picked = draws[torch.randperm(len(draws), generator=generator(seed, Stream.SHUFFLE))[:rules]]
    if isinstance(posterior.potential_net, ChoicePotential):
        with torch.no_grad():
            found = posterior.potential_net.log_likelihood(torch.cat([torch.stack(list(single.values())), picked]))
        value = dict(zip(single, found[: len(single)].tolist(), strict=True))
        value["posterior draws"] = float(found[len(single) :].mean())
    else:
        asked = None if posterior.question is None else posterior.question.outcome  # what rules are right for
        rates = success_of(simulator, torch.stack(list(single.values())), networks, seed=seed, asked=asked)
        each = success_of(simulator, picked, 1, seed=child(seed, Stream.EVALUATION), asked=asked)
        share = sum(r.value for r in each) / len(each)
        success = dict(zip(single, rates, strict=True))
        success["posterior draws"] = Rate(share, (share * (1 - share) / len(each)) ** 0.5)
    return PointComparison(
        posterior=posterior,
        ends=ends,
        log_density=own - float(every.mean()),
        level=(2 * below - 1).abs(),
        joint_level=float((every > own).double().mean()),
        mode=mode,
        distance=float(((gap @ spread @ gap) / len(gap)).sqrt()),
        success=success,
        log_likelihood=value,
    )
