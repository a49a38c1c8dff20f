"""Posteriors given many observations at once, from one trained estimator."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules import _check
from sbirules.amortised import AmortisedPosterior
from sbirules.potentials import TrialsPotential
from sbirules.ratio import LearnerRatio
from sbirules.sampling import tell
from sbirules.smc import LogLikelihood, Particles, run_smc
from sbirules.streams import seeded
from sbirules.trials import Trials

if TYPE_CHECKING:
    from sbirules.posterior import Posterior

__all__ = ["many_learners", "sample_batched", "sample_potentials"]

AT_ONCE = 32  # observations whose particles move together: more would not fit the processor's cache


def sample_batched(
    posterior: Posterior, sample_shape: Sequence[int], observations: Sequence[Any], *, seed: int, progress: bool
) -> Tensor:
    """Draws `(*sample_shape, B, D)`; see `Posterior.sample_batched`."""
    if isinstance(observations, (str, Trials)) or not hasattr(observations, "__len__"):
        raise ValueError(f"observations must be a list of observations, got {type(observations).__name__}.")
    nets: list[Any] = []
    reason = ""
    for k, observation in enumerate(observations):
        try:
            nets.append(posterior.given(observation).potential_net)
        except ValueError as error:
            reason = str(error)
            warnings.warn(f"observation {k}: {error} Its draws are NaN.")
            nets.append(None)
    n = _check.shape("sample_shape", sample_shape).numel()
    good = [k for k, net in enumerate(nets) if net is not None]
    if nets and not good:
        raise ValueError(f"none of {len(nets)} observations can be used: {reason}")
    draws = torch.full((len(nets), n, len(posterior.names)), torch.nan)
    if good and isinstance(nets[good[0]], AmortisedPosterior):
        for k in good:
            if posterior.hold or posterior.region:
                draws[k] = posterior.given(observations[k]).sample((n,), seed=seed + k)
                continue
            with seeded(seed, k):
                draws[k] = nets[k].sample(n)
    elif good:
        draws[good] = sample_potentials(posterior, [nets[k] for k in good], n, seed=seed, progress=progress).theta
    return draws.transpose(0, 1).reshape(*sample_shape, len(nets), len(posterior.names))


def sample_potentials(
    posterior: Posterior, nets: Sequence[TrialsPotential], n: int, *, seed: int, progress: bool = False
) -> Particles:
    """n draws of the posterior of each of many groups of learners, `(B, n, D)`, from a posterior's own estimator."""
    s = replace(posterior.settings, num_particles=max(posterior.settings.num_particles, n))
    started, parts = time.monotonic(), []
    for at in range(0, len(nets), AT_ONCE):
        if s.time_limit is not None:  # of all observations together; what comes late gets next to none
            left = max(1e-3, s.time_limit - (time.monotonic() - started))
            now = replace(s, time_limit=left)
        else:
            now = s
        group = nets[at : at + AT_ONCE]
        likelihood = _of_part(posterior, many_learners(group))
        parts.append(
            run_smc(
                likelihood, posterior.prior, len(group), now, seed=seed + at, hold=posterior.hold, progress=progress
            )
        )
    whole = Particles(
        *(
            torch.cat([getattr(p, f) for p in parts])
            for f in ("theta", "log_evidence", "power", "acceptance", "possible")
        )
    )
    tell(whole, s, "observation")
    return replace(whole, theta=whole.theta[:, :n])


def _of_part(posterior: Posterior, log_likelihood: LogLikelihood) -> LogLikelihood:
    """The same, -inf outside the part of the posterior that is asked for."""

    def limited(theta: Tensor, which: Tensor) -> Tensor:
        return torch.where(posterior.within_limits(theta), log_likelihood(theta, which), -math.inf)

    return limited


def many_learners(nets: Sequence[TrialsPotential]) -> LogLikelihood:
    """The log-likelihood of each of many groups of learners, all of one estimator."""
    model = nets[0].likelihood
    if isinstance(model, LearnerRatio):
        ratio = model
        with torch.no_grad():
            totals = torch.stack([ratio.statistics(net.x, net.length) for net in nets], dim=1)
        counts = torch.tensor([len(net.x) for net in nets])
        return lambda theta, which: ratio.log_prob_many(theta, totals[:, which], counts[which])
    return lambda theta, which: torch.stack([nets[int(k)](rules) for k, rules in zip(which, theta, strict=True)])
