r"""Laws of change of the scales of motifs, by what a synapse sees in a session: Hebbian, Oja's and BCM's.

A circuit W = sum_r c_r a_r b_r^T with orthonormal motifs is stimulated by u. Seen along the motifs its steady state is

    x_r = sum_s (b_r . a_s) c_s phi(x_s) + (b_r . W_in) u        presynaptic
    y_r = c_r phi(x_r) + (a_r . W_in) u                          postsynaptic

and a local rule dW_ij = f(h_i) h_j changes the scale c_r by a_r^T dW b_r, which these laws take for f(y_r) phi(x_r): the rule
between the two populations that the motif connects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.laws import Law
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["BCMLaw", "HebbianLaw", "MotifCircuit", "MotifLaw", "OjaLaw"]

SETTLED = 8  # iterations, each half way to what drives a motif: within 2 % of a steady state that is well stable


@typed_class
@dataclass(frozen=True)
class MotifCircuit:
    """What motifs are to each other and to stimulation; R motifs, B channels.

    Arguments:
        overlap: b_r . a_s, `(R, R)`: how motif s drives motif r.
        into: b_r . W_in, `(R, B)`: stimulation of the presynaptic side.
        onto: a_r . W_in, `(R, B)`: of the postsynaptic side.
    """

    overlap: Tensor
    into: Tensor
    onto: Tensor

    def __post_init__(self) -> None:
        for name in ("overlap", "into", "onto"):
            object.__setattr__(self, name, arguments.numbers(name, getattr(self, name), torch.float64))
            if not bool(torch.isfinite(getattr(self, name)).all()):
                raise ValueError(f"{name} must hold finite numbers.")
        r = len(self.overlap)
        if self.overlap.shape != (r, r) or self.into.shape != self.onto.shape or self.into.shape[:1] != (r,):
            raise ValueError(
                f"overlap must be (motifs, motifs), into and onto (motifs, channels), got {tuple(self.overlap.shape)}, "
                f"{tuple(self.into.shape)}, {tuple(self.onto.shape)}."
            )

    @staticmethod
    def of(left: Any, right: Any, input_weights: Any) -> MotifCircuit:
        """From motifs a `(N, R)`, b `(N, R)` and input weights `(N, B)` of N units."""
        a, b, w = (
            arguments.numbers(n, v, torch.float64)
            for n, v in (("left", left), ("right", right), ("input_weights", input_weights))
        )
        if a.ndim != 2 or w.ndim != 2 or a.shape != b.shape or len(w) != len(a):
            raise ValueError(
                f"left and right must be (units, motifs), input_weights (units, channels), got {tuple(a.shape)}, "
                f"{tuple(b.shape)}, "
                f"{tuple(w.shape)}."
            )
        return MotifCircuit(b.T @ a, b.T @ w, a.T @ w)

    def activity(self, scales: Tensor, stimulation: Tensor) -> tuple[Tensor, Tensor]:
        """Pre- and postsynaptic activity of the motifs, `(..., R)` each, at scales `(..., R)` under stimulation `(..., B)`."""
        own, into, onto = (v.to(scales) for v in (self.overlap, self.into, self.onto))
        drive = stimulation @ into.T
        x = drive
        for _ in range(SETTLED):
            x = 0.5 * (x + drive + (scales * torch.tanh(x)) @ own.T)
        pre = torch.tanh(x)
        return pre, scales * pre + stimulation @ onto.T

    def config(self) -> dict[str, Any]:
        """Plain form."""
        return {name: getattr(self, name).tolist() for name in ("overlap", "into", "onto")}


class MotifLaw(Law):
    """A law of the scales of a circuit's motifs, in the units of the scales themselves.

    Arguments:
        circuit: The motifs.
    """

    relative = False
    HEBB = Coefficient("hebb", "y_r phi(x_r)", latex=r"y_r\,\phi(x_r)")

    def __init__(self, circuit: MotifCircuit) -> None:
        arguments.instance("circuit", circuit, MotifCircuit)
        self.circuit = circuit
        self.latents, self.stimulations = circuit.into.shape
        super().__init__()

    def config(self) -> dict[str, object]:
        return {**super().config(), "circuit": self.circuit.config()}


class HebbianLaw(MotifLaw):
    r"""Hebbian growth held back by homeostasis.

        dc_r = hebb y_r phi(x_r) + homeostasis (target^2 - y_r^2) c_r

    Source of the second term: synaptic scaling as in van Rossum, Bi & Turrigiano (2000), J. Neurosci. 20:8812.
    """

    coefficients = (
        MotifLaw.HEBB,
        Coefficient("homeostasis", "(target^2 - y_r^2) c_r", latex=r"(y_0^2 - y_r^2)\,c_r"),
        Coefficient("target", low=0.0, linear=False, default=1.0, symbol="y_0"),
    )

    def step(self, theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
        pre, post = self.circuit.activity(state, stimulation)
        own = {name: v[..., None] for name, v in theta.items()}
        back = own["homeostasis"] * (own["target"].square() - post.square()) * state
        return state + own["hebb"] * post * pre + back


class OjaLaw(MotifLaw):
    r"""Oja's rule (1982): dc_r = hebb y_r phi(x_r) - decay y_r^2 c_r."""

    coefficients = (MotifLaw.HEBB, Coefficient("decay", "(-y_r^2 c_r)", latex=r"(-y_r^2\,c_r)"))

    def step(self, theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
        pre, post = self.circuit.activity(state, stimulation)
        own = {name: v[..., None] for name, v in theta.items()}
        return state + own["hebb"] * post * pre - own["decay"] * post.square() * state


class BCMLaw(MotifLaw):
    r"""The rule of Bienenstock, Cooper & Munro (1982) with a sliding threshold, and decay.

        dc_r = hebb y_r (y_r - q_r) phi(x_r) - decay c_r,      dq_r = (y_r^2 - q_r) / tau

    Below the threshold q_r, which starts at `threshold` and slides towards the square of activity, synapses weaken.
    """

    coefficients = (
        Coefficient("hebb", "y_r (y_r - q_r) phi(x_r)", latex=r"y_r (y_r - q_r)\,\phi(x_r)"),
        Coefficient("decay", "(-c_r)", latex=r"(-c_r)"),
        Coefficient("threshold", low=0.0, linear=False, default=1.0, symbol="q^0"),
        Coefficient("tau", low=1.0, linear=False, default=5.0, log=True, unit="sessions", symbol=r"\tau_q"),
    )

    def __init__(self, circuit: MotifCircuit) -> None:
        super().__init__(circuit)
        self.memory = self.latents

    def start(self, theta: Mapping[str, Tensor]) -> Tensor:
        return theta["threshold"][..., None].expand(*theta["threshold"].shape, self.memory)

    def step(self, theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
        scales, threshold = state[..., : self.latents], state[..., self.latents :]
        pre, post = self.circuit.activity(scales, stimulation)
        own = {name: v[..., None] for name, v in theta.items()}
        changed = scales + own["hebb"] * post * (post - threshold) * pre - own["decay"] * scales
        return torch.cat([changed, threshold + (post.square() - threshold) / own["tau"]], dim=-1)
