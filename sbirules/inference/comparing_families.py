"""Between families of rules, whatever they are to explain: one function for learners, choices and recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbirules.inference.baselines import Baseline
from sbirules.inference.choice_families import ChoiceComparison, compare_choices
from sbirules.inference.families import FamilyComparison, Stores, compare_simulated, first_store
from sbirules.inference.fitting import with_recordings
from sbirules.inference.recording_families import RecordingComparison, compare_recordings
from sbirules.inference.session_families import LawComparison, compare_laws
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.model.tables import Trials
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.priors import PriorLike
from sbirules.samplers.smc import SamplerSettings
from sbirules.support.gradients import gradients
from sbirules.support.typed import typed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_families"]


@typed
@gradients()
def compare_families(
    families: Mapping[str, tuple[Stores | Simulator, PriorLike] | str | Baseline],
    trials: str | Path | pd.DataFrame | Trials | None = None,
    *,
    recordings: Any = None,
    sessions: Any = None,
    animals: str | None = None,
    held_out: str | None = None,
    seen: int | None = None,
    summaries: Sequence[SummaryLike] | None = None,
    settings: EnsembleSettings | None = None,
    classifier: EnsembleSettings | None = None,
    sampler: SamplerSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> FamilyComparison | ChoiceComparison | RecordingComparison | LawComparison:
    """Which family of rules predicts learners best; and the evidence for each.

    **From simulations**, `(store, prior)`: each learner is left out in turn and scored by the posterior that the others lead
    to, all in one batch. The evidence is the mean likelihood under the prior: unlike the score, it depends on how wide that is.

    **On choices of animals**, `(simulator, prior)` with a simulator that knows their likelihood, such as `PolicyNetwork`, beside
    baselines by name, `"coin"`, `"fixed"`, `"logistic"`, `"per_session"`, `"random_walk"`, `"traces"` and `"q_learning"`: each
    is fitted to a part of the choices and scored on the rest. Of later sessions each choice is predicted given all that the
    animal did before, with what was learned from the earlier ones; baselines have parameters of each animal's own. Of animals
    left out all choices are predicted at once by what the others share, rules and baselines alike.

    **On recordings**, `(simulator, prior)` with a simulator such as `MushroomBody`, and `"no_plasticity"` for its circuit that
    does not learn: each animal is left out in turn, and what was recorded of it predicted by what the others tell.

    **On session scales**, `(simulator, prior)` with laws, `SessionLaw`, and `"no_law"` for scales that wander: by their evidence,
    and by how well laws of the first sessions of each animal predict the last 40 %.

    Arguments:
        families: Simulations of rules drawn from a prior, and that prior, by a name for the family. All with the
            learners' trials: `simulate(..., trial_types=trials.trial_types)`. Or simulators and priors, and baselines.
        trials: A table of learners that share one rule, each in a network of its own; or of choices.
        recordings: Or what was recorded of animals; with families of simulations, which record units, beside the trials of the
            same learners.
        sessions: Or the scales of a circuit's connectivity over sessions.
        animals: On choices: whether animals have one `"shared"` rule or each its `"own"`. By default their own if there are
            several sessions or more than 1000 decisions an animal, and shared else, or where only animals are held out.
        held_out: On choices: the last `"sessions"` (default) of each animal, a fifth of them and at least one, of a single
            session its last third; `"animals"`, each left out in turn; or `"both"`. A rule of each animal's own has no score
            of animals left out.
        seen: On recordings: how many first trials of an animal left out its predictions may see, for its gain; 0 by default.
        summaries: From simulations: what of a learner enters; by default its learning curves and the volatility of its error.
        settings: Also of simulations: of the contrastive ratio's ensemble.
        classifier: And settings of the classifier of failures.
        sampler: Settings of the sampler.
        seed: Makes the comparison repeatable.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If there are fewer than two families, or their simulations do not suit the learners; if a baseline is not
            known, simulations and simulators are mixed, or an animal has too few sessions.

    Examples:
        >>> table = compare_families({"degree 2": (store_2, prior_2), "degree 3": (store_3, prior_3)}, "trials.csv")
        >>> table = compare_families({"rule": (simulator, prior), "drift": "random_walk"}, trials)
    """
    if sessions is not None:
        told = {
            "trials": trials,
            "recordings": recordings,
            "animals": animals,
            "held_out": held_out,
            "seen": seen,
            "summaries": summaries,
            "settings": settings,
            "classifier": classifier,
        }
        _refuse(told, "other families; leave it out on session scales, whose last sessions are held out")
        return compare_laws(families, sessions, sampler=sampler, seed=seed)
    if trials is None and recordings is None:
        raise ValueError("compare_families needs trials, recordings (or both of the same learners), or sessions.")
    if recordings is not None:
        if _on_tables(families):
            told = {
                "trials": trials,
                "animals": animals,
                "held_out": held_out,
                "summaries": summaries,
                "settings": settings,
                "classifier": classifier,
            }
            _refuse(told, "other families; leave it out on recordings, where each animal is left out")
            return compare_recordings(families, recordings, seen=seen or 0, sampler=sampler, seed=seed)
        trials = with_recordings(trials, recordings, first_store(families).layout)
    _refuse({"seen": seen}, "recordings of a circuit whose variables are those recorded; leave it out")
    if trials is None:
        raise ValueError("compare_families needs trials, recordings, or both of the same learners.")
    if _on_tables(families):
        of_stores = {"summaries": summaries, "settings": settings, "classifier": classifier}
        _refuse(of_stores, "families of simulations; leave it out on choices")
        chosen: Any = families
        return compare_choices(
            chosen,
            trials,
            animals=animals,
            held_out="sessions" if held_out is None else held_out,
            sampler=sampler,
            seed=seed,
            progress=progress,
        )
    of_choices = {"animals": animals, "held_out": held_out}
    _refuse(of_choices, "choices, (simulator, prior); leave it out for families of simulations")
    return compare_simulated(
        families,
        trials,
        summaries=summaries,
        settings=settings,
        classifier=classifier,
        sampler=sampler,
        seed=seed,
        progress=progress,
    )


def _refuse(given: Mapping[str, Any], why: str) -> None:
    """Raises ValueError for arguments that belong to something else."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} belongs to {why}.")


def _on_tables(families: Mapping[str, Any]) -> bool:
    """Whether families are simulators and baselines; raises ValueError if some are and some are not."""
    of = {
        name: isinstance(v, (str, Baseline)) or (isinstance(v, tuple) and len(v) == 2 and isinstance(v[0], Simulator))
        for name, v in families.items()
    }
    if any(of.values()) and not all(of.values()):
        one, other = (next(name for name, kind in of.items() if kind is wanted) for wanted in (True, False))
        raise ValueError(
            f"families must all be simulations, (store, prior), or all simulators and baselines of choices; {one!r} is one of "
            f"choices, {other!r} is not."
        )
    return any(of.values())
