"""The rule of Bienenstock, Cooper & Munro (1982), with a threshold that slides with the unit's own activity."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.local import LocalRule
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["BCM"]


class BCM(LocalRule):
    r"""BCM with a sliding threshold.

        dw_ij/dt = eta r_j r_i (r_i - theta_i),      tau_theta dtheta_i/dt = r_i^2 / target - theta_i

    A unit's fixed points are r_i = 0 and r_i = theta_i = target, of which the second is stable as long as the threshold
    is fast against the weights (Intrator & Cooper 1992).

    Arguments:
        target: Rate of the stable fixed point.
        start: Threshold before the first trial.
        every_step: Change the weights at every step instead of at the end of each trial.

    Source: Bienenstock, Cooper & Munro (1982), J. Neurosci. 2:32; the quadratic threshold of Intrator & Cooper (1992).
    """

    coefficients = (
        Coefficient("eta", "r_j r_i (r_i - theta_i)", latex=r"r_j\,r_i\,(r_i - \theta_i)", symbol=r"\eta"),
        Coefficient("tau_theta", low=0.0, linear=False, default=200.0, unit="ms", log=True, symbol=r"\tau_\theta"),
    )
    sees = ("pre", "post")

    @typed
    def __init__(self, *, target: float = 0.5, start: float = 0.0, every_step: bool = False) -> None:
        self.target = arguments.above("target", target, 0.0)
        self.start = arguments.at_least("start", start, 0.0)
        super().__init__(every_step=every_step)

    @property
    def slow(self) -> Mapping[str, float]:
        return {"threshold": self.start}

    def config(self) -> dict[str, object]:
        return {**super().config(), "target": self.target}

    def change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        pre, post, threshold = seen["pre"], seen["post"], seen["threshold"]
        return theta["eta"] * post * (post - threshold) * pre

    def drift(self, theta: Mapping[str, Tensor], **seen: Tensor) -> dict[str, Tensor]:
        return {"threshold": (seen["post"] ** 2 / self.target - seen["threshold"]) / theta["tau_theta"]}
