r"""Three-factor rules: an eligibility trace that grows during a trial, turned into weight change by reward.

A family says how the trace of a synapse grows from what that synapse can see (Eq. 4), and with which time constants
trace and weight forget:

    de_ij/dt = f_theta(r_j, xbar_i - x_i, w_ij) - e_ij / tau_e
    dw_ij    = e_ij (R - Rbar) - w_ij / tau_w                            at the end of a trial (Eq. 5)

Source: "Meta-learning local learning rules for structured credit assignment with sparse feedback"
(arXiv 2512.09366), Eq. 4 and 5.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sbirules.model.rules.coefficient import TIME_CONSTANTS, Coefficient
from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.text import RuleText, general_sum, number_tex, others_in_words, others_tex, terms_tex
from sbirules.support import arguments
from sbirules.support.own_code import called, must_broadcast
from sbirules.support.typed import typed

__all__ = ["ThreeFactorRule"]

WORDS = (
    r"$r_j$ is the presynaptic rate, $x_i$ the postsynaptic state, $\bar x_i$ its running mean and $d_i = \bar x_i - x_i$ their "
    r"difference, $w_{ij}$ the weight, $R$ the reward of the "
    r"trial and $\bar R$ what was expected of that type of trial."
)


class ThreeFactorRule(RuleFamily):
    r"""Rules with an eligibility trace that reward prediction errors turn into weight changes.

    A subclass names its coefficients and writes `drive`, the right-hand side of Eq. 4 without the decay;
    everything else follows. `trace` integrates `drive` step by step; override it where the sum over time
    has a faster form.

    Arguments:
        tau_e: Time constant of the eligibility trace in ms; `inf` (default) for no decay.
        tau_w: Time constant of the weights in trials, at least 1; `inf` (default) for no decay.
        infer: Which of `"tau_e"`, `"tau_w"` are inferred rather than fixed. They become the last
            columns of theta.

    Examples:
        >>> class Normalised(ThreeFactorRule):
        ...     coefficients = (
        ...         Coefficient("hebb", "r_j d_i"),
        ...         Coefficient("decay", "d_i^2 w_ij"),
        ...     )
        ...
        ...     def drive(self, theta, rate, deviation, weight):
        ...         return theta["hebb"] * rate * deviation + theta["decay"] * deviation**2 * weight
    """

    @typed
    def __init__(self, *, tau_e: float = math.inf, tau_w: float = math.inf, infer: Sequence[str] = ()) -> None:
        if isinstance(infer, str) or not isinstance(infer, Sequence):
            raise ValueError(f'infer must be a list such as ["tau_e"], got {infer!r}.')
        for name in infer:
            arguments.known("infer", name, tuple(TIME_CONSTANTS))
        self.tau_e = arguments.above("tau_e", tau_e, 0.0, infinite=True)
        self.tau_w = arguments.above("tau_w", tau_w, 0.0, infinite=True)
        if self.tau_w < 1:
            raise ValueError(f"tau_w is in trials and must be at least 1, got {tau_w!r}.")
        self.infer = tuple(name for name in TIME_CONSTANTS if name in infer)
        for name in self.infer:
            if math.isfinite(getattr(self, name)):
                raise ValueError(
                    f"{name} is inferred, so that its value {getattr(self, name):g} would not count; leave it out, or out of "
                    f"infer."
                )
        super().__init__()

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        """All columns of theta: the coefficients, then the inferred time constants."""
        return (*getattr(self, "coefficients", ()), *(TIME_CONSTANTS[name] for name in self.infer))

    def config(self) -> dict[str, object]:
        return {**super().config(), "tau_e": self.tau_e, "tau_w": self.tau_w}

    def split(self, raw: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Columns of raw theta `(batch, D)` by name, each `(batch, 1, 1)`, and `tau_e`, `tau_w` `(batch,)`."""
        columns = dict(zip(self.names, raw.unbind(dim=1), strict=True))
        fixed = {"tau_e": self.tau_e, "tau_w": self.tau_w}
        taus = [columns.pop(name, raw.new_full((len(raw),), fixed[name])) for name in TIME_CONSTANTS]
        return {name: value[:, None, None] for name, value in columns.items()}, taus[0], taus[1]

    @abstractmethod
    def drive(self, theta: Mapping[str, Tensor], rate: Tensor, deviation: Tensor, weight: Tensor) -> Tensor:
        r"""Growth of the trace per ms, the sum in Eq. 4.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.
            rate: Presynaptic rates `r_j` that drove the step, `(batch, 1, N)`.
            deviation: Postsynaptic `xbar_i - x_i`, `(batch, N, 1)`.
            weight: Weights `w_ij`, `(batch, N, N)` as (post, pre).

        Returns:
            A tensor that broadcasts to `(batch, N, N)`, (post, pre).
        """

    def trace(
        self,
        theta: Mapping[str, Tensor],
        rate: Tensor,
        deviation: Tensor,
        weight: Tensor,
        dt: float,
        decay: Tensor | None,
    ) -> Tensor:
        r"""The eligibility trace at the end of an episode, `e(T)` of Eq. 4 with `e(0) = 0`.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.
            rate: Presynaptic rates that drove each step, `(batch, T, N)`.
            deviation: Postsynaptic deviations of each step, `(batch, T, N)`.
            weight: Weights, constant within the episode, `(batch, N, N)` as (post, pre).
            dt: Step in ms.
            decay: `exp(-dt / tau_e)`, `(batch,)`, or None for a trace that does not decay.

        Returns:
            The trace, `(batch, N, N)` as (post, pre).
        """
        e = torch.zeros_like(weight)
        for t in range(rate.shape[1]):
            growth = called(self.drive, theta, rate[:, t, None, :], deviation[:, t, :, None], weight)
            must_broadcast(self.drive, growth, weight.shape)
            e = e + dt * growth if decay is None else decay[:, None, None] * e + dt * growth
        return e

    # Text -----------------------------------------------------------------------------------------

    def _taus(self, values: Mapping[str, float]) -> dict[str, float]:
        return {"tau_e": values.get("tau_e", self.tau_e), "tau_w": values.get("tau_w", self.tau_w)}

    def _equation(self, growth: str, values: Mapping[str, float], latex: bool, digits: int) -> str:
        tau = self._taus(values)
        trace = "" if math.isinf(tau["tau_e"]) else (r" - e_{ij}/\tau_e" if latex else " - e_ij / tau_e")
        weight = "" if math.isinf(tau["tau_w"]) else (r" - w_{ij}/\tau_w" if latex else " - w_ij / tau_w")
        known = []
        for name, value in tau.items():
            c = TIME_CONSTANTS[name]
            if math.isfinite(value):
                shown = (
                    rf"{c.tex} = {value:.{digits}g}\,\mathrm{{{c.unit}}}"
                    if latex
                    else f"{name} = {value:.{digits}g} {c.unit}"
                )
                known.append(shown)
        if latex:
            lines = [rf"\dot e_{{ij}} = {growth}{trace}", rf"\Delta w_{{ij}} = e_{{ij}}\,(R - \bar R){weight}"]
            return r",\quad ".join([*lines, *known])
        return "\n".join([f"de_ij/dt = {growth}{trace}", f"dw_ij = e_ij (R - Rbar){weight}", *known])

    def general_growth(self) -> str:
        """The right-hand side of Eq. 4 without the decay, for any rule of the family, in LaTeX."""
        return general_sum(self.coefficients)

    @typed
    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        decay = r" - e_{ij}/\tau_e" if "tau_e" in self.infer or math.isfinite(self.tau_e) else ""
        forget = r" - w_{ij}/\tau_w" if "tau_w" in self.infer or math.isfinite(self.tau_w) else ""
        rule = [r"\frac{d e_{ij}}{dt} =", *terms_tex(self.coefficients, values, digits)]
        rule += [decay] if decay else []
        rule += others_tex(self.coefficients, values, digits)
        rule += [
            rf"{TIME_CONSTANTS[n].tex} = {number_tex(v, 3)}\,\mathrm{{{TIME_CONSTANTS[n].unit}}}"
            for n, v in self._taus(values).items()
            if math.isfinite(v)
        ]
        more = f" and {len(self.infer)} time constant(s)" if self.infer else ""
        return RuleText(
            intro="Every synapse has an eligibility trace that grows during a trial; the reward prediction error turns it "
            "into a weight change:",
            equations=(
                rf"\frac{{d e_{{ij}}}}{{dt}} = {self.general_growth()}{decay}",
                rf"\Delta w_{{ij}} = e_{{ij}}\,(R - \bar R){forget}",
            ),
            rule=tuple(rule),
            words=f"{WORDS} {len(self.coefficients)} coefficients{more} are inferred.{others_in_words(self.coefficients)}",
            units="",
        )


RuleFamily.kinds["drive"] = ThreeFactorRule
