"""Simulations as learners would show them: cut to the learners' sessions, with their summaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.model.runs import Status, Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import Summary, summarise, summary_names
from sbirules.model.tables import Trials
from sbirules.stores.filling import simulate
from sbirules.support import arguments
from sbirules.support.streams import Stream, child, generator, seeded

__all__ = ["cut_like_learners", "learners_of", "recorded_like", "rows_like_learners", "summaries_of"]

FAR = 5.0  # times as large or as small as simulated ones: then recordings are in another unit
ATTEMPTS = 5  # rules drawn for each that is wanted, since learners of some fail


def rows_like_learners(
    theta: Tensor, runs: Trajectory, table: Trials, chosen: Sequence[Summary], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Simulations cut to the learners' sessions: theta, their summaries, their lengths, and which did not fail.

    Raises:
        ValueError: If the learners' trials were not simulated.
    """
    if table.trajectory.type_names != runs.type_names:
        raise ValueError(
            f"the trials have the types {arguments.listed(table.trajectory.type_names)}, but the simulations "
            f"{arguments.listed(runs.type_names)}."
        )
    rows, cut, length, learner = cut_like_learners(runs, table, seed)
    x = summarise(recorded_like(cut, table, learner), chosen)
    return theta[rows], x, length, (cut.status == Status.OK) & ~torch.isnan(x).any(dim=1)


def summaries_of(table: Trials, chosen: Sequence[Summary]) -> Tensor:
    """Summaries of the learners, `(L, S)`, all of them defined."""
    x_o = summarise(table.trajectory, chosen)
    if torch.isnan(x_o).any():
        row, column = (int(i) for i in torch.isnan(x_o).nonzero()[0])
        raise ValueError(
            f"{summary_names(chosen, table.trajectory.type_names)[column]} is undefined for learner "
            f"{table.learners[row]} with {int(table.num_trials[row])} trials; use fewer bins (summaries=...) or leave "
            f"that learner out."
        )
    return x_o


def cut_like_learners(runs: Trajectory, table: Trials, seed: int) -> tuple[Tensor, Trajectory, Tensor, Tensor]:
    """Each simulated run cut to the length of a random learner whose sequence of trial types it began with.

    Returns:
        The runs that began like a learner (their indices), what is left of them, their lengths, and which learner it was.

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
    learner = torch.multinomial(suits[of_run[rows]], 1, generator=generator(seed, Stream.SESSION))[:, 0]
    length = lengths[learner]
    return rows, runs.rows(rows).cut(length), length, learner


def recorded_like(runs: Trajectory, table: Trials, learner: Tensor) -> Trajectory:
    """Simulated recordings of as many units as the learner's, and with gaps where that has them; runs without any as they are.

    Arguments:
        runs: Cut to the learners' sessions.
        table: The learners.
        learner: Whose place each run has, `(n,)`.

    Raises:
        ValueError: If fewer units were simulated than recorded.
    """
    seen = table.trajectory.per_unit.get("responses")
    if seen is None:
        return runs
    made = runs.per_unit.get("responses")
    if made is None:
        raise ValueError(
            f"the simulations record no units, but the learners' {seen.shape[2]} were: simulate with "
            f"RateRNN(num_recorded={seen.shape[2]})."
        )
    if made.shape[2] < seen.shape[2]:
        raise ValueError(
            f"{seen.shape[2]} units were recorded of a learner, but only {made.shape[2]} in simulations; simulate with "
            f"num_recorded={seen.shape[2]}."
        )
    sizes = [float(v[torch.isfinite(v)].double().square().mean().sqrt()) for v in (seen, made)]
    if not 1 / FAR < sizes[0] / max(sizes[1], 1e-30) < FAR:
        raise ValueError(
            f"the recordings have values of about {sizes[0]:.3g} (root mean square), simulated units of {sizes[1]:.3g}: "
            f"another unit "
            f"of measurement; bring them to the simulator's with recordings.scaled({sizes[1] / max(sizes[0], 1e-30):.3g})."
        )
    shown = torch.full_like(made[:, :, : seen.shape[2]], torch.nan)
    trials = min(made.shape[1], seen.shape[1])
    for k in range(len(table)):  # one learner at a time, so that gaps need no array of their own for each run
        mine = (learner == k).nonzero()[:, 0]
        there = torch.isfinite(seen[k, :trials])
        shown[mine, :trials] = torch.where(there, made[mine, :trials, : seen.shape[2]], torch.nan)
    units = {**runs.per_unit, "responses": shown}
    return Trajectory(
        runs.status,
        runs.trial_types,
        runs.per_trial,
        runs.per_run,
        per_unit=units,
        type_names=runs.type_names,
        extras=runs.extras,
    )


def learners_of(
    simulator: Simulator,
    prior: Distribution,
    rules: int,
    learners: int,
    *,
    folder: Path | None,
    seed: int,
    trial_types: Any = None,
    fewest: int | None = None,
    like: Trials | None = None,
    **keep: Any,
) -> tuple[Tensor, list[Trials]]:
    """Rules of the prior of which all learners' networks ran through, `(rules, D)`, and the learners of each.

    Sequences of trial types `(learners, trials)` are those of the learners; None for the task's own. Where so many rules
    cannot be had, `fewest` will do; None for all of them.
    """
    truth: list[Tensor] = []
    tables: list[Trials] = []
    for attempt in range(ATTEMPTS):
        with seeded(seed, Stream.PRIOR, attempt):
            theta = prior.sample(Size((rules,))).float()
        where = None if folder is None else folder / f"learners-{attempt + 1}"
        runs = simulate(
            simulator,
            theta.repeat_interleave(learners, dim=0),
            store=where,
            seed=child(seed, Stream.ATTEMPT, attempt),
            trial_types=trial_types,
            label="learners",
            **keep,
        ).trajectory
        for k in range(rules):
            rows = torch.arange(k * learners, (k + 1) * learners)
            if bool((runs.status[rows] == Status.OK).all()) and len(tables) < rules:
                truth.append(theta[k])
                mine = runs.rows(rows)
                mine = mine if like is None else recorded_like(mine, like, torch.arange(learners))
                tables.append(Trials(tuple(str(i + 1) for i in range(learners)), mine))
        if len(tables) == rules:
            break
    if len(tables) >= (rules if fewest is None else min(fewest, rules)):
        return torch.stack(truth), tables
    raise ValueError(
        f"only {len(tables)} of {ATTEMPTS * rules} rules drawn from the prior ran through in all of {learners} "
        f"networks; narrow the prior."
    )
