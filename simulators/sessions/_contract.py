"""Whether a law of one's own does what the others rely on, tried once before anything is fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.model.rules import Law

__all__ = ["check_law"]


def check_law(law: Law) -> None:
    """Raises ValueError where a law of one's own does not keep to its contract; tried once on a few states."""
    name = type(law).__name__
    for needed in ("latents", "stimulations", "memory"):
        if not isinstance(getattr(law, needed, None), int):
            raise ValueError(f"{name}.{needed} must be a whole number, how many there are.")
    r, b, m, n = law.latents, law.stimulations, law.memory, 3
    near = [
        min(max(0.3, p.low), p.high) + (0.01 * k if p.low < 0.3 < p.high else 0.0) for k, p in enumerate(law.parameters)
    ]
    theta = {p.name: torch.full((n, 1), v, dtype=torch.float64) for p, v in zip(law.parameters, near, strict=True)}
    state = torch.linspace(0.1, 0.4, n * 2 * (r + m), dtype=torch.float64).reshape(n, 2, r + m)
    u = torch.linspace(0.0, 1.0, n * 2 * b, dtype=torch.float64).reshape(n, 2, b)
    said = f"with theta of shape (n, 1), state (n, points, {r + m}) and stimulation (n, points, {b})"
    try:
        ahead, start = law.step(theta, state, u), law.start(theta)
    except Exception as error:
        raise ValueError(f"{name}.step or start fails {said}: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(ahead, Tensor) or ahead.shape != state.shape:
        shape = tuple(ahead.shape) if isinstance(ahead, Tensor) else type(ahead).__name__
        raise ValueError(f"{name}.step must return a tensor like the state, {tuple(state.shape)}, {said}, got {shape}.")
    if not isinstance(start, Tensor) or start.shape[-1:] != (m,):
        raise ValueError(f"{name}.start must return the memory, (..., {m}), got {getattr(start, 'shape', start)}.")
    if not bool(torch.isfinite(ahead).all()):
        raise ValueError(
            f"{name}.step must return finite numbers for small states, got {ahead.flatten()[:3].tolist()}."
        )
    linear = law.linear({k: v[:, 0] for k, v in theta.items()})
    if linear is not None:
        a, into, bias = linear
        own = torch.einsum("nrs,nps->npr", a, state) + torch.einsum("nrb,npb->npr", into, u[..., : into.shape[-1]])
        if not torch.allclose(own + bias[:, None], ahead):
            raise ValueError(f"{name}.linear must be the same law as step: the next states that they give differ.")
