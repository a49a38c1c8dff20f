r"""Summaries of recorded units that do not depend on their order: nobody knows which unit of an animal is which of a model.

Sessions are cut into equal parts. In each, m_c `(units,)` is the mean response to trial type c. With `change=True` later parts
stand as their change from the first. What is said to be unchanged by
*rotations* does not depend on the axes of activity space at all (an animal's units may be any mixture of a model's); the others
do not depend on the *order* of units. Units that were not recorded, and single missing values, are NaN and left out; sums over
units are divided by how many there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sbirules.model.runs import Trajectory
from sbirules.model.summaries.activity_parts import (
    ORDER,
    ROTATIONS,
    by_part,
    cells,
    made,
    means_of,
    over_units,
    spread_over_units,
)
from sbirules.model.summaries.definition import Summary, summarise
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = [
    "ACTIVITY",
    "FROM_ACTIVITY",
    "activity_summaries",
    "alignment",
    "decoding",
    "dimensionality",
    "dissimilarity",
    "drift",
    "of_recordings",
    "procrustes",
    "response_distribution",
    "selectivity",
]

RIDGE = 1.0  # penalty of the decoder, in mean variances of a unit


# Of single units ----------------------------------------------------------------------------------


def _response_distribution(t: Trajectory, bins: int) -> Tensor:
    responses, part = cells(t, bins)
    means, count = means_of(t, responses, part, bins)
    of_unit = torch.where(count.sum(dim=2) > 0, (means.nan_to_num() * count).sum(dim=2) / count.sum(dim=2), torch.nan)
    return torch.stack([over_units(of_unit), spread_over_units(of_unit)], dim=2).flatten(1)


@typed
def response_distribution(bins: int = 3, *, change: bool = False) -> Summary:
    """Mean and s.d. over units of their mean response, in equal parts of the session. Unchanged by the order of units."""
    labels = by_part(("mean", "sd"), bins)
    return made(
        "response_distribution", _response_distribution, labels, ORDER, response_distribution, change, bins=bins
    )


def _variances(t: Trajectory, bins: int) -> tuple[Tensor, Tensor]:
    """Variance of each unit between the means of trial types, and within types, `(B, P, K)` each."""
    responses, part = cells(t, bins)
    means, count = means_of(t, responses, part, bins)
    squares, _ = means_of(t, responses.square(), part, bins)
    n = count.sum(dim=2)
    within = (squares - means.square()).nan_to_num().mul(count).sum(dim=2) / torch.where(n > 0, n, torch.nan)
    between = (means - means.nanmean(dim=2, keepdim=True)).square().nanmean(dim=2)
    return between, within.clamp(min=0.0)


def _selectivity(t: Trajectory, bins: int) -> Tensor:
    between, within = _variances(t, bins)
    share = between / (between + within).clamp(min=1e-12)
    return torch.stack([over_units(share), spread_over_units(share)], dim=2).flatten(1)


@typed
def selectivity(bins: int = 3, *, change: bool = False) -> Summary:
    """Share of a unit's variance that lies between trial types, mean and s.d. over units, in parts of the session.

    Unchanged by the order of units.
    """
    return made("selectivity", _selectivity, by_part(("mean", "sd"), bins), ORDER, selectivity, change, bins=bins)


# Of the population --------------------------------------------------------------------------------


def _centred(t: Trajectory, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Responses less the unit's mean in the part, 0 where missing, `(B, P, T, K)`; trials of each part; units there."""
    responses, part = cells(t, bins)
    mine = torch.stack([part == b for b in range(bins)], dim=1)  # (B, P, T)
    there = torch.isfinite(responses)[:, None] & mine[..., None]
    count = there.sum(dim=2, keepdim=True)
    filled = torch.where(there, responses[:, None], 0.0)
    mean = filled.sum(dim=2, keepdim=True) / count.clamp(min=1)
    return torch.where(there, filled - mean, 0.0), mine, (count > 0).sum(dim=-1)[:, :, 0]


def _dimensionality(t: Trajectory, bins: int) -> Tensor:
    x, _, units = _centred(t, bins)
    covariance = x.mT @ x
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    ratio = trace.square() / covariance.square().sum(dim=(-2, -1)).clamp(min=1e-30)
    return torch.where((trace > 0) & (units > 0), ratio, torch.nan)


@typed
def dimensionality(bins: int = 3, *, change: bool = False) -> Summary:
    r"""Participation ratio of the covariance over trials, (sum lambda)^2 / sum lambda^2, in parts of the session.

    Unchanged by rotations. Source: Gao et al. (2017), bioRxiv 214262.
    """
    return made("dimensionality", _dimensionality, by_part(("",), bins), ROTATIONS, dimensionality, change, bins=bins)


def _decoding(t: Trajectory, bins: int, score: str) -> Tensor:
    x, mine, _ = _centred(t, bins)
    types = t.num_types
    target = torch.nn.functional.one_hot(t.trial_types.clamp(min=0), types).to(x.dtype)[:, None] * mine[..., None]
    n = mine.sum(dim=2)[..., None, None].to(x.dtype)
    centre = target.sum(dim=2, keepdim=True) / n.clamp(min=1)
    y = torch.where(mine[..., None], target - centre, 0.0)
    gram = x.mT @ x
    size = gram.diagonal(dim1=-2, dim2=-1)
    penalty = RIDGE * (size.sum(dim=-1) / (size > 0).sum(dim=-1).clamp(min=1)).clamp(min=1e-12)
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    inverse = torch.linalg.inv(gram + penalty[..., None, None] * eye)
    smooth: Tensor = x @ inverse
    leverage = (smooth * x).sum(dim=-1, keepdim=True) + 1 / n.clamp(min=1)  # of the mean as well
    left_out = y - (y - smooth @ (x.mT @ y)) / (1 - leverage).clamp(min=1e-6)
    guess: Tensor = left_out + centre
    if score == "accuracy":
        right: Tensor = (guess.argmax(dim=-1) == t.trial_types[:, None]) & mine
        return right.sum(dim=2) / mine.sum(dim=2)
    rest: Tensor = ((target - guess).square().sum(dim=-1) * mine).sum(dim=2)
    whole: Tensor = (y.square().sum(dim=-1) * mine).sum(dim=2)
    return 1 - rest / whole.clamp(min=1e-12)


@typed
def decoding(bins: int = 3, *, score: str = "accuracy", change: bool = False) -> Summary:
    """How well the trial type can be read from the units by ridge regression, each trial left out, in parts of the session.

    Without information the accuracy is a little below that of guessing, since a trial left out makes its own type rarer.
    Unchanged by rotations.

    Arguments:
        bins: Number of parts.
        score: `"accuracy"`, share of trials whose type is found; or `"explained"`, share of the variance of one-hot types, which
            has no ceiling at 1 that all sessions reach.
    """
    arguments.known("score", score, ("accuracy", "explained"))
    name = "decoding" if score == "accuracy" else "decoding_explained"
    found = made(name, _decoding, by_part(("",), bins), ROTATIONS, decoding, change, bins=bins, score=score)
    return replace(found, atoms=score == "accuracy")


def _dissimilarity(t: Trajectory, bins: int) -> Tensor:
    responses, part = cells(t, bins)
    halves = []
    rank = _rank(t, part, bins)
    for odd in (0, 1):
        where = torch.where(rank % 2 == odd, part, -1)
        halves.append(means_of(t, responses, where, bins)[0])
    pairs = [
        over_units((halves[0][:, :, a] - halves[0][:, :, b]) * (halves[1][:, :, a] - halves[1][:, :, b]))
        for a, b in itertools.combinations(range(t.num_types), 2)
    ]
    squared = torch.stack(pairs, dim=1)  # (B, pairs, P)
    return (squared.sign() * squared.abs().sqrt()).flatten(1)


def _rank(t: Trajectory, part: Tensor, bins: int) -> Tensor:
    """Number of each trial within its type and part, from 0, `(B, T)`."""
    cell = part.clamp(min=0) * t.num_types + t.trial_types.clamp(min=0)
    member = torch.nn.functional.one_hot(cell, bins * t.num_types) * (part >= 0)[..., None]
    return (member.cumsum(dim=1) * member).sum(dim=2) - 1


@typed
def dissimilarity(bins: int = 3, *, change: bool = False) -> Summary:
    """Distance between the mean responses to each pair of trial types, per unit, cross-validated, in parts of the session.

    The products of differences in odd and even trials, whose mean does not grow with noise; signed square roots. Its columns over
    parts are the representational dissimilarity matrix and its change. Unchanged by rotations.

    Source: Kriegeskorte et al. (2008), Front. Syst. Neurosci. 2:4; cross-validated distances: Walther et al. (2016), NeuroImage
    137:188.
    """

    def labels(types: Sequence[str]) -> tuple[str, ...]:
        pairs = [f"{a}-{b}" for a, b in itertools.combinations(types or ("all",), 2)]
        return tuple(f"{pair},{b}" for pair in pairs for b in range(bins))

    return made("dissimilarity", _dissimilarity, labels, ROTATIONS, dissimilarity, change, bins=bins)


def _drift(t: Trajectory, bins: int) -> Tensor:
    responses, part = cells(t, bins)
    means, _ = means_of(t, responses, part, bins)
    moved = over_units((means[:, 1:] - means[:, :1]).square()).sqrt()  # (B, P - 1, C)
    return moved.mT.flatten(1)


@typed
def drift(bins: int = 3) -> Summary:
    """How far the mean response to each trial type has moved from that in the first part, per unit (root mean square).

    Unchanged by rotations.
    """
    arguments.whole("bins", bins, 2)

    def labels(types: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{name},{b}" for name in types or ("all",) for b in range(1, bins))

    return made("drift", _drift, labels, ROTATIONS, drift, bins=bins)


def _rows_of(t: Trajectory, bins: int, within: int) -> Tensor:
    """In each part: mean responses by type and sub-part, less their mean, per unit, `(B, P, C within, K)`; 0 where missing."""
    responses, part = cells(t, bins, within)
    means, _ = means_of(t, responses, part, bins * within)
    shape = (len(means), bins, within * t.num_types, means.shape[-1])
    rows = means.reshape(shape)
    known = torch.isfinite(rows).all(dim=1, keepdim=True).all(dim=2, keepdim=True)  # units there throughout
    rows = torch.where(known, rows, 0.0)
    return (rows - rows.mean(dim=2, keepdim=True)) / known.sum(dim=-1, keepdim=True).clamp(min=1).sqrt()


def _alignment(t: Trajectory, bins: int, within: int) -> Tensor:
    rows = _rows_of(t, bins, within)
    first, last = rows[:, 0], rows[:, -1]

    def together(a: Tensor, b: Tensor) -> Tensor:
        return (a.mT @ b).square().sum(dim=(1, 2))

    scale = (together(first, first) * together(last, last)).sqrt()
    return torch.where(scale > 1e-30, together(first, last) / scale.clamp(min=1e-30), torch.nan)


@typed
def alignment(bins: int = 3, *, within: int = 4) -> Summary:
    """Linear centred kernel alignment (CKA) between the first and the last part of the session.

    Of mean responses by trial type in so many sub-parts. 1 where one is a rotation and scaling of the other. Unchanged by
    rotations, of each part for itself.

    Source: Kornblith et al. (2019), ICML.
    """
    arguments.whole("bins", bins, 2)
    arguments.whole("within", within, 1)
    return made("alignment", _alignment, None, ROTATIONS, alignment, bins=bins, within=within)


def _procrustes(t: Trajectory, bins: int, within: int) -> Tensor:
    rows = _rows_of(t, bins, within).double()  # square roots of small eigenvalues
    gram = rows @ rows.mT  # (B, P, R, R)
    values, vectors = torch.linalg.eigh(gram)
    root = vectors * values.clamp(min=0.0).sqrt()[..., None, :] @ vectors.mT
    size = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    out = []
    for a, b in itertools.combinations(range(bins), 2):
        # the nuclear norm of X'Y, from matrices of the size of rows
        common = torch.linalg.eigvalsh(root[:, a] @ gram[:, b] @ root[:, a]).clamp(min=0.0).sqrt().sum(dim=-1)
        both = size[:, a] + size[:, b]
        out.append(torch.where(both > 1e-30, (both - 2 * common) / both.clamp(min=1e-30), torch.nan))
    return torch.stack(out, dim=1).mean(dim=1).clamp(min=0.0)


@typed
def procrustes(bins: int = 3, *, within: int = 4) -> Summary:
    """How far parts of the session differ once each is turned onto the others, relative to their size (0 to 1).

    Mean over pairs of parts of the residual after the best rotation, of mean responses by trial type in so many sub-parts.
    Unchanged by rotations, of each part for itself.

    Source: Gower (1975), Psychometrika 40:33; Schoenemann (1966), Psychometrika 31:1.
    """
    arguments.whole("bins", bins, 2)
    arguments.whole("within", within, 1)
    return made("procrustes", _procrustes, None, ROTATIONS, procrustes, bins=bins, within=within)


# All ----------------------------------------------------------------------------------------------


FROM_ACTIVITY: dict[str, Callable[..., Summary]] = {
    "response_distribution": response_distribution,
    "selectivity": selectivity,
    "dimensionality": dimensionality,
    "decoding": decoding,
    "decoding_explained": decoding,
    "dissimilarity": dissimilarity,
    "drift": drift,
    "alignment": alignment,
    "procrustes": procrustes,
}
BY_PART = ("response_distribution", "selectivity", "dimensionality", "decoding_explained", "dissimilarity")
ACTIVITY = (*(f"{name}_change" for name in BY_PART), "drift", "alignment", "procrustes")


@typed
def activity_summaries(names: Sequence[str] = ACTIVITY, *, bins: int = 3) -> tuple[Summary, ...]:
    """Summaries of recorded units by name, all in so many parts of the session.

    Names that end in `_change` have the first part as it is, and later ones as their change from there: networks differ more
    among each other than one does over a session.

    Arguments:
        names: By default all that have densities, as changes.
        bins: Parts of the session.
    """
    every = (*FROM_ACTIVITY, *(f"{name}_change" for name in BY_PART), "decoding_change")
    out = []
    for name in arguments.strings("names", names):
        arguments.known("names", name, every)
        stem = name.removesuffix("_change")
        how: dict[str, Any] = {"score": "explained"} if stem == "decoding_explained" else {}
        out.append(FROM_ACTIVITY[stem](bins, **how, **({"change": True} if stem != name else {})))
    return tuple(out)


@typed
def of_recordings(sessions: Trajectory) -> tuple[Summary, ...]:
    """Those that are defined in all sessions of a table with recorded units; none without."""
    if "responses" not in sessions.per_unit:
        return ()
    return tuple(s for s in activity_summaries() if not bool(torch.isnan(summarise(sessions, [s])).any()))
