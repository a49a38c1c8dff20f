"""What a check is given, and the table of checks: one function each, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sbirules.checks.calibrating import Calibration, calibrate
from sbirules.checks.data_use import data_use_verdict
from sbirules.checks.edges import edges_verdict
from sbirules.checks.information import information_verdict
from sbirules.checks.trust import (
    calibration_verdicts,
    misspecification_verdict,
    sampler_verdict,
    simulation_verdict,
    training_verdict,
)
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import Fresh, Question, Resimulation
from sbirules.model.simulator import Simulator
from sbirules.model.verdicts import Verdict, attempted
from sbirules.stores.store import SimulationStore

__all__ = ["CHECKS", "Case", "refuse"]

HELD_OUT_RULES = 64  # posterior rules that are tried in each variant, at most


@dataclass
class Case:
    """A posterior that is checked, with what there is to check it by; what an earlier check found is there for later ones.

    Arguments:
        posterior: The posterior.
        simulator: The simulator of the fit; None where there is only a store of fresh simulations.
        question: What rules are held against; None where that is not known.
        stores: The simulations of the fit, the first of them drawn from the prior.
        fresh: How rules are tried on fresh networks.
        calibration: Rules of the prior for calibration; 0 for none.
        held_out: Variants that inference never saw, by name.
        found: What re-simulation found, once it has.
        tested: What calibration found, once it has.
        kept: Fresh simulations of rules of the prior, in place of a simulator.
        cautions: What is to be said of the simulations beside what the fit warned of.
        left_out: Why a part does not apply, by part.
    """

    posterior: Posterior
    simulator: Simulator | None
    question: Question | None
    stores: Sequence[SimulationStore]
    fresh: Fresh
    calibration: int
    held_out: Mapping[str, Any] = field(default_factory=dict)
    found: Resimulation | None = None
    tested: Calibration | None = None
    kept: SimulationStore | None = None
    cautions: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def refuse(case: Case, parts: Sequence[str]) -> None:
    """Raises ValueError for what was asked wrongly, before anything is simulated."""
    if "predictions" in parts:
        if case.question is None:
            raise ValueError(
                "it is not known what this posterior was conditioned on: give constraints={...}, trials=... or x_o=..., or "
                "leave 'predictions' out of parts."
            )
        if case.simulator is not None:
            case.question.refuse(case.simulator, case.fresh.networks)
    if "held_out" in parts and case.held_out and case.question is not None:
        if case.simulator is None:
            raise ValueError("held_out needs the simulator of the fit, not a store of simulations.")
        for name, variant in case.held_out.items():
            other = variant[0] if isinstance(variant, tuple) and variant else variant
            if not isinstance(other, Simulator) or other.names != case.posterior.names:
                raise ValueError(f"held_out[{name!r}] must be a simulator of the same rules, got {other!r}.")
        case.question.refuse_variants(case.held_out)


def _predictions(case: Case) -> list[Verdict]:
    if case.question is None:
        return []
    if case.simulator is None:
        case.left_out["predictions"] = "posterior rules can only be tried with a simulator, not with a store."
        return []
    case.found = case.question.resimulate(case.posterior, case.simulator, case.fresh)
    return case.question.verdicts(case.found, case.posterior, case.simulator)


def _calibration(case: Case) -> list[Verdict]:
    whole = not (case.posterior.hold or case.posterior.region)  # parts of a posterior have no calibration of their own
    if case.question is None or not case.question.repeatable or not case.calibration or not whole:
        return []
    source = case.kept if case.simulator is None else case.simulator
    if source is None:
        return []
    f = case.fresh
    case.tested = calibrate(
        case.posterior,
        source,
        question=case.question,
        rules=case.calibration,
        folder=None if f.folder is None else f.folder / "calibration",
        seed=f.seed,
        num_workers=f.num_workers,
        progress=f.progress,
    )
    tested, posterior = case.tested, case.posterior
    used = attempted("use of data", lambda: data_use_verdict(tested.recovery, tested.features))
    return [*calibration_verdicts(tested, posterior, f.seed), *used]


def _misspecification(case: Case) -> list[Verdict]:
    return misspecification_verdict(case.posterior, case.question, case.stores, case.tested, case.fresh.seed)


def _held_out(case: Case) -> list[Verdict]:
    if not case.held_out or case.question is None or case.simulator is None:
        return []
    fewer = replace(case.fresh, rules=min(case.fresh.rules, HELD_OUT_RULES))
    return case.question.held_out(case.posterior, case.simulator, case.held_out, fewer)


# by the name that `check(parts=...)` takes; each may have nothing to say
CHECKS: dict[str, Callable[[Case], list[Verdict]]] = {
    "predictions": _predictions,
    "calibration": _calibration,
    "misspecification": _misspecification,
    "held_out": _held_out,
    "information": lambda case: information_verdict(case.posterior),
    "edges": lambda case: edges_verdict(case.posterior),
    "sampler": lambda case: sampler_verdict(case.posterior),
    "simulations": lambda case: simulation_verdict(case.stores, case.found, case.cautions, case.posterior.record),
    "training": lambda case: training_verdict(case.posterior),
}
