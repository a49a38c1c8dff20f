r"""Calibrated probability of an event given a rule: an ensemble of small networks.

Learned from one network per rule, P(A | theta) gives the probability that all of n networks satisfy A as
P(A | theta)^n. Errors in log P are multiplied by n there, hence the care for calibration: each member is
trained without one fold of the data, and its predictions on that fold set the temperature and offset
(Platt scaling) of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sbirules import _check
from sbirules.features import Standardiser
from sbirules.streams import seeded

__all__ = ["ClassifierSettings", "EventProbability", "fit_event_probability"]


@dataclass(frozen=True)
class ClassifierSettings:
    """Settings of the ensemble.

    Arguments:
        members: Networks, and folds of the data.
        hidden: Units in each of two hidden layers.
        learning_rate: Step of AdamW.
        weight_decay: Of AdamW.
        batch_size: Rows per step and member.
        max_epochs: Passes over the data at most.
        patience: Epochs without a better held-out loss before a member stops.
    """

    members: int = 5
    hidden: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    max_epochs: int = 200
    patience: int = 15

    def __post_init__(self) -> None:
        _check.whole("members", self.members, 2)
        for name in ("hidden", "batch_size", "max_epochs", "patience"):
            _check.whole(name, getattr(self, name), 1)
        _check.above("learning_rate", self.learning_rate, 0.0)
        _check.at_least("weight_decay", self.weight_decay, 0.0)


class _Members(nn.Module):
    """Multilayer perceptrons of one shape, evaluated as one batch: `(M, n, F) -> (M, n)`."""

    def __init__(self, members: int, features: int, hidden: int) -> None:
        super().__init__()
        sizes = [features, hidden, hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            self.weights.append(nn.Parameter(torch.randn(members, a, b) / math.sqrt(a)))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, b)))

    def forward(self, z: Tensor) -> Tensor:
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = torch.baddbmm(b, z, w)
            if i < len(self.weights) - 1:
                z = nn.functional.silu(z)
        return z[:, :, 0]


def _inputs(z: Tensor) -> Tensor:
    """Coefficients and their squares, `(n, 2 D)`: learning depends on size as well as on sign."""
    return torch.cat([z, z**2], dim=1)


class EventProbability(nn.Module):
    """P(A | theta), calibrated.

    Arguments:
        standardiser: Of theta.
        settings: Of the ensemble.
    """

    scale: Tensor
    offset: Tensor
    rate: Tensor

    def __init__(self, standardiser: Standardiser, settings: ClassifierSettings) -> None:
        super().__init__()
        self.standardiser, self.settings = standardiser, settings
        self.members = _Members(settings.members, 2 * standardiser.dim, settings.hidden)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("rate", torch.tensor(math.nan))  # set where the event was certain or impossible
        self.history: dict[str, Any] = {}

    def logits(self, theta: Tensor) -> Tensor:
        """Calibrated logits of each member, `(M, n)`."""
        z = _inputs(self.standardiser(theta)).expand(self.settings.members, -1, -1)
        return self.scale * self.members(z) + self.offset

    def log_prob(self, theta: Tensor) -> Tensor:
        """log P(A | theta) `(n,)` for theta `(n, D)`: the mean probability of the members."""
        if not torch.isnan(self.rate):
            return torch.log(self.rate).expand(len(theta))
        return torch.logsumexp(nn.functional.logsigmoid(self.logits(theta)), dim=0) - math.log(self.settings.members)

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return {"settings": vars(self.settings), "standardiser": self.standardiser.config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EventProbability:
        """An ensemble of that shape, to load tensors into."""
        return cls(Standardiser.from_config(config["standardiser"]), ClassifierSettings(**config["settings"]))


def fit_event_probability(
    theta: Tensor,
    happened: Tensor,
    standardiser: Standardiser,
    *,
    settings: ClassifierSettings | None = None,
    seed: int = 0,
) -> EventProbability:
    """Learns P(A | theta) from rules `(n, D)` and whether A happened `(n,)` in one network of each."""
    settings = settings or ClassifierSettings()
    with seeded(seed):
        model = EventProbability(standardiser, settings)
        rate = happened.float().mean()
        if rate in (0.0, 1.0):
            # nothing to learn; the rule of succession keeps log P finite
            model.rate.fill_((float(happened.sum()) + 1) / (len(happened) + 2))
            return model
        logits, fold = _train(model, _inputs(standardiser(theta)).detach(), happened.float())
        _calibrate(model, logits, happened.float())
        model.history["held_out"] = {
            "probability": torch.sigmoid(model.scale * logits + model.offset).tolist(),
            "happened": happened.int().tolist(),
        }
    return model


def _train(model: EventProbability, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Trains all members at once, each without its fold; returns held-out logits and folds, `(n,)`."""
    s = model.settings
    n = len(y)
    fold = torch.arange(n)[torch.randperm(n)] % s.members
    held = torch.stack([(fold == m).nonzero()[:, 0][: n // s.members] for m in range(s.members)])
    kept = torch.stack([(fold != m).nonzero()[:, 0][: n - -(-n // s.members)] for m in range(s.members)])
    optimiser = torch.optim.AdamW(model.members.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
    loss_of = nn.functional.binary_cross_entropy_with_logits
    best = torch.full((s.members,), math.inf)
    since = torch.zeros(s.members, dtype=torch.long)
    kept_state = [p.detach().clone() for p in model.members.parameters()]
    curve = []
    for _ in range(s.max_epochs):
        order = torch.stack([row[torch.randperm(len(row))] for row in kept])
        for batch in order.split(s.batch_size, dim=1):
            optimiser.zero_grad()
            loss_of(model.members(z[batch]), y[batch]).backward()
            optimiser.step()
        with torch.no_grad():
            loss = loss_of(model.members(z[held]), y[held], reduction="none").mean(dim=1)
        curve.append(loss.mean().item())
        better = loss < best - 1e-5
        best = torch.where(better, loss, best)
        since = torch.where(better, 0, since + 1)
        for stored, p in zip(kept_state, model.members.parameters(), strict=True):
            stored[better] = p.detach()[better]
        if bool((since >= s.patience).all()):
            break
    with torch.no_grad():
        for stored, p in zip(kept_state, model.members.parameters(), strict=True):
            p.copy_(stored)
        every = model.members(z.expand(s.members, -1, -1))
    model.history["held_out_loss"] = curve
    return every.gather(0, fold[None])[0], fold


def _calibrate(model: EventProbability, logits: Tensor, y: Tensor) -> None:
    """Platt scaling on held-out logits."""
    scale, offset = torch.ones((), requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([scale, offset], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(scale * logits + offset, y)
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    model.scale.copy_(scale.detach().clamp(min=0.05))
    model.offset.copy_(offset.detach())
