"""Can this posterior be trusted, and does it predict? All checks, each with a plain verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sbirules import _check
from sbirules.calibration import Calibration, calibrate
from sbirules.check_predictions import held_out_verdicts, prediction_verdicts
from sbirules.check_trust import (
    calibration_verdicts,
    information_verdict,
    misspecification_verdict,
    sampler_verdict,
    simulation_verdict,
    training_verdict,
)
from sbirules.constraints import Constraints
from sbirules.fit_observation import observed
from sbirules.posterior import Posterior
from sbirules.resimulation import Resimulation, resimulate
from sbirules.sampling import spread_out
from sbirules.simulator import Simulator
from sbirules.store import SimulationStore
from sbirules.trials import Trials
from sbirules.verdicts import Checks, Verdict

__all__ = ["PARTS", "check"]

PARTS = (
    "predictions",
    "calibration",
    "misspecification",
    "held_out",
    "information",
    "sampler",
    "simulations",
    "training",
)
RULES, HELD_OUT_RULES = 128, 64


def check(
    posterior: Posterior,
    simulator: Simulator,
    *,
    store: SimulationStore | Sequence[SimulationStore] | None = None,
    constraints: Mapping[str, Any] | Constraints | None = None,
    trials: Any = None,
    x_o: Any = None,
    rules: int = RULES,
    networks_per_rule: int | None = None,
    calibration: int = 200,
    held_out: Mapping[str, Any] | None = None,
    parts: Sequence[str] | str = PARTS,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Checks:
    """Checks a posterior: its sampler, simulations, training, calibration, predictions, and whether data fit the prior.

    Everything is simulated in fresh networks, never in those that trained an estimator.

    Arguments:
        posterior: Of `fit`, or `Posterior.wrap` around one of sbi's. Draws are made if there are none.
        simulator: The simulator of the fit.
        store: The simulations of the fit, one store or several (the first of them drawn from the prior), for their
            failures and as the prior predictive.
        constraints: What was asked of the rules; by default what `fit` was asked.
        trials: Or the learners that were observed.
        x_o: Or the summaries that were observed, as in `fit`; by default those of the fit.
        rules: Rules drawn from the posterior, and from the prior.
        networks_per_rule: Fresh networks per rule; 32 for constraints, one per learner for trials, one for x_o.
        calibration: Rules of the prior for simulation-based calibration, coverage, TARP and the local test (for trials
            and x_o); 0 leaves these out. At least 50.
        held_out: Variants that inference never saw, by name: a simulator with another task or other networks; for
            trials a pair of a simulator and the trials observed in it. Rules keep their raw coefficients.
        parts: Which parts to run, of `PARTS`; those that do not apply to a posterior are left out.
        folder: Where to keep the simulations, so that a rerun resumes; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If it is not clear what was observed or asked, or a variant does not fit.

    Example:
        >>> checked = sr.check(posterior, simulator, store=store)
        >>> print(checked)  # one line per check
        >>> checked.level, checked["calibration"].figure()
    """
    wanted = (parts,) if isinstance(parts, str) else tuple(parts)
    for part in wanted:
        _check.known("parts", part, PARTS)
    _check.whole("calibration", calibration, 0)
    if 0 < calibration < 50:
        raise ValueError(f"calibration must be 0 or at least 50 rules, got {calibration}.")
    if posterior.names != simulator.names:
        mine, theirs = _check.listed(posterior.names), _check.listed(simulator.names)
        raise ValueError(f"the posterior is over {mine}, the simulator's rules have {theirs}.")
    stores = [] if store is None else [store] if isinstance(store, SimulationStore) else list(store)
    asked = _what(posterior, simulator, constraints, trials, x_o, needed="predictions" in wanted)
    place = None if folder is None else Path(folder)
    keep: dict[str, Any] = {"seed": seed, "num_workers": num_workers, "progress": progress}
    verdicts: list[Verdict] = []
    if "predictions" in wanted and not asked:
        raise ValueError(
            "it is not known what this posterior was conditioned on: give constraints={...}, trials=... or x_o=..., or "
            "leave 'predictions' out of parts."
        )
    spread_out(posterior, rules, seed=seed)
    again: Resimulation | None = None
    if "predictions" in wanted:
        again = resimulate(
            posterior, simulator, **asked, rules=rules, networks_per_rule=networks_per_rule, folder=place, **keep
        )
        verdicts += prediction_verdicts(again, posterior, simulator)
    tested: Calibration | None = None
    whole = not (posterior.hold or posterior.region)  # parts of a posterior have no calibration of their own
    if "calibration" in wanted and calibration and asked and "constraints" not in asked and whole:
        table: Any = asked.get("trials")
        tested = calibrate(
            posterior, simulator, rules=calibration, trial_types=None if table is None else table.trial_types,
            x_o=asked.get("x_o"), folder=None if place is None else place / "calibration", **keep,
        )  # fmt: skip
        verdicts += calibration_verdicts(tested, posterior, seed)
    if "misspecification" in wanted:
        verdicts += misspecification_verdict(posterior, stores, tested, asked.get("x_o"), seed)
    if "held_out" in wanted and held_out:
        verdicts += held_out_verdicts(
            posterior, simulator, asked, held_out, min(rules, HELD_OUT_RULES), networks_per_rule, place, keep
        )
    if "information" in wanted:
        verdicts += information_verdict(posterior)
    if "sampler" in wanted:
        verdicts += sampler_verdict(posterior)
    if "simulations" in wanted:
        verdicts += simulation_verdict(stores, again, posterior.facts.get("cautions", ()))
    if "training" in wanted:
        verdicts += training_verdict(posterior)
    return Checks(tuple(verdicts), again, None if tested is None else tested.recovery)


def _what(
    posterior: Posterior, simulator: Simulator, constraints: Any, trials: Any, x_o: Any, needed: bool
) -> dict[str, Any]:
    """What the posterior's rules are held against: one of constraints, trials, x_o, resolved; empty if unknown."""
    given = {"constraints": constraints, "trials": trials, "x_o": x_o}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"check takes one of constraints, trials and x_o, got {_check.listed(given)}.")
    facts = posterior.facts
    if not given and facts.get("constraints") is not None:
        given = {"constraints": facts["constraints"]}
    known = getattr(posterior, "x", None)  # of a wrapped posterior
    if not given and known is not None and known.numel() == len(simulator.summary_names):
        given = {"x_o": known.flatten()}
    if not given and facts.get("kind") == "observation":
        given = {"x_o": dict(zip(facts["summaries"], facts["x_o"], strict=True))}
    if not given and facts.get("kind") == "trials" and needed:
        raise ValueError("check needs the table that fit was given, trials=...: a posterior keeps its summaries only.")
    if "constraints" in given:
        asked = Constraints.of(given["constraints"] or {})
        asked.check(simulator.summary_names)
        return {"constraints": asked}
    if "trials" in given:
        return {"trials": Trials.read(given["trials"], simulator.task.type_names, simulator.criterion)}
    if "x_o" in given:
        row, columns = observed(given["x_o"], simulator.summary_names)
        return {"x_o": {simulator.summary_names[c]: float(v) for c, v in zip(columns, row, strict=True)}}
    return {}
