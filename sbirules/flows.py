"""Training sbi's flows: settings, data resident in memory, nothing written to the current folder."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sbirules import _check

__all__ = ["FlowSettings", "train_flow"]


@dataclass(frozen=True)
class FlowSettings:
    """Settings of the flows and of their training.

    Arguments:
        members: Flows, each with its own split into training and validation rows.
        num_transforms: Spline transforms per flow.
        hidden_features: Units in the hidden layers of a transform's network.
        num_bins: Bins of a spline.
        batch_size: Rows per step.
        learning_rate: Step of Adam.
        validation_fraction: Share of the rows held out for early stopping.
        patience: Epochs without a better validation loss before training stops.
        max_epochs: Passes over the data at most.
    """

    members: int = 3
    num_transforms: int = 2
    hidden_features: int = 50
    num_bins: int = 6
    batch_size: int = 500
    learning_rate: float = 2e-3
    validation_fraction: float = 0.1
    patience: int = 15
    max_epochs: int = 500

    def __post_init__(self) -> None:
        for name in (
            "members",
            "num_transforms",
            "hidden_features",
            "num_bins",
            "batch_size",
            "patience",
            "max_epochs",
        ):
            _check.whole(name, getattr(self, name), 1)
        _check.above("learning_rate", self.learning_rate, 0.0)
        if _check.share("validation_fraction", self.validation_fraction) == 1:
            raise ValueError("validation_fraction must leave rows to train on; it must be below 1.")


class _Batches:
    """Batches by indexing resident tensors; sbi's own loader fetches row by row, which costs 20 times as much."""

    def __init__(self, tensors: tuple[Tensor, ...], rows: Tensor, batch_size: int, shuffle: bool) -> None:
        self.tensors, self.rows, self.shuffle = tensors, rows, shuffle
        self.batch_size = min(batch_size, len(rows))

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        rows = self.rows[torch.randperm(len(self.rows))] if self.shuffle else self.rows
        for k in range(len(self)):
            batch = rows[k * self.batch_size : (k + 1) * self.batch_size]
            yield tuple(tensor[batch] for tensor in self.tensors)


class _Silent:
    """A tracker that writes nothing: sbi's default leaves logs in the current folder."""

    log_dir = None

    def log_metric(self, name: str, value: float, step: int | None = None) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_params(self, params: dict[str, Any]) -> None: ...

    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None: ...

    def flush(self) -> None: ...


def train_flow(
    kind: type[Any],
    builder: Any,
    theta: Tensor,
    x: Tensor,
    settings: FlowSettings,
    groups: Tensor | None = None,
) -> tuple[nn.Module, list[float], Tensor]:
    """One flow by an sbi trainer (`NLE`, `NPE`) on resident data, its validation losses, and the rows held out.

    Arguments:
        kind: The trainer's class.
        builder: What builds the flow from a batch, as `sbi.neural_nets` makes it.
        theta: What sbi calls theta, `(n, D)`.
        x: What sbi calls x, `(n, S)`.
        settings: Of the training.
        groups: Rows of one number are held out together, `(n,)`; None if all rows are independent.
    """
    unit = torch.arange(len(x)) if groups is None else torch.unique(groups, return_inverse=True)[1]

    class Resident(kind):
        def get_dataloaders(
            self,
            starting_round: int = 0,
            training_batch_size: int = 200,
            validation_fraction: float = 0.1,
            resume_training: bool = False,
            dataloader_kwargs: dict[str, Any] | None = None,
        ) -> tuple[_Batches, _Batches]:
            tensors = self.get_simulations(starting_round)
            units = int(unit.max()) + 1
            rank = torch.randperm(units)[unit]
            held = rank < max(1, int(validation_fraction * units))
            self.train_indices, self.val_indices = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
            return (
                _Batches(tensors, self.train_indices, training_batch_size, shuffle=True),
                _Batches(tensors, self.val_indices, training_batch_size, shuffle=False),
            )

    trainer = Resident(prior=None, density_estimator=builder, tracker=_Silent(), show_progress_bars=False)
    with warnings.catch_warnings():
        # the length of sessions that are all alike is constant; our embeddings standardise for themselves
        warnings.filterwarnings("ignore", message="Data has constant values")
        trainer.append_simulations(theta, x, exclude_invalid_x=False)
    with redirect_stdout(io.StringIO()):  # sbi prints a line for every flow
        flow = trainer.train(
            training_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            validation_fraction=settings.validation_fraction,
            stop_after_epochs=settings.patience,
            max_num_epochs=settings.max_epochs,
        )
    return flow, [float(v) for v in trainer.summary["validation_loss"]], trainer.val_indices
