"""A policy and its learning, one decision of many animals at a time, in torch: for any family, with autograd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sbirules.model.rules import LocalRule, PolicyRule
from sbirules.support.own_code import called, must_broadcast

from ._columns import PolicyColumns

__all__ = ["Learner", "answer_log_prob", "answer_prob", "decayed", "learned", "logits", "started"]


# of the published policy with hidden units (Mehta et al. 2024): of the mean over them, and of their first weights
GAIN, INITIAL_SD = 5.0, 0.01


@dataclass(frozen=True)
class Learner:
    """What animals carry from decision to decision, one row each; B of them.

    Arguments:
        weights: `(B, options, features)`.
        expected: Expectation of reward, `(B,)`.
        memory: The last rewards, `(B, last)`, oldest first.
        slow: Slow variables of the rule, `(B, options, 1)` by name.
    """

    weights: Tensor
    expected: Tensor
    memory: Tensor
    slow: Mapping[str, Tensor]


def started(theta: Tensor, columns: PolicyColumns, noise: Tensor | None = None) -> Learner:
    """Animals before their first decision, under rules `(B, D)`.

    With hidden units weights `(B, options x hidden, features)` are those of the input layer, at first a normal `noise` of that
    shape, or one that broadcasts to it, times its s.d.
    """
    rows, features, options = len(theta), len(columns.features), columns.options * max(columns.hidden, 1)
    weights = theta.new_zeros(rows, options, features)
    at = columns.place("initial")
    if noise is not None:
        weights = (INITIAL_SD * noise).to(theta).expand(rows, options, features)
    elif at >= 0 and options == 1:
        weights = theta[:, at : at + features][:, None]
    elif at >= 0:  # of the others against the first option, around zero
        others = theta[:, at : at + (options - 1) * features].reshape(rows, options - 1, features)
        weights = torch.cat([weights[:, :1], others], dim=1)
        weights = weights - weights.mean(dim=1, keepdim=True)
    slow = {n: theta.new_full((rows, options, 1), float(v)) for n, v in getattr(columns.family, "slow", {}).items()}
    memory = theta.new_zeros(rows, getattr(columns.family, "last", 1))
    return Learner(weights, theta.new_zeros(rows), memory, slow)


def logits(theta: Tensor, columns: PolicyColumns, weights: Tensor, x: Tensor, last: Tensor) -> Tensor:
    """Logit of each option `(B, options)` at features `(B, F)`; `last` is the answer before in this session, -1 for none."""
    out = (weights * x[:, None]).sum(dim=2)
    if columns.hidden:
        out = GAIN * torch.tanh(out).reshape(len(out), columns.options, columns.hidden).mean(dim=2)
    at, options = columns.place("bias"), columns.options
    if at >= 0:
        extra = theta[:, at : at + max(options - 1, 1)]
        out = out + (extra if options == 1 else torch.nn.functional.pad(extra, (1, 0)))
    at = columns.place("perseveration")
    if at >= 0:
        code = torch.arange(options) + (1 if options == 1 else 0)
        out = out + theta[:, at, None] * (last[:, None] == code)
    return out


def _free_log_prob(columns: PolicyColumns, logit: Tensor) -> Tensor:
    """Log-probability of each answer without lapses, `(B, answers)`."""
    if columns.options == 1:
        logit = torch.nn.functional.pad(logit, (1, 0))  # rejecting has logit 0
    return torch.log_softmax(logit, dim=1)


def answer_log_prob(theta: Tensor, columns: PolicyColumns, logit: Tensor) -> Tensor:
    """Log-probability of each answer, lapses included, `(B, answers)`."""
    free = _free_log_prob(columns, logit)
    at = columns.place("lapse")
    if at < 0:
        return free
    lapse = theta[:, at, None]
    return torch.log((1 - lapse) * free.exp() + lapse / columns.answers)


def answer_prob(theta: Tensor, columns: PolicyColumns, logit: Tensor) -> Tensor:
    """Probability of each answer, lapses included, `(B, answers)`."""
    return answer_log_prob(theta, columns, logit).exp()


def learned(
    theta: Tensor,
    columns: PolicyColumns,
    before: Learner,
    x: Tensor,
    choice: Tensor,
    logit: Tensor,
    reward: Tensor,
    teaches: Tensor,
) -> Learner:
    """Animals after a trial of one decision.

    Arguments:
        theta: Rules, `(B, D)`.
        columns: Of theta.
        before: Animals before it.
        x: Features, `(B, F)`.
        choice: Answers, `(B,)`.
        logit: Logits they were drawn from, `(B, options)`.
        reward: `(B,)`.
        teaches: Which animals learn from it, `(B,)` boolean.
    """
    family, w = columns.family, before.weights
    raw = family.columns(theta[:, : family.dim])
    free = _free_log_prob(columns, logit).exp()
    s = free[:, 1:] if columns.options == 1 else free
    code = torch.arange(columns.options) + (1 if columns.options == 1 else 0)
    c = (choice[:, None] == code).to(theta)
    reward = torch.where(teaches, reward, 0.0)
    pre, post, error = x[:, None], (w * x[:, None]).sum(dim=2, keepdim=True), c - s
    if columns.hidden:  # a hidden unit's rate; each knows its option
        post = torch.tanh(post)
        c, error = (v.repeat_interleave(columns.hidden, dim=1) for v in (c, error))
    slow = dict(before.slow)
    if isinstance(family, LocalRule):
        every = {"pre": pre, "post": post, "state": post, "weight": w}
        seen = {name: every[name] for name in family.sees}
        change = called(family.change, raw, **seen, **slow)
        must_broadcast(family.change, change, w.shape)
        drift = called(family.drift, raw, **seen, **slow)
        slow = {n: torch.where(teaches[:, None, None], v + drift.get(n, 0.0), v) for n, v in slow.items()}
    elif isinstance(family, PolicyRule):
        surprise = reward - before.expected
        change = called(
            family.update,
            raw,
            x=pre,
            c=c[:, :, None],
            d=error[:, :, None],
            y=post,
            w=w,
            r=reward[:, None, None],
            rd=surprise[:, None, None],
        )
        must_broadcast(family.update, change, w.shape)
    else:
        raise ValueError(f"a policy needs a PolicyRule or a LocalRule, got {type(family).__name__}.")
    after = replace(before, weights=torch.where(teaches[:, None, None], w + change, w), slow=slow)
    return _expecting(theta, columns, after, reward, teaches)


def _expecting(theta: Tensor, columns: PolicyColumns, learner: Learner, reward: Tensor, teaches: Tensor) -> Learner:
    """With the expectation of reward after a trial."""
    family = columns.family
    kind = getattr(family, "baseline", "none")
    if kind == "exponential":
        at = columns.names.index("rbar_rate") if "rbar_rate" in family.names else -1
        rate = theta[:, at] if at >= 0 else float(getattr(family, "rate", 0.0))
        moved = learner.expected + rate * (reward - learner.expected)
        return replace(learner, expected=torch.where(teaches, moved, learner.expected))
    if kind == "last":
        memory = torch.cat([learner.memory[:, 1:], reward[:, None]], dim=1)
        memory = torch.where(teaches[:, None], memory, learner.memory)
        return replace(learner, memory=memory, expected=memory.mean(dim=1))
    return learner


def decayed(theta: Tensor, columns: PolicyColumns, learner: Learner, which: Tensor) -> Learner:
    """Animals after a trial that teaches nothing: what the rule makes of the weights where all else that it sees is 0."""
    family, w = columns.family, learner.weights
    raw, none = family.columns(theta[:, : family.dim]), theta.new_zeros(len(theta), 1, 1)
    option, feature = none.expand(-1, w.shape[1], 1), none.expand(-1, 1, w.shape[2])
    if not isinstance(family, PolicyRule):
        raise ValueError(f"weights decay by a PolicyRule, got {type(family).__name__}.")

    def change(weights: Tensor) -> Tensor:
        return called(family.update, raw, x=feature, c=option, d=option, y=option, w=weights, r=none, rd=none)

    # without what does not depend on the weights: a constant is no decay
    moved = w + change(w) - change(torch.zeros_like(w))
    return replace(learner, weights=torch.where(which[:, None, None], moved, w))
