r"""`FastSlowNetwork`: recurrent dynamics within sessions whose connectivity a slow law moves between them (STEER)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sbirules.model.rules import MotifCircuit
from sbirules.model.session_scales import SessionScales
from sbirules.model.sessions import Sessions
from sbirules.support import arguments
from sbirules.support.files import read_json, reading, write_atomically, write_json
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

from ._dynamics import Parts, Windows, predicted, windows_of
from ._scales import session_scales
from ._settings import FastSlowSettings
from ._training import trained

__all__ = ["FastSlowNetwork", "FastSlowSettings"]


@typed_class
class FastSlowNetwork(Shown):
    r"""Recurrent network of low rank whose motifs are shared by all sessions and whose scales a slow law moves.

        tau dh/dt = -h + sum_r c_r^k a_r b_r^T tanh(h) + W_in u + h_0,      y = C h + y_0,      c^k = M z^k + b_c

    Made by `FastSlowNetwork.fit(sessions, settings)`. What it is for is `scales(sessions)`: the scales of each session with their
    errors, which `fit(SessionLaw(...), prior, sessions=...)` takes.

    Source: STEER, arXiv 2603.00213.

    Arguments:
        settings: Its settings.
        parts: Its weights.
        centre: Mean of each channel.
        spread: Its s.d.: the network works in units of it.
        dt: Time between samples.
        training: Held-out error of each restart, and the course of the training error.
    """

    def __init__(
        self,
        settings: FastSlowSettings,
        parts: Parts,
        centre: Tensor,
        spread: Tensor,
        dt: float,
        training: dict[str, Any] | None = None,
    ) -> None:
        self.settings, self.parts, self.centre, self.spread, self.dt = settings, parts, centre, spread, dt
        self.training = training or {}

    @classmethod
    def fit(
        cls,
        sessions: Sessions | Sequence[Sessions],
        settings: FastSlowSettings | None = None,
        *,
        seed: int = 0,
        start: FastSlowNetwork | None = None,
        progress: bool = False,
    ) -> FastSlowNetwork:
        """Trains a network on sessions.

        Arguments:
            sessions: The training sessions, in their order; of several animals of the same channels a list, one for each.
            settings: Of the network and its training.
            seed: Makes it repeatable.
            start: A network to go on from: all restarts begin there.
            progress: Whether to show a progress bar.
        """
        s = settings or FastSlowSettings()
        begin = None if start is None else (start.parts, start.centre, start.spread)
        animals = _animals(sessions)
        if start is not None:
            start._check(animals[0])
            if start.settings.history != s.history:
                raise ValueError(f"start has a history of {start.settings.history} samples, settings have {s.history}.")
        parts, centre, spread, told = trained(animals, s, seed, begin, progress)
        return cls(s, parts, centre, spread, animals[0].dt, told)

    # What it predicts -----------------------------------------------------------------------------

    @property
    def circuit(self) -> MotifCircuit:
        """Its motifs as a circuit, for laws of motifs."""
        return MotifCircuit.of(self.parts.left, self.parts.right, self.parts.into)

    def scales(self, sessions: Sessions | Sequence[Sessions], *, horizon: int | None = None) -> SessionScales:
        """Scales of each session, fitted to it alone with the motifs held, and their errors.

        Arguments:
            sessions: Those of the training, or others of the same channels; of several animals a list.
            horizon: Samples ahead that are predicted; that of the training by default.
        """
        animals = _animals(sessions)
        h, step, found = self._horizon(horizon), self.dt / self.settings.tau, []
        floor = 0.0 if self.settings.signs is not None else None  # a motif that is turned would break Dale's law
        for one in animals:
            self._check(one)
            pairs = zip(one.observations, one.inputs, strict=True)
            each = [windows_of(self.normed(y), u.float(), self.settings.history, h, h) for y, u in pairs]
            found.append(session_scales(self.parts, each, step, floor))
        stimulated = bool(animals[0].input_channels)
        return SessionScales.of(
            [c for c, _ in found],
            [cov for _, cov in found],
            stimulation=[one.stimulation for one in animals] if stimulated else None,
            time=[torch.tensor(one.time, dtype=torch.float64) for one in animals],
            learners=[one.learner for one in animals],
            channels=animals[0].input_channels or None,
        )

    def predict(self, sessions: Sessions, scales: Tensor, *, horizon: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Of each session what is predicted and what was observed, in windows `(W, horizon, C)` from every `horizon`-th sample.

        Arguments:
            sessions: The sessions.
            scales: Of each, `(K, R)`: fitted, or forecast by a law.
            horizon: Samples ahead.
        """
        self._check(sessions)
        h, out = self._horizon(horizon), []
        scales = torch.as_tensor(scales)
        if tuple(scales.shape) != (len(sessions), self.settings.rank) or not bool(torch.isfinite(scales).all()):
            raise ValueError(
                f"scales must be finite, one row for each session, ({len(sessions)}, {self.settings.rank}), got shape "
                f"{tuple(scales.shape)}."
            )
        for k in range(len(sessions)):
            w = windows_of(
                self.normed(sessions.observations[k]), sessions.inputs[k].float(), self.settings.history, h, h
            )
            with torch.no_grad():
                y = predicted(self.parts, scales[k].float().expand(len(w.past), -1), w, self.dt / self.settings.tau)
            out.append((y.double() * self.spread + self.centre, w.future.double() * self.spread + self.centre))
        return out

    def explained(self, sessions: Sessions, scales: Tensor, *, horizon: int | None = None) -> float:
        """Share of the variance of all channels and sessions that predictions explain, up to `horizon` samples ahead."""
        every = self.predict(sessions, scales, horizon=horizon)
        y, truth = (torch.cat([pair[i].flatten(0, 1) for pair in every]) / self.spread for i in (0, 1))
        return 1 - float((truth - y).square().sum() / (truth - truth.mean(dim=0)).square().sum())

    def simulate(self, scales: Tensor, start: Tensor, inputs: Tensor) -> Tensor:
        """Activity that goes on by itself, `(T, C)`.

        Arguments:
            scales: `(R,)`.
            start: Samples from which it starts, `(history, C)`.
            inputs: From its first sample on, `(T, B)`.
        """
        rank, history, channels, b = (
            self.settings.rank,
            self.settings.history,
            len(self.centre),
            self.parts.into.shape[1],
        )
        for name, value, shape in (("scales", scales, (rank,)), ("start", start, (history, channels))):
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}.")
        if inputs.ndim != 2 or inputs.shape[1] != b or not len(inputs):
            raise ValueError(f"inputs must be (samples, {b}) with at least one sample, got {tuple(inputs.shape)}.")
        w = Windows(self.normed(start).flatten()[None], inputs.float()[None], torch.empty(0))
        with torch.no_grad():
            y = predicted(self.parts, scales.float()[None], w, self.dt / self.settings.tau)[0]
        return y.double() * self.spread + self.centre

    def normed(self, observations: Tensor) -> Tensor:
        """Observations in the network's units, float32."""
        return ((observations - self.centre) / self.spread).float()

    def _horizon(self, given: int | None) -> int:
        return self.settings.horizon if given is None else arguments.whole("horizon", given, 1)

    def _check(self, sessions: Sessions) -> None:
        if len(sessions.channels) != len(self.centre) or len(sessions.input_channels) != self.parts.into.shape[1]:
            raise ValueError(
                f"the network is of {len(self.centre)} channels and {self.parts.into.shape[1]} of input, the sessions have "
                f"{len(sessions.channels)} and {len(sessions.input_channels)}."
            )
        if not math.isclose(sessions.dt, self.dt, rel_tol=1e-6):
            raise ValueError(f"the network was trained at dt = {self.dt:g}, the sessions have {sessions.dt:g}.")

    # Files ----------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Writes the network into a folder; `load` brings it back, and `fit(..., start=...)` goes on from it."""
        from safetensors.torch import save_file

        place = arguments.path("folder", folder)
        place.mkdir(parents=True, exist_ok=True)
        tensors = {name: v.contiguous() for name, v in self.parts.tensors().items()}
        tensors |= {"centre": self.centre, "spread": self.spread}
        write_atomically(place / "network.safetensors", lambda path: save_file(tensors, path))
        write_json(
            place / "network.json", {"settings": asdict(self.settings), "dt": self.dt, "training": self.training}
        )

    @classmethod
    def load(cls, folder: str | Path) -> FastSlowNetwork:
        """The network that `save` wrote."""
        from safetensors.torch import load_file

        place = arguments.path("folder", folder)
        if not (place / "network.json").is_file():
            raise ValueError(f"folder: {place} holds no network that FastSlowNetwork.save wrote.")
        with reading(place / "network.json"):
            told = read_json(place / "network.json")
            given = {**told["settings"]}
            given["signs"] = None if given["signs"] is None else tuple(given["signs"])
            tensors = load_file(place / "network.safetensors")
            centre, spread = tensors.pop("centre"), tensors.pop("spread")
            return cls(FastSlowSettings(**given), Parts(**tensors), centre, spread, float(told["dt"]), told["training"])

    def __repr__(self) -> str:
        s = self.settings
        return f"FastSlowNetwork(rank {s.rank}, {s.units} units, {len(self.centre)} channels)"

    def _card(self) -> Card:
        errors: Sequence[float] = self.training.get("held_out", ())
        return Card(repr(self), {"horizon": self.settings.horizon, "held-out error of each restart": list(errors)})


def _animals(sessions: Sessions | Sequence[Sessions]) -> list[Sessions]:
    """Sessions of each animal; raises ValueError unless all have the same channels, and names of their own."""
    animals = [sessions] if isinstance(sessions, Sessions) else list(sessions)
    if not animals or not all(isinstance(one, Sessions) for one in animals):
        raise ValueError(f"sessions must be Sessions, or a list of them, one for each animal, got {sessions!r:.80}.")
    for one in animals[1:]:
        if (one.channels, one.input_channels, one.dt) != (
            animals[0].channels,
            animals[0].input_channels,
            animals[0].dt,
        ):
            raise ValueError(
                f"animals must have the same channels and dt: {one.learner!r} has {one!r} at {one.dt:g}, the first "
                f"{animals[0]!r} at {animals[0].dt:g}."
            )
    if len({one.learner for one in animals}) != len(animals):
        raise ValueError("each animal needs a name of its own: Sessions.of(..., learner=...).")
    return animals
