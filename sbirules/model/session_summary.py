"""What session scales hold: counts, changes against errors, and what to be careful about."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionsSummary", "summary_of"]

FEW = 12  # sessions of all animals, below which no law is told from another
TOLD = 3.0  # errors that a change from session to session should be


class Scaled(Protocol):
    """What is summed up: the fields of `SessionScales`."""

    @property
    def scales(self) -> Tensor: ...
    @property
    def covariance(self) -> Tensor: ...
    @property
    def stimulation(self) -> Tensor: ...
    @property
    def time(self) -> Tensor: ...
    @property
    def num_sessions(self) -> Tensor: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def channels(self) -> tuple[str, ...]: ...
    @property
    def there(self) -> Tensor: ...
    @property
    def measured(self) -> Tensor: ...
    def __len__(self) -> int: ...


@typed_class
@dataclass(frozen=True)
class SessionsSummary(Shown):
    """What session scales hold.

    Arguments:
        animals: Number of animals.
        sessions: Number of sessions, over all animals.
        measured: Of these, sessions whose scales were measured.
        scales: By scale: mean, smallest and largest value, s.d. of the change from session to session without that of errors,
            mean standard error, and correlation with the number of the session.
        channels: By channel of stimulation: mean, smallest and largest value, sessions without.
        cautions: What to be careful about, one sentence each.
    """

    animals: int
    sessions: int
    measured: int
    scales: pd.DataFrame
    channels: pd.DataFrame
    cautions: tuple[str, ...] = ()

    def card(self, title: str) -> Card:
        """For notebooks."""
        facts = {"animals": self.animals, "sessions": self.sessions, "measured": self.measured}
        return Card(title, facts, " ".join(self.cautions), self.scales.rename_axis("scale"))

    def _card(self) -> Card:
        return self.card("Session scales")

    def __str__(self) -> str:
        head = f"{self.animals} animals, {self.sessions} sessions ({self.measured} measured)"
        parts = [head, self.scales.round(3).to_string()]
        if len(self.channels):
            parts.append(self.channels.round(3).to_string())
        parts += [textwrap.fill(f"! {c}", 100, subsequent_indent="  ") for c in self.cautions]
        return "\n".join(parts)


def summary_of(sessions: Scaled) -> SessionsSummary:
    """The summary of session scales."""
    import pandas as pd

    value, sd = sessions.scales, sessions.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    there, known = sessions.there, sessions.measured
    both = known[:, 1:] & known[:, :-1]
    place = torch.arange(value.shape[1], dtype=torch.float64).expand(len(sessions), -1)
    rows, ratio = {}, {}
    for k, name in enumerate(sessions.names):
        own, change = value[..., k][known], value[..., k].diff(dim=1)[both]
        error = float(sd[..., k][known].square().mean().sqrt())
        moved = max(0.0, float(change.square().mean()) - 2 * error**2) ** 0.5 if len(change) else 0.0
        ratio[name] = moved / error
        rows[name] = {
            "mean": float(own.mean()),
            "low": float(own.min()),
            "high": float(own.max()),
            "change": moved,
            "error": error,
            "with_session": _correlation(own, place[known]),
        }
    channels: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(sessions.channels):
        u = sessions.stimulation[..., k][there]
        channels[name] = {
            "mean": float(u.mean()),
            "low": float(u.min()),
            "high": float(u.max()),
            "none": int((u == 0).sum()),
        }
    return SessionsSummary(
        len(sessions),
        int(sessions.num_sessions.sum()),
        int(known.sum()),
        pd.DataFrame.from_dict(rows, orient="index"),
        pd.DataFrame.from_dict(channels, orient="index"),
        _cautions(sessions, ratio),
    )


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale > 0 else float("nan")


def _cautions(sessions: Scaled, ratio: dict[str, float]) -> tuple[str, ...]:
    out, known, there = [], sessions.measured, sessions.there
    if int(known.sum()) < FEW:
        out.append(
            f"only {int(known.sum())} sessions were measured: laws can hardly be told apart by fewer than {FEW}, and the "
            f"posterior will be near the prior."
        )
    if not sessions.channels:
        out.append(
            "no stimulation is given: what it does to the law's next state cannot be told; give stimulation=... if there was."
        )
    for k, name in enumerate(sessions.channels):
        if float(sessions.stimulation[..., k][there].std()) == 0:
            out.append(f"{name} is the same in all sessions: its effect cannot be told from a constant drift.")
    slow = [name for name, r in ratio.items() if r < TOLD]
    if slow:
        worst = min(slow, key=lambda n: ratio[n])
        out.append(
            f"{len(slow)} of {len(ratio)} scales change from session to session by less than {TOLD:g} of their errors "
            f"(the least, {worst}, by {ratio[worst]:.1f}): more of each session, or changes over several sessions, would "
            f"tell more."
        )
    some = torch.isfinite(sessions.scales).any(dim=2) & ~known
    lost = int((there & ~known & ~some).sum())
    if lost:
        out.append(f"{lost} sessions have no measurement; their stimulation counts, their scales are inferred.")
    if bool(some.any()):
        out.append(
            f"in {int(some.sum())} sessions only some of the scales were measured: their values are left out, a session "
            f"counts whole."
        )
    gaps = sessions.time.diff(dim=1)[there[:, 1:]]
    if len(gaps) and float(gaps.max()) > 3 * float(gaps.median()):
        out.append(
            f"times between sessions differ ({float(gaps.min()):g} to {float(gaps.max()):g}): a law acts once from session to "
            f"session; its noise grows with time (SessionLaw(..., timed=True)), its change does not."
        )
    return tuple(out)
