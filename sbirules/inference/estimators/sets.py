"""The amortised posterior given many learners: neural posterior estimation on sets of networks that share a rule.

It needs several simulated networks of each rule, which the ratio and the likelihood of one learner do without; in
return it samples at once, and makes no use of the learners being independent given the rule.
"""

from __future__ import annotations

import torch

from sbirules.inference.estimators.base import Estimator, Job, Learned, Rows
from sbirules.inference.estimators.npe import NPESettings, fit_npe, learn_row, rows_of_set, set_of
from sbirules.inference.potentials import Observed
from sbirules.support.streams import Stream, generator

__all__ = ["NPE"]

SUBSETS = 8  # sets, of different sizes, made of the networks of each rule


def _learn(rows: Rows, observed: Observed, job: Job) -> Learned:
    if not rows.grouped:
        return learn_row(rows, observed, job)
    rules, rule_of, counts = torch.unique(rows.theta, dim=0, return_inverse=True, return_counts=True)
    log_weight = None if job.log_weight is None else job.log_weight(rules)
    most, learners = int(counts.min()), len(observed.x)
    if most < learners:
        raise ValueError(
            f'estimator="npe" learns from sets of networks that share a rule, at least {learners} of each: '
            f"simulate(simulator, prior.sample((2000,)).repeat_interleave({learners}, dim=0)); the store has rules "
            f"with {most}."
        )
    members = rows_of_set(Observed(rows.x, rows.length))
    places = rule_of.argsort(stable=True)
    starts = torch.cumsum(counts, dim=0) - counts
    stream = generator(job.seed, Stream.SUBSETS)
    kept_sets, kept_rules = [], []
    for _ in range(SUBSETS):
        # as many networks of each rule as fall to it by chance, in random order
        size = torch.randint(1, most + 1, (len(rules),), generator=stream)
        order = torch.rand(len(rules), most, generator=stream).argsort(dim=1)
        member = places[starts[:, None] + order]  # (rules, most)
        there = torch.arange(most) < size[:, None]
        # learners are never failed networks: a set with one of those stands for nothing that can be observed
        good = (rows.ok[member] | ~there).all(dim=1)
        if log_weight is not None:
            good &= torch.isfinite(log_weight)  # rules outside the prior
        kept_sets.append(torch.where(there[..., None], members[member], 0.0)[good])
        kept_rules.append(good.nonzero()[:, 0])
    group = torch.cat(kept_rules)
    net, curves, weights = fit_npe(
        rules[group],
        torch.cat(kept_sets),
        set_of(observed, most),
        job.prior,
        settings=job.settings,
        groups=group,
        log_weight=None if log_weight is None else log_weight[group],
        seed=job.seed,
        progress=job.progress,
    )
    return Learned(net, curves, {"weights": weights})


NPE = Estimator(NPESettings, _learn)
