"""From simulations to a posterior: one function, two kinds of question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules import _check
from sbirules.classifier import ClassifierSettings, fit_event_probability
from sbirules.constraints import Constraints
from sbirules.features import Standardiser
from sbirules.likelihood import LikelihoodSettings, fit_likelihood
from sbirules.posterior import Posterior
from sbirules.potentials import SuccessPotential, TrialsPotential
from sbirules.sampling import SamplerSettings
from sbirules.store import SimulationStore
from sbirules.streams import generator
from sbirules.summaries import (
    Summary,
    SummaryLike,
    learning_curve,
    resolve,
    summarise,
    summary_names,
    volatility,
    with_length,
)
from sbirules.trajectory import Status, Trajectory
from sbirules.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fit"]


def fit(
    store: SimulationStore,
    prior: Distribution,
    *,
    constraints: Mapping[str, Any] | Constraints | None = None,
    trials: str | Path | pd.DataFrame | Trials | None = None,
    all_of_networks: int | None = None,
    reliability: float | None = None,
    summaries: Sequence[SummaryLike] | None = None,
    classifier: ClassifierSettings | None = None,
    likelihood: LikelihoodSettings | None = None,
    sampler: SamplerSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Posterior:
    """The posterior over rules given constraints or observed trials.

    Arguments:
        store: Simulations of rules drawn from `prior`, one network each.
        prior: The prior, in natural units.
        constraints: Intervals by summary name, e.g. `{"learned": (1, 1), "mean_rate": (0.05, 0.6)}`.
        trials: Or a table of learners that share one rule, each in a network of its own.
        all_of_networks: With constraints: they hold in all of so many networks of the same rule
            (default 1), p(theta) P(A | theta)^n.
        reliability: Or: rules under which they hold with at least this probability.
        summaries: With trials: what of a learner enters its likelihood; by default its learning curve
            per trial type and the volatility of its error.
        classifier: Settings of the success or validity classifier.
        likelihood: Settings of the likelihood of a learner.
        sampler: Settings of MCMC.
        seed: Makes the fit repeatable.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If not exactly one of `constraints` and `trials` is given, or they do not fit the store.
    """
    if (constraints is None) == (trials is None):
        raise ValueError("fit needs exactly one of constraints and trials.")
    names = tuple(getattr(prior, "names", store.names))
    if names != store.names:
        raise ValueError(f"the prior is over {_check.listed(names)}, but the store holds {_check.listed(store.names)}.")
    theta = store.theta
    outside = torch.isinf(prior.log_prob(theta))
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {len(theta)} simulated rules lie outside the prior; "
            f"pass the prior that they were drawn from."
        )
    standardiser = Standardiser.of(theta, getattr(prior, "log_scale", None))
    if constraints is not None:
        for name, value in (("trials' summaries", summaries), ("likelihood", likelihood)):
            if value is not None:
                raise ValueError(f"{name} have no meaning with constraints; leave them out.")
        potential, facts = _success(
            store, standardiser, Constraints.of(constraints), all_of_networks, reliability, classifier, seed
        )
    else:
        if all_of_networks is not None or reliability is not None:
            raise ValueError("all_of_networks and reliability belong to constraints, not to trials; leave them out.")
        table = Trials.read(trials, tuple(store.manifest["type_names"]), store.manifest["criterion"])
        potential, facts = _trials(store, standardiser, table, summaries, classifier, likelihood, seed, progress)
    posterior = Posterior(prior, store.names, potential, facts, sampler)
    posterior.raw_per_unit = torch.tensor(store.manifest["raw_per_unit"], dtype=torch.float64)
    return posterior


def _success(
    store: SimulationStore,
    standardiser: Standardiser,
    constraints: Constraints,
    all_of_networks: int | None,
    reliability: float | None,
    settings: ClassifierSettings | None,
    seed: int,
) -> tuple[SuccessPotential, dict[str, Any]]:
    if all_of_networks is not None and reliability is not None:
        raise ValueError("give all_of_networks or reliability, not both.")
    if all_of_networks is not None:
        _check.whole("all_of_networks", all_of_networks, 1)
    if reliability is not None:
        _check.share("reliability", reliability)
    happened = constraints.satisfied(store.x, store.summary_names)
    if not happened.any():
        raise ValueError(
            f"none of {len(store)} simulated networks satisfies all constraints ({_nearest(store, constraints)}); "
            f"loosen the constraints, change the prior or simulate more."
        )
    event = fit_event_probability(store.theta, happened, standardiser, settings=settings, seed=seed)
    if reliability is None and all_of_networks is None:
        all_of_networks = 1
    facts = {
        "kind": "constraints",
        "constraints": constraints.config(),
        "all_of_networks": all_of_networks,
        "reliability": reliability,
        "simulations": len(store),
        "satisfied": int(happened.sum()),
    }
    return SuccessPotential(event, all_of_networks, reliability).eval(), facts


def _nearest(store: SimulationStore, constraints: Constraints) -> str:
    """How often each constraint holds alone: tells which one is the obstacle."""
    alone = {
        name: int(Constraints({name: pair}).satisfied(store.x, store.summary_names).sum())
        for name, pair in constraints.intervals.items()
    }
    return "alone: " + ", ".join(f"{name} in {n}" for name, n in alone.items())


def default_summaries(table: Trials) -> tuple[Summary, ...]:
    """What the columns of a table allow: learning curves and volatility of the error, or the share correct."""
    available = table.trajectory.available
    if "error" in available:
        return learning_curve(6), volatility(3)
    return (learning_curve(6, of="correct"),)


def _trials(
    store: SimulationStore,
    standardiser: Standardiser,
    table: Trials,
    summaries: Sequence[SummaryLike] | None,
    classifier: ClassifierSettings | None,
    likelihood: LikelihoodSettings | None,
    seed: int,
    progress: bool,
) -> tuple[TrialsPotential, dict[str, Any]]:
    chosen = default_summaries(table) if summaries is None else tuple(resolve(s) for s in summaries)
    columns = summary_names(chosen, table.trajectory.type_names)
    x_o = summarise(table.trajectory, chosen).float()
    if torch.isnan(x_o).any():
        row, column = (int(i) for i in torch.isnan(x_o).nonzero()[0])
        raise ValueError(
            f"{columns[column]} is undefined for learner {table.learners[row]} with "
            f"{int(table.num_trials[row])} trials; use fewer bins (summaries=...) or leave that learner out."
        )
    rows, runs, length = _cut_like_learners(store.trajectory, table, seed)
    theta = store.theta[rows]
    x = summarise(runs, chosen)
    ok = (runs.status == Status.OK) & ~torch.isnan(x).any(dim=1)
    valid = fit_event_probability(theta, ok, standardiser, settings=classifier, seed=seed)
    for at, summary in zip(_spans(chosen, table.trajectory.type_names), chosen, strict=True):
        if summary.atoms:
            x[:, at], x_o[:, at] = _spread(x[:, at], x_o[:, at], ok, seed)
    model = fit_likelihood(
        theta[ok], x[ok], length[ok], valid, standardiser, settings=likelihood, seed=seed, progress=progress
    )
    facts = {
        "kind": "trials",
        "learners": len(table),
        "trials": int(table.num_trials.sum()),
        "summaries": list(columns),
        "simulations": len(rows),
        "valid": int(ok.sum()),
    }
    return TrialsPotential(model, x_o, table.num_trials).eval(), facts


def _spans(summaries: Sequence[Summary], type_names: Sequence[str]) -> list[slice]:
    """Columns of x of each summary."""
    spans, at = [], 0
    for s in summaries:
        width = len(s.columns(type_names))
        spans.append(slice(at, at + width))
        at += width
    return spans


def _spread(x: Tensor, x_o: Tensor, ok: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Adds uniform noise as wide as the spacing of values: summaries with atoms have no density without it."""
    values = torch.unique(x[ok])
    gap = float((values[1:] - values[:-1]).min()) if len(values) > 1 else 1.0
    stream = generator(seed, 2)
    noise = [gap * (torch.rand(t.shape, generator=stream) - 0.5) for t in (x, x_o)]
    return x + noise[0], x_o + noise[1]


def _cut_like_learners(runs: Trajectory, table: Trials, seed: int) -> tuple[Tensor, Trajectory, Tensor]:
    """Each simulated run cut to the length of a random learner whose sequence of trial types it began with.

    Returns:
        The runs that began like a learner (their indices), what is left of them, and their lengths.

    Raises:
        ValueError: If a learner's sequence was not simulated.
    """
    n = runs.trial_types.shape[1]
    lengths = table.num_trials
    if int(lengths.max()) > n:
        raise ValueError(
            f"learner {table.learners[int(lengths.argmax())]} has {int(lengths.max())} trials, but only {n} were "
            f"simulated; simulate with trial_types=trials.trial_types."
        )
    wanted = torch.full((len(table), n), -1)
    wanted[:, : table.trial_types.shape[1]] = table.trial_types[:, :n]
    sequences, of_run = torch.unique(runs.trial_types, dim=0, return_inverse=True)
    # (sequences, learners): the learner's trials are the first ones of the sequence
    suits = torch.stack([((wanted == s) | (wanted < 0)).all(dim=1) for s in sequences]).float()
    lacking = suits.sum(dim=0) == 0
    if lacking.any():
        raise ValueError(
            f"no simulated network had the sequence of trial types of learner "
            f"{table.learners[int(lacking.nonzero()[0])]}; simulate with trial_types=trials.trial_types."
        )
    rows = (suits.sum(dim=1) > 0)[of_run].nonzero()[:, 0]
    # each run takes one of the learners it could stand for, all with the same probability
    learner = torch.multinomial(suits[of_run[rows]], 1, generator=generator(seed, 3))[:, 0]
    length = lengths[learner]
    return rows, with_length(runs.rows(rows), length), length
