"""Summaries of an animal's choices: how often, after what, and for which stimuli it gives which answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from sbirules.model.choices import ChoiceColumns
from sbirules.model.runs import Trajectory
from sbirules.model.summaries.definition import Summary, parts_of_sessions
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["FROM_CHOICES", "answers_by_part", "choice_summaries", "history_weights"]

RIDGE = 1.0  # of the regression, in trials: weights of rare events stay finite


@typed
def choice_summaries(meaning: ChoiceColumns) -> tuple[Summary, ...]:
    """Those that a table of choices is summarised by where nothing else is asked for."""
    told = len(meaning.options), meaning.stimuli
    return answers_by_part(*told), history_weights(*told)


@typed
def answers_by_part(options: int, stimuli: Sequence[str] = (), *, bins: int = 4) -> Summary:
    """Of each answer but the first, in equal parts of a session: its share, and its mean product with each stimulus.

    Arguments:
        options: Number of answers.
        stimuli: Fields of stimuli; labels enter by their codes.
        bins: Number of parts.
    """
    arguments.whole("options", options, 2)
    arguments.whole("bins", bins, 1)
    stimuli = arguments.strings("stimuli", stimuli)

    def labels(_: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{k} x {x},{b}" for k in range(1, options) for x in ("1", *stimuli) for b in range(bins))

    return Summary(
        "answers_by_part",
        ("choice", *stimuli),
        partial(_by_part, options=options, stimuli=stimuli, bins=bins),
        labels,
        help=f"share of each answer, and its mean product with stimuli, in {bins} equal parts of the session",
        settings=(("options", options), ("stimuli", list(stimuli)), ("bins", bins)),
    )


@typed
def history_weights(
    options: int, stimuli: Sequence[str] = (), *, memories: Sequence[float] = (1.0, 4.0, 16.0, 64.0)
) -> Summary:
    """Weights of a linear regression of answers on traces of the answers and rewards before, with a ridge of one trial.

    For each answer k but the first: 1[answer is k] on a constant, the stimuli, and traces of 1[it was k], of 1[it was k] x
    reward and of reward, as a logistic regression with traces of choice and reward (Lau & Glimcher 2005) would, at once for
    thousands of animals.

    Arguments:
        options: Number of answers.
        stimuli: Fields of stimuli; labels enter by their codes.
        memories: Time constants of the traces, in trials; 1 is the trial before alone.
    """
    arguments.whole("options", options, 2)
    stimuli = arguments.strings("stimuli", stimuli)
    times = arguments.numbers("memories", memories, torch.float64).flatten().tolist()
    if not times or not all(1 <= m < math.inf for m in times):
        raise ValueError(
            f"memories must be time constants of at least 1 trial, got {arguments.listed(times) or 'none'}."
        )
    kinds = ("it", "it and reward", "reward")
    of = ["1", *stimuli, *(f"{what} over {m:g}" for what in kinds for m in times)]

    def labels(_: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{k} on {x}" for k in range(1, options) for x in of)

    return Summary(
        "history_weights",
        ("choice", "reward", *stimuli),
        partial(_history, options=options, stimuli=stimuli, memories=tuple(times)),
        labels,
        help="regression of answers on stimuli and traces of the answers and rewards before",
        settings=(("options", options), ("stimuli", list(stimuli)), ("memories", times)),
    )


FROM_CHOICES: dict[str, Callable[..., Summary]] = {
    "answers_by_part": answers_by_part,
    "history_weights": history_weights,
}


def _by_part(t: Trajectory, options: int, stimuli: Sequence[str], bins: int) -> Tensor:
    choice, part = t.per_trial["choice"], parts_of_sessions(t, bins)
    inputs = [torch.ones_like(choice), *(torch.nan_to_num(t.per_trial[name]) for name in stimuli)]
    out = []
    for k in range(1, options):
        taken = torch.where(torch.isnan(choice), torch.nan, (choice == k).to(choice.dtype))
        for x in inputs:
            for b in range(bins):
                mean = torch.where(part == b, taken * x, torch.nan).nanmean(dim=1)
                out.append(torch.nan_to_num(mean))  # no answer in that part
    return torch.stack(out, dim=1)


def _history(t: Trajectory, options: int, stimuli: Sequence[str], memories: Sequence[float]) -> Tensor:
    choice = t.per_trial["choice"].double()
    reward = torch.nan_to_num(t.per_trial["reward"].double())
    inputs = [torch.ones_like(choice), *(torch.nan_to_num(t.per_trial[name].double()) for name in stimuli)]
    use = ((t.trial_types >= 0) & ~torch.isnan(choice)).double()[:, :, None]
    out = []
    for k in range(1, options):
        taken = torch.nan_to_num((choice == k).double())
        before = [_trace(v, m) for v in (taken, taken * reward, reward) for m in memories]
        x = torch.stack([*inputs, *before], dim=2)
        gram = x.transpose(1, 2) @ (use * x) + RIDGE * torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
        out.append(torch.linalg.solve(gram, x.transpose(1, 2) @ (use * taken[:, :, None]))[:, :, 0])
    return torch.cat(out, dim=1)


def _trace(values: Tensor, memory: float) -> Tensor:
    """Exponential mean of values `(batch, trials)` before each trial, 0 before the first."""
    out = torch.zeros_like(values)
    for n in range(1, values.shape[1]):
        out[:, n] = out[:, n - 1] + (values[:, n - 1] - out[:, n - 1]) / memory
    return out
