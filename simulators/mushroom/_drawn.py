"""Values that simulated animals show, drawn in blocks so that an animal's do not depend on how many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from sbirules.model.recorded import RecordingLikelihood
from sbirules.model.recordings import Recordings
from sbirules.support.streams import Key, Stream, seeded

__all__ = ["drawn_values"]

BLOCK = 64  # animals that share random streams


def drawn_values(
    likelihood: Callable[[Recordings], RecordingLikelihood], like: Recordings, rows: Tensor, key: Key
) -> Tensor:
    """Values of animals of these rules, `(animals, trials, channels)`; NaN where nothing was recorded.

    Arguments:
        likelihood: Of recordings.
        like: What each animal is given.
        rows: Its rule, `(animals, D)`.
        key: Names the random streams.
    """
    longest, parts = like.trial_types.shape[1], []
    for k, begin in enumerate(range(0, len(rows), BLOCK)):  # blocks have streams of their own, and are drawn whole
        at = torch.arange(begin, begin + BLOCK).clamp(max=len(rows) - 1)
        some = dataclasses.replace(like.subset(at.tolist()), learners=tuple(map(str, range(BLOCK))))
        own, theta = likelihood(some), rows[at][None]
        with seeded(key, Stream.RUN, k), torch.no_grad():
            gains = own.gains(theta, torch.zeros_like(some.trial_types, dtype=torch.bool))
            drawn = own.scattered(theta, own.means(theta, gains))[0]
        parts.append(torch.nn.functional.pad(drawn, (0, 0, 0, longest - drawn.shape[1]), value=torch.nan))
    return torch.cat(parts)[: len(rows)]
