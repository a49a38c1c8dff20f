"""Can this posterior be trusted, and does it predict? All checks, each with a plain verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sbirules.checks.case import CHECKS, Case, refuse
from sbirules.checks.collected import Checks
from sbirules.checks.given_simulations import Simulations, other_than, refuse_store, simulator_of
from sbirules.inference.fitting import question_of, with_recordings
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import QUESTIONS, Fresh, LearnersQuestion, Question, TableQuestion
from sbirules.model.constraints import Constraints
from sbirules.model.simulator import Simulator
from sbirules.model.summaries.activity import FROM_ACTIVITY
from sbirules.model.tables import Trials
from sbirules.model.verdicts import attempted
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["check"]

RULES = 128
RECORDED = tuple(FROM_ACTIVITY)  # with which names of summaries of units begin


@typed
def check(
    posterior: Posterior,
    simulator: Simulations,
    *,
    store: SimulationStore | Sequence[SimulationStore] | None = None,
    constraints: Mapping[str, Any] | Constraints | None = None,
    trials: Any = None,
    recordings: Any = None,
    sessions: Any = None,
    x_o: Any = None,
    question: Question | None = None,
    rules: int = RULES,
    networks_per_rule: int | None = None,
    calibration: int = 200,
    held_out: Mapping[str, Any] | None = None,
    parts: Sequence[str] | str | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Checks:
    """Checks a posterior: its sampler, simulations, training, calibration, predictions, and whether data fit the prior.

    Everything is simulated in fresh networks, never in those that trained an estimator. A check that cannot be made is a
    caution that says why; the others go on.

    Arguments:
        posterior: Of `fit`, or `Posterior.wrap` around one of sbi's. Draws are made if there are none.
        simulator: The simulator of the fit; or any function from theta `(n, D)` to x `(n, S)`; or, for the checks that
            simulate no posterior rules, a store of fresh simulations of rules of the prior, which no fit has seen.
        store: The simulations of the fit, one store or several (the first of them drawn from the prior), for their
            failures and as the prior predictive.
        constraints: What was asked of the rules; by default what `fit` was asked.
        trials: Or the learners that were observed.
        recordings: Or what was recorded.
        sessions: Or the session scales.
        x_o: Or the summaries that were observed, as in `fit`; by default those of the fit.
        question: Or a question as an object.
        rules: Rules drawn from the posterior, and from the prior.
        networks_per_rule: Fresh networks per rule; 32 for constraints, one per learner for trials, one for x_o.
        calibration: Rules of the prior for simulation-based calibration, coverage, TARP and the local test (for trials
            and x_o); 0 leaves these out. At least 50.
        held_out: Variants that inference never saw, by name: a simulator with another task or other networks; for
            trials a pair of a simulator and the trials observed in it. Rules keep their raw coefficients.
        parts: Which parts to run, of `CHECKS`; None for all. Those that do not apply to a posterior are left out.
        folder: Where to keep the simulations, so that a rerun resumes; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If it is not clear what was observed or asked, or a variant does not fit.

    Examples:
        >>> checked = sr.check(posterior, simulator, store=store)
        >>> print(checked)  # one line per check
        >>> checked.level, checked["calibration"].draw()
    """
    every = tuple(CHECKS)  # with what was added since
    wanted = every if parts is None else (parts,) if isinstance(parts, str) else tuple(parts)
    for part in wanted:
        arguments.known("parts", part, every)
    arguments.whole("calibration", calibration, 0, arguments.MANY)
    if 0 < calibration < 50:
        raise ValueError(f"calibration must be 0 or at least 50 rules, got {calibration}.")
    stores = [] if store is None else [store] if isinstance(store, SimulationStore) else list(store)
    runner = simulator_of(simulator, posterior, stores)
    kept = simulator if isinstance(simulator, SimulationStore) else None
    if kept is not None:
        refuse_store(kept, posterior.prior, stores)
    source = kept if runner is None else runner
    asked = _asked(
        posterior,
        source,
        {"constraints": constraints, "trials": trials, "recordings": recordings, "sessions": sessions, "x_o": x_o},
        question,
    )
    place = None if folder is None else Path(folder)
    rules = arguments.whole("rules", rules, 2, arguments.MANY)
    fresh = Fresh(rules, networks_per_rule, place, seed, num_workers, progress)
    case = Case(
        posterior,
        runner,
        asked,
        stores,
        fresh,
        calibration,
        held_out or {},
        kept=kept,
        cautions=other_than(stores, runner),
    )
    refuse(case, wanted)
    verdicts = [
        verdict
        for part, look in CHECKS.items()
        if part in wanted
        for verdict in attempted(part.replace("_", " "), partial(look, case))
    ]
    return Checks(
        tuple(verdicts), case.found, None if case.tested is None else case.tested.recovery, asked, case.left_out
    )


def _asked(
    posterior: Posterior, source: Simulator | SimulationStore | None, given: dict[str, Any], question: Question | None
) -> Question | None:
    """What the posterior's rules are held against; None if that is not known."""
    if source is None:
        return posterior.question
    own = posterior.question
    if isinstance(own, TableQuestion) and given[own.argument] is not None:  # the same question of another table
        table = own.read(given[own.argument], source if isinstance(source, Simulator) else None)
        given = {**given, own.argument: None}
        question = own.with_table(table) if question is None else question
    units = isinstance(own, LearnersQuestion) and any(n.startswith(RECORDED) for n in own.names)
    if isinstance(own, LearnersQuestion) and given["recordings"] is not None:
        given = {
            **given,
            "trials": with_recordings(given["trials"], given["recordings"], source.layout),
            "recordings": None,
        }
    elif (
        units
        and given["trials"] is not None
        and "responses" not in Trials.read(given["trials"], source.layout).trajectory.per_unit
    ):
        raise ValueError(
            "this posterior was fitted to recorded units as well: give check recordings=... beside trials=...."
        )
    found = question_of(given, question, {}, source.layout, source.summary_names, "check")
    if found is not None or posterior.question is not None:
        return found if found is not None else posterior.question
    observed = posterior.potential_net.observed  # of a wrapped posterior
    if observed is None or observed.x.numel() != len(source.summary_names):
        return None
    return QUESTIONS["x_o"].ask(observed.x.flatten(), source.layout, source.summary_names)
