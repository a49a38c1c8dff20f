"""From spikes and weights of a run to its named measures, and to what is drawn of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sbirules.model.rules import SYNAPSES
from sbirules.model.spikes import SpikeTrains

from ._measures import coefficient_of_variation, correlation, fano_factor, rates_of
from ._network import Network, pathways
from ._outcome import Outcome
from ._settings import Settings

__all__ = ["measured", "rates_over_time", "trains_of"]

AT_BOUND = 1e-3  # of the largest weight, within which a weight is at a bound


def rates_over_time(settings: Settings, outcome: Outcome) -> NDArray[np.float64]:
    """Mean rates of excitatory and inhibitory neurons in each bin, Hz, `(bins, 2)`; NaN after the network was stopped."""
    s = settings
    rates = outcome.counts / s.bin_length / np.array([s.num_excitatory, max(s.num_inhibitory, 1)])
    rates[outcome.steps // s.steps(s.bin_length) :] = np.nan
    return np.asarray(rates, dtype=float)


def trains_of(settings: Settings, network: Network, outcome: Outcome) -> SpikeTrains:
    """What is drawn, and written to files, of an outcome."""
    s = settings
    step = s.dt / 1000.0
    kind = pathways(s, network.out_start, network.out_middle)
    return SpikeTrains(
        outcome.spike_step * step,
        outcome.spike_neuron,
        s.num_excitatory,
        s.num_inhibitory,
        outcome.steps * step,
        s.bin_length,
        rates_over_time(s, outcome),
        {name: outcome.weight_means[:, p] for p, name in enumerate(SYNAPSES)},
        {name: outcome.weights[kind == p] for p, name in enumerate(SYNAPSES)},
        outcome.blown_up,
        s.weight_unit,
        [
            (p.first * step, p.last * step, "familiar" if p.familiar else "novel")
            for p in network.presented
            if p.first < outcome.steps
        ],
    )


def measured(settings: Settings, synapses: Sequence[str], network: Network, outcome: Outcome) -> dict[str, float]:
    """All measures by name; of a network that blew up none means anything."""
    s = settings
    out: dict[str, float] = {}
    time = outcome.spike_step * (s.dt / 1000.0)
    start = s.duration - s.judged
    inside = (time >= start) & (time < s.duration)
    for p, (first, size) in enumerate(((0, s.num_excitatory), (s.num_excitatory, s.num_inhibitory))):
        if not size:
            continue
        name = "EI"[p]
        mine = (outcome.spike_neuron >= first) & (outcome.spike_neuron < first + size)
        t, n = time[inside & mine], outcome.spike_neuron[inside & mine] - first
        rates = rates_of(n, size, s.judged)
        out[f"rate_{name}"], out[f"rate_spread_{name}"] = float(rates.mean()), float(rates.std())
        out[f"cv_{name}"] = coefficient_of_variation(t, n)
        out[f"fano_{name}"] = fano_factor(t, s.judged, start)
        out[f"correlation_{name}"] = correlation(t, n, size, s.judged, start)
        third = s.duration / 3
        late = time[mine & (time >= s.duration - third) & (time < s.duration)]
        second = float((late >= s.duration - third / 2).sum())
        out[f"rate_drift_{name}"] = (2 * second - len(late)) / (len(late) / 2) if len(late) else 0.0
    kind = pathways(s, network.out_start, network.out_middle)
    for synapse in synapses:
        p = SYNAPSES.index(synapse)
        w = outcome.weights[kind == p].astype(float)
        most = s.max_weights[synapse]
        out[f"weight_{synapse}"] = float(w.mean())
        out[f"weight_spread_{synapse}"] = float(w.std() / w.mean()) if w.mean() > 0 else 0.0
        means = outcome.weight_means[:, p]
        before = means[max(0, len(means) - 1 - len(means) // 3)]
        out[f"weight_drift_{synapse}"] = float((means[-1] - before) / most) if most > 0 else 0.0
        slack = AT_BOUND * most
        out[f"weight_at_bounds_{synapse}"] = float(((w <= slack) | (w >= most - slack)).mean())
    out.update(_memory(s, network, outcome))
    return out


def _memory(settings: Settings, network: Network, outcome: Outcome) -> dict[str, float]:
    """Responses to the familiar and to new patterns, and how much the first is larger, at each delay."""
    s = settings
    out: dict[str, float] = {}
    excitatory = outcome.spike_step[outcome.spike_neuron < s.num_excitatory]
    for shown in network.presented:
        if shown.test < 0:
            continue
        count = int(((excitatory >= shown.first) & (excitatory < shown.last)).sum())
        seconds = (shown.last - shown.first) * s.dt / 1000.0
        name = "familiar" if shown.familiar else "novel"
        out[f"{name}_response_{shown.test}"] = count / s.num_excitatory / seconds
    for k in range(len(s.memory_delays)):
        both = out[f"familiar_response_{k}"], out[f"novel_response_{k}"]
        out[f"memory_{k}"] = (both[0] - both[1]) / sum(both) if sum(both) else 0.0
    return out
