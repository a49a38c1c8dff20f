r"""Rules of a hidden layer: its input weights change after each trial, by what reaches the synapse.

    h_i  = phi(sum_j w_ij x_j + xi_i)                        hidden activity; xi is noise of the units
    z    = sum_i v_i h_i,     dv_i = eta_out (t - z) h_i     output, and the delta rule of its weights
    dw_ij = f_theta(what is declared in `sees`)

Families differ in f alone, so that recordings of hidden units can speak for one or another.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.text import RuleText, general_sum, number_tex, others_in_words, others_tex, terms_tex
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["LAYER_SIGHTS", "READOUT_RATE", "LayeredRule"]

# what a rule can see of a trial: its symbol, what it is, and its shape
LAYER_SIGHTS = {
    "pre": ("x_j", "input, (batch, 1, I)"),
    "post": ("h_i", "hidden activity, (batch, H, 1)"),
    "slope": (r"\phi'_i", "slope of the hidden activity, (batch, H, 1)"),
    "noise": (r"\xi_i", "noise of the unit in this trial, (batch, H, 1)"),
    "weight": ("w_ij", "the weight itself, before the update, (batch, H, I)"),
    "readout": ("v_i", "output weight of the unit, before the update, (batch, H, 1)"),
    "feedback": ("b_i", "fixed random feedback weight of the unit, (batch, H, 1)"),
    "delta": ("(t - z)", "target minus output, (batch, 1, 1)"),
    "surprise": (r"(R - \bar R)", "reward minus its expectation for the stimulus, (batch, 1, 1)"),
}
READOUT_RATE = Coefficient("eta_out", "(t - z) h_i", latex=r"(t - z)\,h_i", symbol=r"\eta_{\mathrm{out}}")


class LayeredRule(RuleFamily):
    r"""Rules of the input weights of a hidden layer, whose output weights follow the delta rule.

    A subclass names its coefficients, what it sees (`sees`, of `LAYER_SIGHTS`), and writes `hidden_change`. The rate of the
    output weights, `eta_out`, is the last column of theta in all families.

    Examples:
        >>> class AntiHebb(LayeredRule):
        ...     coefficients = (Coefficient("eta", "-h_i x_j"),)
        ...     sees = ("pre", "post")
        ...
        ...     def hidden_change(self, theta, *, pre, post):
        ...         return -theta["eta"] * post * pre

    Source: of the delta rule, Widrow & Hoff (1960), IRE WESCON Convention Record 4:96.
    """

    sees: tuple[str, ...] = ("pre", "post")

    @typed
    def __init__(self) -> None:
        for name in self.sees:
            arguments.known(f"{type(self).__name__}.sees", name, tuple(LAYER_SIGHTS))
        super().__init__()

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        """All columns of theta: the coefficients, then the rate of the output weights."""
        return (*getattr(self, "coefficients", ()), READOUT_RATE)

    def config(self) -> dict[str, object]:
        return {**super().config(), "sees": list(self.sees)}

    @abstractmethod
    def hidden_change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        """Change of the hidden layer's input weights after a trial.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.
            seen: What is declared in `sees`, of shapes as in `LAYER_SIGHTS`.

        Returns:
            A tensor that broadcasts to `(batch, H, I)`, (post, pre).
        """

    def _equation(self, growth: str, values: Mapping[str, float], latex: bool, digits: int) -> str:
        rate = values[READOUT_RATE.name]
        if latex:
            return rf"\Delta w_{{ij}} = {growth},\quad \Delta v_i = {number_tex(rate, digits)}\,{READOUT_RATE.latex}"
        return f"dw_ij = {growth}\ndv_i = {rate:.{digits}g} {READOUT_RATE.term}"

    @typed
    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        return RuleText(
            intro="After each trial the weights into the hidden layer and out of it change by:",
            equations=(
                rf"\Delta w_{{ij}} = {general_sum(self.coefficients)}",
                rf"\Delta v_i = {READOUT_RATE.tex}\,{READOUT_RATE.latex}",
            ),
            rule=(
                r"\Delta w_{ij} =",
                *terms_tex(self.coefficients, values, digits),
                *others_tex(self.coefficients, values, digits),
                rf",\quad \Delta v_i = {number_tex(values[READOUT_RATE.name], digits)}\,{READOUT_RATE.latex}",
            ),
            words=r"$x_j$ is the input, $h_i$ the activity of hidden unit $i$, $w_{ij}$ its input and $v_i$ its output weight, "
            rf"$z$ the output and $t$ the target.{self._letters()} {self.dim} coefficients are inferred."
            rf"{others_in_words(self.coefficients)}",
            units="Coefficients are raw: weights change by so much per trial.",
        )

    def _letters(self) -> str:
        """What further letters of the equation mean, in words."""
        words = {
            "slope": r" $\phi'_i$ is the slope of the unit's activity at what drives it.",
            "noise": r" $\xi_i$ is the noise of the unit in the trial.",
            "feedback": r" $b_i$ are fixed random feedback weights.",
            "surprise": r" $R$ is the reward, minus the error, and $\bar R$ its expectation for that stimulus.",
        }
        return "".join(text for name, text in words.items() if name in self.sees)
