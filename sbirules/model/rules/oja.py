"""Oja's rule (1982): Hebbian growth that the weight itself holds back, so that a unit finds the first principal component."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.local import LocalRule

__all__ = ["Oja"]


class Oja(LocalRule):
    r"""Oja's rule.

        dw_ij/dt = hebb r_i r_j - decay r_i^2 w_ij

    For a linear unit with constant input r, the fixed point is w = r hebb / (decay r_i), of squared length hebb / decay; over
    varying input, the direction of largest variance.

    Source: Oja (1982), J. Math. Biol. 15:267.
    """

    coefficients = (
        Coefficient("hebb", "r_i r_j", latex=r"r_i\,r_j"),
        Coefficient("decay", "(-r_i^2 w_ij)", latex=r"(-r_i^2\,w_{ij})"),
    )
    sees = ("pre", "post", "weight")

    def change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        pre, post, weight = seen["pre"], seen["post"], seen["weight"]
        return theta["hebb"] * post * pre - theta["decay"] * post**2 * weight
