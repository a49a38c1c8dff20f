"""What a network did: its spikes and weights; and the numbers of a rule as kernels read them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sbirules.model.rules import SYNAPSES, SpikeRule
from sbirules.model.rules.spike import GAINS, TIMES
from sbirules.support.scalar_code import anew, compiled_from, scalar_source

from ._network import Network
from ._presented import tests_of
from ._settings import Settings

__all__ = ["WINDOW", "Cell", "Outcome", "by_numba", "cell_of", "decays_of", "fast", "own_sources", "values_of"]

WINDOW = 0.2  # seconds over which a network is seen to blow up
DEFAULT_TIMES = (20.0, 20.0, 100.0, 100.0)


class Cell(NamedTuple):
    """Numbers of a neuron and its synapses, of the type of its potential; decays are those of one step.

    With conductances, which are g, pulls are reversal potentials and leak_of_g is 1: tau_m dV/dt = E_rest - V + g (E - V). With
    currents, which are g too, in mV, they are 1 and -1, and 0.
    """

    step: Any  # dt / tau_m
    threshold: Any
    reset: Any
    pull_of_excitation: Any
    pull_of_inhibition: Any
    leak_of_g: Any
    decay_of_excitation: Any
    decay_of_inhibition: Any
    nmda_share: Any
    decay_of_nmda: Any
    rise_of_nmda: Any  # by what share of the fast part the slow one rises
    threshold_jump: Any
    decay_of_threshold: Any


@dataclass
class Outcome:
    """A run of one network.

    Arguments:
        blown_up: Whether its excitatory neurons fired beyond the limit, so that it was stopped.
        steps: Steps that were done.
        spike_step: Step of each spike, in order.
        spike_neuron: Which neuron, excitatory ones first.
        counts: Spikes in bins of excitatory and inhibitory neurons, `(bins, 2)`.
        weight_means: Mean weight of each of `SYNAPSES` after each bin, `(bins, 6)`.
        weights: Weights at the end of the duration, by synapse as in its `Network`.
    """

    blown_up: bool
    steps: int
    spike_step: NDArray[np.int32]
    spike_neuron: NDArray[np.int32]
    counts: NDArray[np.int64]
    weight_means: NDArray[np.float64]
    weights: NDArray[Any]


def values_of(family: SpikeRule, theta: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Coefficients of each plastic kind of synapse by their short names."""
    return {s: {c.name: theta[f"{c.name}_{s}"] for c in family.of_synapse} for s in family.synapses}


def fast(family: SpikeRule) -> bool:
    """Whether kernels know the rule."""
    line = type(family).__mro__

    def written(method: str) -> int:
        """How far up the classes it was written."""
        return next(k for k, kind in enumerate(line) if method in vars(kind))

    # whoever writes changes of their own has not written gains of them
    if min(written("at_pre"), written("at_post")) < written("gains"):
        return False
    return family.gains({c.name: c.default for c in family.of_synapse}) is not None


def decays_of(settings: Settings, values: Mapping[str, Mapping[str, float]]) -> NDArray[np.float64]:
    """By how much traces decay in a step: pre, post, slow pre, slow post, of each of `SYNAPSES`; `(6, 4)`."""
    out = np.ones((6, 4))
    for p, s in enumerate(SYNAPSES):
        for k, (name, default) in enumerate(zip(TIMES, DEFAULT_TIMES, strict=True)):
            out[p, k] = np.exp(-settings.dt / values.get(s, {}).get(name, default))
    return out


def cell_of(settings: Settings, dtype: Any) -> Cell:
    """Those of a network."""
    s = settings
    conductance = s.synapse_model == "conductance"
    fast, slow = np.exp(-s.dt / s.tau_excitation), np.exp(-s.dt / s.tau_nmda)
    if s.tau_excitation == s.tau_nmda:
        rise = s.dt / s.tau_nmda * slow
    else:
        rise = s.tau_excitation / (s.tau_excitation - s.tau_nmda) * (fast - slow)
    numbers = Cell(
        step=s.dt / s.tau_membrane,
        threshold=s.threshold,
        reset=s.reset,
        pull_of_excitation=s.reversal_excitation if conductance else 1.0,
        pull_of_inhibition=s.reversal_inhibition if conductance else -1.0,
        leak_of_g=float(conductance),
        decay_of_excitation=fast,
        decay_of_inhibition=np.exp(-s.dt / s.tau_inhibition),
        nmda_share=s.nmda_share,
        decay_of_nmda=slow,
        rise_of_nmda=rise,
        threshold_jump=s.threshold_jump,
        decay_of_threshold=np.exp(-s.dt / s.tau_threshold),
    )
    return Cell(*map(dtype, numbers))


def bounds_of(settings: Settings) -> NDArray[np.float64]:
    """Of the weights of each of `SYNAPSES`, `(6, 2)`."""
    return np.array([[0.0, settings.max_weights[p]] for p in SYNAPSES])


def own_sources(family: SpikeRule, dtype: Any) -> tuple[str, str] | None:
    """Changes at spikes of either side of a rule of one's own, as code for `by_numba`; None where there is none."""
    names, traces = [c.name for c in family.of_synapse], ("x_pre", "x_post", "y_pre", "y_post", "weight")
    try:
        own = copy.deepcopy(family)  # looking at a rule that counts its calls must not change it
    except Exception:  # whatever own classes raise
        return None
    single = dtype == torch.float32
    at_pre, at_post = (scalar_source(f, names, traces, owner=own, single=single) for f in (own.at_pre, own.at_post))
    return None if at_pre is None or at_post is None else (at_pre, at_post)


def _is_own(method: Any, of: Any) -> bool:
    return getattr(method, "__func__", None) is not of


def by_numba(
    settings: Settings,
    family: SpikeRule,
    theta: Mapping[str, float],
    network: Network,
    sources: tuple[str, str] | None = None,
) -> Outcome:
    """Runs a network spike by spike; `sources` are those of a rule of one's own."""
    from ._kernels import FULL, NOT_A_NUMBER, simulate  # numba is imported when it is needed

    s, values = settings, values_of(family, theta)
    gains, own_values = np.zeros((6, 6)), np.zeros((6, max(1, len(family.of_synapse))))
    run: Callable[..., tuple[int, int, int]] = simulate
    own: tuple[Any, ...] = (None, None)
    own_gains: dict[str, bool] = {}
    if sources is not None:
        run, own = anew(simulate), tuple(map(compiled_from, sources))
        own_gains = {
            "alpha": _is_own(family.at_pre, SpikeRule.at_pre),
            "beta": _is_own(family.at_post, SpikeRule.at_post),
        }
    for synapse, told in values.items():
        p = SYNAPSES.index(synapse)
        own_values[p, : len(told)] = np.array(list(told.values()), dtype=network.weights.dtype)
        # of a rule of one's own only the rate of learning is known
        known = (family.gains(told) or {}) if sources is None else own_gains
        gains[p] = [s.eta * known.get(name, 0.0) for name in GAINS]
    dtype = network.weights.dtype
    weights, potentials = network.weights.copy(), network.potentials.copy()
    at_end = weights.copy()
    frozen = tests_of(network.presented)
    window = s.steps(WINDOW)
    limit = s.rate_limit * WINDOW * s.num_excitatory
    # spikes of neurons that fire as often as they can; room for fewer is made at first
    most = s.num_units * (s.total_steps // (s.refractory_steps() + 1) + 1)
    room = min(most, 1_000_000)
    while True:
        spike_step, spike_neuron = np.empty(room, np.int32), np.empty(room, np.int32)
        counts, means = np.zeros((s.bins, 2), np.int64), np.full((s.bins, 6), np.nan)
        weights[:], potentials[:], at_end[:] = network.weights, network.potentials, network.weights
        ended, steps, written = run(
            potentials,
            np.zeros(s.num_units, np.int32),
            np.full(s.num_units, s.resting + s.current, dtype),
            cell_of(s, dtype.type),
            s.num_excitatory,
            network.out_start,
            network.out_middle,
            network.out_post,
            network.in_start,
            network.in_synapse,
            network.in_source,
            weights,
            bounds_of(s),
            gains,
            decays_of(s, values),
            network.input_step,
            network.input_neuron,
            s.total_steps,
            s.delay_steps(),
            s.refractory_steps(),
            window,
            limit,
            spike_step,
            spike_neuron,
            s.bins,
            s.steps(s.bin_length),
            counts,
            means,
            s.steps(s.duration),
            at_end,
            frozen,
            *own,
            own_values,
        )
        if ended == NOT_A_NUMBER:
            side = "at_post" if written else "at_pre"
            raise ValueError(f"{type(family).__name__}.{side} must return real numbers, got nan.")
        if ended != FULL or room >= most:
            break
        room = min(4 * room, most)
    return Outcome(
        bool(ended), steps, spike_step[:written].copy(), spike_neuron[:written].copy(), counts, means, at_end
    )
