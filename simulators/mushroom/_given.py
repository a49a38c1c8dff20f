"""What animals were given: odours, reinforcement, and when; and what that cannot tell of a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.recordings import Recordings
from sbirules.support import arguments

__all__ = ["Conditioning", "conditioning", "numbered", "untold"]


@dataclass(frozen=True)
class Conditioning:
    """What animals were given; A animals, T trials.

    Arguments:
        odour: Code of the odour, `(A, T)`; -1 where there is none.
        dopamine: Reinforcement that dopamine neurons carry, `(A, T)`.
        delay: Seconds from the odour to it, `(A, T)`.
        odours: Number of odours.
        unknown: Trials in which the reinforcement is not known.
    """

    odour: Tensor
    dopamine: Tensor
    delay: Tensor
    odours: int
    unknown: int = 0

    def distinct(self) -> tuple[Conditioning, Tensor]:
        """Each sequence once, and which of them each animal had, `(A,)`."""
        told = torch.stack([self.odour.double(), self.dopamine, self.delay], dim=2).flatten(1)
        _, which = torch.unique(told, dim=0, return_inverse=True)
        first = torch.stack([(which == k).nonzero()[0, 0] for k in range(int(which.max()) + 1)])
        parts = (self.odour[first], self.dopamine[first], self.delay[first])
        return Conditioning(*parts, self.odours), which


def conditioning(
    recordings: Recordings, odour: str, odours: Sequence[str], dopamine: str, delay: float | str
) -> Conditioning:
    """What the animals of recordings were given.

    Arguments:
        recordings: The recordings.
        odour: Event that says the odour.
        odours: All of them, in the order of their codes.
        dopamine: Event that dopamine neurons carry.
        delay: Seconds from odour to it, or the event that says them.
    """
    code = recordings.event(odour)
    if odour not in recordings.labels:
        values = torch.tensor([float(v) for v in odours], dtype=torch.float64)
        code = torch.where(torch.isnan(code), -1.0, (code[..., None] - values).abs().argmin(dim=-1).double())
    code = torch.where(recordings.trial_types >= 0, code.nan_to_num(-1.0), -1.0).long()
    later = recordings.event(delay) if isinstance(delay, str) else torch.full(code.shape, delay, dtype=torch.float64)
    r = recordings.event(dopamine)
    unknown = int((torch.isnan(r) & (code >= 0)).sum())
    return Conditioning(code, r.nan_to_num(0.0).double(), later.nan_to_num(0.0).double(), len(odours), unknown)


def numbered(recordings: Recordings, name: str) -> tuple[str, ...]:
    """Odours that are numbers, as text."""
    value = recordings.event(name)
    found = torch.unique(value[~torch.isnan(value)]).tolist()
    if len(found) > 50:
        raise ValueError(
            f"the event {name!r} has {len(found)} different values; an odour is a label, at most 50 are taken."
        )
    return tuple(f"{v:g}" for v in found)


def untold(
    given: Conditioning,
    nuisance: Sequence[str],
    dopamine: str,
    alike: Callable[[Tensor, Tensor], list[tuple[str, ...]]] | None,
) -> tuple[str, ...]:
    """What cannot be told apart, a sentence each.

    Arguments:
        given: What the animals were given.
        nuisance: Which coefficients of the circuit are inferred.
        dopamine: Name of the event.
        alike: Of a rule: names of terms that are equal on features `(n, F)` and rewards `(n,)`.
    """
    there = given.odour >= 0
    r, out = given.dopamine[there], []
    if given.unknown:
        out.append(f"the event {dopamine!r} is not known in {given.unknown} trials, where it is taken for 0.")
    if "trace_time" in nuisance and len(torch.unique(given.delay[there])) == 1:
        out.append(
            "one delay from odour to reinforcement in all trials: trace_time and the strength of x r are told together only."
        )
    if "dopamine_gain" in nuisance and len(torch.unique(r)) <= 2:
        out.append("one strength of reinforcement: dopamine_gain and the coefficients of r are told together only.")
    if not bool((r != 0).any()):
        out.append(f"the event {dopamine!r} is 0 in all trials: terms of r stay as the prior has them.")
    strengths = torch.unique(r)
    if alike is not None and len(strengths):
        x = torch.tensor([[0.0], [1.0]]).repeat(len(strengths), 1)
        out += [
            f"{arguments.listed(names)} do the same in these recordings: only their sum is told; leave all but one out."
            for names in alike(x, strengths.repeat_interleave(2))
        ]
    return tuple(out)
