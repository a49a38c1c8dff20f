"""Ensembles of small networks, evaluated and trained as one batch, each member without one fold of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sbirules.support import arguments
from sbirules.support.gradients import gradients
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.typed import typed_class

__all__ = ["OF_A_WEIGHT", "EnsembleSettings", "Stack", "train_folds"]


OF_A_WEIGHT = 16  # bytes in memory while it is trained: itself, its gradient and AdamW's two moments


@typed_class
@dataclass(frozen=True)
class EnsembleSettings:
    """Settings of an ensemble and of its training.

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
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 128
    max_epochs: int = 200
    patience: int = 15

    def __post_init__(self) -> None:
        arguments.whole("members", self.members, 2)
        for name in ("hidden", "max_epochs", "patience"):
            arguments.whole(name, getattr(self, name), 1)
        arguments.whole("batch_size", self.batch_size, 2)
        room = free_memory()
        refuse_beyond("hidden", self.hidden, lambda n: OF_A_WEIGHT * n * n, room, "memory", "one network")
        each = OF_A_WEIGHT * self.hidden**2
        refuse_beyond("members", self.members, lambda n: n * each, room, "memory", "the ensemble")
        arguments.above("learning_rate", self.learning_rate, 0.0)
        arguments.at_least("weight_decay", self.weight_decay, 0.0)


class Stack(nn.Module):
    """Multilayer perceptrons of one shape, side by side.

    Arguments:
        members: M.
        sizes: Units of each layer, input and output included.
    """

    def __init__(self, members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in pairwise(sizes):
            self.weights.append(nn.Parameter(torch.randn(members, a, b) / math.sqrt(a)))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, b)))

    def forward(self, z: Tensor) -> Tensor:
        """`(M, n, in)` to `(M, n, out)`; rows that all members share come as `(n, in)`."""
        members = len(self.weights[0])
        z = z.expand(members, -1, -1) if z.ndim == 2 else z
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = torch.baddbmm(b, z, w)
            if i < len(self.weights) - 1:
                z = nn.functional.silu(z)
        return z


@gradients()
def train_folds(
    module: nn.Module, loss: Callable[[Tensor], Tensor], n: int, settings: EnsembleSettings
) -> tuple[Tensor, list[float]]:
    """Trains all members at once; each keeps its parameters of the epoch with the best loss on its fold.

    Arguments:
        module: Its parameters have the members as first dimension.
        loss: From row indices `(M, b)` to the loss of each member on its rows, `(M,)`.
        n: Number of rows.
        settings: Of the training.

    Returns:
        Fold of each row `(n,)`: member m never saw the rows of fold m. And the held-out loss by epoch.
    """
    members = settings.members
    if n < 10 * members:
        raise ValueError(f"an ensemble of {members} needs at least {10 * members} simulations, got {n}; simulate more.")
    fold = torch.arange(n)[torch.randperm(n)] % members
    # folds may differ by one row; members move in step, so each gives up what others lack
    held = torch.stack([(fold == m).nonzero()[:, 0][: n // members] for m in range(members)])
    kept = torch.stack([(fold != m).nonzero()[:, 0][: n - -(-n // members)] for m in range(members)])
    optimiser = torch.optim.AdamW(module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best = torch.full((members,), math.inf)
    since = torch.zeros(members, dtype=torch.long)
    stored = [p.detach().clone() for p in module.parameters()]
    curve: list[float] = []
    size = min(settings.batch_size, held.shape[1], kept.shape[1])
    for _ in range(settings.max_epochs):
        order = torch.stack([row[torch.randperm(len(row))] for row in kept])
        for rows in _whole_batches(order, size):
            optimiser.zero_grad()
            torch.autograd.backward(loss(rows).sum())
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
        with torch.no_grad():
            now = torch.stack([loss(rows) for rows in _whole_batches(held, size)]).mean(dim=0)
        curve.append(float(now.mean()))
        better = now < best - 1e-5
        best = torch.where(better, now, best)
        since = torch.where(better, 0, since + 1)
        for old, p in zip(stored, module.parameters(), strict=True):
            old[better] = p.detach()[better]
        if bool((since >= settings.patience).all()):
            break
    with torch.no_grad():
        for old, p in zip(stored, module.parameters(), strict=True):
            p.copy_(old)
    return fold, curve


def _whole_batches(rows: Tensor, size: int) -> list[Tensor]:
    """Rows `(M, n)` in batches of one size: a contrastive loss depends on it."""
    return [batch for batch in torch.split(rows, size, dim=1) if batch.shape[1] == size]
