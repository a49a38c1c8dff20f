r"""Rules that no reward gates: the weight changes with what the synapse sees, whatever comes of the trial.

    dw_ij/dt = f_theta(what is declared in `sees`)

either at the end of each trial by the integral over it (the default: weights are constant within a trial, as those
of three-factor rules are), or at every step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.text import RuleText, general_sum, others_tex, terms_tex
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["SIGHTS", "LocalRule"]

# what a rule can see of a step, and its shape
SIGHTS = {
    "pre": "presynaptic rate r_j that drove the step, (batch, 1, N)",
    "post": "postsynaptic rate r_i after the step, (batch, N, 1)",
    "state": "postsynaptic state x_i after the step, (batch, N, 1)",
    "deviation": "xbar_i - x_i, (batch, N, 1)",
    "weight": "w_ij, (batch, N, N) as (post, pre)",
}


class LocalRule(RuleFamily):
    """Rules without a reward, from what is declared.

    A subclass names its coefficients, what it sees (`sees`, of `SIGHTS`), and slow variables of the postsynaptic unit
    that it updates itself (`slow`, a property or a table, with their initial values), and writes `change`, and `drift`
    where there are slow variables. Coefficients keep unit 1.

    Arguments:
        every_step: Change the weights at every step instead of at the end of each trial.

    Examples:
        >>> class Hebb(LocalRule):
        ...     coefficients = (Coefficient("eta", "r_i r_j"),)
        ...     sees = ("pre", "post")
        ...
        ...     def change(self, theta, *, pre, post):
        ...         return theta["eta"] * post * pre
    """

    sees: tuple[str, ...] = ("pre", "post")

    @typed
    def __init__(self, *, every_step: bool = False) -> None:
        if not isinstance(every_step, bool):
            raise ValueError(f"every_step must be true or false, got {every_step!r}.")
        for name in self.sees:
            arguments.known(f"{type(self).__name__}.sees", name, tuple(SIGHTS))
        self.every_step = every_step
        super().__init__()

    def config(self) -> dict[str, object]:
        return {**super().config(), "sees": list(self.sees), "slow": dict(self.slow), "every_step": self.every_step}

    @property
    def slow(self) -> Mapping[str, float]:
        """Slow variables of each unit that the rule itself updates, with their values before the first trial."""
        return {}

    @abstractmethod
    def change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        """Growth of the weights per ms.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.
            seen: What is declared in `sees`, and the slow variables by name, each `(batch, N, 1)`.

        Returns:
            A tensor that broadcasts to `(batch, N, N)`, (post, pre).
        """

    def drift(self, theta: Mapping[str, Tensor], **seen: Tensor) -> dict[str, Tensor]:
        """Growth of each slow variable per ms, `(batch, N, 1)` by name; arguments as for `change`."""
        return {}

    def _equation(self, growth: str, values: Mapping[str, float], latex: bool, digits: int) -> str:
        return rf"\dot w_{{ij}} = {growth}" if latex else f"dw_ij/dt = {growth}"

    @typed
    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        when = "at every step" if self.every_step else "at the end of each trial, by the integral over it"
        return RuleText(
            intro=f"Weights change with what the synapse sees, without a reward, {when}:",
            equations=(rf"\frac{{d w_{{ij}}}}{{dt}} = {general_sum(self.coefficients)}",),
            rule=(
                r"\frac{d w_{ij}}{dt} =",
                *terms_tex(self.coefficients, values, digits),
                *others_tex(self.coefficients, values, digits),
            ),
            words=rf"$r_j$ is the presynaptic rate, $r_i$ the postsynaptic one. {self.dim} coefficients are inferred.",
            units="Coefficients are raw: weights change by so much per ms.",
        )


RuleFamily.kinds["change"] = LocalRule
