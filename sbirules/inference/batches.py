"""Posteriors given many observations at once, from one trained estimator."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.potentials import LogLikelihood, NormalisedPotential, Potential
from sbirules.model.tables import Trials
from sbirules.samplers.chains import tell
from sbirules.samplers.smc import Particles, SamplerSettings, run_smc
from sbirules.support import arguments
from sbirules.support.streams import Stream, child, seeded

__all__ = ["Askable", "log_likelihoods", "sample_batched", "sample_potentials"]

TOGETHER = 8  # observations whose many rules are evaluated together
AT_ONCE = 32  # observations whose particles move together: more would not fit the processor's cache


class Askable(Protocol):
    """A posterior that can be asked about other observations."""

    @property
    def names(self) -> tuple[str, ...]: ...

    prior: Distribution
    potential_net: Potential
    settings: SamplerSettings
    hold: dict[int, float]
    region: dict[int, tuple[float, float]]

    def asked(self, observation: Any) -> tuple[Askable, str]: ...

    def sample(self, sample_shape: Sequence[int], *, seed: int = ..., progress: bool = ...) -> Tensor: ...

    def within_limits(self, theta: Tensor) -> Tensor: ...


def sample_batched(
    posterior: Askable, sample_shape: Sequence[int], observations: Sequence[Any], *, seed: int, progress: bool
) -> Tensor:
    """Draws `(*sample_shape, B, D)`; see `Posterior.sample_batched`."""
    if isinstance(observations, (str, Trials, Mapping)) or not isinstance(observations, (Sequence, Tensor)):
        raise ValueError(f"observations must be a list of observations, got {type(observations).__name__}.")
    asked: list[Askable | None] = []
    reason, beyond = "", {}
    for k, observation in enumerate(observations):
        try:
            one, beyond[k] = posterior.asked(observation)
            asked.append(one)
        except ValueError as error:
            reason = str(error)
            warnings.warn(f"observation {k}: {error} Its draws are NaN.")
            asked.append(None)
    lost = [k for k, text in beyond.items() if text]
    if lost:
        more = (
            ""
            if len(lost) == 1
            else f" So is it with {len(lost) - 1} more: {arguments.listed(lost[1:6])}{' ...' * (len(lost) > 6)}."
        )
        warnings.warn(f"observation {lost[0]}: {beyond[lost[0]]}{more}")
    n = arguments.shape("sample_shape", sample_shape).numel()
    good = {k: one for k, one in enumerate(asked) if one is not None}
    if asked and not good:
        raise ValueError(f"none of {len(asked)} observations can be used: {reason}")
    draws = torch.full((len(asked), n, len(posterior.names)), torch.nan)
    if isinstance(posterior.potential_net, NormalisedPotential):
        for k, one in good.items():
            if posterior.hold or posterior.region:
                draws[k] = one.sample((n,), seed=child(seed, Stream.OBSERVATION, k))
                continue
            potential = one.potential_net
            try:
                with seeded(seed, Stream.OBSERVATION, k):
                    draws[k] = potential.sample(n) if isinstance(potential, NormalisedPotential) else torch.nan
            except ValueError as error:  # draws that cannot be had
                warnings.warn(f"observation {k}: {error} Its draws are NaN.")
    elif good:
        potentials = [one.potential_net for one in good.values()]
        draws[list(good)] = sample_potentials(posterior, potentials, n, seed=seed, progress=progress).theta
    return draws.transpose(0, 1).reshape(*sample_shape, len(asked), len(posterior.names))


def sample_potentials(
    posterior: Askable, potentials: Sequence[Potential], n: int, *, seed: int, progress: bool = False
) -> Particles:
    """n draws of the posterior of each of many groups of learners, `(B, n, D)`, from a posterior's own estimator."""
    s = replace(posterior.settings, num_particles=max(posterior.settings.num_particles, n))
    started, found = time.monotonic(), []
    for at in range(0, len(potentials), AT_ONCE):
        if s.time_limit is not None:  # of all observations together; what comes late gets next to none
            left = max(1e-3, s.time_limit - (time.monotonic() - started))
            now = replace(s, time_limit=left)
        else:
            now = s
        group = potentials[at : at + AT_ONCE]
        likelihood = _of_part(posterior, group[0].together(group))
        found.append(
            run_smc(
                likelihood,
                posterior.prior,
                len(group),
                now,
                seed=child(seed, Stream.OBSERVATION, at),
                hold=posterior.hold,
                progress=progress,
            )
        )
    whole = Particles(*(torch.cat([getattr(p, f.name) for p in found]) for f in fields(Particles)))
    tell(whole, s, "observation")
    return replace(whole, theta=whole.theta[:, :n])


def _of_part(posterior: Askable, log_likelihood: LogLikelihood) -> LogLikelihood:
    """The same, -inf outside the part of the posterior that is asked for."""

    def limited(theta: Tensor, which: Tensor) -> Tensor:
        return torch.where(posterior.within_limits(theta), log_likelihood(theta, which), -math.inf)

    return limited


def log_likelihoods(potentials: Sequence[Potential], theta: Tensor) -> Tensor:
    """Log-likelihoods `(R, n)` float64 of R potentials of one estimator.

    Arguments:
        potentials: One for each observation.
        theta: Rules of each, `(R, n, D)`, as expanded from one row where they are the same.
    """
    found = []
    with torch.no_grad():
        for at in range(0, len(potentials), TOGETHER):
            some = potentials[at : at + TOGETHER]
            rules = theta[at : at + TOGETHER]
            found.append(some[0].together(some)(rules, torch.arange(len(some))).double())
    return torch.cat(found)
