"""Measures of spiking networks by name: what a run declares as fields and what summaries read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from sbirules.model.fields import Field
from sbirules.model.rules import SYNAPSES
from sbirules.model.runs import Trajectory
from sbirules.model.summaries.definition import Summary

__all__ = ["MOST_DELAYS", "SPIKING", "spiking_fields", "spiking_names"]

MOST_DELAYS = 3
WEIGHT = "leak conductance"
POPULATIONS = {"E": "excitatory", "I": "inhibitory"}
# of each population
OF_NEURONS = {
    "rate": ("mean rate of {} neurons while activity is judged", "Hz", 0.0),
    "rate_spread": ("s.d. over {} neurons of their rates", "Hz", 0.0),
    "cv": ("mean over {} neurons of the coefficient of variation of intervals between spikes", "", 0.0),
    "fano": (
        "variance over mean of the count of all {} spikes in bins of 10 ms; 1 for independent Poisson spikes",
        "",
        0.0,
    ),
    "correlation": ("mean correlation of counts of two {} neurons in bins of 10 ms", "", -1.0),
    "rate_drift": ("change of the rate of {} neurons between the halves of the last third, over its mean", "", -2.0),
}
# of each kind of synapse that is plastic
OF_SYNAPSES = {
    "weight": ("mean weight of synapses {} at the end", WEIGHT, 0.0),
    "weight_spread": ("s.d. over mean of the weights of synapses {} at the end", "", 0.0),
    "weight_drift": (
        "change of the mean weight of synapses {} over the last third, over the largest weight allowed",
        "",
        -1.0,
    ),
    "weight_at_bounds": ("share of synapses {} whose weight is at a bound", "", 0.0),
}
OF_MEMORY = {
    "familiar_response": ("excitatory rate under the familiar pattern at delay {}", "Hz", 0.0),
    "novel_response": ("excitatory rate under a new pattern at delay {}", "Hz", 0.0),
    "memory": ("familiar less novel response over their sum at delay {}", "", -1.0),
}


def spiking_names(synapses: Sequence[str], delays: int, populations: Sequence[str] = ("E", "I")) -> tuple[str, ...]:
    """Names of the measures of a network with these plastic synapses and so many tests of memory."""
    return (
        *(f"{name}_{p}" for p in populations for name in OF_NEURONS),
        *(f"{name}_{s}" for s in synapses for name in OF_SYNAPSES),
        *(f"{name}_{k}" for k in range(delays) for name in OF_MEMORY),
    )


def spiking_fields(
    synapses: Sequence[str], delays: int, populations: Sequence[str] = ("E", "I"), weight_unit: str = WEIGHT
) -> tuple[Field, ...]:
    """The same as fields of a run."""
    return tuple(_field(name, weight_unit) for name in spiking_names(synapses, delays, populations))


def _field(name: str, weight_unit: str) -> Field:
    stem, _, of = name.rpartition("_")
    for table, words in ((OF_NEURONS, POPULATIONS.get(of, of)), (OF_SYNAPSES, of), (OF_MEMORY, of)):
        if stem in table:
            text, unit, low = table[stem]
            return Field(name, text.format(words), weight_unit if unit == WEIGHT else unit, per="run", low=low)
    raise ValueError(f"{name!r} is not a measure of spiking networks.")


def _of_run(t: Trajectory, name: str) -> Tensor:
    return t.per_run[name]


SPIKING = tuple(
    Summary(f.name, (f.name,), partial(_of_run, name=f.name), help=f.meaning)
    for f in spiking_fields(SYNAPSES, MOST_DELAYS)
)
