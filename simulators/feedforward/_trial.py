"""One trial of a batch of networks: activity, output, and the changes of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.rules import READOUT_RATE, LayeredRule

from ._settings import NONLINEARITIES

__all__ = ["Activity", "changes", "respond"]


@dataclass(frozen=True)
class Activity:
    """What happened in a trial.

    Arguments:
        pre: Input, `(batch, 1, I)`.
        noise: Noise of the hidden units, `(batch, H, 1)`.
        post: Hidden activity, `(batch, H, 1)`.
        output: z, `(batch,)`.
    """

    pre: Tensor
    noise: Tensor
    post: Tensor
    output: Tensor


def respond(nonlinearity: str, weights: Tensor, readout: Tensor, x: Tensor, noise: Tensor) -> Activity:
    """The network's response to inputs `(batch, I)` with noise `(batch, H)` of its units."""
    drive = torch.bmm(weights, x[:, :, None]) + noise[:, :, None]
    post = NONLINEARITIES[nonlinearity][0](drive)
    return Activity(x[:, None, :], noise[:, :, None], post, (readout * post[:, :, 0]).sum(dim=1))


def changes(
    family: LayeredRule,
    theta: dict[str, Tensor],
    nonlinearity: str,
    seen: Activity,
    weights: Tensor,
    readout: Tensor,
    feedback: Tensor,
    delta: Tensor,
    surprise: Tensor,
) -> tuple[Tensor, Tensor]:
    """Changes of the input weights, broadcasting to `(batch, H, I)`, and of the output weights `(batch, H)`.

    Arguments:
        family: The rule family.
        theta: Raw coefficients by name, each `(batch, 1, 1)`.
        nonlinearity: Of the hidden units.
        seen: What happened.
        weights: Input weights before the update, `(batch, H, I)`.
        readout: Output weights before the update, `(batch, H)`.
        feedback: Feedback weights, `(batch, H)`.
        delta: Target minus output, `(batch,)`.
        surprise: R - Rbar, `(batch,)`.
    """
    rate = theta[READOUT_RATE.name][:, :, 0]
    out = rate * delta[:, None] * seen.post[:, :, 0]
    sights = {
        "pre": lambda: seen.pre,
        "post": lambda: seen.post,
        "slope": lambda: NONLINEARITIES[nonlinearity][1](seen.post),
        "noise": lambda: seen.noise,
        "weight": lambda: weights,
        "readout": lambda: readout[:, :, None],
        "feedback": lambda: feedback[:, :, None],
        "delta": lambda: delta[:, None, None],
        "surprise": lambda: surprise[:, None, None],
    }
    return family.hidden_change(theta, **{name: sights[name]() for name in family.sees}), out
