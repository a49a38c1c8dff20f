"""What recordings hold: counts, means, what is missing, and what to be careful about."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RecordingsSummary", "summary_of"]

WIDTH = 100
FEW = 5  # trials that tell a mean
FAR_OUT = 50.0  # robust s.d. from the median: no response is so far out, a code such as 999 is


class Recorded(Protocol):
    """What is summed up: the fields of `Recordings`."""

    @property
    def learners(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> Tensor: ...
    @property
    def trial_types(self) -> Tensor: ...
    @property
    def channels(self) -> tuple[str, ...]: ...
    @property
    def type_names(self) -> tuple[str, ...]: ...
    @property
    def sessions(self) -> Tensor: ...
    @property
    def events(self) -> Mapping[str, Tensor]: ...
    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def unit(self) -> str: ...
    @property
    def times(self) -> tuple[float, ...]: ...
    @property
    def num_trials(self) -> Tensor: ...
    def means(self) -> Recorded: ...
    def __len__(self) -> int: ...


@typed_class
@dataclass(frozen=True)
class RecordingsSummary(Shown):
    """What recordings hold.

    Arguments:
        animals: Number of animals.
        sessions: Number of sessions, over all animals.
        trials: Number of trials, over all animals.
        channels: Number of channels, of the animal with most.
        bins: Bins of time in a trial; 0 where there is one value a trial.
        unit: What values are measured in.
        missing: Share of the values that were not recorded, of channels that were in some trial.
        mean: Mean of all values.
        low: Smallest value.
        high: Largest value.
        scatter: S.d. of a channel from trial to trial of one type, median over channels and animals: from successive trials, so
            that slow change does not count. What `recording_noise` of simulated networks should bring it to.
        types: Trials of each type, by name.
        events: What each event is, in words.
        by_animal: The same for each animal, columns by name.
        cautions: What to be careful about, one sentence each.
    """

    animals: int
    sessions: int
    trials: int
    channels: int
    bins: int
    unit: str
    missing: float
    mean: float
    low: float
    high: float
    scatter: float
    types: Mapping[str, int]
    events: Mapping[str, str]
    by_animal: Mapping[str, Sequence[Any]] = field(repr=False)
    cautions: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """One row per animal."""
        import pandas as pd

        return pd.DataFrame({name: list(column) for name, column in self.by_animal.items()})

    def _facts(self) -> dict[str, str]:
        unit = f" {self.unit}" if self.unit else ""
        each = f", {self.bins} bins each" if self.bins else ""
        out = {
            "trials": f"{self.trials} in {self.sessions} sessions{each}",
            "channels": f"up to {self.channels} an animal",
            "values": f"mean {self.mean:.4g}, from {self.low:.4g} to {self.high:.4g}{unit}; {self.missing:.1%} missing",
            "scatter": f"{self.scatter:.3g}{unit} from trial to trial of one type",
        }
        if self.types:
            out["types"] = ", ".join(f"{name} {count}" for name, count in self.types.items())
        return out | {f"event {name}": text for name, text in self.events.items()}

    def __str__(self) -> str:
        lines = [f"recordings of {self.animals} animal{'' if self.animals == 1 else 's'}"]
        for name, text in (*self._facts().items(), *(("careful", c) for c in self.cautions)):
            lines += textwrap.wrap(f"{name:<12}{text}", WIDTH, subsequent_indent=" " * 12)
        return "\n".join([*lines, "", self.table().to_string(index=False, float_format="{:.4g}".format)])

    def card(self, title: str = "") -> Card:
        """For notebooks."""
        return Card(
            title or f"recordings of {self.animals} animals", self._facts(), " ".join(self.cautions), self.table()
        )

    def _card(self) -> Card:
        return self.card()


def summary_of(r: Recorded) -> RecordingsSummary:
    """The summary of recordings."""
    means = r.means()
    there = means.trial_types >= 0
    recorded = torch.isfinite(means.values)  # (A, T, K)
    used = recorded.any(dim=1)  # (A, K)
    possible = there[:, :, None] & used[:, None, :]
    known = r.values[torch.isfinite(r.values)]
    if not len(known):
        raise ValueError("recordings must hold at least one value that is not NaN.")
    sessions = [len(torch.unique(s[t])) for s, t in zip(r.sessions, there, strict=True)]
    by_animal: dict[str, Sequence[Any]] = {
        "animal": list(r.learners),
        "sessions": sessions,
        "trials": r.num_trials.tolist(),
        "channels": used.sum(dim=1).tolist(),
        "missing": [_share(possible[a] & ~recorded[a], possible[a]) for a in range(len(r))],
        "mean": [
            float(means.values[a][recorded[a]].mean()) if bool(recorded[a].any()) else float("nan")
            for a in range(len(r))
        ],
    }
    names = r.type_names or tuple(str(k) for k in range(int(r.trial_types.max()) + 1))
    types = {name: int((r.trial_types == k).sum()) for k, name in enumerate(names)} if len(names) > 1 else {}
    return RecordingsSummary(
        len(r),
        sum(sessions),
        int(there.sum()),
        int(used.sum(dim=1).max()),
        len(r.times),
        r.unit,
        _share(possible & ~recorded, possible),
        float(known.mean()),
        float(known.min()),
        float(known.max()),
        _scatter(means.trial_types, means.values),
        types,
        {name: _happened(r, name, there) for name in r.events},
        by_animal,
        tuple(_cautions(r, means.values, recorded, used)),
    )


def _far_out(r: Recorded, values: Tensor, recorded: Tensor) -> list[str]:
    """A value that is far from all others, as a code for what was not recorded is."""
    known = values[recorded]
    middle = known.median()
    spread = (known - middle).abs().median() / 0.6745
    away = torch.where(recorded, (values - middle).abs(), 0.0)
    if not float(spread) > 0 or float(away.max()) <= FAR_OUT * float(spread):
        return []
    a, t, k = (int(i) for i in (away == away.max()).nonzero()[0])
    return [
        f"{r.channels[k]} of {r.learners[a]} is {float(values[a, t, k]):.4g} in trial {t + 1}, far from all others (median "
        f"{float(middle):.3g}): is it the code of something that was not recorded? Leave such cells empty."
    ]


def _scatter(types: Tensor, values: Tensor) -> float:
    """S.d. from differences of successive trials of one type, median over channels and animals."""
    found = []
    for a in range(len(types)):
        for kind in torch.unique(types[a][types[a] >= 0]).tolist():
            steps = values[a, types[a] == kind].diff(dim=0)
            found.append((steps.square().nanmean(dim=0) / 2).sqrt())
    every = torch.cat(found) if found else torch.empty(0)
    return float(every.nanmedian()) if bool(torch.isfinite(every).any()) else float("nan")


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part.sum()) / max(1, int(whole.sum()))


def _happened(r: Recorded, name: str, there: Tensor) -> str:
    value = r.events[name][there]
    if name in r.labels:
        return ", ".join(f"{label} in {int((value == k).sum())}" for k, label in enumerate(r.labels[name]))
    value = value[~torch.isnan(value)]
    if not len(value):
        return "never known"
    if len(torch.unique(value)) <= 2:
        return ", ".join(f"{v:g} in {int((value == v).sum())}" for v in torch.unique(value).tolist())
    return f"mean {float(value.mean()):.4g}, from {float(value.min()):.4g} to {float(value.max()):.4g}"


def _twins(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two labels that differ in case or blanks only."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault("".join(name.split()).casefold(), name)
        if first != name:
            return first, name
    return None


def _cautions(r: Recorded, values: Tensor, recorded: Tensor, used: Tensor) -> list[str]:
    out = []
    flat = [(a, k) for a, k in used.nonzero().tolist() if float(values[a, recorded[a, :, k], k].std(correction=0)) == 0]
    if flat:
        a, k = flat[0]
        silent = float(values[a, recorded[a, :, k], k].abs().max()) == 0
        what = "is 0 in every trial: a unit that never fires" if silent else "never varies"
        others = f" and {len(flat) - 1} other channels" if len(flat) > 1 else ""
        out.append(
            f"{r.channels[k]} of {r.learners[a]}{others} {what}; it tells nothing, leave it out with pick or set it to NaN."
        )
    out += _far_out(r, values, recorded)
    none = [name for name, row in zip(r.learners, used, strict=True) if not bool(row.any())]
    if none:
        out.append(f"animal {none[0]!r} has no recorded value; leave it out with subset.")
    short = [
        f"{r.learners[a]} has {int(recorded[a, :, k].sum())}"
        for a, k in used.nonzero().tolist()
        if int(recorded[a, :, k].sum()) < FEW
    ]
    if short:
        out.append(
            f"some channels were recorded in few trials ({short[0]}): their change over learning cannot be told."
        )
    for a in range(len(r)):
        there = r.trial_types[a] >= 0
        parts = [recorded[a][there & (r.sessions[a] == s)].any(dim=0) for s in torch.unique(r.sessions[a][there])]
        if any(not torch.equal(p, parts[0]) for p in parts):
            out.append(
                f"not all channels of {r.learners[a]} were recorded in all sessions: that a column is the same unit throughout "
                f"is "
                f"taken for granted."
            )
            break
    for what, names in {"trial type": r.type_names, **r.labels}.items():
        twins = _twins(names)
        if twins:
            out.append(
                f"{what} {twins[0]!r} and {twins[1]!r} differ in case or blanks only, and count as two: are they one?"
            )
    if not r.unit:
        out.append(
            'the unit of the values is not given (unit="Hz", "dF/F"): whether a model can make them is not checked.'
        )
    return out
