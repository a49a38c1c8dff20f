r"""The polynomial family of Eq. 4, with its trace as matrix products over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.text import LONGEST
from sbirules.model.rules.three_factor import ThreeFactorRule
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["PolynomialRule"]


def _factor(symbol: str, power: int, latex: bool) -> str:
    if power == 0:
        return ""
    if power == 1:
        return symbol
    return f"{symbol}^{{{power}}}" if latex else f"{symbol}^{power}"


def _coefficient(k: int, level: int, m: int) -> Coefficient:
    name = f"theta_{k}{level}" + (f"_w{m}" if m else "")
    plain = [_factor("r_j", k, False), _factor("(xbar_i - x_i)", level, False), _factor("w_ij", m, False)]
    tex = [
        _factor("r_j", k, True),
        _factor(r"(\bar x_i - x_i)", level, True),
        _factor("w_{ij}", m, True),
    ]
    return Coefficient(name, term=" ".join(filter(None, plain)), latex=r"\,".join(filter(None, tex)))


class PolynomialRule(ThreeFactorRule):
    r"""All rules polynomial in presynaptic rate and postsynaptic deviation (Eq. 4).

        de_ij/dt = sum_{0 <= k, l <= d} theta_kl (r_j)^k (xbar_i - x_i)^l - e_ij / tau_e

    The sign of the deviation is the paper's. Miconi's (2017) published rule, cubic in
    `r_j (x_i - xbar_i)`, is therefore `theta_33 < 0`. With `weight_degree = m` each monomial also comes
    multiplied by `w_ij^1 ... w_ij^m`, named `theta_kl_w1 ... theta_kl_wm` (the paper names synapse size
    as a local signal).

    Arguments:
        degree: Largest power `d` of either factor, 1 to 9. Degree 2 has 9 terms, degree 3 has 16.
        terms: The terms to keep, by name (`["theta_11", "theta_33"]`), or None for all.
        weight_degree: Largest power of the weight.
        tau_e: Time constant of the trace in ms, `inf` for none.
        tau_w: Time constant of the weights in trials, `inf` for none.
        infer: Which of `"tau_e"`, `"tau_w"` are inferred.

    Examples:
        >>> PolynomialRule(degree=3, terms=["theta_33"]).describe([-0.8])
        'de_ij/dt = -0.8 r_j^3 (xbar_i - x_i)^3\ndw_ij = e_ij (R - Rbar)'
    """

    @typed
    def __init__(
        self,
        degree: int = 2,
        terms: Sequence[str] | None = None,
        weight_degree: int = 0,
        *,
        tau_e: float = math.inf,
        tau_w: float = math.inf,
        infer: Sequence[str] = (),
    ) -> None:
        self.degree = arguments.whole("degree", degree, 1)
        self.weight_degree = arguments.whole("weight_degree", weight_degree, 0)
        if degree > 9 or weight_degree > 9:
            raise ValueError(
                f"degree and weight_degree must be at most 9 (terms are named by their digits), "
                f"got {degree} and {weight_degree}."
            )
        powers = {
            _coefficient(k, level, m).name: (k, level, m)
            for m in range(weight_degree + 1)
            for k in range(degree + 1)
            for level in range(degree + 1)
        }
        if terms is not None:
            if isinstance(terms, str) or not isinstance(terms, Sequence) or not terms:
                raise ValueError(f"terms must be a list of at least one term name, got {terms!r}.")
            for name in terms:
                arguments.known("terms", name, tuple(powers))
            powers = {name: p for name, p in powers.items() if name in terms}
        self.powers: dict[str, tuple[int, int, int]] = powers
        self.coefficients = tuple(_coefficient(*p) for p in powers.values())
        super().__init__(tau_e=tau_e, tau_w=tau_w, infer=infer)

    @property
    def terms(self) -> list[str]:
        """Names of the terms."""
        return list(self.powers)

    def config(self) -> dict[str, object]:
        return {
            "family": "polynomial",
            "degree": self.degree,
            "terms": list(self.powers),
            "weight_degree": self.weight_degree,
            "tau_e": self.tau_e,
            "tau_w": self.tau_w,
            "infer": list(self.infer),
        }

    def general_growth(self) -> str:
        if len(self.coefficients) <= LONGEST:
            return super().general_growth()
        weight = r"\, w_{ij}^m" if self.weight_degree else ""
        index = "klm" if self.weight_degree else "kl"
        return rf"\sum_{{{','.join(index)}}} \theta_{{{index}}}\, r_j^k\, (\bar x_i - x_i)^l{weight}"

    def drive(self, theta: Mapping[str, Tensor], rate: Tensor, deviation: Tensor, weight: Tensor) -> Tensor:
        terms = (theta[name] * (rate**k * deviation**level * weight**m) for name, (k, level, m) in self.powers.items())
        return sum(terms, torch.zeros_like(weight))

    def trace(
        self,
        theta: Mapping[str, Tensor],
        rate: Tensor,
        deviation: Tensor,
        weight: Tensor,
        dt: float,
        decay: Tensor | None,
    ) -> Tensor:
        r"""`e(T)` as one batched matrix product over time and powers for each power of the weight.

        The weight does not change within an episode, so with a = decay^(T-1-t)

            e_ij(T) = dt sum_m w_ij^m sum_l sum_t (a_t sum_k theta_klm r_j(t)^k) (xbar_i(t) - x_i(t))^l
        """
        steps = rate.shape[1]
        scale: float | Tensor = dt
        if decay is not None:
            age = torch.arange(steps - 1, -1, -1, device=rate.device, dtype=rate.dtype)
            scale = dt * (decay[:, None] ** age)[:, :, None]
        rates = self._powers_of(rate, 0)
        deviations = self._powers_of(deviation, 1)
        total: Tensor | None = None
        for m in range(self.weight_degree + 1):
            # memory order is (pre, post), as the engine keeps its weights; .mT shows it as (post, pre)
            part = self._gram(theta, rate, rates, deviations, scale, m)
            if part is None:
                continue
            part = part if m == 0 else part * weight.mT**m
            total = part if total is None else total + part
        return weight * 0 if total is None else total.mT

    def panels(self, theta: Mapping[str, Tensor]) -> tuple[Tensor, list[int], list[int]]:
        """The rules as one polynomial in r_j for each power of the deviation and the weight.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.

        Returns:
            Coefficients of `r^0 ... r^d`, `(batch, P, d + 1)`, and for each of the P polynomials the power of
            the deviation and of the weight it comes with.
        """
        places = sorted({(m, level) for _, level, m in self.powers.values()})
        first = next(iter(theta.values()))
        out = first.new_zeros(len(first), len(places), 1 + max(k for k, _, _ in self.powers.values()))
        for name, (k, level, m) in self.powers.items():
            out[:, places.index((m, level)), k] = theta[name][:, 0, 0]
        return out, [level for _, level in places], [m for m, _ in places]

    def _powers_of(self, base: Tensor, index: int) -> dict[int, Tensor]:
        """base^p for the powers p >= 1 in use, each from the one before."""
        out = {}
        power = base
        for p in range(1, max(q[index] for q in self.powers.values()) + 1):
            power = base if p == 1 else power * base
            out[p] = power
        return out

    def _gram(
        self,
        theta: Mapping[str, Tensor],
        rate: Tensor,
        rates: dict[int, Tensor],
        deviations: dict[int, Tensor],
        scale: float | Tensor,
        m: int,
    ) -> Tensor | None:
        """sum_t sum_l (scale sum_k theta_klm r_j^k) (deviation_i)^l as (batch, pre, post)."""
        pre: dict[int, Tensor] = {}  # by power l of the deviation: scale * sum_k theta_klm r^k
        for name, (k, level, power_of_weight) in self.powers.items():
            if power_of_weight != m:
                continue
            term = theta[name] * rates[k] if k else theta[name].expand_as(rate)
            pre[level] = pre[level] + term if level in pre else term
        if not pre:
            return None
        # l = 0 does not depend on the postsynaptic unit: a sum over time, the same for every post
        constant = pre.pop(0, None)
        out = None
        if constant is not None:
            out = (scale * constant).sum(dim=1)[:, :, None].expand(-1, -1, rate.shape[2])
        if pre:
            left = torch.cat([scale * pre[level] for level in pre], dim=1)
            right = torch.cat([deviations[level] for level in pre], dim=1)
            product = torch.bmm(left.mT, right)
            out = product if out is None else out + product
        return out
