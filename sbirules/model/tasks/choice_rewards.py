"""What changes from trial to trial in a choice task: blocks, baits, walks, and what is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["ChoiceState", "baited", "block_lengths", "next_block", "picked", "reflected", "uniform", "walked"]


@dataclass(frozen=True)
class ChoiceState:
    """Where animals stand in a choice task, one row each.

    Arguments:
        decision: Number of the decision that comes next, or is being made; the same for all.
        trial: Trial of each animal, `(batch,)`; behind `decision` where a trial has several offers.
        session: Session of that trial, `(batch,)`.
        offers: Offers rejected so far in the trial, `(batch,)`.
        fresh: Whether the trial has yet to begin, `(batch,)` boolean.
        block: Which contingency holds, `(batch,)`.
        left: Trials left in the block after this one, `(batch,)`.
        cells: Baits that wait (0 or 1) or probabilities that walk, `(batch, cells)`: one cell for each option under each
            combination of labels.
        shown: Stimuli of the decision, `(batch, S)`.
        side: Correct option where a contrast tells it, `(batch,)`.
    """

    decision: int
    trial: Tensor
    session: Tensor
    offers: Tensor
    fresh: Tensor
    block: Tensor
    left: Tensor
    cells: Tensor
    shown: Tensor
    side: Tensor

    @staticmethod
    def first(batch: int, cells: int, stimuli: int) -> ChoiceState:
        """Animals before their first decision."""
        zero = torch.zeros(batch, dtype=torch.long)
        return ChoiceState(
            decision=0,
            trial=zero,
            session=zero,
            offers=zero,
            fresh=torch.ones(batch, dtype=torch.bool),
            block=zero,
            left=zero,
            cells=torch.zeros(batch, cells, dtype=torch.float64),
            shown=torch.zeros(batch, stimuli, dtype=torch.float64),
            side=zero,
        )


# Every function below draws as many numbers whatever animals did, so that none changes the draws of another.


def uniform(generator: Generator, *shape: int) -> Tensor:
    """Uniform numbers in [0, 1), float64."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def picked(prob: Tensor, generator: Generator) -> Tensor:
    """A position for each row of probabilities `(batch, n)`, `(batch,)`."""
    draw = uniform(generator, len(prob), 1)
    share = prob.cumsum(dim=1)
    # against the last share and not 1, so that rounding gives no weight to positions of probability 0
    return (draw * share[:, -1:] >= share).sum(dim=1)


def block_lengths(batch: int, low: int, high: int, scale: float | None, generator: Generator) -> Tensor:
    """Lengths of blocks from `low` to `high`, `(batch,)`: P(n) ~ exp(-n / scale), or all alike if there is no scale."""
    draw = uniform(generator, batch)
    count = high + 1 - low
    if scale is None:
        more = draw * count
    else:
        more = -scale * torch.log1p(draw * math.expm1(-count / scale))
    return low + more.long().clamp(max=count - 1)


def next_block(block: Tensor, blocks: int, restart: Tensor, over: Tensor, order: str, generator: Generator) -> Tensor:
    """The block `(batch,)` of animals that start anew, of those whose block is over, and of all others.

    In turn, the first block comes first; at random it is any, and is followed by any other.
    """
    if order == "in turn":
        return torch.where(restart, 0, torch.where(over, (block + 1) % blocks, block))
    first = torch.randint(blocks, block.shape, generator=generator)
    jump = 1 + torch.randint(max(blocks - 1, 1), block.shape, generator=generator)
    return torch.where(restart, first, torch.where(over, (block + jump) % blocks, block))


def baited(cells: Tensor, prob: Tensor, generator: Generator) -> Tensor:
    """Baits `(batch, cells)` after a trial's arming with probabilities `(batch, cells)`: what is armed stays so."""
    return torch.maximum(cells, (uniform(generator, *cells.shape) < prob).double())


def walked(
    cells: Tensor, drift: float, decay: float, centre: float, bounds: tuple[float, float], generator: Generator
) -> Tensor:
    """Probabilities after a step: `centre + decay (p - centre) + drift N(0, 1)`, reflected within the bounds."""
    step = drift * torch.randn(cells.shape, generator=generator, dtype=torch.float64)
    return reflected(centre + decay * (cells - centre) + step, *bounds)


def reflected(value: Tensor, low: float, high: float) -> Tensor:
    """Numbers folded back at both bounds, as often as it takes."""
    span = high - low
    fold = torch.remainder(value - low, 2 * span)
    return (low + torch.where(fold > span, 2 * span - fold, fold)).clamp(low, high)
