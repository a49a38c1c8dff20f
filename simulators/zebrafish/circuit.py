r"""`OptomotorCircuit`: from motion on two eyes to left and right motor drive, through a pretectum on both sides.

tau dx_i/dt = -x_i + sigmoid(sum_j w_ij x_j + sum_k v_ik u_k + b_i),        Euler steps of dt, with noise of the state

After the circuits of Kubo et al. (2014) and Naumann et al. (2016), as the testbed of arXiv 2602.04492 uses them; its weights are
drawn, mirror-symmetric, and no measured ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed, typed_class

__all__ = ["CHANNELS", "STIMULI", "CircuitActivity", "OptomotorCircuit"]

SIDES = ("left", "right")
DIRECTIONS = ("forward", "backward", "inward", "outward")
OPPOSITE = {"forward": "backward", "backward": "forward", "inward": "outward", "outward": "inward"}
CHANNELS = tuple(f"{eye} eye {direction}" for eye in SIDES for direction in DIRECTIONS)
# what moves on the left and on the right eye; leftward motion leaves the left eye's field and enters the right eye's
STIMULI = {
    "inward": ("inward", "inward"),
    "outward": ("outward", "outward"),
    "leftward": ("outward", "inward"),
    "rightward": ("inward", "outward"),
}
MOST = 100_000


@typed_class
@dataclass(frozen=True)
class CircuitActivity:
    """Activity of a circuit's units over trials.

    Arguments:
        activity: As observed, `(trials, steps, units)`.
        drive: Sensory drive, `(trials, steps, channels)`; that of step t moves the activity from t to t + 1.
        stimuli: Name of each trial's stimulus.
        units: Names.
    """

    activity: Tensor
    drive: Tensor
    stimuli: tuple[str, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("activity", "drive"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).double())
        if not len(self.activity):
            raise ValueError("activity must have at least one trial, got none.")
        if self.activity.ndim != 3 or self.activity.shape[1] < 2 or len(self.units) != self.activity.shape[2]:
            raise ValueError(
                f"activity must have shape (trials, at least 2 steps, {len(self.units)} units), got {tuple(self.activity.shape)}."
            )
        if self.drive.ndim != 3 or self.drive.shape[:2] != self.activity.shape[:2]:
            raise ValueError(
                f"drive must have shape {(*self.activity.shape[:2], 'channels')}, as activity has, got {tuple(self.drive.shape)}."
            )
        if len(self.stimuli) != len(self.activity):
            raise ValueError(
                f"stimuli must name the stimulus of each of {len(self.activity)} trials, got {len(self.stimuli)}."
            )
        for name in ("activity", "drive"):
            if not bool(torch.isfinite(getattr(self, name)).all()):
                raise ValueError(f"{name} must be finite; leave trials with missing samples out.")

    def __len__(self) -> int:
        return len(self.activity)

    def __repr__(self) -> str:
        trials, steps, units = self.activity.shape
        kinds = ", ".join(dict.fromkeys(self.stimuli))
        return (
            f"CircuitActivity({trials} trials of {steps} steps, {units} units, {self.drive.shape[2]} channels; {kinds})"
        )

    def of(self, *stimuli: str) -> CircuitActivity:
        """Trials of some stimuli.

        Raises:
            ValueError: If there is none of one of them.
        """
        for name in stimuli:
            arguments.known("stimulus", name, tuple(dict.fromkeys(self.stimuli)))
        return self.trials([k for k, name in enumerate(self.stimuli) if name in stimuli])

    def trials(self, rows: Sequence[int]) -> CircuitActivity:
        """Some trials, by place."""
        chosen = [arguments.position("rows", row, len(self)) for row in rows]
        index = torch.as_tensor(chosen, dtype=torch.long)
        return CircuitActivity(
            self.activity[index], self.drive[index], tuple(self.stimuli[k] for k in index.tolist()), self.units
        )


class OptomotorCircuit:
    """A circuit with known connections.

    Eight units see motion (four directions on each eye). In each hemisphere of the pretectum four units follow one direction of
    the other side's eye and four compare both eyes: forward, turning to this side, inward and outward. Two forward and two
    turning units of the hindbrain give the motor drive. Hemispheres inhibit each other.

    Arguments:
        seed: Of the weights, which are mirror-symmetric.
        tau: Time constant, ms.
        dt: Step, ms.
        state_noise: S.d. of the noise of the state at each step.
        observation_noise: S.d. of what is added to the activity that is observed.
    """

    @typed
    def __init__(
        self,
        seed: int = 0,
        *,
        tau: float = 250.0,
        dt: float = 50.0,
        state_noise: float = 0.01,
        observation_noise: float = 0.002,
    ) -> None:
        arguments.above("tau", tau, 0.0)
        arguments.above("dt", dt, 0.0)
        arguments.at_least("state_noise", state_noise, 0.0)
        arguments.at_least("observation_noise", observation_noise, 0.0)
        if dt > tau:
            raise ValueError(f"dt must be at most tau = {tau:g} ms, got {dt:g}.")
        self.seed = arguments.whole("seed", seed, 0)
        self.leak = dt / tau
        self.state_noise, self.observation_noise = state_noise, observation_noise
        self.channels = CHANNELS
        self.units: tuple[str, ...] = (*CHANNELS, *_PRETECTUM, *_HINDBRAIN)
        place = {name: k for k, name in enumerate(self.units)}
        signs = torch.zeros(len(self.units), len(self.units), dtype=torch.float64)
        sizes = torch.zeros_like(signs)
        gen = torch.Generator().manual_seed(child(self.seed, Stream.WEIGHTS) % 2**63)
        for post, pre, sign in _connections():
            size = float(torch.exp(0.3 * torch.randn(1, generator=gen)))
            for a, b in ((post, pre), (_mirrored(post), _mirrored(pre))):
                signs[place[a], place[b]] = sign
                sizes[place[a], place[b]] = size * (5.0 if sign > 0 else 3.0)
        self.signs = signs
        self.weights = signs * sizes
        self.inputs = torch.zeros(len(self.units), len(CHANNELS), dtype=torch.float64)
        self.inputs[range(len(CHANNELS)), range(len(CHANNELS))] = 5.0
        self.bias = torch.full((len(self.units),), -2.5, dtype=torch.float64)

    def __repr__(self) -> str:
        return f"OptomotorCircuit({self.seed}, {len(self.units)} units, {int(self.mask.sum())} connections)"

    @property
    def mask(self) -> Tensor:
        """Which connections there are, `(post, pre)` boolean."""
        return self.signs != 0

    @property
    def input_mask(self) -> Tensor:
        """Which unit sees which channel, `(units, channels)` boolean."""
        return self.inputs != 0

    def step(self, x: Tensor, u: Tensor) -> Tensor:
        """The state after a step without noise, of states `(..., units)` and drives `(..., channels)`."""
        target = torch.sigmoid(x @ self.weights.T + u @ self.inputs.T + self.bias)
        return x + self.leak * (target - x)

    @typed
    def simulate(
        self,
        stimuli: Sequence[str] = tuple(STIMULI),
        *,
        num_trials: int = 20,
        num_steps: int = 200,
        seed: int = 0,
    ) -> CircuitActivity:
        """Trials of stimuli whose strength fluctuates, from rest.

        Arguments:
            stimuli: `"inward"`, `"outward"`, `"leftward"`, `"rightward"`.
            num_trials: Of each stimulus.
            num_steps: Of each trial.
            seed: Of drive and noise.
        """
        for name in arguments.strings("stimuli", stimuli):
            arguments.known("stimulus", name, tuple(STIMULI))
        if not stimuli:
            raise ValueError(f"stimuli must be at least one of {arguments.listed(STIMULI)}, got none.")
        count = arguments.whole("num_trials", num_trials, 1, MOST) * len(stimuli)
        arguments.whole("num_steps", num_steps, 2, MOST)
        size = 8 * 4 * count * (len(self.units) + len(CHANNELS))
        refuse_beyond("num_steps", num_steps, lambda n: n * size, free_memory(), "memory", "activity")
        gen = torch.Generator().manual_seed(child(arguments.whole("seed", seed, 0), Stream.RUN) % 2**63)
        names = tuple(name for name in stimuli for _ in range(num_trials))
        u = _drive(names, num_steps, gen)
        x = torch.full((count, len(self.units)), 0.08, dtype=torch.float64)
        seen = []
        for t in range(num_steps):
            seen.append(x)
            noise = self.state_noise * torch.randn(x.shape, generator=gen, dtype=torch.float64)
            x = self.step(x, u[:, t]) + noise
        activity = torch.stack(seen, dim=1)
        activity += self.observation_noise * torch.randn(activity.shape, generator=gen, dtype=torch.float64)
        return CircuitActivity(activity, u, names, self.units)

    def motor_drive(self, x: Tensor) -> Tensor:
        """Left and right motor drive `(..., 2)` of activity `(..., units)`: forward units, and the other side's turn."""
        at = {name: self.units.index(name) for name in _HINDBRAIN}
        left = x[..., at["left forward"]] + x[..., at["right turn"]]
        right = x[..., at["right forward"]] + x[..., at["left turn"]]
        return torch.stack([left, right], dim=-1)


# Parts ------------------------------------------------------------------------------------------------

_PRETECTUM = tuple(
    f"{side} pretectum {kind}"
    for side in SIDES
    for kind in (*DIRECTIONS, "both forward", "both turn", "both inward", "both outward")
)
_HINDBRAIN = tuple(f"{side} {kind}" for kind in ("forward", "turn") for side in SIDES)


def _mirrored(unit: str) -> str:
    side, rest = unit.split(" ", 1)
    return f"{SIDES[1 - SIDES.index(side)]} {rest}"


def _connections() -> list[tuple[str, str, int]]:
    """Of the left hemisphere, (post, pre, sign); the right one's are their mirror images."""
    here, there = "left pretectum", "right pretectum"
    out = []
    for d in DIRECTIONS:  # the left hemisphere sees with the right eye
        out.append((f"{here} {d}", f"right eye {d}", 1))
        out.append((f"{here} {d}", f"{here} {OPPOSITE[d]}", -1))
    for d in ("forward", "inward", "outward"):
        out += [(f"{here} both {d}", f"{side} {d}", 1) for side in (here, there)]
        out += [(f"{here} both {d}", f"{side} {OPPOSITE[d]}", -1) for side in (here, there)]
    # leftward motion is inward on the right eye and outward on the left one
    out += [(f"{here} both turn", f"{here} inward", 1), (f"{here} both turn", f"{there} outward", 1)]
    out += [(f"{here} both turn", f"{here} outward", -1), (f"{here} both turn", f"{there} inward", -1)]
    out.append((f"{here} both turn", f"{there} both turn", -1))
    out += [("left forward", f"{here} both forward", 1), ("left forward", f"{here} both inward", 1)]
    out += [("left forward", f"{here} both outward", -1), ("left forward", f"{there} both forward", 1)]
    out += [("left turn", f"{here} both turn", 1), ("left turn", "right turn", -1), ("left turn", "left forward", -1)]
    return out


def _drive(names: Sequence[str], steps: int, gen: torch.Generator) -> Tensor:
    """Strength of each channel: of those of the stimulus a fluctuating one, of the others next to nothing."""
    count = len(names)
    shape = torch.zeros(count, len(CHANNELS), dtype=torch.float64)
    for k, name in enumerate(names):
        for eye, direction in zip(SIDES, STIMULI[name], strict=True):
            shape[k, CHANNELS.index(f"{eye} eye {direction}")] = 1.0
    walk = torch.randn(count, len(SIDES), generator=gen, dtype=torch.float64)
    out = torch.empty(count, steps, len(CHANNELS), dtype=torch.float64)
    keep = 0.85  # of a step to the next
    for t in range(steps):
        strength = torch.sigmoid(1.5 * walk).repeat_interleave(len(DIRECTIONS), dim=1)
        out[:, t] = shape * strength
        fresh = torch.randn(walk.shape, generator=gen, dtype=torch.float64)
        walk = keep * walk + (1 - keep**2) ** 0.5 * fresh
    return out
