"""The amortised posterior given many learners: neural posterior estimation on sets of networks that share a rule.

It needs several simulated networks of each rule, which the ratio and the likelihood of one learner do without; in
return it samples at once, and makes no use of the learners being independent given the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.amortised import AmortisedPosterior, NPESettings, fit_npe
from sbirules.fit_trials import default_summaries, rows_like_learners, summaries_of
from sbirules.streams import generator
from sbirules.summaries import SummaryLike, resolve, summary_names, written
from sbirules.trajectory import Trajectory
from sbirules.trials import Trials

__all__ = ["sets_again", "sets_posterior"]

SUBSETS = 8  # sets, of different sizes, made of the networks of each rule


def sets_posterior(
    theta: Tensor,
    runs: Trajectory,
    prior: Distribution,
    table: Trials,
    *,
    criterion: float,
    summaries: Sequence[SummaryLike] | None = None,
    settings: NPESettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[AmortisedPosterior, dict[str, Any]]:
    """The amortised posterior given the table's learners, and the facts of the fit.

    Arguments:
        theta: Simulated rules `(n, D)`, each in several rows, one network each.
        runs: Their learning runs.
        prior: The prior.
        table: The learners.
        criterion: Error below which a trial is correct, for tables that lack it.
        summaries: What of a learner enters; None for the default.
        settings: Of flows and training.
        seed: Makes the fit repeatable.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If rules were simulated in fewer networks than there are learners.
    """
    if settings is not None and not isinstance(settings, NPESettings):
        raise ValueError(f"the settings of estimator='npe' must be NPESettings, got {settings!r}.")
    chosen = default_summaries(table) if summaries is None else tuple(resolve(s) for s in summaries)
    theta, x, length, ok = rows_like_learners(theta, runs, table, chosen, seed)
    rules, rule_of, counts = torch.unique(theta, dim=0, return_inverse=True, return_counts=True)
    most = int(counts.min())
    if most < len(table):
        raise ValueError(
            f'estimator="npe" learns from sets of networks that share a rule, at least {len(table)} of each: '
            f"simulate(simulator, prior.sample((2000,)).repeat_interleave({len(table)}, dim=0)); the store has rules "
            f"with {most}."
        )
    rows = _rows(x, length)
    places = rule_of.argsort(stable=True)
    starts = torch.cumsum(counts, dim=0) - counts
    stream = generator(seed, 4)
    kept_sets, kept_rules = [], []
    for _ in range(SUBSETS):
        # as many networks of each rule as fall to it by chance, in random order
        size = torch.randint(1, most + 1, (len(rules),), generator=stream)
        order = torch.rand(len(rules), most, generator=stream).argsort(dim=1)
        member = places[starts[:, None] + order]  # (rules, most)
        there = torch.arange(most) < size[:, None]
        # learners are never failed networks: a set with one of those stands for nothing that can be observed
        good = (ok[member] | ~there).all(dim=1)
        sets = torch.where(there[..., None], rows[member], 0.0)[good]
        kept_sets.append(sets)
        kept_rules.append(good.nonzero()[:, 0])
    group = torch.cat(kept_rules)
    x_o = _set_of(summaries_of(table, chosen), table.num_trials, most)
    net, more = fit_npe(
        rules[group], torch.cat(kept_sets), x_o, prior, settings=settings, groups=group, seed=seed, progress=progress
    )
    facts = {
        "kind": "trials",
        "learners": len(table),
        "trials": int(table.num_trials.sum()),
        "estimator": "npe",
        "summaries": list(summary_names(chosen, table.trajectory.type_names)),
        "summary_settings": [written(s) for s in chosen],
        "lengths": [int(length.min()), int(length.max())],
        "trial_types": list(runs.type_names),
        "criterion": criterion,
        "simulations": len(theta),
        "valid": int(ok.sum()),
        **more,
    }
    net.summaries = chosen
    return net, facts


def _set_of(x: Tensor, length: Tensor, places: int) -> Tensor:
    """Learners' summaries `(L, S)` and lengths as a set with so many places, `(places, S + 2)`."""
    out = torch.zeros(places, x.shape[1] + 2)
    out[: len(x)] = _rows(x, length)
    return out


def _rows(x: Tensor, length: Tensor) -> Tensor:
    """Summaries, length, and a mark that there is a learner."""
    return torch.cat([torch.nan_to_num(x), torch.log(length[:, None].float()), torch.ones(len(x), 1)], dim=1)


def sets_again(net: AmortisedPosterior, x: Tensor, length: Tensor) -> AmortisedPosterior:
    """A trained posterior given other learners' summaries.

    Raises:
        ValueError: If there are more of them than it has learned from.
    """
    places = net.shape["shape"][0]
    if len(x) > places:
        raise ValueError(
            f"this posterior has learned from sets of up to {places} learners, got {len(x)}; simulate each rule in "
            f"more networks."
        )
    return net.given(_set_of(x, length, places))
