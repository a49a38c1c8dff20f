"""From simulations to a posterior: one function, whatever the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.inference.drawn_from import log_weight_of, refuse_other_rules
from sbirules.inference.estimators import ESTIMATORS, Job
from sbirules.inference.exact_fitting import fit_exactly
from sbirules.inference.posterior import Posterior
from sbirules.inference.potentials import training_curves
from sbirules.inference.questions import QUESTIONS, Question
from sbirules.model.constraints import Constraints
from sbirules.model.fields import Layout
from sbirules.model.prior import log_scale_of, names_of
from sbirules.model.recordings import Recordings
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.model.tables import Trials
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.priors import PriorLike, as_prior
from sbirules.samplers.smc import SamplerSettings
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.gradients import gradients
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fit", "question_of", "with_recordings"]

ASKED = "constraints, trials, recordings, sessions, x_o and question"
BEYOND = 0.05  # share of the prior beyond all simulated rules, of any coefficient, that a fit refuses


@typed
@gradients()
def fit(
    store: SimulationStore | Sequence[SimulationStore] | Simulator,
    prior: PriorLike,
    *,
    constraints: Mapping[str, Any] | Constraints | None = None,
    trials: str | Path | pd.DataFrame | Trials | None = None,
    recordings: Any = None,
    sessions: Any = None,
    x_o: Any = None,
    question: Question | None = None,
    all_of_networks: int | None = None,
    reliability: float | None = None,
    summaries: Sequence[SummaryLike] | None = None,
    animals: str | None = None,
    varies: Sequence[str] | None = None,
    spread: float | None = None,
    classifier: EnsembleSettings | None = None,
    estimator: str | None = None,
    settings: Any = None,
    sampler: SamplerSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Posterior:
    """The posterior over rules given constraints, observed trials or one network's summaries.

    Arguments:
        store: Simulations of rules drawn from `prior`, one network each. Further stores may hold rules
            from anywhere inside the prior, such as an earlier posterior: what is learned is a probability
            or a likelihood given the rule, which does not depend on where rules came from. Or the simulator itself
            where it knows the likelihood of a table exactly, as `PolicyNetwork` does that of choices.
        prior: The prior, in natural units: one of `sbirules.priors`, a torch distribution over vectors, or a list of one
            for each coefficient.
        constraints: Intervals by summary name, e.g. `{"learned": (1, 1), "mean_rate": (0.05, 0.6)}`.
        trials: Or a table of learners that share one rule, each in a network of its own.
        recordings: Or what was recorded of them: `Recordings`, or the path of a file that `Recordings.read` reads. With a
            simulator such as `MushroomBody` its likelihood is exact; with simulations that record units
            (`RateRNN(num_recorded=20)`) it is learned from summaries that do not depend on which unit is which, together with
            the trials of the same learners if these are given as well.
        sessions: Or the scales of a circuit's connectivity over sessions: `SessionScales`, or the path of a table that
            `SessionScales.read` reads; with the simulator `SessionLaw`, whose likelihood is known.
        x_o: Or the summaries of one network: values by summary name, all or some of the store's, or a row of all.
        question: Or a question as an object, of those in `sbirules.inference.questions` or of one's own.
        all_of_networks: With constraints: they hold in all of so many networks of the same rule
            (default 1), p(theta) P(A | theta)^n.
        reliability: Or: rules under which they hold with at least this probability.
        summaries: With trials: what of a learner enters its likelihood; by default its learning curve
            per trial type, and volatility, scatter and autocorrelation of its error.
        animals: With choices: whether all animals have one `"shared"` rule (default), each its `"own"`, or they are
            `"partial"`ly pooled, normal around a population's centre on the prior's unconstrained scale.
        varies: With partial pooling: which coefficients vary between animals; by default all.
        spread: With partial pooling: s.d. of the half-normal prior of that variation, 1 by default.
        classifier: Settings of the classifier of success, or of failures.
        estimator: With trials: `"ratio"` (default) for contrastive ratio estimation, or `"likelihood"` for sbi's
            neural likelihood estimation with zuko's spline flows. The ratio needs fewer simulations for
            many learners, since it need not model how networks differ under one rule. Or `"npe"`, the amortised
            posterior given sets of learners, for a store with several networks of each rule:
            `simulate(simulator, prior.sample((2000,)).repeat_interleave(24, dim=0))`. With x_o: `"likelihood"`
            (default), or `"npe"` for neural posterior estimation, whose density is normalised and which draws
            without a sampler, but needs more simulations. `"npe"` takes rules as often as they come: draws of the
            prior, or of another of `sbirules.priors`, which are weighted; other rules are refused.
        settings: Of the estimator: `EnsembleSettings`, `LikelihoodSettings` or `NPESettings`.
        sampler: Settings of the sampler.
        seed: Makes the fit repeatable.
        progress: Whether to show progress bars.

    Warns of simulations that lie far from all others, which count as failed, and of observations that none came near.

    Raises:
        ValueError: If not exactly one question is asked, or it does not fit the store.
    """
    if isinstance(store, Simulator):
        given = _given(constraints, trials, recordings, sessions, x_o)
        exactly = _asked_exactly(store, given, question, animals)
        unused = {"estimator": estimator, "settings": settings, "classifier": classifier, "summaries": summaries}
        for name, value in unused.items():
            if value is not None:
                raise ValueError(
                    f"{name} belongs to fits from simulations; leave it out where the likelihood is known."
                )
        return fit_exactly(
            store,
            prior,
            exactly,
            varies=varies,
            spread=1.0 if spread is None else arguments.above("spread", spread, 0.0),
            sampler=sampler,
            seed=seed,
            progress=progress,
        )
    for name, value in (("animals", animals), ("varies", varies), ("spread", spread)):
        if value is not None:
            raise ValueError(f"{name} belongs to choices, fit(simulator, prior, trials=...); leave it out.")
    stores = [store] if isinstance(store, SimulationStore) else list(store)
    prior = _checked_prior(stores, prior)
    first = stores[0]
    if recordings is not None:  # of units that simulations record as well: one observation with the trials
        trials, recordings = with_recordings(trials, recordings, first.layout), None
    given = _given(constraints, trials, recordings, sessions, x_o)
    options = {"all_of_networks": all_of_networks, "reliability": reliability, "summaries": summaries}
    asked = question_of(given, question, options, first.layout, first.summary_names, "fit")
    if asked is None:
        raise ValueError(f"fit needs exactly one of {ASKED}.")
    name = _estimator_of(asked, estimator, settings)
    if name == "npe" and len(stores) > 1:
        raise ValueError('estimator="npe" needs one store of rules drawn from the prior; the others take more.')
    log_weight = log_weight_of(first, prior) if name == "npe" else None
    if log_weight is None:
        _check_inside(stores, prior)
        if name == "npe":
            refuse_other_rules(first, prior, first.names)
    standardiser = Standardiser.of(first.theta, log_scale_of(prior))
    fitted = asked.fit(stores, Job(prior, standardiser, settings, classifier, seed, progress, log_weight), name)
    curves = {**training_curves(fitted.potential), **fitted.record.training}
    details = {**fitted.record.details, **({"rounds": len(stores) - 1} if len(stores) > 1 else {})}
    raw = first.manifest.get("raw_per_unit")  # simulations made elsewhere have no units of ours
    return Posterior(
        prior,
        first.names,
        fitted.potential,
        fitted.question,
        replace(fitted.record, training=curves, details=details),
        sampler,
        None if raw is None else torch.tensor(raw, dtype=torch.float64),
    )


def _given(constraints: Any, trials: Any, recordings: Any, sessions: Any, x_o: Any) -> dict[str, Any]:
    """What is asked, by kind."""
    return {
        "constraints": constraints,
        "trials": trials,
        "recordings": recordings,
        "sessions": sessions,
        "x_o": x_o,
    }


def with_recordings(trials: Any, recordings: Any, layout: Layout) -> Trials:
    """Learners of whom trials, if there are any, and units were recorded, as one table."""
    recorded = Recordings.read(recordings)
    if trials is None:
        return Trials.of_recordings(recorded, layout.type_names)
    return Trials.read(trials, layout).with_recordings(recorded)


def _asked_exactly(simulator: Simulator, given: Plain, question: Question | None, animals: str | None) -> Question:
    """The question of a fit without simulations."""
    kind = QUESTIONS.get(simulator.tables)
    exact = kind is not None and not kind.simulated
    argument = getattr(kind, "argument", "trials")
    value = given[argument]
    if question is not None or kind is None or value is None or not exact:
        if question is not None and animals is None and all(v is None for v in given.values()):
            return question
        raise ValueError(
            "fit without a store needs a simulator that knows the likelihood of a table: PolicyNetwork and trials=..., "
            "MushroomBody and recordings=..., or SessionLaw and sessions=...; for other questions simulate first: "
            "store = simulate(simulator, prior, 4096)."
        )
    if any(given[name] is not None for name in given if name != argument):
        raise ValueError(f"fit needs exactly one of {ASKED}.")
    options = {} if animals is None else {"animals": animals}
    return kind.ask(value, simulator.layout, simulator.summary_names, **options)


def question_of(
    given: Plain,
    question: Question | None,
    options: Mapping[str, Any],
    layout: Layout,
    summary_names: Sequence[str],
    who: str,
) -> Question | None:
    """The one question that is asked, or None; `given` holds values by kind, None where there is none."""
    asked = {kind: value for kind, value in given.items() if value is not None}
    if len(asked) + (question is not None) > 1:
        more = arguments.listed((*asked, *(("question",) if question is not None else ())))
        raise ValueError(f"{who} needs exactly one of {ASKED}, got {more}.")
    set_options = {name: value for name, value in options.items() if value is not None}
    kind = type(question) if question is not None else QUESTIONS[next(iter(asked))] if asked else None
    for name in set_options:
        if kind is not None and (question is not None or name not in kind.fit_keys):
            owner = next((k.kind for k in QUESTIONS.values() if name in k.fit_keys), "another question")
            raise ValueError(f"{name} belongs to {owner}; leave it out.")
    if question is not None:
        arguments.instance("question", question, Question)
        return question
    if kind is None:
        return None
    return kind.ask(next(iter(asked.values())), layout, summary_names, **set_options)


def _estimator_of(question: Question, estimator: str | None, settings: Any) -> str:
    """The estimator's name; its settings checked."""
    if not question.estimators:
        if estimator is not None or settings is not None:
            raise ValueError(
                f"estimator and settings belong to trials and x_o, not to {question.kind}; leave them out."
            )
        return ""
    name = question.estimators[0] if estimator is None else estimator
    arguments.known("estimator", name, question.estimators)
    wanted = ESTIMATORS[name].settings if name in ESTIMATORS else None
    if settings is not None and wanted is not None and not isinstance(settings, wanted):
        raise ValueError(f"the settings of estimator={name!r} must be {wanted.__name__}, got {settings!r}.")
    return name


def _checked_prior(stores: Sequence[SimulationStore], given: PriorLike) -> Distribution:
    """The prior; raises ValueError unless the stores hold simulations of one simulator, of rules wherever it reaches."""
    if not stores or not all(isinstance(s, SimulationStore) for s in stores):
        raise ValueError('fit needs a SimulationStore, from simulate(...) or SimulationStore("folder"), or several.')
    prior: Distribution = as_prior(given, stores[0].names)
    names = names_of(prior, stores[0].names)
    if names != stores[0].names:
        raise ValueError(
            f"the prior is over {arguments.listed(names)}, but the store holds {arguments.listed(stores[0].names)}."
        )
    for other in stores[1:]:
        if other.simulator_hash != stores[0].simulator_hash:
            raise ValueError(f"{other.path} and {stores[0].path} hold simulations of different simulators.")
    _check_reach(torch.cat([s.theta for s in stores]), prior, names)
    return prior


def _check_inside(stores: Sequence[SimulationStore], prior: Distribution) -> None:
    """Raises ValueError if simulated rules lie outside the prior."""
    for s in stores:
        outside = torch.isinf(prior.log_prob(s.theta))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {len(s)} simulated rules in {s.path} lie outside the prior; "
                f"pass the prior that they were drawn from."
            )


def _check_reach(theta: Tensor, prior: Distribution, names: Sequence[str]) -> None:
    """Raises ValueError where the prior reaches far beyond the rules that were simulated."""
    if len(theta) < 100:
        return
    with seeded(0, Stream.SHAPES):
        draws = prior.sample(Size((2000,))).float()
    beyond = ((draws < theta.min(dim=0).values) | (draws > theta.max(dim=0).values)).float().mean(dim=0)
    worst = int(beyond.argmax())
    if float(beyond[worst]) > BEYOND:
        low, high = float(theta[:, worst].min()), float(theta[:, worst].max())
        raise ValueError(
            f"the prior reaches beyond the simulations: {100 * float(beyond[worst]):.0f} % of its {names[worst]} lies "
            f"outside [{low:.3g}, {high:.3g}], where they were; pass the prior they were drawn from, or simulate more."
        )
