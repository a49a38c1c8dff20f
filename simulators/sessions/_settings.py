"""Settings of fast-slow networks and of their training."""

from __future__ import annotations

from dataclasses import dataclass

from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["FastSlowSettings"]


@typed_class
@dataclass(frozen=True)
class FastSlowSettings:
    """Settings of a `FastSlowNetwork` and of its training.

    Arguments:
        rank: Number of motifs, R.
        latents: Dimension of the slow state, d; the rank by default.
        units: Number of units, N.
        tau: Time constant of the units, in the unit of `Sessions.dt`.
        history: Samples from which the network's state at the start of a prediction is read.
        horizon: Samples ahead that training predicts.
        law: Whether a slow law is trained along (`"linear"`, `"tanh"`), jointly with the network; None for scales that are free
            in every session: staged, the law comes after.
        slow: Weight of the law's error.
        smooth: Weight of changes of the scales from session to session.
        orthogonal: Weight of overlaps among a_r, and among b_r.
        sparse: Threshold of the proximal step on M.
        signs: Sign of each unit's outgoing weights, 1 or -1, `(N,)`: Dale's law; None for none.
        iterations: Steps of Adam.
        batch: Windows of a step.
        learning_rate: Of Adam at its largest.
        restarts: Networks trained at once from different starts; the one that predicts best is kept.
    """

    rank: int = 3
    latents: int | None = None
    units: int = 128
    tau: float = 1.0
    history: int = 1
    horizon: int = 10
    law: str | None = "linear"
    slow: float = 0.1
    smooth: float = 0.01
    orthogonal: float = 0.01
    sparse: float = 1e-4
    signs: tuple[int, ...] | None = None
    iterations: int = 2000
    batch: int = 128
    learning_rate: float = 5e-3
    restarts: int = 8

    def __post_init__(self) -> None:
        for name in ("rank", "units", "history", "horizon", "iterations", "batch", "restarts"):
            arguments.whole(name, getattr(self, name), 1)
        for name in ("tau", "learning_rate"):
            arguments.above(name, getattr(self, name), 0.0)
        for name in ("slow", "smooth", "orthogonal", "sparse"):
            arguments.at_least(name, getattr(self, name), 0.0)
        if self.law is not None:
            arguments.known("law", self.law, ("linear", "tanh"))
        if self.latents is not None:
            arguments.whole("latents", self.latents, 1)
        if self.signs is not None and (len(self.signs) != self.units or {*self.signs} - {1, -1}):
            raise ValueError(f"signs must be 1 or -1 for each of {self.units} units.")

    @property
    def dim(self) -> int:
        """Dimension of the slow state."""
        return self.rank if self.latents is None else self.latents
