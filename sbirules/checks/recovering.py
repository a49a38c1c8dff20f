"""Recovery: would this study find the rule, if one of the prior's had made the data?"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbirules.checks.choice_recovery import ChoiceRecovery, recover_from_choices
from sbirules.checks.recovery import Recovery
from sbirules.inference.fitting import fit
from sbirules.inference.questions.sessions import learners_of
from sbirules.inference.rounds.recalibrating import recalibrated
from sbirules.model.abilities import PredictsChoices, ReplaysChoices, needed
from sbirules.model.prior import prior_draws
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.priors import PriorLike, as_prior, completed
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["recover"]

LEARNERS, SIMULATIONS = 24, 8192


@typed
def recover(
    simulator: Simulator,
    prior: PriorLike,
    *,
    trials: str | Path | pd.DataFrame | Trials | None = None,
    num_trials: Sequence[int] | int | None = None,
    num_animals: Sequence[int] | int | None = None,
    learners: int | None = None,
    rules: int = 100,
    store: SimulationStore | None = None,
    num_simulations: int | None = None,
    num_samples: int = 500,
    fit_options: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Recovery | ChoiceRecovery:
    """Draws rules from the prior, simulates learners of each, and infers each rule from its learners.

    **From simulations**, one estimator is trained for all rules, so that the study costs little more than one fit. Rounds of
    `refine`, which serve one data set, are not part of it: a real fit with them can only be better. Its sum over learners is
    recalibrated on sets of its own (see `recalibrate`).

    **From choices of animals**, with `trials` and a simulator that knows their likelihood, such as `PolicyNetwork` with a
    `ChoiceTask`: simulated animals see what those of the table saw, with rewards of the task (see `Replayed`), and each rule
    is fitted exactly, one rule for all animals of a study.

    Arguments:
        simulator: The simulator.
        prior: The prior.
        trials: A table of choices, whose stimuli and sessions simulated animals see.
        num_trials: Decisions of each animal, one number or several to compare; past the end of the table it is shown again, as
            further sessions. None for as many as there are.
        num_animals: Animals that share a rule, one number or several; beyond those of the table its animals come again, in
            turn. None for as many as there are.
        learners: Learners of each rule, each in a network of its own; 24 by default.
        rules: How many. Only those count of which every learner's network ran through, as in data.
        store: Simulations of the prior to learn from; None to make some.
        num_simulations: How many, if there is no store; 8192 by default.
        num_samples: Posterior draws for each rule.
        fit_options: For `fit`: summaries, estimator, settings, sampler; with choices the sampler alone.
        folder: Where simulations go, so that an interrupted study resumes; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If the simulator cannot simulate animals of the table, or an argument belongs to the other kind.
    """
    arguments.whole("rules", rules, 10, arguments.MANY)
    arguments.whole("num_samples", num_samples, 50, arguments.MANY)
    if isinstance(simulator, PredictsChoices) or trials is not None:
        alien: dict[str, object] = {
            "learners": learners,
            "store": store,
            "num_simulations": num_simulations,
            "folder": folder,
            "num_workers": num_workers,
        }
        for name, value in alien.items():
            if value is not None:
                raise ValueError(f"{name} belongs to recovery from simulations; leave it out with trials of choices.")
        for name in fit_options or {}:
            arguments.known("fit_options", name, ["sampler"])
        model: Any = needed(simulator, ReplaysChoices, "recover with trials")
        if trials is None:
            raise ValueError(
                f"recover of {type(simulator).__name__} needs trials, the table whose animals are simulated."
            )
        table = Trials.read(trials, model.layout)
        suited = model.suited(table)
        return recover_from_choices(
            model,
            completed(prior, suited.names, suited.nuisances),
            table,
            _sizes("num_trials", num_trials, 2),
            _sizes("num_animals", num_animals, 1),
            rules=rules,
            num_samples=num_samples,
            sampler=(fit_options or {}).get("sampler"),
            seed=seed,
            progress=progress,
        )
    for name, size in (("num_trials", num_trials), ("num_animals", num_animals)):
        if size is not None:
            raise ValueError(f"{name} belongs to choices, recover(simulator, prior, trials=...); leave it out.")
    learners = LEARNERS if learners is None else arguments.whole("learners", learners, 1, arguments.MANY)
    own = ("store", "prior", "constraints", "trials", "x_o", "question")
    for name in fit_options or {}:
        arguments.known("fit_options", name, [n for n in inspect.signature(fit).parameters if n not in own])
    prior = as_prior(prior, simulator.names)
    keep: dict[str, Any] = {"num_workers": num_workers, "progress": progress}
    place = None if folder is None else Path(folder)
    if store is None:
        where = None if place is None else place / "store"
        store = simulate(simulator, prior, num_simulations or SIMULATIONS, store=where, seed=seed, **keep)
    truth, tables = learners_of(
        simulator, prior, rules, learners, folder=place, seed=child(seed, Stream.LEARNERS), **keep
    )
    posterior = fit(store, prior, trials=tables[0], **{"seed": seed, "progress": progress, **dict(fit_options or {})})
    posterior = recalibrated(
        posterior,
        simulator,
        folder=None if place is None else place / "sets",
        seed=child(seed, Stream.CALIBRATION),
        **keep,
    )
    draws = posterior.sample_batched((num_samples,), tables, seed=seed, progress=progress).transpose(0, 1)
    prior_sd = prior_draws(prior, 10_000).float().std(dim=0)
    return Recovery(posterior.names, truth, draws, learners, prior_sd, posterior)


def _sizes(name: str, value: Sequence[int] | int | None, least: int) -> tuple[int, ...] | None:
    """One number or several as several."""
    if value is None:
        return None
    several = (value,) if isinstance(value, int) else tuple(value)
    if not several or len(set(several)) < len(several):
        raise ValueError(f"{name} must be one number or several different ones, got {value!r:.80}.")
    return tuple(arguments.whole(name, v, least, arguments.MANY) for v in several)
