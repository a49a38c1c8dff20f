"""What of a law does not depend on the coordinates of its scales: fixed points, time constants, responses to stimulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.rules import Law
from sbirules.support.streams import Stream, seeded

__all__ = ["Invariants", "invariants_of"]

STARTS, STEPS = 16, 40  # of the search for fixed points
REACH = 4.0  # spreads of the scales around 0 in which they are sought
FOUND, APART = 1e-6, 1e-2  # size of the change there, and distance from which two are two
AHEAD = 12  # sessions of the impulse response


@dataclass(frozen=True)
class Invariants:
    """Of laws; n of them, R scales, B channels, L sessions. In the law's own units, without stimulation beyond its mean.

    Arguments:
        points: Number of fixed points found, `(n,)`.
        stable: How many of them are stable, `(n,)`.
        eigenvalue: Largest absolute eigenvalue of the law at the stable fixed point with the largest one, else at the fixed point
            with the smallest, else at 0, `(n,)`: below 1 changes are forgotten.
        slowest: The time constant that belongs to it, in sessions, `(n,)`: -1 / log of it; infinite from 1 on.
        rotation: Angle by which that mode turns from session to session, in turns, `(n,)`; 0 for none.
        impulse: Distance of the scales, L sessions after one of stimulation by one more unit of a channel, from where they would
            be, `(n, L, B)`.
        lasting: The same after L sessions of it, `(n, B)`.
    """

    points: Tensor
    stable: Tensor
    eigenvalue: Tensor
    slowest: Tensor
    rotation: Tensor
    impulse: Tensor
    lasting: Tensor

    def columns(self) -> dict[str, Tensor]:
        """One number of each law, by name."""
        out = {
            "fixed points": self.points.double(),
            "stable fixed points": self.stable.double(),
            "largest eigenvalue": self.eigenvalue,
            "slowest time constant (sessions)": self.slowest,
            "turns per session": self.rotation,
        }
        for k in range(self.lasting.shape[1]):
            out[f"response to channel {k + 1}, next session"] = self.impulse[:, 0, k]
            out[f"response to channel {k + 1}, lasting"] = self.lasting[:, k]
        return out


def invariants_of(law: Law, theta: Mapping[str, Tensor], stimulation: Tensor, spread: float = 1.0) -> Invariants:
    """Invariants of laws.

    Arguments:
        law: The family.
        theta: Columns by name, `(n,)`.
        stimulation: What is stimulated meanwhile, `(B,)`.
        spread: Of the scales, around which fixed points are sought.
    """
    n, r, s = len(next(iter(theta.values()))), law.latents, law.latents + law.memory
    columns = {name: v.double()[:, None] for name, v in theta.items()}
    u = stimulation.double()[: law.stimulations]

    def step(z: Tensor, more: Tensor | None = None) -> Tensor:
        given = u if more is None else u + more
        return law.step(columns, z, given.expand(*z.shape[:-1], -1))

    with seeded(0, Stream.STARTS), torch.no_grad():
        z = REACH * spread * (2 * torch.rand(n, STARTS, s, dtype=torch.float64) - 1)
    z[:, 0] = 0.0
    eye = torch.eye(s, dtype=torch.float64)
    for _ in range(STEPS):  # Newton's steps on law(z) - z, at most one spread long
        away = step(z) - z
        slope = _jacobian(step, z) - eye
        move, _ = torch.linalg.solve_ex(slope + 1e-9 * eye, -away[..., None])
        move = move[..., 0].nan_to_num(0.0)
        z = z + move * (spread / move.norm(dim=-1, keepdim=True).clamp(min=spread))
    good = ((step(z) - z).norm(dim=-1) < FOUND * spread) & (z.norm(dim=-1) < 1e3 * spread)
    gap = torch.cdist(z, z) < APART * spread
    earlier = torch.tril(gap & good[:, None, :], diagonal=-1).any(dim=2)
    new = good & ~earlier
    values = torch.linalg.eigvals(_jacobian(step, z).nan_to_num(0.0, 1e6, -1e6))
    size, at = values.abs().max(dim=-1)
    stable = new & (size < 1)
    least = torch.where(new, size, math.inf).argmin(dim=1)
    slowest = torch.where(stable, size, -math.inf).argmax(dim=1)
    which = torch.where(stable.any(dim=1), slowest, torch.where(new.any(dim=1), least, 0))
    rows = torch.arange(n)
    own = size[rows, which]
    mode = values[rows, which, at[rows, which]]
    turn = mode.angle().abs() / (2 * math.pi)
    tau = torch.where(own < 1, -1 / own.clamp(1e-9, 1 - 1e-12).log(), math.inf)
    base = torch.zeros(n, 1, r, dtype=torch.float64)  # from where responses start
    begin = torch.cat([base, law.start(columns)], dim=-1) if law.memory else base
    impulse, lasting = [], []
    for k in range(law.stimulations):
        pulse = torch.zeros(law.stimulations, dtype=torch.float64)
        pulse[k] = 1.0
        without, once, always, each = begin, begin, begin, []
        for session in range(AHEAD):
            once = step(once, pulse if session == 0 else None)
            always, without = step(always, pulse), step(without)
            each.append((once - without)[:, 0, :r].norm(dim=-1))
        impulse.append(torch.stack(each, dim=1))
        lasting.append((always - without)[:, 0, :r].norm(dim=-1))
    none = torch.zeros(n, AHEAD, 0, dtype=torch.float64)
    return Invariants(
        new.sum(dim=1),
        stable.sum(dim=1),
        own,
        tau,
        turn,
        torch.stack(impulse, dim=2) if impulse else none,
        torch.stack(lasting, dim=1) if lasting else none[:, 0],
    )


def _jacobian(step: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Derivatives of the next state, `(..., S, S)`, by central differences."""
    s, h = z.shape[-1], 1e-5
    shifts = h * torch.eye(s, dtype=z.dtype)
    parts = [(step(z + d) - step(z - d)) / (2 * h) for d in shifts]
    return torch.stack(parts, dim=-1)
