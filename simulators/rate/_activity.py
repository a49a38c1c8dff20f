"""Measures of activity and weights, accumulated over the last trials of each session."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.model.fields import Field

from ._settings import Settings

__all__ = ["MEASURES", "ActivityMeter", "recorded_fields"]

MEASURES = (
    Field("mean_rate", "mean |rate| of the free units over the last 50 trials", per="run", low=0.0),
    Field("rate_sd", "s.d. of a free unit's rate over the last 50 trials, mean over units", per="run", low=0.0),
    Field("saturation", "share of (free unit, step) with a rate within 5 % of its limits, last 50 trials", per="run"),
    Field("weight_change", "root-mean-square weight change over the run", "initial s.d.", per="run", low=0.0),
    Field("weight_norm", "root-mean-square weight at the end", "initial s.d.", per="run", low=0.0),
)


def recorded_fields(units: int) -> tuple[Field, ...]:
    """What is recorded of single units."""
    text = "mean rate of each recorded unit over the response window"
    return (Field("responses", text, per="unit", units=units),) if units else ()


SILENCE = 1e-3  # mean |rate| below which a network counts as silent


class ActivityMeter:
    """Running sums over the last `window` trials of each session.

    Arguments:
        settings: The network's settings.
        trial_types: `(batch, trials)`, -1 past the end.
        window: Number of trials.
    """

    def __init__(self, settings: Settings, trial_types: Tensor, window: int) -> None:
        self.settings = settings
        length = (trial_types >= 0).sum(dim=1)
        self.first, self.last = length - window, length
        # on the host, so that no trial has to ask the device whether it counts for any network
        self.from_trial = int(self.first.min())
        free = [u for u in range(settings.num_units) if u not in settings.clamped]
        self.free = torch.tensor(free, device=trial_types.device)
        self.count: Tensor | None = None

    def add(self, k: int, rate: Tensor) -> None:
        """Takes in the rates `(batch, T, N)` of trial k."""
        if k < self.from_trial:
            return
        inside = ((k >= self.first) & (k < self.last)).to(rate.dtype)
        r = rate.detach()
        size = r.abs()
        sums = torch.stack([size.sum(dim=1), r.sum(dim=1), (r * r).sum(dim=1), self._saturated(r, size)])
        sums = torch.where(inside[:, None] > 0, sums, 0.0)  # (4, batch, N)
        steps = inside * rate.shape[1]
        if self.count is None:
            self.count, self.sums = steps, sums
        else:
            self.count, self.sums = self.count + steps, self.sums + sums

    def _saturated(self, r: Tensor, size: Tensor) -> Tensor:
        kind = self.settings.nonlinearity
        if kind == "tanh":
            return (size > 0.95).to(r.dtype).sum(dim=1)
        if kind == "sigmoid":
            return ((r > 0.95) | (r < 0.05)).to(r.dtype).sum(dim=1)
        return torch.full_like(r[:, 0], torch.nan)  # threshold-linear rates have no upper limit

    def result(
        self, start: Tensor, end: Tensor, initial_sd: float, mask: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Measures by name, each `(batch,)`, and which networks are silent."""
        if self.count is None or len(self.free) == 0:
            raise ValueError(
                "activity needs a trial and a unit that is free; simulate more trials, or clamp fewer units."
            )
        absolute, first, second, saturated = (self.sums / self.count[:, None])[:, :, self.free]
        variance = (second - first**2).clamp(min=0.0)
        mean_rate = absolute.mean(dim=1)
        synapses = start[0].numel() if mask is None else mask.sum(dim=(1, 2))

        def rms(w: Tensor) -> Tensor:
            return ((w.detach() ** 2).sum(dim=(1, 2)) / synapses).sqrt() / initial_sd

        measures = {
            "mean_rate": mean_rate,
            "rate_sd": variance.sqrt().mean(dim=1),
            "saturation": saturated.mean(dim=1),
            "weight_change": rms(end - start),
            "weight_norm": rms(end),
        }
        return measures, mean_rate < SILENCE
