"""Plasticity as a small network of what a synapse sees (Mehta et al. 2024), where no sum of products is assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.policy import VARIABLES, PolicyRule
from sbirules.model.rules.text import RuleText
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["MLPRule"]

GATES = ("c", "d", "none")
MOST = 64  # hidden units


class MLPRule(PolicyRule):
    r"""A network with one hidden layer, the same for all synapses.

        dw_ij = gate_i sum_h out_h tanh(bias_h + sum_k in_hk z_k)

    z are the inputs, such as x_j, r - rbar and w_ij. Hidden units may be exchanged, and signs of `out` and `in`, `bias`
    flipped together, without a change of dw: look at the function, `figures.updates`, and not at single coefficients.

    Arguments:
        inputs: What the network sees, of x, c, d, y, w, r, rd.
        hidden: Hidden units.
        gate: What its output is multiplied by: `"c"`, the chosen option alone learns; `"d"`, the policy's error; or `"none"`,
            which needs c, d, y or w among the inputs where there are two options or more.
        options: Of the expectation of reward, see `PolicyRule`.

    A prior such as `normal(family, 0, 0.5)` for all coefficients lets dw be of order `sqrt(hidden) / 4`; `normal(family, 0, 1,
    out_1=Normal(0, 0.1), ...)` sets the size of changes and the bends of the function apart.

    Source: Mehta, Tyulmankov, Rajagopalan, Turner, Fitzgerald & Funke (2024), NeurIPS 37, Sec. 2.2.
    """

    @typed
    def __init__(
        self,
        inputs: Sequence[str] = ("x", "rd", "w"),
        *,
        hidden: int = 4,
        gate: str = "c",
        baseline: str = "exponential",
        rate: float = 0.1,
        last: int = 10,
        infer: Sequence[str] = (),
    ) -> None:
        self.inputs = arguments.strings("inputs", inputs)
        for name in self.inputs:
            arguments.known("inputs", name, tuple(VARIABLES))
        if not self.inputs or len(set(self.inputs)) != len(self.inputs):
            raise ValueError(f"inputs must name at least one variable, each once, got {arguments.listed(self.inputs)}.")
        self.hidden, self.gate = arguments.whole("hidden", hidden, 1, MOST), gate
        arguments.known("gate", gate, GATES)
        units = range(1, self.hidden + 1)
        self.coefficients = tuple(
            coefficient
            for h in units
            for coefficient in (
                Coefficient(f"out_{h}", f"output of hidden unit {h}", symbol=rf"v_{{{h}}}"),
                Coefficient(f"bias_{h}", f"bias of hidden unit {h}", symbol=rf"b_{{{h}}}"),
                *(Coefficient(f"in_{h}_{k}", f"{k} to hidden unit {h}", symbol=rf"u_{{{h},{k}}}") for k in self.inputs),
            )
        )
        super().__init__(baseline=baseline, rate=rate, last=last, infer=infer)

    def config(self) -> dict[str, object]:
        return {**super().config(), "inputs": list(self.inputs), "hidden": self.hidden, "gate": self.gate}

    def update(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        total = torch.zeros(())
        for h in range(1, self.hidden + 1):
            drive = theta[f"bias_{h}"]
            for name in self.inputs:
                drive = drive + theta[f"in_{h}_{name}"] * seen[name]
            total = total + theta[f"out_{h}"] * torch.tanh(drive)
        return total if self.gate == "none" else seen[self.gate] * total

    @typed
    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values = arguments.one_rule("theta", theta, self.names)
        arguments.digits(digits)
        sees = ", ".join(f"${VARIABLES[name][0]}$" for name in self.inputs)
        gate = "" if self.gate == "none" else rf"{VARIABLES[self.gate][0]}\,"
        return RuleText(
            intro="After each trial the weights of the policy change by a small network of what the synapse sees:",
            equations=(
                rf"\Delta w_{{ij}} = {gate}\sum_{{h=1}}^{{{self.hidden}}} v_h \tanh\left(b_h + \sum_k u_{{hk}} z_k\right)",
            ),
            rule=(
                rf"\Delta w_{{ij}} \approx {gate}f(z)",
                rf"\quad |v| = {sum(values[f'out_{h}'] ** 2 for h in range(1, self.hidden + 1)) ** 0.5:.2g}",
            ),
            words=f"z are {sees}. Units of a network can be exchanged, so coefficients mean little one by one: the posterior is "
            rf"shown as a function. {self._rewards(values)}",
            units="Weights are in logit units, changes per trial.",
        )
