"""Spiking networks under chosen rules, for a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch

from sbirules import figures
from sbirules.inference.posterior import Posterior
from sbirules.model.abilities import FiresSpikes, without_plasticity
from sbirules.model.simulator import Simulator
from sbirules.model.spikes import SpikeTrains

__all__ = ["spike_figures"]

SEED = 0  # of the networks that are shown: the same one for every rule


class _Shown:
    """Networks under the rule of highest density, two other draws, and none; simulated when one is drawn."""

    def __init__(self, posterior: Posterior, simulator: Simulator) -> None:
        self.posterior, self.simulator = posterior, simulator

    @cached_property
    def trains(self) -> dict[str, SpikeTrains]:
        draws = self.posterior.draws
        rows = torch.stack([self.posterior.map().to(draws), draws[0], draws[len(draws) // 2]])
        plastic: Any = self.simulator  # both fire spikes
        still: Any = without_plasticity(self.simulator)
        found = [t for row in rows for t in plastic.spikes(row[None], seed=SEED)]
        found += still.spikes(rows[:1], seed=SEED)
        names = ("highest density", "a draw", "another draw", "no plasticity")
        return dict(zip(names, found, strict=True))

    def raster(self) -> Any:
        return figures.raster(list(self.trains.values()), labels=list(self.trains))

    def over_time(self) -> Any:
        synapses = tuple(getattr(self.simulator.family, "synapses", ()))
        return figures.rates_and_weights(list(self.trains.values()), synapses, labels=list(self.trains))


def spike_figures(posterior: Posterior, simulator: Simulator) -> Iterator[tuple[str, Callable[[], Any], str]]:
    """Name, drawing and caption; nothing of other simulators."""
    if not isinstance(simulator, FiresSpikes):
        return
    shown = _Shown(posterior, simulator)
    same = (
        "The same network under the posterior's rule of highest density, under two draws of it, and without plasticity"
    )
    yield "raster", shown.raster, f"{same}: its spikes in the last second, at most 200 neurons of each population."
    yield "rates_and_weights", shown.over_time, f"{same}: mean rates and mean weights over time, and last weights."
