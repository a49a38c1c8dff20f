"""Spike trains of a simulated network, with its rates and weights over time; and files of them for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbirules.support import arguments
from sbirules.support.readable import one_line
from sbirules.support.typed import typed_class

__all__ = ["SpikeTrains"]


@typed_class
@dataclass(frozen=True, repr=False)
class SpikeTrains:
    """What one network of excitatory and inhibitory neurons did.

    Arguments:
        time: Of each spike, s, in order.
        neuron: Which fired; excitatory ones first.
        num_excitatory: How many of them there are.
        num_inhibitory: And of the others.
        duration: Seconds that were simulated.
        bin_length: Seconds of a bin of what follows.
        rates: Mean rates of excitatory and inhibitory neurons in each bin, Hz, `(bins, 2)`.
        mean_weights: Mean weight after each bin by kind of synapse, such as `"IE"`, `(bins,)` each.
        weights: Last weights by kind of synapse.
        blown_up: Whether it was stopped because of its rate.
        weight_unit: Of weights.
        presented: Patterns of inputs that were shown: start and end, s, and whether each was `"familiar"` or `"novel"`.
    """

    time: NDArray[Any]
    neuron: NDArray[Any]
    num_excitatory: int
    num_inhibitory: int
    duration: float
    bin_length: float
    rates: NDArray[Any]
    mean_weights: Mapping[str, NDArray[Any]]
    weights: Mapping[str, NDArray[Any]]
    blown_up: bool = False
    weight_unit: str = "leak conductance"
    presented: Sequence[tuple[float, float, str]] = ()

    def __post_init__(self) -> None:
        if len(self.time) != len(self.neuron):
            raise ValueError(
                f"time and neuron must have one entry for each spike, got {len(self.time)} and {len(self.neuron)}."
            )

        n = np.asarray(self.neuron)
        if len(n) and (n.dtype.kind not in "iu" or n.min() < 0 or n.max() >= self.num_neurons):
            raise ValueError(
                f"neuron must be whole numbers from 0 to {self.num_neurons - 1}, got {n.min():g} to {n.max():g} as {n.dtype}."
            )
        t = np.asarray(self.time)
        if len(t) and (not np.isfinite(t).all() or t.min() < 0 or t.max() > self.duration * (1 + 1e-9)):
            raise ValueError(f"time must lie in 0 to {self.duration:g} s, got {t.min():g} to {t.max():g}.")

    def __repr__(self) -> str:
        rate = len(self.time) / max(self.duration, 1e-9) / (self.num_excitatory + self.num_inhibitory)
        return one_line(self, f"{len(self.time):,} spikes", f"{self.duration:g} s", f"{rate:.3g} Hz")

    @property
    def num_neurons(self) -> int:
        """All of them."""
        return self.num_excitatory + self.num_inhibitory

    def of(self, neuron: int) -> NDArray[Any]:
        """Times at which one neuron fired, s."""
        found: NDArray[Any] = self.time[self.neuron == arguments.position("neuron", neuron, self.num_neurons)]
        return found

    def _by_neuron(self) -> list[tuple[str, NDArray[Any]]]:
        """Population and times of each neuron."""
        order = np.argsort(self.neuron, kind="stable")
        ends = np.cumsum(np.bincount(self.neuron, minlength=self.num_neurons))[:-1]
        parts = np.split(np.asarray(self.time)[order], ends)
        return [("excitatory" if k < self.num_excitatory else "inhibitory", part) for k, part in enumerate(parts)]

    def to_nwb(
        self, path: str | Path, *, description: str = "a simulated network", start: datetime | None = None
    ) -> Path:
        """Writes a unit for each neuron to an NWB file, with its population; needs `pip install 'sbirules[nwb]'`.

        Arguments:
            path: A new file.
            description: Of the session.
            start: When it is said to have started; now, if left out.
        """
        try:
            from pynwb import NWBHDF5IO, NWBFile  # type: ignore[import-untyped]
        except ImportError as error:
            raise ValueError("to_nwb() needs pynwb, which is not installed: pip install 'sbirules[nwb]'.") from error
        target = arguments.path("path", path)
        if target.exists():
            raise ValueError(f"path must be a new file, but {target.name} is there.")
        if not target.parent.is_dir():
            raise ValueError(f"path must lie in a folder that is there, got {target}.")
        moment = datetime.now(UTC) if start is None else start
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        file = NWBFile(session_description=description, identifier=target.stem, session_start_time=moment)
        file.add_unit_column("population", "excitatory or inhibitory")
        for population, times in self._by_neuron():
            file.add_unit(spike_times=times, obs_intervals=[[0.0, self.duration]], population=population)
        with NWBHDF5IO(str(target), "w") as out:
            out.write(file)
        return target

    def to_neo(self) -> Any:
        """A segment of neo with a spike train for each neuron, for elephant and others; needs `pip install neo`."""
        try:
            from neo import Segment, SpikeTrain  # type: ignore[import-untyped]
            from quantities import s  # type: ignore[import-untyped]
        except ImportError as error:
            raise ValueError("to_neo() needs neo, which is not installed: pip install 'sbirules[neo]'.") from error
        segment = Segment(name="a simulated network")
        for neuron, (population, times) in enumerate(self._by_neuron()):
            train = SpikeTrain(times * s, t_stop=self.duration * s, name=f"neuron {neuron}", population=population)
            segment.spiketrains.append(train)
        return segment
