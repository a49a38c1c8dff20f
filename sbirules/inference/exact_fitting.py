"""Posteriors where the likelihood of a table is known exactly: no simulations, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.distributions import Distribution

from sbirules.inference.animals import AnimalDraws
from sbirules.inference.exact import PooledPotential, TablePotential
from sbirules.inference.pooling import fit_partially
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import Question, TableQuestion
from sbirules.model.simulator import Simulator
from sbirules.priors import PriorLike, completed
from sbirules.samplers.chains import Chains, draw_chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support.streams import Stream, child

__all__ = ["EXACT", "fit_exactly"]

# a likelihood that is known has no noise to average over: fewer moves will do
EXACT = SamplerSettings(num_particles=512, num_moves=8)
DRAWS = 2000


def fit_exactly(
    simulator: Simulator,
    prior: PriorLike,
    question: Question,
    *,
    varies: Sequence[str] | None,
    spread: float,
    sampler: Any,
    seed: int,
    progress: bool,
) -> Posterior:
    """The posterior given a table, by its exact likelihood; arguments as for `fit`."""
    if not isinstance(question, TableQuestion) or question.lacking():
        raise ValueError(
            "the first argument of fit is a simulator: its likelihood must be known exactly, as that of choices is; for other "
            "questions give a store of simulations, simulate(simulator, prior, ...)."
        )
    suited: Any = question.suited(simulator)
    if not isinstance(suited, question.predicted_by):
        raise ValueError(
            f"the table is of {question.kind}, which {type(simulator).__name__} does not predict; use {question.predicted_with}."
        )
    whole: Distribution = completed(prior, suited.names, suited.nuisances)
    fitted = question.exactly(suited)
    if question.animals == "partial":
        return fit_partially(
            fitted, whole, suited, varies=varies, spread=spread, sampler=sampler, seed=seed, progress=progress
        )
    settings = sampler or EXACT
    out = Posterior(whole, suited.names, fitted.potential, question, fitted.record, settings)
    out.own_seed = seed
    if question.animals == "shared":
        return out
    return _own(out, settings, seed, progress)


def _own(out: Posterior, settings: SamplerSettings, seed: int, progress: bool) -> Posterior:
    """With a rule of its own for each animal: its draws are those of all animals together."""
    net = out.potential_net
    if not isinstance(net, TablePotential):
        raise ValueError('animals="own" needs a table of choices or recordings; leave it out.')
    chains = []
    for k in range(len(net.learners)):
        potential = net.subset([k])
        chains.append(
            draw_chains(
                potential.log_likelihood,
                out.prior,
                DRAWS,
                settings,
                seed=child(seed, Stream.SAMPLING, k),
                from_modes=True,
                progress=progress,
            )
        )
    draws = torch.stack([c.draws.flatten(0, 1) for c in chains], dim=1)
    evidence = torch.tensor([c.log_evidence for c in chains], dtype=torch.float64)
    # a rule of any of the animals; what tells of the sampler is the worst animal's
    mixed = torch.cat([c.draws[:, :: max(1, len(chains) // 4)] for c in chains], dim=1)
    total, error = float(evidence[:, 0].sum()), float(evidence[:, 1].square().sum().sqrt())
    worst = Chains(mixed, max(c.r_hat for c in chains), min(c.ess for c in chains), (total, error))
    pooled = PooledPotential(net, mixed.flatten(0, 1))
    out = Posterior(out.prior, out.names, pooled, out.question, out.record, settings).with_draws(worst)
    out.of_animals = AnimalDraws(net.learners, out.names, draws, log_evidence=evidence)
    return out
