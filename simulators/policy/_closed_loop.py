"""Simulated animals that choose in a task: what they do decides what they get."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from sbirules.model.choices import BETTER
from sbirules.model.decisions import features_of
from sbirules.model.runs import Status, Trajectory
from sbirules.support.streams import BLOCK, Key, Stream, generator, global_seed

from ._columns import PolicyColumns
from ._steps import answer_prob, decayed, learned, logits, started

__all__ = ["simulated"]


def simulated(
    theta: Tensor, columns: PolicyColumns, world: Any, types: Tensor, seed: Key | None, decay_on: str
) -> Trajectory:
    """One animal for each row of theta `(batch, D)`, with as many decisions as `types` `(batch, decisions)` has.

    Rows come in blocks that have a stream each and are always drawn whole, so that an animal is the same in any batch.
    `world` is the task.
    """
    key = global_seed() if seed is None else seed
    parts = []
    for k, (rows, shown) in enumerate(zip(torch.split(theta, BLOCK), torch.split(types, BLOCK), strict=True)):
        stream = generator(key, Stream.RUN, k)
        own = world.from_row(k * BLOCK) if hasattr(world, "from_row") else world
        more = BLOCK - len(rows)
        whole = torch.cat([rows, rows[-1:].expand(more, -1)])
        parts.append(_block(whole, columns, own, torch.cat([shown, shown[-1:].expand(more, -1)]), stream, decay_on))
        if more:
            parts[-1] = parts[-1].rows(torch.arange(len(rows)))
    return Trajectory.cat(parts)


class _Clock:
    """Sessions and trials: those that a task's state tells, else counted here by `session_length` and `max_offers`."""

    def __init__(self, world: Any, batch: int) -> None:
        self.length, self.most = getattr(world, "session_length", None), getattr(world, "max_offers", None)
        self.trial, self.offers = torch.zeros(batch, dtype=torch.long), torch.zeros(batch, dtype=torch.long)

    def read(self, state: Any, decision: int) -> tuple[Tensor, Tensor]:
        """Session and trial of a decision, `(batch,)` each."""
        if hasattr(state, "session"):
            return state.session, state.trial
        return torch.full_like(self.trial, 0 if self.length is None else decision // self.length), self.trial

    def tick(self, state: Any, accepted: Tensor, trial: Tensor) -> Tensor:
        """Which trials are over after a decision, `(batch,)` boolean."""
        if hasattr(state, "session"):
            return torch.as_tensor(state.trial != trial)
        self.offers = self.offers + 1
        over = accepted | (self.offers >= self.most if self.most else torch.zeros_like(accepted))
        self.trial, self.offers = self.trial + over.long(), torch.where(over, 0, self.offers)
        return over


def _block(
    theta: Tensor, columns: PolicyColumns, world: Any, types: Tensor, stream: Generator, decay_on: str
) -> Trajectory:
    meaning = columns.meaning
    batch, count = types.shape
    state = world.start(batch, stream)
    noise = None
    if columns.hidden:
        noise = torch.randn(
            batch, columns.options * columns.hidden, len(columns.features), generator=stream, dtype=torch.float64
        )
    learner = started(theta, columns, noise)
    reverses = getattr(world, "reverses", False)
    names = ("choice", "reward", "session", "trial", *([BETTER] if reverses else []), *meaning.stimuli)
    made = {name: torch.full((batch, count), torch.nan, dtype=torch.float64) for name in names}
    last, session = torch.full((batch,), -1), torch.full((batch,), -1)
    clock = _Clock(world, batch)
    with torch.no_grad():
        for t in range(count):
            shown, state = world.stimulus(t, state, stream)
            here, trial = clock.read(state, t)
            last = torch.where(here != session, -1, last)  # the answer before is forgotten overnight
            session = here
            stimuli = {name: shown[:, k] for k, name in enumerate(meaning.stimuli)}
            x = features_of(stimuli, meaning, columns.constant, batch)
            logit = logits(theta, columns, learner.weights, x, last)
            prob = torch.nan_to_num(answer_prob(theta, columns, logit), nan=1.0 / columns.answers)
            draw = torch.rand(batch, 1, generator=stream, dtype=torch.float64)
            choice = (draw > prob.cumsum(dim=1)).sum(dim=1).clamp(max=columns.answers - 1)
            if reverses:
                made[BETTER][:, t] = world.better(state)
            reward, state = world.outcome(choice, t, state, stream)
            for name, value in (("choice", choice), ("reward", reward), ("session", session), ("trial", trial)):
                made[name][:, t] = value.double()
            for name, value in stimuli.items():
                made[name][:, t] = value.double()
            accepted = choice == 1 if meaning.accept else torch.ones(batch, dtype=torch.bool)
            teaches = accepted & ~torch.isnan(reward)
            learner = learned(theta, columns, learner, x, choice, logit, reward, teaches)
            over = clock.tick(state, accepted, trial)
            if decay_on == "all":
                learner = decayed(theta, columns, learner, over & ~teaches)
            last = choice
    there = types >= 0
    fields = {name: torch.where(there, value, torch.nan) for name, value in made.items()}
    fine = torch.isfinite(learner.weights).flatten(1).all(dim=1)
    status = torch.where(fine, int(Status.OK), int(Status.DIVERGED)).to(torch.int8)
    return Trajectory(status, torch.where(there, 0, -1), fields)
