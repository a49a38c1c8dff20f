"""Draws from one posterior: independent runs of sequential Monte Carlo that have to agree."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.prior import Sparse
from sbirules.samplers.bridge import evidence_of, of_steps
from sbirules.samplers.modes import Reference, reference_of
from sbirules.samplers.smc import FEWEST, Particles, SamplerSettings, run_smc
from sbirules.support.borrowed import without_notice
from sbirules.support.streams import Stream, child

__all__ = ["Chains", "agreement", "draw_chains", "tell"]

REMEMBERED = 0.5  # correlation of particles with where they were above which they have not moved enough


@dataclass(frozen=True)
class Chains:
    """Draws by run, `(runs, draws, D)`, and whether the runs agree.

    Arguments:
        draws: The draws.
        r_hat: Largest rank-normalised R-hat of any coefficient over runs (Vehtari et al. 2021).
        ess: Smallest effective sample size of any coefficient, at most the number of distinct draws.
        log_evidence: Log of the mean likelihood under the prior, and its standard error, see `sbirules.samplers.bridge`.
    """

    draws: Tensor
    r_hat: float = math.nan
    ess: float = math.nan
    log_evidence: tuple[float, float] = (math.nan, math.nan)


def draw_chains(
    log_likelihood: Callable[[Tensor], Tensor],
    prior: Distribution,
    num_samples: int,
    settings: SamplerSettings,
    *,
    seed: int,
    hold: Mapping[int, float] | None = None,
    from_modes: bool = False,
    reference: Reference | None = None,
    progress: bool = False,
) -> Chains:
    """Samples from prior x likelihood.

    Arguments:
        log_likelihood: `(n,)` of theta `(n, D)`; -inf where impossible.
        prior: Its support is never left.
        num_samples: Draws over all runs; rounded up to the same number in each.
        settings: Of the sampler.
        seed: Makes the draws repeatable.
        hold: Columns of theta that are fixed, and at what.
        from_modes: Whether to start at the modes of a likelihood that has gradients, see `sbirules.samplers.modes`.
        reference: Where to start instead, found for a likelihood that is nearly the same.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If too few rules drawn from the prior have a likelihood above zero.
    """
    s = settings
    per_run = math.ceil(num_samples / s.num_runs)
    s = replace(s, num_particles=max(s.num_particles, per_run))

    def runs(theta: Tensor, which: Tensor) -> Tensor:
        return log_likelihood(theta.flatten(0, 1)).reshape(theta.shape[:2])

    smooth = from_modes and not hold and not isinstance(prior, Sparse)
    if smooth and reference is None:
        reference = reference_of(log_likelihood, prior, seed=child(seed, Stream.POINTS))
    for doubling in range(s.max_doublings + 1):
        out = run_smc(
            runs,
            prior,
            s.num_runs,
            s,
            seed=child(seed, Stream.DOUBLING, doubling),
            hold=hold,
            reference=reference,
            progress=progress,
        )
        if bool(torch.isnan(out.power).any()):
            raise ValueError(
                f"a share of only {float(out.possible.mean()):.2g} of rules drawn from the prior has a posterior "
                f"density above zero ({s.num_candidates} were tried), too few to start {s.num_runs} runs from, "
                f"{FEWEST} each; ask for less, or change the prior."
            )
        r_hat, ess = agreement(out.theta, hold or {})
        agree = not r_hat > s.r_hat and not bool((out.memory > REMEMBERED).any())
        if agree or doubling == s.max_doublings or bool((out.power < 1 - 1e-6).any()):
            break
        s = replace(s, num_particles=2 * s.num_particles, num_moves=2 * s.num_moves)
    tell(out, s, "run")
    if r_hat > max(1.1, s.r_hat):
        warnings.warn(
            f"the sampler's runs disagree (R-hat {r_hat:.2f} with {s.num_particles} particles and {s.num_moves} "
            f"moves): do not trust these draws; raise num_particles and num_moves."
        )
    if bool(out.near.all()) or hold or bool((out.power < 1 - 1e-6).any()):
        evidence = of_steps(out.log_evidence)
    else:
        own = child(seed, Stream.BRIDGE)
        evidence = evidence_of(log_likelihood, prior, out.theta, out.log_evidence, ess=ess, seed=own)
    # particles are in no order: any of them are draws
    return Chains(out.theta[:, :per_run], r_hat, ess, evidence)


def tell(out: Particles, settings: SamplerSettings, unit: str) -> None:
    """Warns of rows without draws, with early draws, or whose particles hardly moved."""
    for row in torch.isnan(out.power).nonzero()[:, 0].tolist():
        warnings.warn(
            f"{unit} {row}: {float(out.possible[row]):.2g} of rules drawn from the prior have a likelihood above "
            f"zero, too few to start from; its draws are NaN."
        )
    short = out.power < 1 - 1e-6
    if short.any():
        warnings.warn(
            f"time_limit of {settings.time_limit:g} s: {int(short.sum())} of {len(out.power)} {unit}s stopped early, "
            f"at likelihood^{float(out.power[short].min()):.2g} or above: their draws are wider than the posterior."
        )
    kept = (out.memory > REMEMBERED) & (out.power >= 1 - 1e-6)
    if kept.any():
        warnings.warn(
            f"{int(kept.sum())} of {len(out.power)} {unit}s: particles have hardly left where they were when the whole "
            f"likelihood was reached (correlation up to {float(out.memory[kept].max()):.2f}): draws may be narrower than the "
            f"posterior; raise num_particles and num_moves."
        )
    stuck = (out.acceptance < 0.01) & (out.power >= 1 - 1e-6)
    if stuck.any():
        warnings.warn(
            f"{int(stuck.sum())} of {len(out.power)} {unit}s accepted under 1 % of moves: do not trust their draws; "
            f"raise num_particles and num_moves."
        )


def agreement(theta: Tensor, hold: Mapping[int, float]) -> tuple[float, float]:
    """R-hat over runs and effective sample size of the worst coefficient."""
    with without_notice():
        import arviz

    ess_of: Callable[..., Mapping[str, np.ndarray]] = arviz.ess  # arviz has no types
    r_hat_of: Callable[..., Mapping[str, np.ndarray]] = arviz.rhat
    moving = [k for k in range(theta.shape[2]) if k not in hold and bool(theta[:, :, k].std() > 0)]
    if not moving:
        return math.nan, math.nan
    draws = theta[:, :, moving].numpy()
    distinct = len(torch.unique(theta.flatten(0, 1), dim=0))
    ess = min(float(ess_of({"u": draws})["u"].min()), float(distinct))
    if len(draws) == 1:
        return math.nan, ess
    # NaN: constant within every run, but not the same in all
    return float(np.nan_to_num(r_hat_of({"u": draws})["u"], nan=math.inf).max()), ess
