r"""Laws of slow change: from the scales of one session, and its stimulation, to those of the next.

A law says how a circuit's connectivity moves from session to session. Its state is the scales, and what else it remembers, such
as a sliding threshold. `LatentLaw` is the one of STEER (arXiv 2603.00213), `DriftLaw` moves without looking, and the laws of
`sbirules.model.rules.motif_laws` are Hebbian, Oja's and BCM's in a circuit of motifs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.text import RuleText, number_tex
from sbirules.support import arguments

__all__ = ["DriftLaw", "LatentLaw", "Law"]

SHAPES: dict[str, Callable[[Tensor], Tensor]] = {"linear": lambda z: z, "tanh": torch.tanh, "relu": torch.relu}


class Law(RuleFamily):
    """A law of change between sessions.

    Arguments:
        latents: Number of scales, R.
        stimulations: Number of channels of stimulation, B.
        memory: What the state holds beside the scales, M values.
        relative: Whether the law is of scales around their mean in units of their spread, and of stimulation in units of its root
            mean square, so that one prior suits any; else of both as they are.
    """

    latents: int
    stimulations: int = 0
    memory: int = 0
    relative: bool = True

    @abstractmethod
    def step(self, theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
        """The next session's state, `(..., R + M)`; gradients flow.

        Arguments:
            theta: Columns by name, of shapes `(...)`.
            state: Scales, then memory, `(..., R + M)`.
            stimulation: Of the session, `(..., B)`.
        """

    def linear(self, theta: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor] | None:
        """A `(..., R, R)`, U `(..., R, B)` and b `(..., R)` where the law is z' = A z + U u + b; None where it is not.

        A law that says so is filtered faster; `step` must do the same.
        """
        return None

    def start(self, theta: Mapping[str, Tensor]) -> Tensor:
        """Memory in the first session, `(..., M)`."""
        one = next(iter(theta.values()))
        return one.new_zeros((*one.shape, self.memory))


def _indexed(stem: str, *index: int) -> str:
    return "_".join((stem, *(str(i + 1) for i in index)))


class LatentLaw(Law):
    r"""The law of STEER: latent recurrence driven by stimulation.

        linear:  z' = z + W z + U u + b
        else:    z' = z + rate (W phi(z) - z + U u + b)

    z are the scales, u the session's stimulation. Of a linear law rate and leak cannot be told from W, so that W is all change
    per session: its eigenvalues plus 1 are those of the law.

    Arguments:
        latents: Number of scales.
        stimulations: Number of channels of stimulation.
        nonlinearity: `"linear"`, `"tanh"` or `"relu"`.

    Examples:
        >>> LatentLaw(2, 1).names
        ('w_1_1', 'w_1_2', 'w_2_1', 'w_2_2', 'u_1_1', 'u_2_1', 'bias_1', 'bias_2')
    """

    def __init__(self, latents: int = 1, stimulations: int = 0, nonlinearity: str = "linear") -> None:
        self.latents = arguments.whole("latents", latents, 1, 64)
        self.stimulations = arguments.whole("stimulations", stimulations, 0, 64)
        arguments.known("nonlinearity", nonlinearity, tuple(SHAPES))
        self.nonlinearity = nonlinearity
        seen = "z" if nonlinearity == "linear" else f"{nonlinearity}(z)"
        within = range(latents)
        self.coefficients = (
            *(
                Coefficient(_indexed("w", i, j), f"{seen}_{j + 1} in {i + 1}", symbol=f"W_{{{i + 1}{j + 1}}}")
                for i in within
                for j in within
            ),
            *(
                Coefficient(_indexed("u", i, k), f"u_{k + 1} in {i + 1}", symbol=f"U_{{{i + 1}{k + 1}}}")
                for i in within
                for k in range(stimulations)
            ),
            *(Coefficient(_indexed("bias", i), f"in {i + 1}", symbol=f"b_{{{i + 1}}}") for i in within),
        )
        if nonlinearity != "linear":
            self.coefficients += (
                Coefficient("rate", low=0.0, high=1.0, linear=False, default=0.5, unit="per session", symbol=r"\tau_z"),
            )
        super().__init__()

    def _matrices(self, theta: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """W, U and b."""
        r, b = range(self.latents), range(self.stimulations)
        w = torch.stack([torch.stack([theta[_indexed("w", i, j)] for j in r], dim=-1) for i in r], dim=-2)
        bias = torch.stack([theta[_indexed("bias", i)] for i in r], dim=-1)
        if not self.stimulations:
            return w, bias.new_zeros((*bias.shape, 0)), bias
        u = torch.stack([torch.stack([theta[_indexed("u", i, k)] for k in b], dim=-1) for i in r], dim=-2)
        return w, u, bias

    def linear(self, theta: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor] | None:
        if self.nonlinearity != "linear":
            return None
        w, u, bias = self._matrices(theta)
        return w + torch.eye(self.latents, dtype=w.dtype), u, bias

    def step(self, theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
        w, u, bias = self._matrices(theta)
        change = (w @ SHAPES[self.nonlinearity](state)[..., None])[..., 0] + bias
        change = change + (u @ stimulation[..., None])[..., 0]
        if self.nonlinearity != "linear":
            change = theta["rate"][..., None] * (change - state)
        return state + change

    def config(self) -> dict[str, object]:
        made = {"latents": self.latents, "stimulations": self.stimulations, "nonlinearity": self.nonlinearity}
        return {**super().config(), **made}

    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        phi = "z^k" if self.nonlinearity == "linear" else r"\phi(z^k)"
        change = (
            rf"W {phi} + U \bar u^k + b"
            if self.nonlinearity == "linear"
            else rf"\tau_z(W {phi} - z^k + U \bar u^k + b)"
        )
        words = (
            r"$z^k$ are the scales of session $k$, $\bar u^k$ its stimulation"
            + ("" if self.nonlinearity == "linear" else rf", $\phi$ is {self.nonlinearity}")
            + ". z is known up to a change of its coordinates: eigenvalues, fixed points and responses do not depend on that."
        )
        values = arguments.one_rule("theta", theta, self.names)
        rule = [rf"{c.tex} = {number_tex(values[c.name], digits)}" for c in self.coefficients]
        rule = [*(rf"{piece},\;" for piece in rule[:-1]), rule[-1]]
        return RuleText(
            "From session to session the scales change:",
            (rf"z^{{k+1}} = z^k + {change}",),
            tuple(rule),
            words,
            "Scales count from their mean in units of their spread, stimulation in units of its root mean square.",
        )


class DriftLaw(Law):
    """Scales that drift by the same amount from session to session, whatever they are and whatever is stimulated.

    Arguments:
        latents: Number of scales.
    """

    def __init__(self, latents: int = 1) -> None:
        self.latents = arguments.whole("latents", latents, 1, 64)
        self.coefficients = tuple(Coefficient(_indexed("drift", i), f"in {i + 1}") for i in range(latents))
        super().__init__()

    def linear(self, theta: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor] | None:
        drift = torch.stack([theta[name] for name in self.names], dim=-1)
        stay = torch.eye(self.latents, dtype=drift.dtype).expand(*drift.shape, -1)
        return stay, drift.new_zeros((*drift.shape, 0)), drift

    def step(self, theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
        return state + torch.stack([theta[name] for name in self.names], dim=-1)

    def config(self) -> dict[str, object]:
        return {**super().config(), "latents": self.latents}
