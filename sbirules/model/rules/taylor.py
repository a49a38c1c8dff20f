r"""Plasticity as a sum of products of what a synapse sees (after Confavreux et al. 2020; Mehta et al. 2024, Eq. 3).

dw_ij = sum over terms of theta_term times a product of powers of c_i, d_i, x_j, y_i, w_ij, r and rd
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.policy import VARIABLES, PolicyRule
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["TaylorRule", "product_tex"]

FACTOR = re.compile(r"([a-z]+)(?:\^([0-9]+))?")
IN_NAME = re.compile(r"([a-z]+)([2-9]?)")
MOST_POWER = 6
DEFAULT = ("d x rd", "w")


class TaylorRule(PolicyRule):
    r"""A sum of products.

    A term is written as a product, `"x rd"`, `"c x r"`, `"x^2 rd"` or `"w"`, and its coefficient is named after it: `x_rd`,
    `c_x_r`, `x2_rd`, `w`. Classical learners are points of such families (alpha, eta rates; beta inverse temperature; phi
    forgetting):

    - Q-learning, one-hot x: `c x r` = alpha beta, `c x w` = -alpha; with forgetting of all others `w` = -phi, `c x w` =
      -(alpha - phi).
    - Rescorla-Wagner: `c x r` = alpha beta, `c x y` = -alpha.
    - REINFORCE: `d x r`, or `d x rd` with a baseline.
    - reward-modulated Hebb `y x r`; Oja `x y` = eta, `y^2 w` = -eta / beta^2.

    Arguments:
        terms: The products; by default `["d x rd", "w"]`, REINFORCE with forgetting.
        variables: In place of terms: all products of powers of these.
        degree: With variables: the largest power of each.
        options: Of the expectation of reward, see `PolicyRule`.
    """

    @typed
    def __init__(
        self,
        terms: Sequence[str] | None = None,
        *,
        variables: Sequence[str] | None = None,
        degree: int = 2,
        baseline: str = "exponential",
        rate: float = 0.1,
        last: int = 10,
        infer: Sequence[str] = (),
    ) -> None:
        if terms is not None and variables is not None:
            raise ValueError("give terms or variables, not both.")
        if variables is not None and not len(variables):
            raise ValueError(f"variables must name at least one of {arguments.listed(VARIABLES)}.")
        if variables is not None:
            powers = _products(
                arguments.strings("variables", variables), arguments.whole("degree", degree, 1, MOST_POWER)
            )
        else:
            powers = [_parsed(term) for term in arguments.strings("terms", DEFAULT if terms is None else terms)]
        if not powers:
            raise ValueError('terms must hold at least one product such as "d x rd".')
        self.powers = tuple(powers)
        names = [_named(p) for p in self.powers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"terms must differ, but {twice} comes twice (the order of factors does not matter).")
        self.terms = tuple(_written(p) for p in self.powers)
        self.coefficients = tuple(
            Coefficient(name, _plain(p), latex=_latex(p), symbol=rf"\theta_{{{_product(p)}}}")
            for name, p in zip(names, self.powers, strict=True)
        )
        super().__init__(baseline=baseline, rate=rate, last=last, infer=infer)

    def config(self) -> dict[str, object]:
        return {**super().config(), "terms": list(self.terms)}

    def update(self, theta: Mapping[str, Tensor], **seen: Tensor) -> Tensor:
        total = torch.zeros(())
        for coefficient, powers in zip(self.coefficients, self.powers, strict=True):
            product = theta[coefficient.name]
            for name, power in powers.items():
                product = product * (seen[name] if power == 1 else seen[name] ** power)
            total = total + product
        return total

    @property
    def exponents(self) -> Tensor:
        """Powers of each term's variables, `(terms, 7)`, in the order of `VARIABLES`."""
        return torch.tensor([[p.get(name, 0) for name in VARIABLES] for p in self.powers])

    @typed
    def alike(self, features: Tensor, reward: Tensor) -> list[tuple[str, ...]]:
        """Names of terms that are equal on a table: x^2 is x where features are 0 or 1, r^2 is r where rewards are.

        Arguments:
            features: Of each decision, `(decisions, F)`.
            reward: Of each decision, `(decisions,)`; NaN where it is not known.
        """
        if features.ndim != 2 or reward.shape != features.shape[:1]:
            raise ValueError(
                f"features and reward must be (decisions, F) and (decisions,), got {tuple(features.shape)} and "
                f"{tuple(reward.shape)}."
            )
        known = reward[~torch.isnan(reward)]
        binary = {
            "x": bool(((features == 0) | (features == 1)).all()),
            "r": bool(((known == 0) | (known == 1)).all()),
        }
        alone = bool((features == 1).all())  # the constant input is all there is
        found: dict[tuple[tuple[str, int], ...], list[str]] = {}
        for name, powers in zip((c.name for c in self.coefficients), self.powers, strict=True):
            left = {v: 1 if binary.get(v) else k for v, k in powers.items() if not (v == "x" and alone)}
            if self.baseline == "none" and "rd" in left:  # rd is r
                left["r"] = left.get("r", 0) + left.pop("rd")
                left["r"] = 1 if binary["r"] else left["r"]
            found.setdefault(tuple(sorted(left.items())), []).append(name)
        return [tuple(names) for names in found.values() if len(names) > 1]


def _products(variables: tuple[str, ...], degree: int) -> list[dict[str, int]]:
    """All products of powers, without those that are the same: c^2 is c."""
    for name in variables:
        arguments.known("variables", name, tuple(VARIABLES))
    chosen = [name for name in VARIABLES if name in variables]
    powers = itertools.product(*(range(2 if name == "c" else degree + 1) for name in chosen))
    return [{n: k for n, k in zip(chosen, each, strict=True) if k} for each in powers]


def _parsed(term: str) -> dict[str, int]:
    """Powers by variable, in the order of `VARIABLES`."""
    found: dict[str, int] = {}
    if not term.split():
        raise ValueError('terms must be products such as "d x rd", got an empty one.')
    for factor in () if term.strip() == "1" else term.split():
        match = FACTOR.fullmatch(factor)
        if match is None or match[1] not in VARIABLES:
            raise ValueError(
                f'terms must be products of {arguments.listed(VARIABLES)}, such as "c x r" or "x^2 rd", got {factor!r} in '
                f"{term!r}."
            )
        found[match[1]] = found.get(match[1], 0) + int(match[2] or 1)
    out = {name: found[name] for name in VARIABLES if found.get(name)}
    if "c" in out:
        out["c"] = 1  # c is 0 or 1
    for name, power in out.items():
        if power > MOST_POWER:
            raise ValueError(f"powers in terms must be at most {MOST_POWER}, got {name}^{power} in {term!r}.")
    return out


def _factors(powers: Mapping[str, int], between: str, power: str) -> str:
    return between.join(name + (power.format(k) if k > 1 else "") for name, k in powers.items())


def _named(powers: Mapping[str, int]) -> str:
    return _factors(powers, "_", "{}") or "constant"


def _written(powers: Mapping[str, int]) -> str:
    return _factors(powers, " ", "^{}") or "1"


def _plain(powers: Mapping[str, int]) -> str:
    symbols = {"c": "c_i", "d": "d_i", "x": "x_j", "y": "y_i", "w": "w_ij", "r": "r", "rd": "(r - rbar)"}
    return " ".join(symbols[name] + (f"^{k}" if k > 1 else "") for name, k in powers.items())


def _product(powers: Mapping[str, int]) -> str:
    """A product in LaTeX without indices: in subscripts, and on axes."""
    symbols = {"rd": r"(r-\bar{r})"}
    return (
        r" \cdot ".join(symbols.get(name, name) + (f"^{{{k}}}" if k > 1 else "") for name, k in powers.items()) or "1"
    )


def product_tex(name: str) -> str:
    """The product that a coefficient's name such as `c_rd` or `x2_rd` stands for, in LaTeX; empty if it is none."""
    parts = [IN_NAME.fullmatch(part) for part in name.split("_")]
    powers = {m[1]: int(m[2] or 1) for m in parts if m is not None and m[1] in VARIABLES}
    return _product(powers) if len(powers) == len(parts) else ""


def _latex(powers: Mapping[str, int]) -> str:
    symbols = {"w": "w_{ij}"} | {name: symbol for name, (symbol, _) in VARIABLES.items() if name != "w"}
    return r"\,".join(symbols[name] + (f"^{{{k}}}" if k > 1 else "") for name, k in powers.items())
