"""Simulating where the posterior is, so that it is right where it matters."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.fitting import fit
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import QUESTIONS
from sbirules.inference.rounds.recalibrating import FEWEST, recalibrated
from sbirules.model.simulator import Simulator
from sbirules.priors import PriorLike, as_prior
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments, tensors
from sbirules.support.files import make_folder, read_json, write_json
from sbirules.support.streams import Stream, child, generator
from sbirules.support.typed import typed

OPTIONS = tuple(n for n in inspect.signature(fit).parameters if n not in ("store", "prior", "seed", "progress"))

__all__ = ["refine"]

STEPS = "steps.json"  # how many rounds a time box took
RULES = "rules.safetensors"  # the rules of a round, kept so that a resumed round simulates the same ones


@typed
def refine(
    posterior: Posterior,
    simulator: Simulator,
    stores: SimulationStore | Sequence[SimulationStore],
    prior: PriorLike,
    *,
    rounds: int = 3,
    num_simulations: int = 3072,
    recalibration: int = 64,
    minutes: float | None = None,
    folder: str | Path | None = None,
    trial_types: Any = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
    **options: Any,
) -> tuple[Posterior, list[SimulationStore]]:
    """Rounds of simulating rules from the current posterior and fitting to all simulations so far.

    Sampling seeks out a learned likelihood's overestimates, and many learners or networks multiply them.
    Each round simulates fresh networks just there. The first rounds draw from a flattened posterior, prior x
    likelihood^(k / rounds), since an early posterior is often narrow in the wrong place. In half of the rules
    a random subset of the terms is set to zero: with many terms, a prior and a posterior hardly ever draw
    the sparse rules that people have in mind, and the fit should be right there too. No correction for the
    proposal is needed: what is learned is a probability given the rule.

    Arguments:
        posterior: The first posterior, from simulations of the prior.
        simulator: The simulator.
        stores: The simulations it was fitted to.
        prior: The prior.
        rounds: How often.
        num_simulations: Simulations in each round.
        recalibration: With learners: sets of them by which the sum of the last fit is recalibrated, see `recalibrate`; 0 for
            none.
        minutes: Time for the rounds: no second or later one is begun that would end after it, judged by the longest so far. How
            many there were is kept in the folder, and a rerun there takes as many, whatever the clock says.
        folder: Where their stores go, `round-1` and so on, and `sets`; None for temporary ones.
        trial_types: Sequences of trial types, as for `simulate`.
        seed: Of the rounds.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
        options: As for `fit`; without a question, that of the posterior is asked again.

    Returns:
        The last posterior, and all stores.
    """
    arguments.whole("rounds", rounds, 0)
    arguments.whole("num_simulations", num_simulations, 1)
    if arguments.whole("recalibration", recalibration, 0) in range(1, FEWEST):
        raise ValueError(f"recalibration must be 0 or at least {FEWEST} sets of learners, got {recalibration}.")
    for name in options:
        arguments.known("refine's argument", name, OPTIONS)
    inside: Distribution = as_prior(prior, posterior.names)
    asked = {name: options.get(name) for name in (*QUESTIONS, "question") if options.get(name) is not None}
    if not asked:
        if posterior.question is None or posterior.question.lacking():
            raise ValueError("refine needs what the first fit was asked: constraints, trials, x_o or question.")
        options["question"] = posterior.question
    every = [stores] if isinstance(stores, SimulationStore) else list(stores)
    before = len(every)
    box = _TimeBox(rounds, minutes, None if folder is None else Path(folder))
    for k in range(1, rounds + 1):
        last = box.last(k)
        if k > last:
            break
        key = child(seed, Stream.ROUND, len(every))
        place = None if folder is None else Path(folder) / f"round-{k}"
        theta = None if place is None else _drawn_before(place, num_simulations)
        if theta is None:
            theta = posterior.sample_tempered(num_simulations, k / last, seed=key, progress=progress)
            theta = _thin_out_half(theta, simulator, inside, key)
            if place is not None:
                tensors.write(make_folder(place) / RULES, {"theta": theta})
        every.append(
            simulate(
                simulator,
                theta,
                store=place,
                seed=key,
                trial_types=trial_types,
                num_workers=num_workers,
                progress=progress,
                label=f"round {k}",
            )
        )
        posterior = fit(every, inside, seed=child(seed, Stream.TRAINING, k), progress=progress, **options)
        box.ended(every[-1].seconds)
    box.close(len(every) - before)
    if recalibration:
        posterior = recalibrated(
            posterior,
            simulator,
            rules=recalibration,
            folder=None if folder is None else Path(folder) / "sets",
            seed=child(seed, Stream.CALIBRATION),
            num_workers=num_workers,
            progress=progress,
        )
    return posterior, every


class _TimeBox:
    """How many rounds there is time for.

    Arguments:
        rounds: At most.
        minutes: Time for them; None for all it takes.
        folder: Where an earlier call kept how many it took.
    """

    def __init__(self, rounds: int, minutes: float | None, folder: Path | None) -> None:
        self.rounds, self.minutes, self.folder = rounds, minutes, folder
        if minutes is not None:
            arguments.above("minutes", minutes, 0.0)
        self._began, self._took = monotonic(), [0.0]
        self._kept = self._before()

    def last(self, k: int) -> int:
        """Number of the last round, as far as that is known before round k."""
        if self.minutes is None or self._kept is not None:
            return self.rounds if self._kept is None else self._kept
        if k == 1:
            return self.rounds
        left = 60 * self.minutes - sum(self._took)
        more = min(float(self.rounds), max(0.0, left) / max(*self._took, 1e-9))
        return min(self.rounds, k - 1 + int(more))

    def ended(self, simulated: float) -> None:
        """Notes a round, whose simulations took so many seconds, perhaps before this call."""
        now = monotonic()
        self._took.append(max(now - self._began, simulated))
        self._began = now

    def close(self, taken: int) -> None:
        """Keeps how many rounds there were, and tells where they were fewer than wanted."""
        if self.minutes is None:
            return
        if taken < self.rounds:
            warnings.warn(f"minutes={self.minutes:g} left time for {taken} of {self.rounds} rounds.")
        if self.folder is not None:
            write_json(make_folder(self.folder) / STEPS, {"minutes": self.minutes, "of": self.rounds, "rounds": taken})

    def _before(self) -> int | None:
        place = None if self.folder is None else self.folder / STEPS
        if self.minutes is None or place is None or not place.is_file():
            return None
        try:
            found = read_json(place)
            same = (found["minutes"], found["of"]) == (self.minutes, self.rounds)
            return arguments.whole("rounds", found["rounds"], min(1, self.rounds), self.rounds) if same else None
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{place}: {error}; rounds go by the clock again.")
            return None


def _drawn_before(place: Path, n: int) -> Tensor | None:
    """Rules that an interrupted round has drawn already."""
    if not (place / RULES).is_file():
        return None
    try:
        theta = tensors.read(place / RULES)[1].get("theta", torch.zeros(0))
    except tensors.DamagedFile as error:
        warnings.warn(f"{place}: {error}; the rules are drawn anew.")
        return None
    return theta if len(theta) == n else None


def _thin_out_half(theta: Tensor, simulator: Simulator, prior: Distribution, seed: int) -> Tensor:
    """Shuffled rules, half of them with each linear coefficient set to zero with a probability of the rule's own."""
    stream = generator(seed, Stream.SPARSE)
    # shuffled, so that sequences of trials, which rows get in turn, do not go with sparse rules
    theta = theta[torch.randperm(len(theta), generator=stream)]
    linear = torch.tensor([p.linear for p in simulator.family.parameters])
    chance = torch.rand(len(theta), 1, generator=stream)
    chosen = torch.rand(len(theta), 1, generator=stream) < 0.5
    drop = chosen & (torch.rand(theta.shape, generator=stream) < chance) & linear
    sparse = torch.where(drop, 0.0, theta)
    return torch.where(torch.isfinite(prior.log_prob(sparse))[:, None], sparse, theta)
