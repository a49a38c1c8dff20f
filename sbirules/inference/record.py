"""What is known of a fit beside its question: how many simulations, how training went, what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sbirules.inference.reach import Reach
from sbirules.support.files import Plain

__all__ = ["FitRecord"]


@dataclass(frozen=True)
class FitRecord:
    """A record of how a potential was learned.

    Arguments:
        estimator: Name of the estimator; empty where there is one way only.
        simulations: How many it was learned from.
        used: How many of them count: those that satisfied the constraints, or that did not fail.
        used_for: What `used` counts, in a word.
        cautions: What the fit warned of.
        training: Held-out loss by epoch, by network.
        details: Further numbers, by name: `rounds` of simulations beyond the first store, and what sums over learners are
            `worth`.
        reach: Where the summaries of the simulations are, which other observations are held against.
    """

    estimator: str = ""
    simulations: int = 0
    used: int = 0
    used_for: str = "valid"
    cautions: tuple[str, ...] = ()
    training: Mapping[str, list[float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    reach: Reach = field(default_factory=Reach)

    def config(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "estimator": self.estimator,
            "simulations": self.simulations,
            "used": self.used,
            "used_for": self.used_for,
            "cautions": list(self.cautions),
            "training": dict(self.training),
            "details": dict(self.details),
            "reach": self.reach.config(),
        }

    @classmethod
    def from_config(cls, config: Plain) -> FitRecord:
        """The record that gave this `config()`."""
        curves = {str(name): [float(v) for v in curve] for name, curve in config["training"].items()}
        reach = Reach.from_config(config.get("reach", {}))
        cautions, details = tuple(map(str, config["cautions"])), dict(config["details"])
        return cls(**{**config, "cautions": cautions, "training": curves, "reach": reach, "details": details})

    def facts(self) -> dict[str, Any]:
        """What a reader wants to know, by name."""
        out: dict[str, Any] = {"estimator": self.estimator} if self.estimator else {}
        if self.simulations:
            out |= {"simulations": self.simulations, self.used_for: self.used}
        out |= {name: value for name, value in self.details.items() if name != "worth"}
        worth = self.details.get("worth")
        if worth:
            out["learners count as"] = f"{worth['counted']:.3g} of {worth['learners']}"
        return out

    def untried(self, learners: int) -> str:
        """What is to be said of so many learners at once: empty where their sum was recalibrated on as many."""
        most = self.details.get("worth", {}).get("learners", learners)
        if learners <= most:
            return ""
        return f"{learners} learners are given, but their sum was recalibrated on {most}: what more of them tell is extrapolated."

    @property
    def refined(self) -> bool:
        """Whether simulations beyond those of the prior, such as rounds near the posterior, were learned from."""
        return int(self.details.get("rounds", 0)) > 0
