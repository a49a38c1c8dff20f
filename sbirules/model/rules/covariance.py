"""The covariance rule (Sejnowski 1977): activity above its own running mean strengthens, activity below it weakens."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.local import LocalRule
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["Covariance"]


class Covariance(LocalRule):
    r"""The covariance rule, with a postsynaptic threshold that is the unit's mean rate.

        dw_ij/dt = eta r_j (r_i - m_i),      tau_m dm_i/dt = r_i - m_i

    Over inputs of covariance C a linear unit's weights change by eta C w on average, whatever the inputs' means (Dayan & Abbott
    2001, Eq. 8.8 and 8.10).

    Arguments:
        start: Mean rate before the first trial.
        every_step: Change the weights at every step instead of at the end of each trial.

    Source: Sejnowski (1977), J. Math. Biol. 4:303.
    """

    coefficients = (
        Coefficient("eta", "r_j (r_i - m_i)", latex=r"r_j\,(r_i - m_i)", symbol=r"\eta"),
        Coefficient("tau_m", low=0.0, linear=False, default=200.0, unit="ms", log=True, symbol=r"\tau_m"),
    )
    sees = ("pre", "post")

    @typed
    def __init__(self, *, start: float = 0.0, every_step: bool = False) -> None:
        self.start = arguments.finite("start", start)
        super().__init__(every_step=every_step)

    @property
    def slow(self) -> Mapping[str, float]:
        return {"mean": self.start}

    def change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        return theta["eta"] * (seen["post"] - seen["mean"]) * seen["pre"]

    def drift(self, theta: Mapping[str, Tensor], **seen: Tensor) -> dict[str, Tensor]:
        return {"mean": (seen["post"] - seen["mean"]) / theta["tau_m"]}
