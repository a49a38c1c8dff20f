"""The catalogue of summaries. They are means over whatever trials a session has, so they are defined for sessions of any
length and any sequence of types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from sbirules.model.choices import ChoiceColumns
from sbirules.model.runs import Trajectory
from sbirules.model.summaries.activity import ACTIVITY, FROM_ACTIVITY, activity_summaries
from sbirules.model.summaries.activity_parts import in_rows
from sbirules.model.summaries.choices import FROM_CHOICES, answers_by_part, choice_summaries
from sbirules.model.summaries.definition import Summary, parts_of_sessions, summarise
from sbirules.model.summaries.spiking import SPIKING, spiking_names
from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.typed import typed

__all__ = [
    "CATALOGUE",
    "NAMED",
    "autocorrelation",
    "default_summaries",
    "learning_curve",
    "rebuild",
    "resolve",
    "scatter",
    "volatility",
    "written",
]

OURS = (
    __name__,
    answers_by_part.__module__,
    in_rows.__module__,
    spiking_names.__module__,
)  # whose summaries come back from their settings
LAST = 50  # trials over which "final" and "learned" are judged
LEARNED_SHARE = 0.9  # share of those that must be correct
PARTS = (6, 3)  # of a session, in which scatter is looked at; fewer where it is short


@typed
def resolve(item: Summary | str) -> Summary:
    """A summary from the catalogue by name, or the given one."""
    if isinstance(item, Summary):
        return item
    arguments.known("summaries", item, tuple(NAMED))
    return NAMED[item]


@typed
def default_summaries(
    available: Sequence[str],
    performance: str | None,
    meaning: ChoiceColumns | None = None,
    sessions: Trajectory | None = None,
) -> tuple[Summary, ...]:
    """What a table allows: those of choices, curves of the measure of performance and what it does around them, or else a
    curve of what there is.

    Arguments:
        available: The table's fields.
        performance: The measure of performance, if the task has one.
        meaning: What choices mean, of a table of choices.
        sessions: The table's trials: what is not defined in all of its sessions is left out.
    """
    if meaning is not None:
        return choice_summaries(meaning)
    if performance is not None and performance in available:
        curve = learning_curve(6, of=performance), volatility(3, of=performance)
        for bins in PARTS:
            more = scatter(bins, of=performance), autocorrelation(bins, of=performance)
            if sessions is None or not bool(torch.isnan(summarise(sessions, more)).any()):
                return (*curve, *more)
        return curve
    available = arguments.strings("available", available)
    if not available:
        raise ValueError("available must name at least one field.")
    shown = "correct" if "correct" in available else available[0]
    return (learning_curve(6, of=shown),)


# Windows ------------------------------------------------------------------------------------------


def _last(t: Trajectory, window: int = LAST) -> Tensor:
    """The last `window` trials of each session, `(batch, trials)` boolean."""
    index = torch.arange(t.trial_types.shape[1], device=t.trial_types.device)
    n = t.num_trials[:, None]
    return (index >= n - window) & (index < n)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of `values` where the mask holds, NaN if nowhere, `(batch,)`."""
    return torch.where(where, values, torch.nan).nanmean(dim=1)


def _curve(t: Trajectory, bins: int, of: str, by_type: bool) -> Tensor:
    values, part = t.per_trial[of], parts_of_sessions(t, bins)
    types = range(t.num_types) if by_type else (None,)
    out = [
        _mean(values, (part == b) if c is None else (part == b) & (t.trial_types == c))
        for c in types
        for b in range(bins)
    ]
    return torch.stack(out, dim=1)


@typed
def learning_curve(bins: int = 10, *, of: str = "error", by_type: bool = True) -> Summary:
    """Mean error (or reward, output, correct) in equal parts of the session, for each trial type.

    Arguments:
        bins: Number of parts.
        of: The per-trial field to average.
        by_type: One curve per trial type instead of one over all.
    """
    arguments.whole("bins", bins, 1)
    if not isinstance(of, str) or not of.isidentifier():
        raise ValueError(f"of must name a field of every trial, such as 'error', got {of!r}.")

    def labels(type_names: Sequence[str]) -> tuple[str, ...]:
        stems = [f"{name}," for name in type_names or ("all",)] if by_type else [""]
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
    length = t.num_trials.to(t.correct.dtype)
    if n < LAST:
        return length
    share = torch.nan_to_num(t.correct).unfold(1, LAST, 1).mean(dim=2)
    inside = torch.arange(LAST, n + 1, device=t.correct.device) <= length[:, None]
    reached = (share >= LEARNED_SHARE - 1e-6) & inside
    first = reached.to(torch.int8).argmax(dim=1) + LAST
    return torch.where(reached.any(dim=1), first.to(t.correct.dtype), length)


def _same_type_steps(t: Trajectory, of: str) -> tuple[Tensor, Tensor]:
    """|change of a field| from one trial to the next of the same type, and where it is defined."""
    values, before = t.per_trial[of], _before(t)
    step = (values - values.gather(1, before.clamp(min=0))).abs()
    size = torch.where(before >= 0, step, torch.nan)
    return size, ~torch.isnan(size)


def _before(t: Trajectory) -> Tensor:
    """Index of the latest earlier trial of the same type `(batch, trials)`; -1 if none."""
    index = torch.arange(t.trial_types.shape[1], device=t.trial_types.device).expand_as(t.trial_types)
    out = torch.full_like(t.trial_types, -1, dtype=torch.long)
    for c in range(t.num_types):
        mine = t.trial_types == c
        seen = torch.where(mine, index, -1).cummax(dim=1).values
        out = torch.where(mine, torch.cat([torch.full_like(seen[:, :1], -1), seen[:, :-1]], dim=1), out)
    return out


def _volatility(t: Trajectory, bins: int, of: str) -> Tensor:
    size, defined = _same_type_steps(t, of)
    part = parts_of_sessions(t, bins)
    return torch.stack([_mean(size, defined & (part == b)) for b in range(bins)], dim=1)


@typed
def volatility(bins: int = 3, *, of: str = "error") -> Summary:
    """Mean |change of error|, or another field, between successive trials of one type, in equal parts of the session."""
    arguments.whole("bins", bins, 1)
    what = f"mean |change of {of}| between successive trials of one type, in {bins} parts of the session"
    return _in_parts("volatility", _volatility, bins, of, lambda _: tuple(str(b) for b in range(bins)), what)


def _in_parts(
    name: str,
    function: Callable[..., Tensor],
    bins: int,
    of: str,
    labels: Callable[[Sequence[str]], tuple[str, ...]],
    what: str,
) -> Summary:
    """What a field does in so many parts of the session, under its name unless it is the error."""
    return Summary(
        name if of == "error" else f"{of}_{name}",
        (of,),
        partial(function, bins=bins, of=of),
        labels,
        help=what,
        settings=(("bins", bins), *((("of", of),) if of != "error" else ())),
    )


def _deviations(t: Trajectory, bins: int, of: str) -> list[Tensor]:
    """What trials of one type in one part of a session are above their mean, `(batch, trials)`, NaN elsewhere."""
    values, part = t.per_trial[of], parts_of_sessions(t, bins)
    out = []
    for c in range(t.num_types):
        for b in range(bins):
            here = (part == b) & (t.trial_types == c)
            out.append(torch.where(here, values - _mean(values, here)[:, None], torch.nan))
    return out


def _scatter(t: Trajectory, bins: int, of: str) -> Tensor:
    several = [
        torch.where((~torch.isnan(d)).sum(dim=1, keepdim=True) > 1, d, torch.nan) for d in _deviations(t, bins, of)
    ]
    return torch.stack([d.square().nanmean(dim=1).sqrt() for d in several], dim=1)


def _autocorrelation(t: Trajectory, bins: int, of: str) -> Tensor:
    before = _before(t)
    out = []
    for d in _deviations(t, bins, of):
        pairs = torch.where(before >= 0, d * d.gather(1, before.clamp(min=0)), torch.nan)
        together, variance = pairs.nansum(dim=1), d.square().nansum(dim=1)
        told = torch.where(variance > 1e-12, together / variance.clamp(min=1e-12), 0.0)  # what never changes has none
        out.append(torch.where((~torch.isnan(pairs)).any(dim=1), told, torch.nan))
    return torch.stack(out, dim=1)


def _by_part(bins: int) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Labels by trial type and part."""
    return lambda types: tuple(f"{name},{b}" for name in types or ("all",) for b in range(bins))


@typed
def scatter(bins: int = 6, *, of: str = "error") -> Summary:
    """S.d. of the error, or another field, around its mean in equal parts of the session, for each trial type.

    Undefined where a part has fewer than two trials of a type.
    """
    arguments.whole("bins", bins, 1)
    what = f"s.d. of {of} around its mean in {bins} parts of the session, per trial type"
    return _in_parts("scatter", _scatter, bins, of, _by_part(bins), what)


@typed
def autocorrelation(bins: int = 6, *, of: str = "error") -> Summary:
    """Correlation of the error, or another field, in successive trials of one type, in equal parts of the session, per type.

    It tells slow drifts (above 0) and corrections (below) from scatter. 0 where a part's trials are all equal; undefined where
    it has fewer than two of a type.
    """
    arguments.whole("bins", bins, 1)
    what = f"correlation of {of} in successive trials of one type, in {bins} parts of the session"
    return _in_parts("autocorrelation", _autocorrelation, bins, of, _by_part(bins), what)


def _activity(name: str) -> Callable[[Trajectory], Tensor]:
    return lambda t: t.per_run[name]


_MEASURES = {
    "mean_rate": "mean |rate| of the free units over the last 50 trials",
    "rate_sd": "s.d. of a free unit's rate over the last 50 trials, mean over units",
    "saturation": "share of (free unit, step) with a rate within 5 % of its limits, last 50 trials",
    "weight_change": "root-mean-square weight change over the run, in units of the initial s.d.",
    "weight_norm": "root-mean-square weight at the end, in units of the initial s.d.",
    "spectral_abscissa": "largest real part of the eigenvalues of the effective connectivity; < 0: stable where all are active",
    "lyapunov_margin": "< 0 proves one fixed point for each constant input, globally stable; > 0 proves nothing",
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
        scatter(),
        autocorrelation(),
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
        *activity_summaries((*FROM_ACTIVITY, *ACTIVITY[:5])),
    )
}
# with those that only spiking networks have
NAMED: dict[str, Summary] = {**CATALOGUE, **{s.name: s for s in SPIKING}}


@typed
def written(item: Summary) -> dict[str, object]:
    """Its `config()`, marked where the catalogue could not give it back."""
    function = item.function.func if isinstance(item.function, partial) else item.function
    return item.config() | ({} if function.__module__ in OURS else {"own": True})


@typed
def rebuild(config: Plain) -> Summary:
    """The summary of the catalogue that was `written` so.

    Raises:
        ValueError: If it is a user's own.
    """
    settings = {k: v for k, v in config.items() if k not in ("name", "own")}
    with arguments.plain_form("a summary"):
        name = str(config["name"])
    stem = name.removesuffix("_change")
    if stem in FROM_ACTIVITY and not config.get("own"):
        return FROM_ACTIVITY[stem](settings.pop("bins"), **settings)
    if name in FROM_CHOICES and not config.get("own"):
        return FROM_CHOICES[name](**settings)
    if config.get("own") or (name not in NAMED and "bins" not in settings):
        raise ValueError(f"the summary {name!r} is not one of the catalogue; fit again instead.")
    if "bins" in settings:
        kinds = {"volatility": volatility, "scatter": scatter, "autocorrelation": autocorrelation}
        return kinds.get(name.rsplit("_", 1)[-1], learning_curve)(settings.pop("bins"), **settings)
    return NAMED[name]
