"""Training of fast-slow networks: several restarts at once, with Adam on windows of all sessions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sbirules.model.sessions import Sessions
from sbirules.support.streams import Stream, generator

from ._dynamics import Parts, Windows, predicted, windows_of
from ._settings import FastSlowSettings

__all__ = ["loss_of", "trained"]

HELD_OUT = 0.2  # of each session: its end, by which the best restart is chosen
CLIP = 1.0  # norm of a restart's gradient
LAST = 0.02  # learning rate at the end, as a share of the largest
LAWS = {"linear": lambda z: z, "tanh": torch.tanh}


def trained(
    animals: Sequence[Sessions],
    s: FastSlowSettings,
    seed: int,
    start: tuple[Parts, Tensor, Tensor] | None,
    progress: bool,
) -> tuple[Parts, Tensor, Tensor, dict[str, Any]]:
    """Weights of the best of several networks, mean and s.d. of the channels, and the course of the training.

    Arguments:
        animals: The sessions of each animal.
        s: Settings.
        seed: Of starts and batches.
        start: Weights to go on from, with mean and s.d. of the channels.
        progress: Whether to show a progress bar.
    """
    from tqdm.auto import tqdm

    observations = [y for one in animals for y in one.observations]
    inputs = [u for one in animals for u in one.inputs]
    whole = torch.cat(observations)
    centre, spread = (whole.mean(dim=0), whole.std(dim=0)) if start is None else start[1:]
    spread = torch.where(spread > 0, spread, 1.0)
    normed = [((y - centre) / spread).float() for y in observations]
    needed = s.horizon + s.history
    cut = [len(y) - max(round(HELD_OUT * len(y)), needed) for y in normed]
    short = next((k for k, n in enumerate(cut) if n < needed), None)
    if short is not None:
        raise ValueError(
            f"session {short + 1} of {len(normed[short])} samples is too short: a history of {s.history} and a horizon of "
            f"{s.horizon} "
            f"are needed for training and once more for the {HELD_OUT:.0%} that are held out, {2 * needed} samples."
        )
    train = _together([(y[:n], u[:n]) for y, u, n in zip(normed, inputs, cut, strict=True)], s, 1)
    held = _together([(y[n:], u[n:]) for y, u, n in zip(normed, inputs, cut, strict=True)], s, s.horizon)
    stream = generator(seed, Stream.TRAINING)
    p = _started(s, inputs[0].shape[1], normed, stream) if start is None else _repeated(start[0], s, len(normed))
    learned = [v for name, v in p.items() if not _held(name, s)]
    for v in learned:
        v.requires_grad_(True)
    optimiser = torch.optim.Adam(learned, lr=s.learning_rate)
    stimulation = torch.cat([one.stimulation for one in animals]).float()
    # from one session to the next there is a step of the law, but not from one animal to the next
    animal = torch.cat([torch.full((len(one),), k) for k, one in enumerate(animals)])
    follows = (animal[1:] == animal[:-1]).float()
    step, course = animals[0].dt / s.tau, []
    bar = tqdm(range(s.iterations), desc="fast-slow network", disable=None if progress else True)
    for i in bar:
        share = (i + 1) / s.iterations
        rate = min(1.0, 20 * share) * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimiser.param_groups:
            group["lr"] = s.learning_rate * rate
        at = torch.randint(len(train[0]), (s.batch,), generator=stream)
        loss = loss_of(p, s, train[0][at], Windows(*(v[at] for v in train[1])), step, stimulation, follows)
        optimiser.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            norm = sum(v.grad.reshape(s.restarts, -1).square().sum(dim=1) for v in learned if v.grad is not None)
            scale = (CLIP / torch.as_tensor(norm).sqrt().clamp(min=1e-12)).clamp(max=1.0).nan_to_num(0.0)
            for v in learned:
                if v.grad is not None:
                    v.grad = v.grad.nan_to_num(0.0, 0.0, 0.0) * scale.reshape(-1, *[1] * (v.ndim - 1))
        optimiser.step()
        _projected(p, s, s.learning_rate * rate)
        if i % 50 == 0:
            course.append(float(loss.detach().min()))
    with torch.no_grad():
        errors = _held_out(p, s, held, step)
    best = int(errors.nan_to_num(math.inf).argmin())
    parts = Parts(**{name: v.detach() for name, v in p.items()}).one(best)
    size = math.sqrt(s.units)  # motifs of norm 1; scales take it up
    tensors = parts.tensors() | {
        "left": parts.left / size,
        "loading": parts.loading * size,
        "base": parts.base * size,
    }
    told = {"held_out": [float(e) for e in errors], "course": course}
    return Parts(**tensors), centre, spread, told


def loss_of(
    p: dict[str, Tensor],
    s: FastSlowSettings,
    which: Tensor,
    w: Windows,
    step: float,
    stimulation: Tensor,
    follows: Tensor,
) -> Tensor:
    """Loss of each restart, `(S,)`.

    Arguments:
        p: Weights by name, with an axis of restarts.
        s: Settings.
        which: Session of each window, `(W,)`.
        w: The windows.
        step: dt / tau.
        stimulation: Mean input of each session, `(K, B)`.
        follows: 1 for each session but the last whose next one is of the same animal, else 0, `(K - 1,)`.
    """
    every = _scales(p, s)
    y = predicted(Parts(**p), every[:, which], w, step)
    loss = (y - w.future).square().mean(dim=(1, 2, 3))
    if s.smooth:
        loss = loss + s.smooth * (follows[:, None] * every.diff(dim=1).square()).mean(dim=(1, 2))
    if s.law is not None and s.slow:
        z = p["slow"]
        change = LAWS[s.law](z[:, :-1]) @ p["law"].mT - z[:, :-1] + stimulation[:-1] @ p["law_into"].mT
        change = change + p["law_bias"][:, None]
        ahead = z[:, :-1] + torch.sigmoid(p["law_rate"])[:, None, None] * change
        loss = loss + s.slow * (follows[:, None] * (z[:, 1:] - ahead).square()).mean(dim=(1, 2))
    if s.orthogonal:
        for name, size in (("left", s.units), ("right", 1)):
            gram = p[name].mT @ p[name] / size
            loss = loss + s.orthogonal * (gram - torch.eye(s.rank)).square().sum(dim=(1, 2))
    return loss


def _scales(p: dict[str, Tensor], s: FastSlowSettings) -> Tensor:
    """Of each restart and session, `(S, K, R)`; under Dale's law none is negative, which would turn a motif's signs."""
    every = p["slow"] @ p["loading"].mT + p["base"][:, None]
    return every if s.signs is None else every.clamp(min=0.0)


def _together(each: list[tuple[Tensor, Tensor]], s: FastSlowSettings, every: int) -> tuple[Tensor, Windows]:
    """Windows of all sessions, and which session each is of."""
    found = [windows_of(y, u.float(), s.history, s.horizon, every) for y, u in each]
    which = torch.cat([torch.full((len(w.past),), k) for k, w in enumerate(found)])
    return which, Windows(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _started(s: FastSlowSettings, b: int, normed: list[Tensor], stream: torch.Generator) -> dict[str, Tensor]:
    n, r, d, c = s.units, s.rank, s.dim, normed[0].shape[1]

    def draw(*shape: int, sd: float = 1.0) -> Tensor:
        return sd * torch.randn(s.restarts, *shape, generator=stream)

    p = {
        "left": draw(n, r),
        "right": draw(n, r, sd=1 / math.sqrt(n)),
        "into": draw(n, b, sd=0.5),
        "bias": draw(n, sd=0.5),
        "readout": draw(c, n, sd=1 / n),
        "offset": torch.zeros(s.restarts, c),
        "encoder": draw(n, s.history * c, sd=1 / math.sqrt(s.history * c)),
        "encoder_bias": draw(n, sd=0.5),
        "loading": torch.eye(r, d).repeat(s.restarts, 1, 1) + (0.1 * draw(r, d) if s.law else 0.0),
        "base": torch.ones(s.restarts, r) if s.law else torch.zeros(s.restarts, r),
        "slow": draw(len(normed), d, sd=0.01) + (0.0 if s.law else 1.0),
        "law": torch.eye(d).repeat(s.restarts, 1, 1),
        "law_into": torch.zeros(s.restarts, d, b),
        "law_bias": torch.zeros(s.restarts, d),
        "law_rate": torch.zeros(s.restarts),
    }
    y = torch.cat(normed)
    y = y[torch.randint(len(y), (512,), generator=stream)]
    if s.history == 1:  # a read-out that gives back what the encoder took in
        h = y @ p["encoder"].mT + p["encoder_bias"][:, None]
        ridge = 1e-3 * n * torch.eye(n)
        p["readout"] = torch.linalg.solve(h.mT @ h + ridge, h.mT @ y).mT.contiguous()
    _projected(p, s, 0.0)
    return p


def _repeated(parts: Parts, s: FastSlowSettings, sessions: int) -> dict[str, Tensor]:
    """A trained network as the start of all restarts; raises ValueError where settings or sessions are others."""
    size = math.sqrt(s.units)
    own = parts.tensors() | {
        "left": parts.left * size,
        "loading": parts.loading / size,
        "base": parts.base / size,
    }
    if own["left"].shape != (s.units, s.rank) or own["slow"].shape != (sessions, s.dim):
        raise ValueError(
            f"start must be a network of the same units, rank and latents, trained on as many sessions ({sessions}); its own has "
            f"{own['left'].shape[0]} units, rank {own['left'].shape[1]}, {own['slow'].shape[0]} sessions."
        )
    return {name: v[None].repeat(s.restarts, *[1] * v.ndim).contiguous() for name, v in own.items()}


def _held(name: str, s: FastSlowSettings) -> bool:
    """Whether weights are not learned: staged networks have free scales."""
    return s.law is None and name in ("loading", "base", "law", "law_into", "law_bias", "law_rate")


@torch.no_grad()
def _projected(p: dict[str, Tensor], s: FastSlowSettings, rate: float) -> None:
    """Motifs of fixed norm, signs of units, and a sparse loading of unit columns."""
    if s.signs is not None:  # Dale: a_r is not negative, b_r has each unit's sign
        sign = torch.tensor(s.signs, dtype=torch.float32)[None, :, None]
        p["left"].clamp_(min=0.0)
        p["right"].copy_(sign * (sign * p["right"]).clamp(min=0.0))
    p["left"].mul_(math.sqrt(s.units) / p["left"].norm(dim=1, keepdim=True).clamp(min=1e-12))
    p["right"].div_(p["right"].norm(dim=1, keepdim=True).clamp(min=1e-12))
    if s.law is not None:
        m = p["loading"]
        if rate:
            m.copy_(m.sign() * (m.abs() - s.sparse * rate / s.learning_rate).clamp(min=0.0))
        m.div_(m.norm(dim=1, keepdim=True).clamp(min=1e-12))


def _held_out(p: dict[str, Tensor], s: FastSlowSettings, held: tuple[Tensor, Windows], step: float) -> Tensor:
    """Mean squared error of each restart on the ends of sessions."""
    every = _scales(p, s)
    y = predicted(Parts(**p), every[:, held[0]], held[1], step)
    return (y - held[1].future).square().mean(dim=(1, 2, 3))
