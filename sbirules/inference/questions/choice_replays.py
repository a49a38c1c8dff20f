"""Posterior rules in the place of animals: simulated in closed loop, and their weights along what an animal really did."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.inference.questions.choice_statistics import History, Statistic, statistics_of
from sbirules.inference.questions.fresh import Fresh
from sbirules.model.abilities import ReplaysWeights, TableLikelihood
from sbirules.model.runs import Status
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.support.streams import Stream, child

__all__ = ["WeightsAlong", "in_closed_loop", "weights_along"]

CELLS = 2 * 10**6  # decisions that are simulated together
SHOWN = 4  # animals whose weights are shown
RULES = 100  # for bands of weights
POINTS = 300  # decisions of an animal at which weights are kept
SMOOTH = 15  # decisions before and after, of the choice rate beneath


@dataclass(frozen=True)
class WeightsAlong:
    """A policy's weights along animals' own trials, at so many points of each.

    Arguments:
        learners: The animals, A of them.
        names: Of the weights, W of them: of a feature, for one option against others.
        trial: Decision of each point, `(A, points)`.
        draws: Weights before that decision under posterior rules, `(rules, A, points, W)`, in logit units.
        rate: Smoothed rate of the last answer, `(A, points)`.
    """

    learners: tuple[str, ...]
    names: tuple[str, ...]
    trial: Tensor
    draws: Tensor
    rate: Tensor


def in_closed_loop(
    player: Simulator, trials: Trials, rules: Tensor, observed: list[Statistic], fresh: Fresh
) -> tuple[list[Statistic], dict[str, int]]:
    """Statistics of animals that choose in the task by rules `(rules, animals, D)`, one row for each, and what failed.

    A statistic that an animal's answers do not tell is NaN, and so are all of a rule with which an animal's weights diverge.
    """
    n, animals, dim = rules.shape
    types = trials.trial_types.clamp(max=0)
    kept = [torch.full((n, len(s.names)), torch.nan, dtype=torch.float64) for s in observed]
    at_once = max(1, CELLS // types.numel())
    failed = 0
    for part, first in enumerate(range(0, n, at_once)):
        rows = rules[first : first + at_once]
        run = player.run(
            rows.reshape(-1, dim),
            seed=child(fresh.seed, Stream.CHECK, part),
            trial_types=types.repeat(len(rows), 1),
        )
        for k in range(len(rows)):
            of_rule = run.rows(torch.arange(k * animals, (k + 1) * animals))
            if bool((of_rule.status != int(Status.OK)).any()):
                failed += 1
                continue
            history = History.of(Trials(trials.learners, of_rule, None, trials.meaning))
            found = {s.group: s for s in statistics_of(history.choice[None], history)}
            for values, s in zip(kept, observed, strict=True):
                if s.group in found and found[s.group].names == s.names:
                    values[first + k] = found[s.group].values[0]
    made = [Statistic(s.group, s.names, values) for s, values in zip(observed, kept, strict=True)]
    return made, {"DIVERGED": failed} if failed else {}


def weights_along(likelihood: TableLikelihood, trials: Trials, rules: Tensor, deviance: Tensor) -> WeightsAlong | None:
    """Weights of a few animals, from the one that is explained worst to the one explained best; None if they are not known.

    Arguments:
        likelihood: Of the table.
        trials: The table.
        rules: Posterior rules of each animal, `(rules, animals, D)`.
        deviance: Explained, by animal.
    """
    if not isinstance(likelihood, ReplaysWeights) or not likelihood.weight_names:
        return None
    order = deviance.nan_to_num(0.0).argsort()
    some = order[torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().long()].tolist()
    rows = rules[torch.linspace(0, len(rules) - 1, min(RULES, len(rules))).round().long()]
    meaning, fields = trials.meaning, trials.trajectory.per_trial
    places, rates = [], []
    for k in some:
        count = int(trials.num_trials[k])
        at = torch.linspace(0, count - 1, POINTS).round().long()
        choice = fields["choice"][k, :count].double()
        last = (choice == len(meaning.options) - 1).double() if meaning is not None else choice
        places.append(at)
        rates.append(_smooth(torch.where(torch.isnan(choice), torch.nan, last))[at])
    at = torch.stack(places)
    draws = likelihood.weights(rows, some, at)
    return WeightsAlong(
        tuple(trials.learners[k] for k in some), likelihood.weight_names, at, draws.float(), torch.stack(rates)
    )


def _smooth(value: Tensor) -> Tensor:
    """Mean over a window around each decision, of what is known there."""
    there = torch.isfinite(value).double()
    total = torch.nn.functional.pad(torch.stack([there * value.nan_to_num(0.0), there]).cumsum(dim=1), (1, 0))
    n = len(value)
    place = torch.arange(n)
    high, low = (place + SMOOTH + 1).clamp(max=n), (place - SMOOTH).clamp(min=0)
    inside = total[:, high] - total[:, low]
    return inside[0] / inside[1]
