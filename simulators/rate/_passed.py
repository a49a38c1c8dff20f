"""What users pass in to replace random draws of a `RateRNN`, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sbirules.support.arguments import ArrayLike

from ._settings import Settings

__all__ = ["DRAWS", "checked", "passed_in", "requires_grad"]

DRAWS = ("weights", "input_weights", "readout", "initial_states", "kicks", "inputs", "expectation")


def passed_in(
    draws: Mapping[str, ArrayLike | None], s: Settings, inputs: Tensor, types: Tensor, like: Tensor
) -> dict[str, Tensor]:
    """The draws that are not None, all with a batch dimension.

    Arguments:
        draws: By name, of `DRAWS`.
        s: The network's settings.
        inputs: Input of each trial type, `(C, T, I)`.
        types: Trial types, `(batch, trials)`.
        like: A tensor on the device and of the type that they are wanted in.
    """
    (batch, trials), n = types.shape, s.num_units
    kinds, steps, channels = inputs.shape
    shapes = {
        "weights": (n, n),
        "input_weights": (n, channels),
        "readout": (n,),
        "initial_states": (trials, n),
        "kicks": (trials, steps, n),
        "inputs": (trials, steps, channels),
        "expectation": (kinds,),
    }
    if draws.get("readout") is not None and not isinstance(s.readout, str):
        raise ValueError('readout may be passed in where it is random; use RateRNN(..., readout="random").')
    there = {name: value for name in DRAWS if (value := draws.get(name)) is not None}
    return {name: checked(name, value, batch, shapes[name], like) for name, value in there.items()}


def checked(name: str, value: ArrayLike, batch: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A tensor of this shape, finite and with a batch dimension."""
    value = torch.as_tensor(value).to(like)
    if tuple(value.shape) not in (shape, (batch, *shape)):
        raise ValueError(f"{name} must have shape {(batch, *shape)} or {shape}, got {tuple(value.shape)}.")
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} must be finite.")
    return value.expand(batch, *shape)


def requires_grad(parts: Iterable[object]) -> bool:
    """Whether any of these asks for a gradient."""
    modules = [part for part in parts if isinstance(part, torch.nn.Module)]
    tensors = [part for part in parts if isinstance(part, Tensor)]
    return any(t.requires_grad for t in (*tensors, *(p for m in modules for p in m.parameters())))
