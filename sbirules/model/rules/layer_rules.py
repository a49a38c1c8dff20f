"""Families of rules for a hidden layer: correlations of activity alone, reward and noise, or an error that is fed back.

Of each, `h_i` is the activity of hidden unit i, `x_j` its input, `w_ij` the weight between them, `v_i` the unit's output weight
and `t - z` the target minus the output. All have `eta_out`, the rate of the output weights' delta rule, beside what is listed
here. Predictive coding (Whittington & Bogacz 2017), whose updates approach those of backpropagation as errors are small, is not
among them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.layered import LayeredRule

__all__ = ["Backpropagation", "FeedbackAlignment", "HebbianLayer", "NodePerturbation", "OjaLayer"]


class HebbianLayer(LayeredRule):
    r"""Hebbian learning in a hidden layer: what is active together is joined, and all weights decay.

        dw_ij = hebb h_i x_j - decay w_ij

    Source: Hebb (1949), The Organization of Behavior; with decay as in Gerstner & Kistler (2002), Biol. Cybern. 87:404.
    """

    coefficients = (
        Coefficient("hebb", "h_i x_j", latex=r"h_i\,x_j"),
        Coefficient("decay", "(-w_ij)", latex=r"(-w_{ij})"),
    )
    sees = ("pre", "post", "weight")

    def hidden_change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        return theta["hebb"] * seen["post"] * seen["pre"] - theta["decay"] * seen["weight"]


class OjaLayer(LayeredRule):
    r"""Oja's rule in a hidden layer: Hebbian growth that the weight itself holds back.

        dw_ij = hebb h_i x_j - decay h_i^2 w_ij

    A linear unit's weights turn to the first principal component of its inputs, with squared length hebb / decay.

    Source: Oja (1982), J. Math. Biol. 15:267.
    """

    coefficients = (
        Coefficient("hebb", "h_i x_j", latex=r"h_i\,x_j"),
        Coefficient("decay", "(-h_i^2 w_ij)", latex=r"(-h_i^2\,w_{ij})"),
    )
    sees = ("pre", "post", "weight")

    def hidden_change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        pre, post = seen["pre"], seen["post"]
        return theta["hebb"] * post * pre - theta["decay"] * post**2 * seen["weight"]


class NodePerturbation(LayeredRule):
    r"""A three-factor rule: noise of the units that was rewarded more than expected is made lasting.

        dw_ij = eta (R - Rbar) xi_i x_j

    On average it follows the gradient of the reward R = -|t - z| where the noise xi_i of the units is small and Rbar does not
    depend on it.

    Source: Williams (1992), Mach. Learn. 8:229; as reward-modulated Hebbian learning, Legenstein, Chase, Schwartz & Maass
    (2010), J. Neurosci. 30:8400, and Miconi (2017), eLife 6:e20899.
    """

    coefficients = (Coefficient("eta", "(R - Rbar) xi_i x_j", latex=r"(R - \bar R)\,\xi_i\,x_j", symbol=r"\eta"),)
    sees = ("pre", "noise", "surprise")

    def hidden_change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        return theta["eta"] * seen["surprise"] * seen["noise"] * seen["pre"]


class Backpropagation(LayeredRule):
    r"""Gradient descent on the squared error of each trial.

        dw_ij = eta (t - z) v_i phi'_i x_j,        the gradient of -(t - z)^2 / 2

    Source: Rumelhart, Hinton & Williams (1986), Nature 323:533.
    """

    coefficients = (Coefficient("eta", "(t - z) v_i phi'_i x_j", latex=r"(t - z)\,v_i\,\phi'_i\,x_j", symbol=r"\eta"),)
    sees = ("pre", "slope", "readout", "delta")

    def hidden_change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        return theta["eta"] * seen["delta"] * seen["readout"] * seen["slope"] * seen["pre"]


class FeedbackAlignment(LayeredRule):
    r"""Backpropagation whose error comes back through fixed random weights b_i instead of the output weights.

        dw_ij = eta (t - z) b_i phi'_i x_j

    Source: Lillicrap, Cownden, Tweed & Akerman (2016), Nature Communications 7:13276.
    """

    coefficients = (Coefficient("eta", "(t - z) b_i phi'_i x_j", latex=r"(t - z)\,b_i\,\phi'_i\,x_j", symbol=r"\eta"),)
    sees = ("pre", "slope", "feedback", "delta")

    def hidden_change(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        return theta["eta"] * seen["delta"] * seen["feedback"] * seen["slope"] * seen["pre"]
