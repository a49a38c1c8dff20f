"""What simulations reach: rows that lie far from all others, and observations that none of them came near."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sbirules.support.files import Plain
from sbirules.support.robust import centre_and_spread, far_out

__all__ = ["Reach", "looked_at", "near"]

NEAR = 0.1  # of the width of what was simulated: how far from all simulated values a summary may be observed
ISLANDS = 20  # stretches of simulated values that are kept; a summary of more has no holes that matter
ENOUGH = 500  # simulations from which on a hole between their values is one, and not chance
MOST_NAMED = 4  # summaries that a sentence names


@dataclass(frozen=True)
class Reach:
    """The stretches of each summary where simulations are.

    Arguments:
        stretches: By summary: pairs (first, last) of simulated values, in order, without holes.
        slack: By summary: how far from them a value may be observed.
        sd: By summary: s.d. of the simulations.
    """

    stretches: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    slack: Mapping[str, float] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, x: Tensor, names: Sequence[str]) -> Reach:
        """The reach of simulations `(n, S)`."""
        spread = centre_and_spread(x)[1].tolist() if len(x) else [0.0] * len(names)
        stretches, slack = {}, {}
        for k, name in enumerate(names):
            values = torch.unique(x[torch.isfinite(x[:, k]), k]).double()
            if not len(values):
                continue
            ends = values[torch.tensor([0.01, 0.99], dtype=torch.float64).mul(len(values) - 1).round().long()]
            width = float(ends[1] - ends[0]) or float(values[-1] - values[0])
            # a constant may be observed in single precision, or read from a table
            slack[name] = NEAR * width if spread[k] > 0 else 1e-6 * float(values.abs().max())
            holes = (values.diff() > 2 * slack[name]).nonzero()[:, 0].tolist()
            holes = holes if len(holes) < ISLANDS and len(x) >= ENOUGH else []
            first, last = [0, *(h + 1 for h in holes)], [*holes, len(values) - 1]
            stretches[name] = [(float(values[a]), float(values[b])) for a, b in zip(first, last, strict=True)]
        return cls(stretches, slack, dict(zip(names, spread, strict=True)))

    def beyond(self, name: str, value: float) -> float:
        """How far a value lies from all that was simulated; 0 where simulations came near."""
        if name not in self.stretches:
            return 0.0
        gap = min(max(low - value, value - high, 0.0) for low, high in self.stretches[name])
        return gap if gap > self.slack[name] else 0.0

    def outside(self, row: Sequence[float], names: Sequence[str]) -> tuple[str, ...]:
        """Names of the summaries that were observed where no simulation came near."""
        return tuple(name for name, value in zip(names, row, strict=True) if self.beyond(name, value))

    def says(self, x: Tensor, names: Sequence[str], labels: Sequence[str] = ()) -> str:
        """A sentence on observations `(L, S)` that no simulation came near; empty where there are none."""
        found: dict[str, tuple[float, float, str]] = {}
        if not self.stretches:
            return ""
        for row, label in zip(x.tolist(), labels or [""] * len(x), strict=True):
            for name, value in zip(names, row, strict=True):
                gap = self.beyond(name, value)
                if gap > found.get(name, (0.0,))[0]:
                    found[name] = (gap, value, label)
        if not found:
            return ""
        worst = sorted(found, key=lambda n: -found[n][0] / (self.sd[n] or self.slack[n] or 1e-300))
        parts = [self._part(name, *found[name]) for name in worst[:MOST_NAMED]]
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return (
            f"no simulation came near what was observed: {'; '.join(parts)}{more}. The answer there is a guess: check units "
            f"and codes of the observation, or simulate from a wider prior."
        )

    def _part(self, name: str, gap: float, value: float, label: str) -> str:
        all_of_it = self.stretches[name]
        low, high, of = all_of_it[0][0], all_of_it[-1][1], f" of learner {label}" if label else ""
        if low == high or not self.sd[name]:
            return f"{name} = {value:.6g}{of} (in all simulations {low:.6g})"
        hole = " with a hole there" if low < value < high else ""
        return (
            f"{name} = {value:.6g}{of} (simulated {low:.6g} to {high:.6g}{hole}, {gap / self.sd[name]:.3g} s.d. away)"
        )

    def config(self) -> dict[str, object]:
        """Plain types."""
        return {
            n: {"at": [list(p) for p in s], "slack": self.slack[n], "sd": self.sd[n]} for n, s in self.stretches.items()
        }

    @classmethod
    def from_config(cls, config: Plain) -> Reach:
        """The reach that gave this `config()`."""
        stretches = {n: [(float(low), float(high)) for low, high in of["at"]] for n, of in config.items()}
        return cls(
            stretches,
            {n: float(of["slack"]) for n, of in config.items()},
            {n: float(of["sd"]) for n, of in config.items()},
        )


def near(x: Tensor, ok: Tensor, observed: Tensor, names: Sequence[str]) -> tuple[Tensor, str]:
    """Which rows `(n, S)` of those `ok` `(n,)` are not far from all others, and a sentence on those that are.

    What was observed, `(L, S)`, is not far out, so that such rows could not have made it, as failed ones could not: to count
    them as failed changes no answer. Where it is far out itself, no row is left out for that summary.
    """
    far = torch.zeros_like(x, dtype=torch.bool)
    far[ok] = far_out(x[ok])
    if not bool(far.any()):
        return ok, ""
    parts = []
    for k in far.any(dim=0).nonzero()[:, 0].tolist():
        there, others = x[far[:, k], k].double(), x[ok & ~far[:, k], k].double()
        low, high = float(others.min()), float(others.max())
        seen = observed[:, k].double()
        if bool(((seen - (low + high) / 2).abs() > 0.5 * (there - (low + high) / 2).abs().min()).any()):
            far[:, k] = False
            continue
        ends = sorted({f"{float(there.min()):.6g}", f"{float(there.max()):.6g}"}, key=float)
        parts.append(f"{names[k]} is {' to '.join(ends)} in {len(there)} and {low:.6g} to {high:.6g} in all others")
    if not parts:
        return ok, ""
    count = int(far.any(dim=1).sum())
    more = f"; and {len(parts) - MOST_NAMED} more summaries" if len(parts) > MOST_NAMED else ""
    return ok & ~far.any(dim=1), (
        f"{count} of {int(ok.sum())} simulations lie far from all others and count as failed: "
        f"{'; '.join(parts[:MOST_NAMED])}{more}. Where such numbers stand for missing values, give NaN."
    )


def looked_at(
    x: Tensor, ok: Tensor, observed: Tensor, names: Sequence[str], labels: Sequence[str] = ()
) -> tuple[Tensor, Reach, tuple[str, ...]]:
    """Simulations `(n, S)` before anything is learned from them: which rows count, their reach, and what to be careful about.

    Warns of rows far from all others, and of observations `(L, S)` that no simulation came near.

    Raises:
        ValueError: If none of the summaries varies.
    """
    ok, far = near(x, ok, observed, names)
    reach = Reach.of(x[ok], names)
    if int(ok.sum()) > 1 and not any(reach.sd.values()):
        raise ValueError(
            f"{', '.join(names)}: no summary differs between the {int(ok.sum())} simulations that did not fail, so that they "
            f"tell nothing about the rule; give other summaries."
        )
    cautions = tuple(text for text in (far, reach.says(observed, names, labels)) if text)
    for text in cautions:
        warnings.warn(text)
    return ok, reach, cautions
