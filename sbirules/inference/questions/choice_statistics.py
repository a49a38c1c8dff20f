"""What choices look like, in numbers that experimenters know: repetition, win-stay and lose-shift, runs, psychometric curves.

Each statistic is a mean over decisions of a property of the answer *given what the animal really did and got before*. So
answers that a model predicts one step ahead can be put in the place of the animal's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.choices import BETTER
from sbirules.model.decisions import Decisions, has_constant
from sbirules.model.tables import Trials

__all__ = ["AROUND", "REVERSALS", "History", "Statistic", "statistics_of"]

REVERSALS = "response to reversals"

LAGS = 5
RUNS = 4  # run lengths from 1 on, the last one open
BINS = 5  # of a stimulus
PARTS = 3  # of the sessions, or of the trials of a single one
TENTHS = 10
# trials from a reversal, whose first one is 1; those before it are negative
AROUND = ((-10, -6), (-5, -1), (1, 1), (2, 3), (4, 6), (7, 10), (11, 15), (16, 20))
FEWEST = 5  # reversals that tell something
SHORTEST = 5  # decisions of a block, on average, for a change of the better option to be a reversal


@dataclass(frozen=True)
class Statistic:
    """Values by name, of answers `(n, decisions)`.

    Arguments:
        group: The check that it belongs to.
        names: Of its values.
        values: `(n, K)`; NaN where no decision tells.
    """

    group: str
    names: tuple[str, ...]
    values: Tensor


@dataclass(frozen=True)
class History:
    """What is known of each decision of a table, one animal after another; N of them.

    Arguments:
        animal: `(N,)`.
        place: How many decisions of the animal come before, `(N,)`.
        choice: Code of the answer, -1 for none, `(N,)`.
        before: Answers 1, 2, ... decisions before in the same session, -1 for none, `(N, LAGS)`.
        won: Whether the reward of the answer before was above the animal's mean, `(N,)`: 1, 0, or -1 where that is not known.
        run: How many equal answers ended with the one before, `(N,)`; 0 for none.
        part: Which third of the animal's sessions, or of its trials, `(N,)`.
        tenth: Which tenth of the animal's trials, `(N,)`.
        stimuli: Bin of each stimulus by name, `(N,)`; -1 for none.
        reversals: Of each of `AROUND`: decisions, and what will then be, or is, the better option; empty where the table does
            not tell which one is.
        answers: Number of possible answers.
    """

    animal: Tensor
    place: Tensor
    choice: Tensor
    before: Tensor
    won: Tensor
    run: Tensor
    part: Tensor
    tenth: Tensor
    stimuli: dict[str, tuple[Tensor, tuple[str, ...]]]
    reversals: tuple[tuple[Tensor, Tensor], ...]
    answers: int

    @staticmethod
    def of(trials: Trials) -> History:
        """That of a table of choices."""
        if trials.meaning is None:
            raise ValueError("trials must be a table of choices.")
        there, count = trials.trial_types >= 0, trials.num_trials
        d = Decisions.of(trials, trials.meaning, has_constant(trials.meaning))
        animal, choice, session, reward = d.animal, d.choice, d.session, d.reward
        n = len(choice)
        before = torch.full((n, LAGS), -1)
        for lag in range(1, LAGS + 1):
            if n > lag:
                same = (animal[lag:] == animal[:-lag]) & (session[lag:] == session[:-lag])
                before[lag:, lag - 1] = torch.where(same, choice[:-lag], -1)
        known = ~torch.isnan(reward)
        total = torch.zeros(len(count), dtype=torch.float64).index_add_(0, animal[known], reward[known])
        mean = total / torch.zeros_like(total).index_add_(
            0, animal[known], torch.ones(int(known.sum()), dtype=torch.float64)
        ).clamp(min=1)
        won_here = torch.where(known, (reward > mean[animal]).long(), -1)
        won = torch.full((n,), -1)
        won[1:] = torch.where(before[1:, 0] >= 0, won_here[:-1], -1)
        begins = torch.ones(n, dtype=torch.bool)  # a run, with the answer before
        begins[1:] = before[1:, 0] != before[:-1, 0]
        place = torch.arange(n)
        run = torch.where(before[:, 0] >= 0, place - torch.where(begins, place, 0).cummax(dim=0).values + 1, 0)
        share = d.place.double() / count[animal]
        sessions = torch.zeros(len(count), dtype=torch.long).scatter_reduce(0, animal, session, "amax") + 1
        of_sessions = session.double() / sessions[animal]
        part = (torch.where(sessions[animal] >= PARTS, of_sessions, share) * PARTS).long().clamp(max=PARTS - 1)
        shown = {name: trials.trajectory.per_trial[name][there].double() for name in trials.meaning.stimuli}
        stimuli = {name: _bins(value, trials.meaning.labels.get(name)) for name, value in shown.items()}
        tenth = (share * TENTHS).long().clamp(max=TENTHS - 1)
        better = trials.trajectory.per_trial.get(BETTER)
        reversals = () if better is None else _reversals(better[there].double(), d)
        return History(
            animal, d.place, choice, before, won, run, part, tenth, stimuli, reversals, len(trials.meaning.options)
        )


def _reversals(better: Tensor, d: Decisions) -> tuple[tuple[Tensor, Tensor], ...]:
    """Decisions around each change of the better option within a session; see `History.reversals`."""
    n, known = len(better), torch.isfinite(better)
    begins = d.new_session.clone()
    turn = torch.zeros(n, dtype=torch.bool)
    turn[1:] = (better[1:] != better[:-1]) & ~begins[1:] & known[1:] & known[:-1]
    if not FEWEST <= int(turn.sum()) <= n / SHORTEST:
        return ()
    begins[1:] |= known[1:] != known[:-1]  # a block in which none is better
    edges = torch.nonzero(begins | turn)[:, 0]
    block = (begins | turn).long().cumsum(dim=0) - 1
    place, start = torch.arange(n), edges[block]
    following = torch.cat([edges[1:], torch.tensor([n])])[block].clamp(max=n - 1)
    after = torch.where(turn[start], place - start + 1, 0)
    until = torch.where(turn[following] & (following > place), following - place, 0)
    new = better[following]
    return tuple(
        ((until >= -high) & (until <= -low), new) if high < 0 else ((after >= low) & (after <= high), better)
        for low, high in AROUND
    )


def _bins(value: Tensor, labels: tuple[str, ...] | None) -> tuple[Tensor, tuple[str, ...]]:
    """The bin of each value of a stimulus, and names of the bins."""
    if labels is not None:
        return value.long(), labels
    levels = torch.unique(value[torch.isfinite(value)])
    if len(levels) <= 2 * BINS:
        return torch.searchsorted(levels, value), tuple(f"{v:g}" for v in levels.tolist())
    edges = torch.quantile(levels.double(), torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1])
    names = [
        f"<{edges[0]:.2g}",
        *(f"{a:.2g}-{b:.2g}" for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)),
    ]
    return torch.bucketize(value, edges), (*names, f">{edges[-1]:.2g}")


def statistics_of(now: Tensor, history: History) -> list[Statistic]:
    """All statistics of answers `(n, decisions)`, which stand in the place of the animal's own; its history stays."""
    h = history
    answered = h.choice >= 0
    last = h.answers - 1
    stays = (now == h.before[:, 0]).double()
    usual = (now == last).double()
    out = [
        Statistic(
            "repetition",
            tuple(f"lag {lag}" for lag in range(1, LAGS + 1)),
            torch.stack(
                [_mean((now == h.before[:, k]).double(), answered & (h.before[:, k] >= 0)) for k in range(LAGS)], dim=1
            ),
        )
    ]
    followed = answered & (h.before[:, 0] >= 0)
    if bool((h.won == 1).any()) and bool((h.won == 0).any()):
        values = [_mean(stays, followed & (h.won == 1)), 1 - _mean(stays, followed & (h.won == 0))]
        out.append(Statistic("win-stay, lose-shift", ("win-stay", "lose-shift"), torch.stack(values, dim=1)))
    runs = [_mean(stays, followed & ((h.run == k) if k < RUNS else (h.run >= k))) for k in range(1, RUNS + 1)]
    names = tuple(f"after {k}{'+' if k == RUNS else ''}" for k in range(1, RUNS + 1))
    out.append(Statistic("run lengths", names, torch.stack(runs, dim=1)))
    tenths = [_mean(usual, answered & (h.tenth == k)) for k in range(TENTHS)]
    out.append(Statistic("learning curve", tuple(f"tenth {k + 1}" for k in range(TENTHS)), torch.stack(tenths, dim=1)))
    for name, (place, labels) in h.stimuli.items():
        cells = [(p, b) for p in range(PARTS) for b in range(len(labels))]
        values = [_mean(usual, answered & (h.part == p) & (place == b)) for p, b in cells]
        called = tuple(f"{name} {labels[b]}, part {p + 1}" for p, b in cells)
        title = "psychometric curve" if len(h.stimuli) == 1 else f"psychometric curve of {name}"
        out.append(Statistic(title, called, torch.stack(values, dim=1)))
    if h.reversals:
        values = [_mean((now == option).double(), answered & near) for near, option in h.reversals]
        names = tuple(f"{low}" if low == high else f"{low} to {high}" for low, high in AROUND)
        out.append(Statistic(REVERSALS, names, torch.stack(values, dim=1)))
    animals = int(h.animal.max()) + 1
    if animals > 2:
        each = [_by_animal(v, mask, h.animal, animals) for v, mask in ((usual, answered), (stays, followed))]
        spread = torch.stack([_spread(v) for v in each], dim=1)
        out.append(Statistic("spread between animals", ("of the choice rate", "of repetition"), spread))
    return out


def _mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean over decisions `(n,)`; NaN where there is none."""
    return value[:, mask].mean(dim=1)


def _by_animal(value: Tensor, mask: Tensor, animal: Tensor, animals: int) -> Tensor:
    """Mean of each animal, `(n, animals)`."""
    total = torch.zeros(len(value), animals, dtype=torch.float64).index_add_(1, animal[mask], value[:, mask])
    count = torch.zeros(animals, dtype=torch.float64).index_add_(
        0, animal[mask], torch.ones(int(mask.sum()), dtype=torch.float64)
    )
    return total / count


def _spread(value: Tensor) -> Tensor:
    """S.d. over animals that have a value, `(n,)`."""
    return value[:, torch.isfinite(value).all(dim=0)].std(dim=1)
