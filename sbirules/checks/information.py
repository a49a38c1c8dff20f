"""How much the data told: what the posterior says beyond the prior."""

from __future__ import annotations

import math

import torch

from sbirules.checks.collected import CONTRACTION, LITTLE, NATS
from sbirules.inference.exact import PooledPotential
from sbirules.inference.posterior import Posterior
from sbirules.model.prior import prior_draws
from sbirules.model.verdicts import Verdict

__all__ = ["information_verdict", "learned_nats"]


def information_verdict(posterior: Posterior) -> list[Verdict]:
    """Does the posterior say more than the prior?"""
    prior = prior_draws(posterior.prior, 10_000).double()
    draws = posterior.draws.double()
    before, after = prior.std(dim=0).clamp(min=1e-300), draws.std(dim=0)
    narrowed = 1 - (after / before) ** 2
    moved = (draws.mean(dim=0) - prior.mean(dim=0)).abs() / before
    best, far = int(narrowed.argmax()), int(moved.argmax())
    # of an estimate from few draws, both differ from zero by chance
    nothing = float(narrowed[best]) < LITTLE and float(moved[far]) < 0.25
    learned = learned_nats(posterior)
    told = "" if learned is None else f"{learned:.1f} nats were learned over the prior. "
    finding = (
        f"{told}Against the prior, {posterior.names[best]} is narrowed most (contraction {float(narrowed[best]):.2f}; 0 is "
        f"none, 1 is all), {posterior.names[far]} moved most (by {float(moved[far]):.2f} of the prior's s.d.)."
    )
    advice = (
        "The posterior is hardly more than the prior: more learners, other summaries or stricter constraints tell more."
    )
    numbers = {f"{CONTRACTION}{n}": v for n, v in zip(posterior.names, narrowed.tolist(), strict=True)}
    numbers |= {} if learned is None else {NATS: learned}
    level = "caution" if nothing else "pass"
    return [Verdict("information", level, finding, advice if nothing else "", numbers)]


def learned_nats(posterior: Posterior) -> float | None:
    """Kullback-Leibler divergence of the posterior from the prior, in nats; None where the evidence is not known.

    The posterior's mean of log-likelihood - log-evidence.
    """
    evidence = posterior.chains.log_evidence[0]
    drawn_only = isinstance(posterior.potential_net, PooledPotential)  # of animals that differ no density is known
    if not math.isfinite(evidence) or posterior.hold or posterior.region or drawn_only:
        return None
    with torch.no_grad():
        value = posterior.log_likelihood(posterior.spread_out(min(2000, len(posterior.draws)))).double()
    out = float(value.mean()) - evidence
    return max(out, 0.0) if math.isfinite(out) else None
