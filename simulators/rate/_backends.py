"""Who runs a trial: plain torch, the reference, or a fused backend that replaces parts of it.

All of them keep weights as `(batch, pre, post)` and compute the trace as matrix products over time; they
differ in rounding only.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sbirules.model.rules import LocalRule, PolynomialRule, RuleFamily, ThreeFactorRule
from sbirules.support.own_code import called

from ._drive import Drive
from ._episode import NONLINEARITIES, Clamp, deviation_from_mean, episode
from ._local import LocalPlasticity
from ._settings import Settings
from ._trial import Networks, Stage, State, Trial

__all__ = ["Plasticity", "TorchBackend", "plasticity"]


@dataclass(frozen=True)
class Plasticity:
    """What turns the activity of a trial into a weight change (Eq. 4 and 5), for a batch of rules.

    Arguments:
        settings: The network's settings.
        family: The rule family.
        theta: Raw coefficients by name, each `(batch, 1, 1)`.
        decay: exp(-dt / tau_e), `(batch,)`; None where no trace decays.
        keep: 1 - 1 / tau_w, `(batch,)`; None where no weight decays.
        mask: Existing synapses as 0 and 1, `(batch or 1, pre, post)`; None for all.
        signs: +1 for excitatory and -1 for inhibitory presynaptic units, `(N,)`; None without Dale's law.
        limit: |w| beyond which a network has diverged.
    """

    settings: Settings
    family: ThreeFactorRule
    theta: dict[str, Tensor]
    decay: Tensor | None
    keep: Tensor | None
    mask: Tensor | None
    signs: Tensor | None
    limit: float

    @staticmethod
    def of(s: Settings, family: ThreeFactorRule, raw: Tensor, mask: Tensor | None) -> Plasticity:
        """For raw rules `(batch, D)` and a mask `(batch or 1, post, pre)`."""
        theta, tau_e, tau_w = family.split(raw)
        network = s.connectivity
        return Plasticity(
            settings=s,
            family=family,
            theta=theta,
            decay=None if bool(torch.isinf(tau_e).all()) else torch.exp(-s.dt / tau_e),
            keep=None if bool(torch.isinf(tau_w).all()) else 1.0 - 1.0 / tau_w,
            mask=None if mask is None else mask.mT.to(raw.dtype).contiguous(),
            signs=network.signs(raw.device, raw.dtype),
            limit=s.divergence * network.initial_sd,
        )

    @cached_property
    def panels(self) -> tuple[Tensor, list[int], list[int]] | None:
        """The rules as `PolynomialRule.panels`; None for families that are no polynomials."""
        family = self.family
        if isinstance(family, PolynomialRule) and type(family).trace is PolynomialRule.trace:
            return family.panels(self.theta)
        return None

    def trace(self, kernel: Tensor, x: Tensor, rate: Tensor, mean: Tensor) -> Tensor:
        """The trace after a trial, `(batch, post, pre)`; arguments as in `TorchBackend.update`."""
        s = self.settings
        deviation, _ = deviation_from_mean(x, mean, s.xbar_factor)
        rates, deviations = rate[:, s.trace_start : -1], deviation[:, s.trace_start :]
        return called(self.family.trace, self.theta, rates, deviations, kernel.mT, s.dt, self.decay)


def plasticity(s: Settings, family: RuleFamily, raw: Tensor, mask: Tensor | None) -> Plasticity | LocalPlasticity:
    """What changes the weights under rules `(batch, D)` of a family, with or without a reward.

    Raises:
        ValueError: If the family is of no kind that a recurrent network takes.
    """
    if isinstance(family, LocalRule):
        return LocalPlasticity.of(s, family, raw, mask)
    if isinstance(family, ThreeFactorRule):
        return Plasticity.of(s, family, raw, mask)
    raise ValueError(
        f"family must be a ThreeFactorRule or a LocalRule for recurrent networks, got {type(family).__name__}."
    )


class TorchBackend:
    """Plain torch operations: the reference, differentiable, on any device. Others replace some of its methods."""

    name = "torch"

    def working(self) -> AbstractContextManager[object]:
        """What must hold of the process while the backend works."""
        return nullcontext()

    def trial(
        self,
        stage: Stage,
        net: Networks,
        rule: Plasticity | LocalPlasticity,
        state: State,
        drive: Drive,
        x0: Tensor,
        types: Tensor,
        present: Tensor,
        plastic: bool,
        watched: bool,
    ) -> tuple[Trial, State]:
        """One trial of every network, and what is carried to the next.

        Arguments:
            stage: Settings, task and read-out.
            net: The networks.
            rule: Their rules.
            state: What they carry.
            drive: Input and kicks.
            x0: Initial states, `(batch, N)`.
            types: Trial types, `(batch,)`.
            present: Networks whose session is not over, `(batch,)` boolean.
            plastic: Whether this trial changes weights.
            watched: Whether states and rates are wanted. They may lie in memory that the next trial overwrites.
        """
        s = stage.settings
        live = present & ~state.dead
        if isinstance(rule, LocalPlasticity):
            return self._local_trial(stage, net, rule, state, drive, x0, types, live, plastic)
        x, rate = self.episode(state.kernel, drive, x0, s.nonlinearity, stage.clamp)
        error, output = stage.judge(rate, types, net)
        mean = x[:, 0] if s.reset_xbar else state.mean
        index, reward = types[:, None], -error
        before = state.expectation.gather(1, index)[:, 0]
        finite = torch.isfinite(reward.detach())
        broken = live & ~finite
        kernel = state.kernel
        if plastic:
            # a type seen for the first time has no expectation yet, so nothing to learn from
            surprise = torch.nan_to_num(reward - before)
            if s.error_factor:
                surprise = surprise * torch.nan_to_num(-before)
            kernel, within = self.update(kernel, x, rate, mean, rule, surprise, live & finite)
            broken = broken | ~within
        if not s.reset_xbar:
            mean = deviation_from_mean(x, mean, s.xbar_factor)[1].clone()
        expectation = _expected(s, state.expectation, index, reward, live)
        return Trial(x, rate, error, output), State(kernel, expectation, state.dead | broken, mean)

    def _local_trial(
        self,
        stage: Stage,
        net: Networks,
        rule: LocalPlasticity,
        state: State,
        drive: Drive,
        x0: Tensor,
        types: Tensor,
        live: Tensor,
        plastic: bool,
    ) -> tuple[Trial, State]:
        """A trial under rules that no reward gates."""
        s = stage.settings
        mean = x0 if s.reset_xbar else state.mean
        kernel, slow = state.kernel, state.slow or rule.start(len(x0), x0)
        new, after = kernel, slow
        if plastic and rule.family.every_step:
            x, rate, new, after = rule.stepped(kernel, drive, x0, mean, slow, stage.clamp)
        else:
            x, rate = self.episode(kernel, drive, x0, s.nonlinearity, stage.clamp)
            if plastic:
                change, after = rule.integral(kernel, x, rate, mean, slow)
                new = rule.applied(kernel, change)
        error, output = stage.judge(rate, types, net)
        size = torch.linalg.vector_norm(new.detach(), ord=math.inf, dim=(1, 2))
        broken = live & ~(torch.isfinite(error.detach()) & (size <= rule.limit))
        learns = live & ~broken
        if not s.reset_xbar:
            mean = deviation_from_mean(x, mean, s.xbar_factor)[1].clone()
        kept = {n: torch.where(learns[:, None], after[n], slow[n]) for n in slow}
        expectation = _expected(s, state.expectation, types[:, None], -error, live)
        new = torch.where(learns[:, None, None], new, kernel)
        return Trial(x, rate, error, output), State(new, expectation, state.dead | broken, mean, kept)

    def episode(
        self, weights: Tensor, drive: Drive, x0: Tensor, nonlinearity: str, clamp: Clamp
    ) -> tuple[Tensor, Tensor]:
        """States and rates of an episode with weights `(batch, pre, post)`, both `(batch, T + 1, N)`."""
        return episode(weights, drive.dense(), x0, drive.leak, NONLINEARITIES[nonlinearity], clamp)

    def update(
        self, kernel: Tensor, x: Tensor, rate: Tensor, mean: Tensor, rule: Plasticity, surprise: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights after a trial (Eq. 5), and which networks' are finite and within the limit.

        Arguments:
            kernel: Weights, `(batch, pre, post)`.
            x: States of the trial, `(batch, T + 1, N)`.
            rate: Rates, likewise.
            mean: xbar at the start of the trial, `(batch, N)`.
            rule: The rules.
            surprise: R - Rbar, `(batch,)`.
            alive: Networks that learn from this trial; the others keep their weights, `(batch,)` boolean.
        """
        s = rule.settings
        change = rule.trace(kernel, x, rate, mean).mT * surprise[:, None, None]
        if math.isfinite(s.max_weight_change):
            change = change.clamp(-s.max_weight_change, s.max_weight_change)
        if rule.mask is not None:
            change = change * rule.mask
        new = change + (kernel if rule.keep is None else kernel * rule.keep[:, None, None])
        if rule.signs is not None:
            new = (new * rule.signs[:, None]).clamp(min=0.0) * rule.signs[:, None]
        size = torch.linalg.vector_norm(new.detach(), ord=math.inf, dim=(1, 2))
        return torch.where(alive[:, None, None], new, kernel), ~alive | (size <= rule.limit)


def _expected(s: Settings, expectation: Tensor, index: Tensor, reward: Tensor, live: Tensor) -> Tensor:
    """Rbar after a trial whose types are `index` `(batch, 1)`."""
    before, share = expectation.gather(1, index)[:, 0], s.expectation_share
    updated = torch.where(torch.isnan(before), reward, (1.0 - share) * before + share * reward)
    return expectation.scatter(1, index, torch.where(live, updated, before)[:, None])
