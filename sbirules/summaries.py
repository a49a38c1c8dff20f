"""Named summaries of learning runs: pure, vectorised, NaN where a network failed.

Each summary declares the fields of a `Trajectory` it reads, so that a study of observed trials can use
those its table has columns for. Summaries are means over whatever trials a session has, so they are
defined for sessions of any length and any sequence of types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sbirules import _check
from sbirules.trajectory import Status, Trajectory

__all__ = [
    "CATALOGUE",
    "Summary",
    "SummaryLike",
    "learning_curve",
    "rebuild",
    "resolve",
    "summarise",
    "summary",
    "summary_names",
    "volatility",
    "written",
]

ALWAYS = ("trial_types", "status")  # fields that every trajectory has
LAST = 50  # trials over which "final" and "learned" are judged
LEARNED_SHARE = 0.9  # share of those that must be correct


@dataclass(frozen=True)
class Summary:
    """A named function of a trajectory.

    Arguments:
        name: Name of its column, or stem of its columns' names.
        fields: Fields of the trajectory (or names in `activity`) it reads.
        function: Trajectory to `(batch,)`, or `(batch, K)` if `labels` names K columns.
        labels: From the names of the trial types to the labels of the columns.
        atoms: Whether the summary has probability mass on single values, as `learned` has: then it has
            no density.
        help: One line for listings.
        settings: What tells it from others of the same name, for manifests.
    """

    name: str
    fields: tuple[str, ...]
    function: Callable[[Trajectory], Tensor]
    labels: Callable[[Sequence[str]], tuple[str, ...]] | None = None
    atoms: bool = False
    help: str = ""
    settings: tuple[tuple[str, object], ...] = ()

    def columns(self, type_names: Sequence[str]) -> tuple[str, ...]:
        """Names of its columns of x."""
        if self.labels is None:
            return (self.name,)
        return tuple(f"{self.name}[{label}]" for label in self.labels(type_names))

    def config(self) -> dict[str, object]:
        """What identifies it in a manifest."""
        return {"name": self.name, **dict(self.settings)}


SummaryLike = Summary | str


def summary(
    name: str, fields: Sequence[str], *, atoms: bool = False
) -> Callable[[Callable[[Trajectory], Tensor]], Summary]:
    """Makes a summary of a user's own.

    Example:
        >>> @summary("mean_error", fields=["error"])
        ... def mean_error(trajectory):
        ...     return trajectory.error.nanmean(dim=1)
    """

    def wrap(function: Callable[[Trajectory], Tensor]) -> Summary:
        return Summary(name, tuple(fields), function, atoms=atoms, help=(function.__doc__ or "").strip())

    return wrap


def resolve(item: Summary | str) -> Summary:
    """A summary from the catalogue by name, or the given one."""
    if isinstance(item, Summary):
        return item
    _check.known("summaries", item, tuple(CATALOGUE))
    return CATALOGUE[item]


def summary_names(summaries: Sequence[Summary], type_names: Sequence[str]) -> tuple[str, ...]:
    """Names of all columns of x."""
    return tuple(name for s in summaries for name in s.columns(type_names))


def summarise(trajectory: Trajectory, summaries: Sequence[Summary]) -> Tensor:
    """x `(batch, S)`; rows of failed networks are NaN.

    Raises:
        ValueError: If the trajectory lacks a field that a summary reads, or a summary returns a wrong shape.
    """
    available = trajectory.available
    columns = []
    for s in summaries:
        missing = [f for f in s.fields if f not in available and f not in ALWAYS]
        if missing and bool(trajectory.ok.any()):
            raise ValueError(
                f"summary {s.name!r} reads {_check.listed(missing)}, which is not recorded here; "
                f"available: {_check.listed(available)}."
            )
        width = len(s.columns(trajectory.type_names))
        if missing:
            columns.append(torch.full((len(trajectory), width), torch.nan))
            continue
        value = torch.as_tensor(s.function(trajectory)).to(trajectory.error.dtype)
        value = value[:, None] if value.ndim == 1 else value
        if tuple(value.shape) != (len(trajectory), width):
            raise ValueError(
                f"summary {s.name!r} must return shape ({len(trajectory)},) or ({len(trajectory)}, {width}), "
                f"got {tuple(value.shape)}."
            )
        columns.append(value)
    x = torch.cat(columns, dim=1)
    return torch.where((trajectory.status == Status.OK)[:, None], x, torch.nan)


# Windows ------------------------------------------------------------------------------------------


def _length(t: Trajectory) -> Tensor:
    """Number of trials of each session, `(batch,)`."""
    return (t.trial_types >= 0).sum(dim=1)


def _last(t: Trajectory, window: int = LAST) -> Tensor:
    """The last `window` trials of each session, `(batch, trials)` boolean."""
    index = torch.arange(t.trial_types.shape[1], device=t.trial_types.device)
    n = _length(t)[:, None]
    return (index >= n - window) & (index < n)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of `values` where the mask holds, NaN if nowhere, `(batch,)`."""
    return torch.where(where, values, torch.nan).nanmean(dim=1)


# The catalogue ------------------------------------------------------------------------------------


def _bin_index(t: Trajectory, bins: int) -> Tensor:
    """Bin of each trial when each session is cut into `bins` equal parts, `(batch, trials)`; -1 past the end."""
    index = torch.arange(t.trial_types.shape[1], device=t.trial_types.device)
    part = torch.div(index * bins, _length(t)[:, None].clamp(min=1), rounding_mode="floor")
    return torch.where(t.trial_types >= 0, part, -1)


def _curve(t: Trajectory, bins: int, of: str, by_type: bool) -> Tensor:
    values, part = getattr(t, of), _bin_index(t, bins)
    types = range(t.num_types) if by_type else (None,)
    out = [
        _mean(values, (part == b) if c is None else (part == b) & (t.trial_types == c))
        for c in types
        for b in range(bins)
    ]
    return torch.stack(out, dim=1)


def learning_curve(bins: int = 10, *, of: str = "error", by_type: bool = True) -> Summary:
    """Mean error (or reward, output, correct) in equal parts of the session, for each trial type.

    Arguments:
        bins: Number of parts.
        of: The per-trial field to average.
        by_type: One curve per trial type instead of one over all.
    """
    _check.whole("bins", bins, 1)
    _check.known("of", of, Trajectory.PER_TRIAL)

    def labels(type_names: Sequence[str]) -> tuple[str, ...]:
        stems = [f"{name}," for name in type_names] if by_type else [""]
        return tuple(f"{stem}{b}" for stem in stems for b in range(bins))

    name = "learning_curve" if of == "error" else f"{of}_curve"
    return Summary(
        name if by_type else f"mean_{name}",
        (of,),
        partial(_curve, bins=bins, of=of, by_type=by_type),
        labels,
        atoms=of == "correct",
        help=f"mean {of} in {bins} equal parts of the session" + (", per trial type" if by_type else ""),
        settings=(("bins", bins), ("of", of), ("by_type", by_type)),
    )


def _final_accuracy(t: Trajectory) -> Tensor:
    return _mean(t.correct, _last(t))


def _learned(t: Trajectory) -> Tensor:
    # the small slack keeps 45 of 50 at 0.9 whatever the rounding
    return (_final_accuracy(t) >= LEARNED_SHARE - 1e-6).to(t.correct.dtype)


def _final_error(t: Trajectory) -> Tensor:
    return _mean(t.error, _last(t))


def _initial_error(t: Trajectory) -> Tensor:
    index = torch.arange(t.error.shape[1], device=t.error.device)
    return _mean(t.error, (index < 20) & (t.trial_types >= 0))


def _trials_to_criterion(t: Trajectory) -> Tensor:
    """First trial at which LEARNED_SHARE of the last LAST trials were correct; the session's length if never."""
    n = t.correct.shape[1]
    length = _length(t).to(t.correct.dtype)
    if n < LAST:
        return length
    share = torch.nan_to_num(t.correct).unfold(1, LAST, 1).mean(dim=2)
    inside = torch.arange(LAST, n + 1, device=t.correct.device) <= length[:, None]
    reached = (share >= LEARNED_SHARE - 1e-6) & inside
    first = reached.to(torch.int8).argmax(dim=1) + LAST
    return torch.where(reached.any(dim=1), first.to(t.correct.dtype), length)


def _same_type_steps(t: Trajectory) -> tuple[Tensor, Tensor]:
    """|change of error| from one trial to the next of the same type, and where it is defined."""
    size = torch.full_like(t.error, torch.nan)
    for c in range(t.num_types):
        mine = t.trial_types == c
        index = torch.arange(t.error.shape[1], device=t.error.device).expand_as(t.trial_types)
        # index of the latest earlier trial of this type, -1 if none
        seen = torch.where(mine, index, -1).cummax(dim=1).values
        before = torch.cat([torch.full_like(seen[:, :1], -1), seen[:, :-1]], dim=1)
        step = (t.error - t.error.gather(1, before.clamp(min=0))).abs()
        size = torch.where(mine & (before >= 0), step, size)
    return size, ~torch.isnan(size)


def _volatility(t: Trajectory, bins: int) -> Tensor:
    size, defined = _same_type_steps(t)
    part = _bin_index(t, bins)
    return torch.stack([_mean(size, defined & (part == b)) for b in range(bins)], dim=1)


def volatility(bins: int = 3) -> Summary:
    """Mean |change of error| between successive trials of one type, in equal parts of the session."""
    _check.whole("bins", bins, 1)
    return Summary(
        "volatility",
        ("error",),
        partial(_volatility, bins=bins),
        lambda _: tuple(str(b) for b in range(bins)),
        help=f"mean |change of error| between successive trials of one type, in {bins} parts of the session",
        settings=(("bins", bins),),
    )


def _activity(name: str) -> Callable[[Trajectory], Tensor]:
    return lambda t: t.activity[name]


_MEASURES = {
    "mean_rate": "mean |rate| of the free units over the last 50 trials",
    "rate_sd": "s.d. of a free unit's rate over the last 50 trials, mean over units",
    "saturation": "share of (free unit, step) with a rate within 5 % of its limits, last 50 trials",
    "weight_change": "root-mean-square weight change over the run, in units of the initial s.d.",
    "weight_norm": "root-mean-square weight at the end, in units of the initial s.d.",
}

CATALOGUE: dict[str, Summary] = {
    s.name: s
    for s in (
        learning_curve(),
        learning_curve(by_type=False),
        learning_curve(of="correct"),
        learning_curve(of="output"),
        learning_curve(of="reward"),
        volatility(),
        Summary("learned", ("correct",), _learned, atoms=True, help="1 if >= 90 % of the last 50 trials are correct"),
        Summary("final_accuracy", ("correct",), _final_accuracy, atoms=True, help="share correct, last 50 trials"),
        Summary("final_error", ("error",), _final_error, help="mean error, last 50 trials"),
        Summary("initial_error", ("error",), _initial_error, help="mean error, first 20 trials"),
        Summary(
            "error_change",
            ("error",),
            lambda t: _final_error(t) - _initial_error(t),
            help="final_error - initial_error; negative if the network improved",
        ),
        Summary(
            "trials_to_criterion",
            ("correct",),
            _trials_to_criterion,
            atoms=True,
            help="first trial with >= 90 % of 50 correct, the session's length if never",
        ),
        *(Summary(name, (name,), _activity(name), help=text) for name, text in _MEASURES.items()),
    )
}  # fmt: skip


def written(item: Summary) -> dict[str, object]:
    """Its `config()`, marked where the catalogue could not give it back."""
    function = getattr(item.function, "func", item.function)
    return item.config() | ({} if function.__module__ == __name__ else {"own": True})


def rebuild(config: Mapping[str, Any]) -> Summary:
    """The summary of the catalogue that was `written` so.

    Raises:
        ValueError: If it is a user's own.
    """
    settings = {k: v for k, v in config.items() if k not in ("name", "own")}
    name = config["name"]
    if config.get("own") or (name not in CATALOGUE and "bins" not in settings):
        raise ValueError(f"the summary {name!r} is not one of the catalogue; fit again instead.")
    if "bins" in settings:
        return (volatility if name == "volatility" else learning_curve)(settings.pop("bins"), **settings)
    return CATALOGUE[name]


def with_length(trajectory: Trajectory, length: Tensor) -> Trajectory:
    """The first `length` `(batch,)` trials of each session, the rest marked as past the end."""
    index = torch.arange(trajectory.trial_types.shape[1], device=length.device)
    keep = index < length[:, None]
    cut: dict[str, Any] = {n: torch.where(keep, getattr(trajectory, n), torch.nan) for n in Trajectory.PER_TRIAL}
    # a network that diverged only later is a good one for this session
    whole = (torch.isfinite(trajectory.error) | ~keep | (trajectory.trial_types < 0)).all(dim=1)
    status = torch.where(whole & (trajectory.status == Status.DIVERGED), Status.OK, trajectory.status)
    types = torch.where(keep, trajectory.trial_types, -1)
    return replace(trajectory, trial_types=types, status=status.to(trajectory.status.dtype), **cut)
