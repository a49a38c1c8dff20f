r"""Gradients of learning with respect to the rule: through time, through trials, and the paper's estimate.

A trial maps what a network carries (weights, Rbar, xbar) to what it carries next, smoothly in the rule. The exact
gradients differentiate the chain of these maps: `reverse` from the end back to the start, with each trial computed
again on the way; `forward` by carrying the derivatives of everything carried. The estimate (Eq. 9) is

    grad_kl = sum_trials (R - Rbar) sum_ij de_ij / dtheta_kl

which takes the activity as given. (The paper's Eq. 7 and 8 together have (R - Rbar)^2, against its Eq. 9.)

Source: "Meta-learning local learning rules for structured credit assignment with sparse feedback"
(arXiv 2512.09366), Eq. 6-9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from sbirules.model.abilities import LearningGradient
from sbirules.model.rules import ThreeFactorRule
from sbirules.support.own_code import called

from ._backends import Plasticity, TorchBackend
from ._drive import Drive
from ._episode import deviation_from_mean
from ._settings import Settings
from ._trial import Networks, Noise, Stage, State, Trial

__all__ = ["GRADIENTS", "Goal"]

BACKEND = TorchBackend()


@dataclass(frozen=True)
class Goal:
    """What is to be increased: reward, or closeness to a teacher's weights `(batch, trials, post, pre)`."""

    settings: Settings
    teacher: Tensor | None = None

    def gain(self, k: int, error: Tensor, kernel: Tensor) -> Tensor:
        """What trial k adds, `(batch,)`."""
        if self.teacher is None:
            return -error
        distance = (kernel.mT - self.teacher[:, k]) ** 2
        return -distance.mean(dim=(1, 2)) / self.settings.connectivity.initial_sd**2


def _trials(stage: Stage, net: Networks, types: Tensor, noise: Noise) -> Iterator[tuple[int, Drive, Tensor, bool]]:
    """Number, input and kicks, initial states of each trial, and whether weights change in it."""
    for k in range(types.shape[1]):
        drive, x0 = stage.draw(net, types[:, k].clamp(min=0), k, noise)
        yield k, drive, x0, k >= stage.settings.warm_up


class _Sum:
    """Value and errors of a run, trial by trial: the mean over those with plasticity."""

    def __init__(self, goal: Goal, types: Tensor) -> None:
        self.goal = goal
        self.there = types >= 0
        self.count = self.there[:, goal.settings.warm_up :].sum(dim=1).clamp(min=1)
        self.total: Tensor | float = 0.0
        self.errors: list[Tensor] = []

    def add(self, k: int, plastic: bool, error: Tensor, kernel: Tensor) -> None:
        there = self.there[:, k]
        self.errors.append(torch.where(there, error.detach(), torch.nan))
        if plastic:
            self.total = self.total + torch.where(there, self.goal.gain(k, error, kernel), 0.0)

    @property
    def value(self) -> Tensor:
        value: Tensor = self.total / self.count
        return value


def reverse(
    stage: Stage, family: ThreeFactorRule, net: Networks, raw: Tensor, types: Tensor, noise: Noise, goal: Goal
) -> LearningGradient:
    """Exact, by automatic differentiation; keeps the state after each trial and computes the rest again."""
    leaf = raw.detach().requires_grad_()
    state, sums = State.before_learning(net), _Sum(goal, types)

    def step(
        kernel: Tensor,
        expectation: Tensor,
        dead: Tensor,
        mean: Tensor,
        theta: Tensor,
        k: int,
        drive: Drive,
        x0: Tensor,
        plastic: bool,
    ) -> tuple[Tensor, ...]:
        trial, new = _one(
            stage, family, net, theta, State(kernel, expectation, dead, mean), types, k, drive, x0, plastic
        )
        return trial.error, new.kernel, new.expectation, new.dead, new.mean

    with torch.enable_grad():
        for k, drive, x0, plastic in _trials(stage, net, types, noise):
            error, *carried = checkpoint(
                step,
                state.kernel,
                state.expectation,
                state.dead,
                state.mean,
                leaf,
                k,
                drive,
                x0,
                plastic,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            state = State(*carried)
            sums.add(k, plastic, error, state.kernel)
        # networks do not touch each other, so one that blew up spoils no other's gradient
        alive = ~state.dead & torch.isfinite(sums.value.detach())
        (gradient,) = torch.autograd.grad(sums.value[alive].sum(), leaf)
    return _result(sums, gradient, state.dead)


def forward(
    stage: Stage, family: ThreeFactorRule, net: Networks, raw: Tensor, types: Tensor, noise: Noise, goal: Goal
) -> LearningGradient:
    """Exact, by forward-mode differentiation: each network once per coefficient, with its tangent."""
    rows, dim = raw.shape
    again = torch.arange(rows, device=raw.device).repeat_interleave(dim)
    many = Networks(
        weights=net.weights[again],
        input_weights=net.input_weights[again],
        readout=None if net.readout is None else net.readout[again],
        mask=net.mask if net.mask is None or len(net.mask) == 1 else net.mask[again],
        expectation=net.expectation[again],
    )
    kinds = types[again]
    wide = replace(goal, teacher=None if goal.teacher is None else goal.teacher[again])
    with torch.no_grad(), forward_ad.dual_level():
        theta = _dual(raw[again], torch.eye(dim, device=raw.device, dtype=raw.dtype).repeat(rows, 1))
        state, sums = State.before_learning(many), _Sum(wide, kinds)
        for k, drive, x0, plastic in _trials(stage, net, types, noise):
            drawn = drive.rows(again)
            trial, state = _one(stage, family, many, theta, state, kinds, k, drawn, x0[again], plastic)
            sums.add(k, plastic, trial.error, state.kernel)
        value, gradient = _parts(sums.value)
    found = _result(sums, gradient, state.dead)
    first = slice(None, None, dim)
    ok = found.ok.reshape(rows, dim).all(dim=1)
    return LearningGradient(value[first].clone(), gradient.reshape(rows, dim).clone(), found.error[first], ok)


def reinforce(
    stage: Stage, family: ThreeFactorRule, net: Networks, raw: Tensor, types: Tensor, noise: Noise, goal: Goal
) -> LearningGradient:
    """The paper's estimate (Eq. 9), analytic: surprise times what each coefficient adds to the trace."""
    with torch.no_grad():
        state, sums = State.before_learning(net), _Sum(goal, types)
        rule = Plasticity.of(stage.settings, family, raw, net.mask)
        total = torch.zeros_like(raw)
        for k, drive, x0, plastic in _trials(stage, net, types, noise):
            kind = types[:, k].clamp(min=0)
            before = state.expectation.gather(1, kind[:, None])[:, 0]
            kernel, mean = state.kernel.clone(), x0 if stage.settings.reset_xbar else state.mean.clone()
            trial, state = _one(stage, family, net, raw, state, types, k, drive, x0, plastic)
            sums.add(k, plastic, trial.error, state.kernel)
            if plastic:
                surprise = torch.where(types[:, k] >= 0, torch.nan_to_num(-trial.error - before), 0.0)
                total += surprise[:, None] * _sensitivity_of_trace(rule, raw, kernel, trial, mean)
    return _result(sums, total / sums.count[:, None], state.dead)


def _one(
    stage: Stage,
    family: ThreeFactorRule,
    net: Networks,
    raw: Tensor,
    state: State,
    types: Tensor,
    k: int,
    drive: Drive,
    x0: Tensor,
    plastic: bool,
) -> tuple[Trial, State]:
    rule = Plasticity.of(stage.settings, family, raw, net.mask)
    kind, there = types[:, k].clamp(min=0), types[:, k] >= 0
    return BACKEND.trial(stage, net, rule, state, drive, x0, kind, there, plastic=plastic, watched=True)


def _sensitivity_of_trace(rule: Plasticity, raw: Tensor, kernel: Tensor, trial: Trial, mean: Tensor) -> Tensor:
    """Sum over synapses of the weight change's derivative per unit of surprise, `(batch, D)`."""
    s, family = rule.settings, rule.family
    x, rate = cast(Tensor, trial.x), cast(Tensor, trial.rate)  # the trial was watched
    deviation = deviation_from_mean(x, mean, s.xbar_factor)[0][:, s.trace_start :]
    rates, there = rate[:, s.trace_start : -1], 1.0 if rule.mask is None else rule.mask

    def total(theta: Tensor) -> Tensor:
        columns, tau_e, _ = family.split(theta)
        decay = None if rule.decay is None else torch.exp(-s.dt / tau_e)
        trace = called(family.trace, columns, rates, deviation, kernel.mT, s.dt, decay).mT
        return (trace * there).sum(dim=(1, 2))

    linear = torch.tensor([p.linear for p in family.parameters], device=raw.device)
    parts = []
    for column, parameter in enumerate(family.parameters):
        direction = torch.zeros_like(raw)
        direction[:, column] = 1.0
        if parameter.name == "tau_w":
            parts.append((kernel * there).sum(dim=(1, 2)) / raw[:, column] ** 2)
            continue
        if parameter.linear and parameter.name != "tau_e":
            parts.append(total(torch.where(linear, direction, raw)))
            continue
        with forward_ad.dual_level():
            parts.append(_parts(total(_dual(raw, direction)))[1])
    return torch.stack(parts, dim=1)


def _dual(primal: Tensor, tangent: Tensor) -> Tensor:
    """A tensor with a tangent, by torch's forward mode, which has no types."""
    dual: Tensor = forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]
    return dual


def _parts(dual: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor without its tangent, and the tangent: zeros where there is none."""
    value, tangent = forward_ad.unpack_dual(dual)  # type: ignore[no-untyped-call]
    return value, torch.zeros_like(value) if tangent is None else tangent


def _result(sums: _Sum, gradient: Tensor, dead: Tensor) -> LearningGradient:
    value = sums.value.detach()
    finite = torch.isfinite(gradient).flatten(1).all(dim=1) if gradient.ndim > 1 else torch.isfinite(gradient)
    return LearningGradient(value, gradient, torch.stack(sums.errors, dim=1), ~dead & torch.isfinite(value) & finite)


GRADIENTS: dict[str, Callable[..., LearningGradient]] = {
    "reinforce": reinforce,
    "forward": forward,
    "reverse": reverse,
}
