"""The fast dynamics: windows of sessions, and what networks predict from their start."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Parts", "Windows", "predicted", "windows_of"]


@dataclass(frozen=True)
class Parts:
    """Weights of a network, or of several with an axis before the others; N units, R motifs, C channels, B inputs, d latents.

    Arguments:
        left: a, `(N, R)`.
        right: b, `(N, R)`.
        into: W_in, `(N, B)`.
        bias: h_0, `(N,)`.
        readout: C, `(C, N)`.
        offset: y_0, `(C,)`.
        encoder: From past samples to the state, `(N, history * C)`.
        encoder_bias: `(N,)`.
        loading: M, `(R, d)`.
        base: b_c, `(R,)`.
        slow: z of each training session, `(K, d)`.
        law: W_z, `(d, d)`.
        law_into: B_u, `(d, B)`.
        law_bias: b_z, `(d,)`.
        law_rate: logit of tau_z, `()`.
    """

    left: Tensor
    right: Tensor
    into: Tensor
    bias: Tensor
    readout: Tensor
    offset: Tensor
    encoder: Tensor
    encoder_bias: Tensor
    loading: Tensor
    base: Tensor
    slow: Tensor
    law: Tensor
    law_into: Tensor
    law_bias: Tensor
    law_rate: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def one(self, index: int) -> Parts:
        """One of several networks."""
        return Parts(**{name: v[index].detach().clone() for name, v in self.tensors().items()})


class Windows(NamedTuple):
    """Pieces of a session: past samples `(W, history * C)`, inputs `(W, H, B)` and the samples to predict `(W, H, C)`."""

    past: Tensor
    inputs: Tensor
    future: Tensor


def windows_of(observations: Tensor, inputs: Tensor, history: int, horizon: int, every: int) -> Windows:
    """Windows of a session from every so many samples; raises ValueError where it is too short for one."""
    last = len(observations) - horizon - history
    if last < 0:
        raise ValueError(
            f"a session of {len(observations)} samples is too short for a history of {history} and a horizon of {horizon}."
        )
    at = torch.arange(0, last + 1, every)
    past = observations[at[:, None] + torch.arange(history)].flatten(1)
    ahead = at[:, None] + history + torch.arange(horizon)
    return Windows(past, inputs[ahead - 1], observations[ahead])


def predicted(p: Parts, scales: Tensor, w: Windows, step: float) -> Tensor:
    """Predictions `(..., W, H, C)` with scales `(..., W, R)`; parts may be of several networks, with an axis before the others.

    Euler steps of one sample; `step` is dt / tau. An input acts from its sample to the next.
    """
    h = w.past @ p.encoder.mT + p.encoder_bias[..., None, :]
    inputs = w.inputs.movedim(-2, 0)
    if p.into.ndim > inputs.ndim - 1:  # of several networks, which all see the same
        inputs = inputs[:, None]
    drive = inputs @ p.into.mT + p.bias[..., None, :]  # (H, ..., W, N)
    left, right = p.left.mT, p.right
    out = []
    for t in range(w.inputs.shape[-2]):
        seen = (torch.tanh(h) @ right) * scales
        h = h + step * (seen @ left + drive[t] - h)
        out.append(h)
    return torch.stack(out, dim=-2) @ p.readout[..., None, :, :].mT + p.offset[..., None, None, :]
