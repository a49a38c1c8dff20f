"""Constraints: which rules make networks satisfy them?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch

from sbirules import figures
from sbirules.inference.estimators import Job, SuccessPotential
from sbirules.inference.questions.base import Asked, FigureOf, Fitted, Predictive, Question
from sbirules.inference.questions.fresh import Fresh
from sbirules.inference.questions.success import (
    IN_VARIANTS,
    NETWORKS,
    RELIABLE,
    ZERO_NETWORKS,
    ConstraintCheck,
    held_out_success,
    reliable_words,
    success_verdicts,
    try_constraints,
)
from sbirules.inference.record import FitRecord
from sbirules.model.constraints import Constraints, nearest
from sbirules.model.fields import Layout
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import NAMED
from sbirules.model.verdicts import Verdict
from sbirules.neural_nets.classifiers import fit_event_probability
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.files import Plain

__all__ = ["ConstraintsQuestion"]

FEW = 25  # networks that satisfy the constraints below which a fit comes with a warning


class ConstraintsQuestion(Question):
    """Rules under which all constraints hold in the same network.

    Arguments:
        constraints: The constraints.
        all_of_networks: They hold in all of so many networks of one rule; 1 unless `reliability` is given.
        reliability: Or: rules under which they hold with at least this probability.
    """

    kind = section = "constraints"
    fit_keys = ("all_of_networks", "reliability")

    def __init__(
        self, constraints: Constraints, all_of_networks: int | None = None, reliability: float | None = None
    ) -> None:
        self.check_options({"all_of_networks": all_of_networks, "reliability": reliability})
        if reliability is None and all_of_networks is None:
            all_of_networks = 1
        self.constraints, self.all_of_networks, self.reliability = constraints, all_of_networks, reliability

    def config(self) -> dict[str, Any]:
        return {
            "constraints": self.constraints.config(),
            "all_of_networks": self.all_of_networks,
            "reliability": self.reliability,
        }

    @classmethod
    def from_config(cls, config: Plain) -> ConstraintsQuestion:
        return cls(Constraints(config["constraints"]), config["all_of_networks"], config["reliability"])

    @classmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> ConstraintsQuestion:
        asked = cls(Constraints.of(value), options.get("all_of_networks"), options.get("reliability"))
        asked.constraints.check(summary_names)
        return asked

    @classmethod
    def check_options(cls, options: Mapping[str, Any], where: str = "") -> None:
        given = {name: options[name] for name in cls.fit_keys if options.get(name) is not None}
        if len(given) > 1:
            raise ValueError(f"{where}give all_of_networks or reliability, not both.")
        if "all_of_networks" in given:
            arguments.whole(f"{where}all_of_networks", given["all_of_networks"], 1)
        if "reliability" in given:
            arguments.share(f"{where}reliability", given["reliability"])

    @classmethod
    def summaries_for(cls, section: Plain) -> list[str]:
        stems = [name.split("[")[0] for name in Constraints.of(section).intervals]
        for stem in stems:
            arguments.known("[constraints]", stem, tuple(NAMED))
        return stems

    def costs(self, rules: int, networks: int | None, calibration: int, variants: int) -> dict[str, int]:
        each = networks or NETWORKS
        more = 2 * variants * min(rules, 64) * min(each, IN_VARIANTS)
        return {"check": 2 * rules * each + ZERO_NETWORKS, "variants": more}

    def fill_in(self, sections: MutableMapping[str, dict[str, Any]], given: Mapping[str, Plain]) -> None:
        sections["check"].setdefault("networks_per_rule", NETWORKS)
        if not set(self.fit_keys) & set(sections["fit"]):
            sections["fit"]["all_of_networks"] = 1

    def fit(self, stores: Sequence[SimulationStore], job: Job, estimator: str) -> Fitted:
        if job.settings is not None:
            raise ValueError("estimator and settings belong to trials and x_o, not to constraints; leave them out.")
        names = stores[0].summary_names
        theta, x = (torch.cat([getattr(s, field) for s in stores]) for field in ("theta", "x"))
        happened = self.constraints.satisfied(x, names)
        if not happened.any():
            raise ValueError(
                f"none of {len(x)} simulated networks satisfies all constraints ({nearest(x, names, self.constraints)}); "
                f"loosen the constraints, change the prior or simulate more."
            )
        event = fit_event_probability(theta, happened, job.standardiser, settings=job.classifier, seed=job.seed)
        cautions: tuple[str, ...] = ()
        if int(happened.sum()) < FEW:
            cautions = (
                f"Only {int(happened.sum())} of {len(x)} simulated networks satisfy the constraints, "
                f"too few to learn from: simulate more, or loosen the constraints.",
            )
            warnings.warn(cautions[0])
        potential = SuccessPotential(event, self.all_of_networks, self.reliability).eval()
        record = FitRecord("", len(x), int(happened.sum()), "satisfied", cautions)
        return Fitted(self, potential, record)

    # Fresh networks -------------------------------------------------------------------------------

    def refuse(self, simulator: Simulator, networks: int | None) -> None:
        self.constraints.check(simulator.summary_names)

    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> ConstraintCheck:
        return try_constraints(posterior, simulator, self.constraints, fresh, self.reliability or RELIABLE)

    def verdicts(self, found: ConstraintCheck, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        return success_verdicts(found, posterior.record.cautions, self.often, self.target)

    def held_out(
        self, posterior: Asked, simulator: Simulator, variants: Mapping[str, Any], fresh: Fresh
    ) -> list[Verdict]:
        return held_out_success(posterior, simulator, self.constraints, variants, fresh)

    @property
    def outcome(self) -> Constraints:
        return self.constraints

    @property
    def target(self) -> float:
        """Share of single networks that does what was asked: with all of n networks, as likely as not."""
        return 0.5 ** (1 / (self.all_of_networks or 1)) if self.reliability is None else self.reliability

    # Words ----------------------------------------------------------------------------------------

    @property
    def often(self) -> str:
        """In how many networks they are to hold."""
        if self.reliability is not None:
            return f"in at least {100 * self.reliability:.6g}% of random networks"
        n = self.all_of_networks or 1
        return "in a random network" if n == 1 else f"in all of {n} random networks"

    def words(self, subject: str, setting: str) -> str:
        return f"{subject} satisfy {self.constraints.words()}{setting} {self.often}?"

    def facts(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.config().items() if value is not None}
        return kept | {"constraints": self.constraints.words()}

    def headline(self, found: ConstraintCheck) -> str:
        s = found.posterior_success
        return (
            f"Asked for were rules that satisfy the constraints {self.often}, which takes {self.target:.0%} of single "
            f"networks; reached are {s.value:.0%} ± {s.se:.1%}. {reliable_words(found)}"
        )

    def figures(self, found: ConstraintCheck, simulator: Simulator) -> list[FigureOf]:
        best = simulator.layout.performance
        if not found.curves or best is None:
            return []
        return [
            (
                "learning_curves",
                lambda: figures.learning_curves(
                    found.curves, quantity=f"mean {best.name}", trials=simulator.num_trials
                ),
                f"{best.name.capitalize()} over a session: median and middle half of fresh networks under posterior rules, "
                f"prior rules, and without plasticity.",
            )
        ]

    def numbers(self, found: ConstraintCheck) -> dict[str, dict[str, Any]]:
        out: dict[str, Any] = {
            "all_of_networks": self.all_of_networks,
            "reliability": self.reliability,
            "asked_success": self.target,
            "rules": found.rules,
            "networks_per_rule": found.networks_per_rule,
        }
        for name in ("prior_success", "posterior_success", "zero_rule_success", "posterior_reliable"):
            rate = getattr(found, name)
            out[name], out[f"{name}_se"] = rate.value, rate.se
        return {"constraint": out | {"predicted_success": found.predicted_success}}

    def predictive(self, found: ConstraintCheck | None) -> Predictive:
        return Predictive({} if found is None else {"success": found.share})
