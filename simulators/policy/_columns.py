"""Columns of theta of a policy: the rule's coefficients, and beside them what is a nuisance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.distributions import Distribution, Normal, Uniform

from sbirules.model.choices import ChoiceColumns
from sbirules.model.decisions import CONSTANT, feature_names
from sbirules.model.rules import Coefficient, MLPRule, RuleFamily

__all__ = ["NUISANCE", "PolicyColumns"]

# of the policy and not of the rule, in the order of theta's columns
NUISANCE = ("initial", "bias", "perseveration", "lapse")
LAPSE = 0.3  # largest
TELLING = {"c", "d", "y", "w"}  # what may differ between options
SHARES = ("lapse", "rbar_rate")  # lie between 0 and 1


@dataclass(frozen=True)
class PolicyColumns:
    """What theta's columns are.

    Arguments:
        family: The rule family, whose coefficients come first.
        meaning: Answers and stimuli.
        nuisance: Which of `NUISANCE` are coefficients.
        constant: Whether a constant input is among the features.
        scale: Root mean square of each feature, by which the prior of its initial weight is narrower.
        hidden: Hidden units of each option; 0 for none.
    """

    family: RuleFamily
    meaning: ChoiceColumns
    nuisance: tuple[str, ...]
    constant: bool
    scale: tuple[float, ...] = ()
    hidden: int = 0

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return feature_names(self.meaning, self.constant)

    @property
    def answers(self) -> int:
        """Number of possible answers."""
        return len(self.meaning.options)

    @property
    def options(self) -> int:
        """Number of options that have weights: accepting is one against nothing."""
        return 1 if self.meaning.accept else self.answers

    @cached_property
    def contrasts(self) -> tuple[str, ...]:
        """Endings of names that tell an option against the first; one empty ending where there is one such number only."""
        if self.options <= 2:
            return ("",)
        return tuple("_" + _identifier(name) for name in self.meaning.options[1:])

    @cached_property
    def nuisances(self) -> tuple[Coefficient, ...]:
        """The nuisance coefficients."""
        out: list[Coefficient] = []
        if "initial" in self.nuisance:
            for ending in self.contrasts:
                for feature in self.features:
                    name = f"w0_{_identifier(feature)}{ending}"
                    out.append(Coefficient(name, linear=False, prior=self._of_weight(feature)))
        if "bias" in self.nuisance:
            normal = Normal(0.0, 1.0, validate_args=False)
            out += [Coefficient(f"bias{ending}", linear=False, prior=normal) for ending in self.contrasts]
        if "perseveration" in self.nuisance:
            out.append(Coefficient("perseveration", linear=False, prior=Normal(0.0, 1.0, validate_args=False)))
        if "lapse" in self.nuisance:
            lapse = Uniform(0.0, LAPSE, validate_args=False)
            out.append(Coefficient("lapse", low=0.0, high=1.0, linear=False, unit="shares", prior=lapse))
        taken = [c.name for c in out if c.name in self.family.names]
        if taken:
            raise ValueError(
                f"the rule has a coefficient {taken[0]!r}, which is also a nuisance of the policy; leave one out."
            )
        return tuple(out)

    def _of_weight(self, feature: str) -> Distribution:
        at = self.features.index(feature)
        scale = self.scale[at] if at < len(self.scale) and self.scale[at] > 0 else 1.0
        return Normal(0.0, float(f"{1 / scale:.3g}"), validate_args=False)

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        """All columns of theta."""
        return (*self.family.parameters, *self.nuisances)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return tuple(p.name for p in self.parameters)

    def place(self, what: str) -> int:
        """Where a kind of nuisance begins among theta's columns; -1 if it is none of them."""
        if what not in self.nuisance:
            return -1
        first = {"initial": "w0_", "bias": "bias", "perseveration": "perseveration", "lapse": "lapse"}[what]
        start = len(self.family.names)
        return next(k for k, name in enumerate(self.names) if k >= start and name.startswith(first))

    def outside(self, theta: Tensor) -> dict[str, Tensor]:
        """Of each of `SHARES` that there is: rules `(n, D)` in which it is no share, `(n,)` boolean."""
        columns = {name: theta[:, self.names.index(name)] for name in SHARES if name in self.names}
        return {name: ~((column >= 0) & (column <= 1)) for name, column in columns.items()}

    def check(self) -> None:
        """Raises ValueError for nuisances that cannot be told apart, and terms that change no probability."""
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"two features or answers lead to one name, {twice!r}: call a stimulus or a label something else."
            )
        if not self.features:
            raise ValueError("constant=False leaves a policy without any input; give it stimuli, or a constant.")
        if "bias" in self.nuisance and self.constant and "initial" in self.nuisance:
            raise ValueError(
                f"bias and the initial weight of the constant input ({CONSTANT}) say the same before anything is learned: leave "
                f"bias out of nuisance, or set constant=False."
            )
        if self.options < 2 or self.hidden:
            return
        if isinstance(self.family, MLPRule) and self.family.gate == "none" and not set(self.family.inputs) & TELLING:
            raise ValueError(
                'an MLPRule with gate = "none" needs c, d, y or w among its inputs: what is the same for all options changes no '
                "probability."
            )
        powers = getattr(self.family, "powers", None)
        if powers is None:
            return
        idle = [term for term, p in zip(self.family.terms, powers, strict=True) if not set(p) & TELLING]  # type: ignore[attr-defined]
        if idle:
            raise ValueError(
                f"the term {idle[0]!r} moves the logits of all options alike and changes no probability: multiply it by c, "
                f"d, y or w."
            )


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name) or "_"
