"""Training sbi's flows on rows that stay in memory, on a CPU or a GPU.

AdamW with one cycle of the learning rate (Smith & Topin 2019, "Super-convergence") reaches the loss of sbi's own loop
in a fraction of its passes; rows are taken by indexing, which costs a twentieth of fetching them one by one.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sbirules.neural_nets.ensembles import OF_A_WEIGHT
from sbirules.support import arguments
from sbirules.support.devices import usable
from sbirules.support.gradients import gradients
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.typed import typed_class

__all__ = ["FlowSettings", "train_flow"]


@typed_class
@dataclass(frozen=True)
class FlowSettings:
    """Settings of the flows and of their training.

    Arguments:
        members: Flows, each with its own split into training and validation rows.
        num_transforms: Spline transforms per flow.
        hidden_features: Units in the hidden layers of a transform's network.
        num_bins: Bins of a spline.
        batch_size: Rows per step.
        learning_rate: Largest step of AdamW; it rises to that over the first third of the training and falls to 0.
        weight_decay: Of AdamW, divided by the number of rows: the more rows, the less a prior on the weights counts.
        epochs: Passes over the data.
        min_steps: Steps at least; few rows are passed over more often.
        patience: Share of the training without a better validation loss after which it stops early.
        validation_fraction: Share of the rows held out. The flow as it was when it predicted them best is kept.
        device: Where to train, with all rows resident; the trained flow comes back to the CPU.
    """

    members: int = 3
    num_transforms: int = 2
    hidden_features: int = 50
    num_bins: int = 6
    batch_size: int = 200
    learning_rate: float = 1e-2
    weight_decay: float = 300.0
    epochs: int = 20
    min_steps: int = 600
    patience: float = 0.3
    validation_fraction: float = 0.1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("members", "num_transforms", "hidden_features", "num_bins", "batch_size", "epochs"):
            arguments.whole(name, getattr(self, name), 1)
        room = free_memory()
        refuse_beyond(
            "hidden_features", self.hidden_features, lambda n: OF_A_WEIGHT * n * n, room, "memory", "one layer"
        )
        each = OF_A_WEIGHT * self.hidden_features
        refuse_beyond("num_bins", self.num_bins, lambda n: n * each, room, "memory", "one layer")
        each = OF_A_WEIGHT * self.hidden_features * (self.hidden_features + self.num_bins)
        refuse_beyond("num_transforms", self.num_transforms, lambda n: n * each, room, "memory", "one flow")
        each *= self.num_transforms
        refuse_beyond("members", self.members, lambda n: n * each, room, "memory", "all flows")
        arguments.whole("min_steps", self.min_steps, 0)
        arguments.above("learning_rate", self.learning_rate, 0.0)
        arguments.at_least("weight_decay", self.weight_decay, 0.0)
        arguments.share("patience", self.patience)
        if arguments.share("validation_fraction", self.validation_fraction) == 1:
            raise ValueError("validation_fraction must leave rows to train on; it must be below 1.")


@gradients()
def train_flow(
    flow: Any,
    target: Tensor,
    condition: Tensor,
    settings: FlowSettings,
    groups: Tensor | None = None,
    weights: Tensor | None = None,
) -> tuple[Any, dict[str, list[float]], Tensor]:
    """The flow trained, its losses by epoch (`"training"`, `"validation"`), and the rows held out.

    Arguments:
        flow: A conditional density as `sbi.neural_nets` builds it; it is trained in place.
        target: What it is a density of, `(n, ...)`.
        condition: What it is conditioned on, `(n, ...)`.
        settings: Of the training.
        groups: Rows of one number are held out together, `(n,)`; None if all rows are independent.
        weights: How much each row counts, `(n,)`: a pass takes rows as often as that; None if all count alike.

    Raises:
        ValueError: If the loss is no number, or the device is not there.
    """
    # not when settings are made: those of a posterior trained on a GPU are read on machines without one
    device = usable(settings.device)
    held = _held_out(len(target), groups, settings.validation_fraction)
    flow, target, condition, held = flow.to(device), target.to(device), condition.to(device), held.to(device)
    rows, others = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    counts = None if weights is None else weights.to(device)
    batch = min(settings.batch_size, len(rows))
    steps = len(rows) // batch
    epochs = max(settings.epochs, math.ceil(settings.min_steps / steps))
    decay = settings.weight_decay / len(rows)
    optimiser = torch.optim.AdamW(flow.parameters(), lr=settings.learning_rate, weight_decay=decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=epochs * steps)
    curves: dict[str, list[float]] = {"training": [], "validation": []}
    best, best_loss, best_epoch = None, math.inf, 0
    for epoch in range(epochs):
        flow.train()
        if counts is None:
            order = rows[torch.randperm(len(rows), device=device)]
        else:
            order = rows[torch.multinomial(counts[rows], len(rows), replacement=True)]
        total = torch.zeros((), device=device)
        for k in range(steps):
            chosen = order[k * batch : (k + 1) * batch]
            try:
                loss = flow.loss(target[chosen], condition[chosen]).mean()
            except ValueError as error:  # torch's own checks, where they are switched on
                raise ValueError(_no_number(epoch + 1, len(rows), settings)) from error
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimiser.step()
            rate.step()
            total += loss.detach()
        flow.eval()
        with torch.no_grad():
            parts = [flow.loss(target[part], condition[part]) for part in torch.split(others, 10_000)]
        every = torch.cat(parts)
        value = float(every.mean() if counts is None else (every * counts[others]).sum() / counts[others].sum())
        curves["training"].append(float(total) / steps)
        curves["validation"].append(value)
        if value < best_loss:
            best, best_loss, best_epoch = copy.deepcopy(flow.state_dict()), value, epoch
        elif epoch - best_epoch > settings.patience * epochs:
            break
    if best is None:
        raise ValueError(_no_number(epochs, len(rows), settings))
    flow.load_state_dict(best)
    return flow.cpu(), curves, others.cpu()


def _no_number(epochs: int, rows: int, settings: FlowSettings) -> str:
    return (
        f"the flow's loss is no number after {epochs} passes over {rows} rows; give a smaller learning_rate than "
        f"{settings.learning_rate:g}, or look for extreme values among the summaries."
    )


def _held_out(count: int, groups: Tensor | None, share: float) -> Tensor:
    """A random share of the rows, or of the groups, `(n,)`."""
    unit = torch.arange(count) if groups is None else torch.unique(groups, return_inverse=True)[1]
    units = int(unit.max()) + 1
    return torch.randperm(units)[unit] < max(1, int(share * units))
