r"""Rules that change the weights of a policy after each trial, from what a synapse sees of stimulus, choice and reward.

    dw_ij = f_theta(x_j, c_i, d_i, y_i, w_ij, r, rd)

Weights are in logit units: scaling them up and the policy's inverse temperature down changes no probability.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.distributions import Uniform

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.text import RuleText, general_sum, others_tex, terms_tex
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["BASELINES_OF_REWARD", "VARIABLES", "PolicyRule"]

# what a rule can see of a trial, in the order in which terms name it; i is the option, j the feature
VARIABLES = {
    "c": ("c_i", "1 for the chosen option, 0 for others"),
    "d": ("d_i", "c_i - s_i, the policy's error: s_i is the probability of option i without lapses"),
    "x": ("x_j", "feature j of the stimulus"),
    "y": ("y_i", "sum over j of w_ij x_j"),
    "w": ("w_ij", "the weight itself, before the update"),
    "r": ("r", "reward of the trial"),
    "rd": (r"(r - \bar r)", "reward above its expectation"),
}
BASELINES_OF_REWARD = ("exponential", "last", "none")
RATE = Coefficient(
    "rbar_rate",
    low=0.0,
    high=1.0,
    linear=False,
    default=0.1,
    unit="shares",
    symbol=r"\alpha_{\bar r}",
    prior=Uniform(0.0, 1.0, validate_args=False),
)


class PolicyRule(RuleFamily):
    r"""Rules of a policy's weights.

    A subclass names its coefficients and writes `update`. The expectation of reward, rbar, is 0 at first; rd takes it from
    before the trial. It is an exponential mean, rbar + rate (r - rbar), or the mean of the last rewards (zeros at first),
    or stays 0.

    Arguments:
        baseline: `"exponential"`, `"last"` or `"none"`.
        rate: Of the exponential mean, per trial.
        last: How many rewards the mean of the last ones takes.
        infer: `["rbar_rate"]` makes the rate a coefficient.

    Examples:
        >>> class Hebb(PolicyRule):
        ...     coefficients = (Coefficient("eta", "c_i x_j r"), Coefficient("decay", "-w_ij"))
        ...
        ...     def update(self, theta, *, x, c, d, y, w, r, rd):
        ...         return theta["eta"] * c * x * r - theta["decay"] * w
    """

    @typed
    def __init__(
        self, *, baseline: str = "exponential", rate: float = 0.1, last: int = 10, infer: Sequence[str] = ()
    ) -> None:
        arguments.known("baseline", baseline, BASELINES_OF_REWARD)
        for name in arguments.strings("infer", infer):
            arguments.known("infer", name, (RATE.name,))
        if infer and baseline != "exponential":
            raise ValueError(f'infer = ["rbar_rate"] needs baseline = "exponential", got {baseline!r}.')
        self.baseline, self.rate = baseline, arguments.share("rate", rate, zero=True)
        self.last, self.infer = arguments.whole("last", last, 1, arguments.MANY), tuple(infer)
        super().__init__()

    @abstractmethod
    def update(
        self,
        theta: Mapping[str, Tensor],
        *,
        x: Tensor,
        c: Tensor,
        d: Tensor,
        y: Tensor,
        w: Tensor,
        r: Tensor,
        rd: Tensor,
    ) -> Tensor:
        """Change of the weights after a trial, a tensor that broadcasts to `(batch, options, features)`.

        Arguments:
            theta: Coefficients by name, each `(batch, 1, 1)`.
            x: Stimulus, `(batch, 1, features)`.
            c: 1 for the chosen option, `(batch, options, 1)`.
            d: c minus the policy's probability, `(batch, options, 1)`.
            y: Weights times stimulus, `(batch, options, 1)`.
            w: Weights, `(batch, options, features)`.
            r: Reward, `(batch, 1, 1)`.
            rd: Reward minus its expectation, `(batch, 1, 1)`.
        """

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        return (*self.coefficients, *((RATE,) if self.infer else ()))

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Names of settings that mean nothing with this expectation of reward."""
        used = {"exponential": "rate", "last": "last"}.get(self.baseline)
        return tuple(name for name in ("rate", "last") if name != used)

    def config(self) -> dict[str, object]:
        reward = {"baseline": self.baseline, "rate": self.rate, "last": self.last, "infer": list(self.infer)}
        return {**super().config(), **reward}

    def _equation(self, growth: str, values: Mapping[str, float], latex: bool, digits: int) -> str:
        return rf"\Delta w_{{ij}} = {growth}" if latex else f"dw_ij = {growth}"

    @typed
    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        return RuleText(
            intro="After each trial the weights of the policy change by:",
            equations=(rf"\Delta w_{{ij}} = {general_sum(self.coefficients)}",),
            rule=(
                r"\Delta w_{ij} =",
                *terms_tex(self.coefficients, values, digits),
                *others_tex(self.coefficients, values, digits),
            ),
            words=rf"$w_{{ij}}$ is the weight of feature $x_j$ for option $i$, in logit units. {self._rewards(values)}",
            units="Weights are in logit units, changes per trial.",
        )

    def _rewards(self, values: Mapping[str, float]) -> str:
        """What the expectation of reward is, in words."""
        if self.baseline == "none":
            return "Rewards count as they are."
        if self.baseline == "last":
            return rf"$\bar r$ is the mean of the last {self.last} rewards."
        rate = f"{values.get(RATE.name, self.rate):.2g}"
        if RATE.name in values:
            rate = rf"${RATE.tex}$ ({RATE.name}) = {rate}"
        return rf"$\bar r$ is an exponential mean of rewards, at a rate of {rate} per trial."
