"""The posterior given observed trials: many learners, one rule, each with its own session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sbirules import _check
from sbirules.classifier import fit_event_probability
from sbirules.ensemble import EnsembleSettings
from sbirules.features import Standardiser
from sbirules.likelihood import LearnerLikelihood, LikelihoodSettings, fit_likelihood
from sbirules.potentials import TrialsPotential
from sbirules.ratio import LearnerRatio, fit_ratio
from sbirules.streams import Key, generator
from sbirules.summaries import (
    Summary,
    SummaryLike,
    learning_curve,
    rebuild,
    resolve,
    summarise,
    summary_names,
    volatility,
    with_length,
    written,
)
from sbirules.trajectory import Status, Trajectory
from sbirules.trials import Trials

__all__ = ["ESTIMATORS", "default_summaries", "learners_again", "spread_atoms", "trials_potential"]

DISCRETE = 0.05  # share of rows whose value no other has, below which a summary counts as discrete
RARE = 0.005  # share of rows above which a value of any other summary is an atom
ESTIMATORS = ("ratio", "likelihood", "npe")  # the last in fit_sets


def default_summaries(table: Trials) -> tuple[Summary, ...]:
    """What the columns of a table allow: learning curves and volatility of the error, or the share correct."""
    available = table.trajectory.available
    if "error" in available:
        return learning_curve(6), volatility(3)
    return (learning_curve(6, of="correct"),)


def trials_potential(
    theta: Tensor,
    runs: Trajectory,
    standardiser: Standardiser,
    table: Trials,
    *,
    criterion: float = 0.5,
    summaries: Sequence[SummaryLike] | None = None,
    estimator: str = "ratio",
    settings: EnsembleSettings | LikelihoodSettings | None = None,
    classifier: EnsembleSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[TrialsPotential, dict[str, Any]]:
    """The learned log-likelihood of the table's learners, and the facts of the fit.

    Arguments:
        theta: Simulated rules, `(n, D)`.
        runs: Their learning runs.
        standardiser: Of theta.
        table: The learners.
        criterion: Error below which a trial is correct, for tables that lack it.
        summaries: What of a learner enters its likelihood; None for the default.
        estimator: `"ratio"` or `"likelihood"`.
        settings: Of the estimator.
        classifier: Settings of the classifier of failures.
        seed: Makes the fit repeatable.
        progress: Whether to show a progress bar.
    """
    _check.known("estimator", estimator, ESTIMATORS)
    wanted = EnsembleSettings if estimator == "ratio" else LikelihoodSettings
    if settings is not None and not isinstance(settings, wanted):
        raise ValueError(f"the settings of estimator={estimator!r} must be {wanted.__name__}, got {settings!r}.")
    chosen = default_summaries(table) if summaries is None else tuple(resolve(s) for s in summaries)
    columns = summary_names(chosen, table.trajectory.type_names)
    x_o = summaries_of(table, chosen)
    theta, x, length, ok = rows_like_learners(theta, runs, table, chosen, seed)
    valid = fit_event_probability(theta, ok, standardiser, settings=classifier, seed=seed)
    model: LearnerRatio | LearnerLikelihood
    if isinstance(settings, LikelihoodSettings) or estimator == "likelihood":
        for at, summary in zip(_spans(chosen, table.trajectory.type_names), chosen, strict=True):
            for k in range(at.start, at.stop) if summary.atoms else ():
                x[:, k], x_o[:, k] = spread_atoms(x[:, k], x_o[:, k], ok, (seed, k))
        flows = settings if isinstance(settings, LikelihoodSettings) else None
        model = fit_likelihood(
            theta[ok], x[ok], length[ok], valid, standardiser, settings=flows, seed=seed, progress=progress
        )
    else:
        model = fit_ratio(theta[ok], x[ok], length[ok], valid, standardiser, settings=settings, seed=seed)
    facts = {
        "kind": "trials",
        "learners": len(table),
        "trials": int(table.num_trials.sum()),
        "estimator": estimator,
        "summaries": list(columns),
        "summary_settings": [written(s) for s in chosen],
        "lengths": [int(length.min()), int(length.max())],
        "trial_types": list(runs.type_names),
        "criterion": criterion,
        "simulations": len(theta),
        "valid": int(ok.sum()),
    }
    net = TrialsPotential(model, x_o, table.num_trials).eval()
    net.summaries = chosen
    return net, facts


def rows_like_learners(
    theta: Tensor, runs: Trajectory, table: Trials, chosen: Sequence[Summary], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Simulations cut to the learners' sessions: theta, their summaries, their lengths, and which did not fail.

    Raises:
        ValueError: If the learners' trials were not simulated.
    """
    if table.trajectory.type_names != runs.type_names:
        raise ValueError(
            f"the trials have the types {_check.listed(table.trajectory.type_names)}, but the simulations "
            f"{_check.listed(runs.type_names)}."
        )
    rows, cut, length = _cut_like_learners(runs, table, seed)
    x = summarise(cut, chosen)
    return theta[rows], x, length, (cut.status == Status.OK) & ~torch.isnan(x).any(dim=1)


def summaries_of(table: Trials, chosen: Sequence[Summary]) -> Tensor:
    """Summaries of the learners, `(L, S)`, all of them defined."""
    x_o = summarise(table.trajectory, chosen).float()
    if torch.isnan(x_o).any():
        row, column = (int(i) for i in torch.isnan(x_o).nonzero()[0])
        raise ValueError(
            f"{summary_names(chosen, table.trajectory.type_names)[column]} is undefined for learner "
            f"{table.learners[row]} with {int(table.num_trials[row])} trials; use fewer bins (summaries=...) or leave "
            f"that learner out."
        )
    return x_o


def learners_again(net: Any, facts: Mapping[str, Any], trials: Any) -> tuple[nn.Module, dict[str, Any]]:
    """A trained likelihood or amortised posterior given other learners."""
    from sbirules.fit_sets import sets_again

    types = tuple(facts["trial_types"])
    table = Trials.read(trials, types, facts["criterion"])
    if table.trajectory.type_names != types:
        raise ValueError(
            f"the trials have the types {_check.listed(table.trajectory.type_names)}, but this posterior learned from "
            f"{_check.listed(types)}."
        )
    low, high = facts["lengths"]
    if int(table.num_trials.min()) < low or int(table.num_trials.max()) > high:
        raise ValueError(
            f"sessions of {int(table.num_trials.min())} to {int(table.num_trials.max())} trials are given, but this "
            f"posterior learned from sessions of {low} to {high}; fit again with them."
        )
    chosen = getattr(net, "summaries", None) or [rebuild(config) for config in facts["summary_settings"]]
    if facts["estimator"] == "likelihood" and any(s.atoms for s in chosen):
        raise ValueError('given() cannot spread the atoms of these summaries as the fit did; use estimator="ratio".')
    x = summaries_of(table, chosen)
    more = {"learners": len(table), "trials": int(table.num_trials.sum())}
    again = net.given if isinstance(net, TrialsPotential) else partial(sets_again, net)
    new = again(x, table.num_trials)
    new.summaries = chosen
    return new, {**facts, **more}


def _spans(summaries: Sequence[Summary], type_names: Sequence[str]) -> list[slice]:
    """Columns of x of each summary."""
    spans, at = [], 0
    for s in summaries:
        width = len(s.columns(type_names))
        spans.append(slice(at, at + width))
        at += width
    return spans


def spread_atoms(x: Tensor, x_o: Tensor, ok: Tensor, key: Key) -> tuple[Tensor, Tensor]:
    """A column `(n,)` and what was observed of it `(m,)` without atoms: with those there is no density.

    Discrete values get uniform noise as wide as their spacing. Atoms amid other values are each spread over an
    interval of their own, opened by moving all that lies above them up; the order stays.
    """
    values, counts = torch.unique(x[ok], return_counts=True)
    stream = generator(key, 2)
    noise = [torch.rand(t.shape, generator=stream) for t in (x, x_o)]
    alone = float(counts[counts == 1].sum()) / int(ok.sum())
    if alone < DISCRETE:
        gap = float(values.diff().min()) if len(values) > 1 else 1.0
        return x + gap * (noise[0] - 0.5), x_o + gap * (noise[1] - 0.5)
    atoms = values[counts > max(3, RARE * int(ok.sum()))]
    width = float(x[ok].std().clamp(min=1e-6)) / 2

    def opened(column: Tensor, u: Tensor) -> Tensor:
        below = (column[:, None] > atoms).sum(dim=1)
        at = (column[:, None] == atoms).any(dim=1)
        return column + width * (below + torch.where(at, u, 0.0))

    return opened(x, noise[0]), opened(x_o, noise[1])


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
