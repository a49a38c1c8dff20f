"""How learners vary, from trial to trial and from one to another, held against fresh networks of posterior rules.

Mean curves of networks with another task or other noise can agree with the learners' where a rule makes up for the
difference; how single trials scatter, and how learners differ, can then not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.runs import Trajectory
from sbirules.model.verdicts import Verdict
from sbirules.support.distances import distances, rank_of

__all__ = ["Variety", "beyond", "statistics_of", "unlikely", "variety_verdict"]

EARLY = 10  # trials, or a tenth of the session if that is more
LEAST = 6  # learners from which a spread among them can be told
BEYOND = 1.25  # times the farthest of the rules' own: then it fails however few rules there are


@dataclass(frozen=True)
class Variety:
    """Statistics of a table of learners, and of as many fresh networks under each posterior rule.

    Arguments:
        names: Of the statistics.
        made: Of each rule's networks, `(rules, K)`.
        observed: Of the learners, `(K,)`.
    """

    names: tuple[str, ...]
    made: Tensor
    observed: Tensor

    def distances(self) -> tuple[float, Tensor]:
        """How far the learners are from the rules' networks, and each rule's networks from the others'.

        Mahalanobis distances of statistics whose tails are drawn in; NaN if there are too few of anything.
        """
        return distances(self.observed, self.made)

    def farthest(self, count: int = 3) -> list[str]:
        """Statistics of the learners that lie farthest out among the rules' networks, with their ranks."""
        told = (torch.isfinite(self.made).all(dim=0) & torch.isfinite(self.observed)).nonzero()[:, 0].tolist()
        below = (self.made < self.observed).double().mean(dim=0)
        out = sorted(told, key=lambda k: -abs(float(below[k]) - 0.5))[:count]
        return [
            f"{self.names[k]} ({'above' if below[k] > 0.5 else 'below'} {max(float(below[k]), 1 - float(below[k])):.0%})"
            for k in out
        ]


def statistics_of(runs: Trajectory, field: str, groups: int) -> tuple[tuple[str, ...], Tensor]:
    """Statistics of so many tables of learners that stand one after another in the runs: names, `(groups, K)`.

    Of a field, learner by learner: mean, scatter among trials of a type and difference between types, early and late
    in the session, and how trials of a type go with the ones before. Of each of these: mean over learners, and
    the logarithm of their spread (median distance from the median).
    """
    names: list[str] = []
    columns: list[Tensor] = []
    length = runs.num_trials
    early = torch.clamp(torch.maximum(length // 10, torch.tensor(EARLY)), max=length // 2)
    place = torch.arange(runs.trial_types.shape[1])
    windows = {
        "early": place < early[:, None],
        "late": (place >= (length - early)[:, None]) & (place < length[:, None]),
    }
    values = runs.per_trial[field].double()
    rows: dict[str, Tensor] = {}
    for when, window in windows.items():
        types = [window & (runs.trial_types == t) for t in range(runs.num_types)]
        means = torch.stack([torch.where(t, values, torch.nan).nanmean(dim=1) for t in types])
        scatter = torch.stack([_sd(torch.where(t, values, torch.nan)) for t in types])
        rows[f"{when} {field}"] = means.nanmean(dim=0)
        rows[f"{when} scatter of {field}"] = scatter.nanmean(dim=0)
        if runs.num_types > 1:
            rows[f"{when} {field} between types"] = _sd(means.T)
    rows[f"succession of {field}"] = torch.stack(
        [_lag(values, runs.trial_types == t) for t in range(runs.num_types)]
    ).nanmean(dim=0)
    for name, row in rows.items():
        table = row.reshape(groups, -1)
        middle = table.nanmedian(dim=1, keepdim=True).values
        names += [f"{name}, mean", f"{name}, spread"]
        columns += [table.nanmean(dim=1), (table - middle).abs().nanmedian(dim=1).values.log()]
    return tuple(names), torch.stack(columns, dim=1)


def _sd(values: Tensor) -> Tensor:
    """S.d. of each row, NaN left out."""
    gap = values - values.nanmean(dim=1, keepdim=True)
    return gap.square().nanmean(dim=1).sqrt()


def _lag(values: Tensor, wanted: Tensor) -> Tensor:
    """Correlation of each row's wanted values with the next wanted ones, `(n,)`."""
    # wanted values first, in their order
    order = torch.argsort((~wanted).to(torch.int8), dim=1, stable=True)
    row = torch.where(wanted, values, torch.nan).gather(1, order)
    a, b = row[:, :-1], row[:, 1:]
    both = torch.isfinite(a) & torch.isfinite(b)
    a, b = torch.where(both, a, torch.nan), torch.where(both, b, torch.nan)
    a, b = a - a.nanmean(dim=1, keepdim=True), b - b.nanmean(dim=1, keepdim=True)
    return (a * b).nanmean(dim=1) / (a.square().nanmean(dim=1) * b.square().nanmean(dim=1)).sqrt().clamp(min=1e-12)


def unlikely(p: float, rules: int) -> bool:
    """Whether so few rules' own are as far out that it is a caution: 2 %, or none of them."""
    return p < max(0.02, 1.5 / (1 + rules))


def beyond(own: float, each: Tensor) -> bool:
    """Whether it is farther out than all others: of a hundred or more, or else by far."""
    return bool((each < own).all()) and (len(each) >= 100 or own > BEYOND * float(each.max()))


def variety_verdict(v: Variety, learners: int, name: str = "trial statistics") -> list[Verdict]:
    """Do learners scatter and differ as networks of posterior rules do?"""
    own, each = v.distances()
    if math.isnan(own) or learners < LEAST:
        return []
    p = rank_of(own, each)
    level = "fail" if beyond(own, each) else "caution" if unlikely(p, len(each)) else "pass"
    finding = (
        f"How {learners} learners scatter from trial to trial and differ among each other, {len(v.names)} statistics together: "
        f"as far off are {p:.0%} of {len(each)} posterior rules' own networks"
    )
    if level != "pass":
        finding += f"; farthest out among them: {', '.join(v.farthest())}"
    advice = (
        ""
        if level == "pass"
        else "The learners' task, noise or networks may differ from the simulator's (a delay, a stimulus, units): compare these."
    )
    return [Verdict(name, level, finding + ".", advice, {"p": p, "distance": own})]
