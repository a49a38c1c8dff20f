"""What is drawn of a network before it runs: who is joined to whom, first weights and potentials, spikes of inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sbirules.model.rules import SYNAPSES
from sbirules.support.streams import Key, Stream, generator

from ._presented import Presented, presented
from ._settings import Settings

__all__ = ["Network", "draw_network"]


@dataclass
class Network:
    """One network as it starts. Sources are excitatory, inhibitory and input neurons, in this order.

    Arguments:
        out_start: Place of the first synapse of each source, `(S + 1,)`; synapses of a source are in the order of their ends.
        out_middle: Place of its first synapse onto an inhibitory neuron, `(S,)`.
        out_post: Neuron on which each synapse ends.
        in_start: For each neuron where its synapses from excitatory, inhibitory and input sources start and end, `(N, 4)`.
        in_synapse: Those synapses.
        in_source: Their sources.
        weights: By synapse.
        potentials: First potentials, mV.
        input_step: Step of each spike of an input, in order.
        input_neuron: Which input.
        presented: Patterns that inputs were driven with.
    """

    out_start: NDArray[np.int32]
    out_middle: NDArray[np.int32]
    out_post: NDArray[np.int32]
    in_start: NDArray[np.int32]
    in_synapse: NDArray[np.int32]
    in_source: NDArray[np.int32]
    weights: NDArray[Any]
    potentials: NDArray[Any]
    input_step: NDArray[np.int32]
    input_neuron: NDArray[np.int32]
    presented: tuple[Presented, ...]


def draw_network(settings: Settings, key: Key, row: int, dtype: Any) -> Network:
    """The network of one row of a run that has this key; nothing of it depends on the rule."""
    from ._wiring import joined  # numba is imported when it is needed

    s = settings

    def stream(name: Stream) -> torch.Generator:
        return generator(key, name, row)

    u = torch.rand(s.num_units, sum(s.in_degrees), generator=stream(Stream.MASK), dtype=torch.float64).numpy()
    out_start, out_middle, out_post, in_start, in_synapse, in_source = joined(
        u, s.num_excitatory, s.num_inhibitory, s.num_inputs, *s.in_degrees
    )
    pathway = pathways(s, out_start, out_middle)
    mean = np.array([s.weights[p] for p in SYNAPSES])[pathway]
    most = np.array([s.max_weights[p] for p in SYNAPSES])[pathway]
    scatter = torch.randn(len(mean), generator=stream(Stream.WEIGHTS)).numpy()
    fraction = torch.rand(s.num_units, generator=stream(Stream.INITIAL_STATES), dtype=torch.float64).numpy()
    shown = presented(s, stream(Stream.STIMULI))
    steps, neurons = _input_spikes(s, shown, stream(Stream.INPUTS))
    return Network(
        out_start,
        out_middle,
        out_post,
        in_start,
        in_synapse,
        in_source,
        np.clip(mean * (1.0 + s.weight_spread * scatter), 0.0, most).astype(dtype),
        (s.reset + fraction * (s.threshold - s.reset)).astype(dtype),
        steps,
        neurons,
        shown,
    )


def pathways(settings: Settings, out_start: NDArray[np.int32], out_middle: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which of `SYNAPSES` each synapse is."""
    s = settings
    kind = np.repeat([0, 1, 2], [s.num_excitatory, s.num_inhibitory, s.num_inputs])
    both = np.stack([2 * kind, 2 * kind + 1], axis=1).ravel()
    count = np.stack([out_middle - out_start[:-1], out_start[1:] - out_middle], axis=1).ravel()
    return np.repeat(both, count)


def _input_spikes(
    settings: Settings, shown: tuple[Presented, ...], stream: torch.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Poisson spikes of inputs, at most one of a neuron in a step: steps and neurons, in order."""
    s = settings
    total = s.total_steps
    events = [_poisson(stream, s.num_inputs, 0, total, s.input_rate * s.dt / 1000.0)]
    for p in shown:
        step, which = _poisson(stream, len(p.neurons), p.first, p.last, s.pattern_rate * s.dt / 1000.0)
        events.append((step, p.neurons[which]))
    step = np.concatenate([e[0] for e in events])
    neuron = np.concatenate([e[1] for e in events])
    flat = np.unique(step.astype(np.int64) * max(s.num_inputs, 1) + neuron)
    return (flat // max(s.num_inputs, 1)).astype(np.int32), (flat % max(s.num_inputs, 1)).astype(np.int32)


def _poisson(
    stream: torch.Generator, neurons: int, first: int, last: int, of_step: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # of several in a step one is kept: with this mean it is one with the wanted probability
    mean = torch.tensor(-float(neurons * (last - first)) * math.log1p(-of_step), dtype=torch.float64)
    count = int(torch.poisson(mean, generator=stream))
    step = torch.randint(first, max(last, first + 1), (count,), generator=stream)
    return step.numpy(), torch.randint(0, max(neurons, 1), (count,), generator=stream).numpy()
