r"""One spiking network in numba, spike by spike.

Traces are kept as x exp(t / tau), which does not decay: a spike adds exp(t / tau), and whoever reads multiplies by exp(-t / tau),
two numbers for all neurons at once. So silent neurons cost nothing but their membrane.

The order within a step, as in Brian2: membranes, spikes, arrivals (conductances and weights), weights at spikes of the
postsynaptic neuron, traces. Weights that change at spikes of one step read traces from before that step.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from sbirules.support.compiling import compiled, inlined

__all__ = ["ALL_WELL", "BLOWN_UP", "FULL", "NOT_A_NUMBER", "simulate"]

ALL_WELL, BLOWN_UP, FULL, NOT_A_NUMBER = 0, 1, 2, 3
BLOCK = 128  # neurons that are looked through together
FAR = 1e100  # scale of traces at which they are brought back


@inlined
def _clipped(value, low, high):
    return min(max(value, low), high)


@inlined
def _kind_of(source, excitatory, n_all):
    """0 for an excitatory source, 1 for an inhibitory one, 2 for an input."""
    return 0 if source < excitatory else (1 if source < n_all else 2)


@compiled
def simulate(
    v: Any,
    free: Any,
    drive: Any,
    cell: Any,
    excitatory: Any,
    out_start: Any,
    out_middle: Any,
    out_post: Any,
    in_start: Any,
    in_synapse: Any,
    in_source: Any,
    w: Any,
    bounds: Any,
    gains: Any,
    decays: Any,
    input_step: Any,
    input_neuron: Any,
    steps: Any,
    delay: Any,
    refractory: Any,
    window: Any,
    limit: Any,
    spike_step: Any,
    spike_neuron: Any,
    bins: Any,
    bin_length: Any,
    counts: Any,
    weight_means: Any,
    end: Any,
    weights_at_end: Any,
    frozen: Any,
    own_at_pre: Any,
    own_at_post: Any,
    own_values: Any,
) -> tuple[int, int, int]:
    """Runs a network; arrays of state, weights, spikes and bins are changed.

    Arguments:
        v: Potentials `(N,)`, excitatory neurons first. free: step from which each is no longer refractory `(N,)`.
        drive: Where potentials rest `(N,)`.
        cell: Numbers of a neuron, a `Cell`.
        out_start: Place of the first synapse of each source `(S + 1,)`; out_middle: of its first onto an inhibitory neuron.
        out_post: Neuron that each synapse ends on.
        in_start: Places in in_synapse of synapses on each neuron, of excitatory, inhibitory and input sources `(N, 4)`.
        in_synapse, in_source: Which synapse, and its source.
        w: Weights by synapse. bounds: of weights by pathway `(6, 2)`.
        gains: Of each pathway (alpha, kappa, kappa slow, beta, gamma, gamma slow), times the rate of learning `(6, 6)`.
        decays: Of traces in a step: pre, post, slow pre, slow post `(6, 4)`.
        input_step, input_neuron: Spikes of inputs, in order.
        window: Steps over which activity is judged; more than `limit` spikes of excitatory neurons in it stop the run.
        spike_step, spike_neuron: Where spikes are written; the run stops when they are full.
        bins: Number of bins of bin_length steps, in which excitatory and inhibitory spikes are counted `(bins, 2)`, and after
            which mean weights of pathways are written `(bins, 6)`.
        end: Step after which weights are copied to weights_at_end.
        frozen: First steps and ends of tests, in which no weight changes `(tests, 2)`.
        own_at_pre, own_at_post: None, or a rule of one's own: the change of a weight at a spike of either side, of own_values,
            pathway, traces (pre, post, slow pre, slow post) and weight. Of gains alpha and beta are then the rate of learning.
        own_values: Coefficients of such a rule by pathway `(6, D)`.

    Returns:
        How it ended, steps done, spikes written; of a change that is no number which side made it in place of the last.
    """
    n_all = len(v)
    threshold, reset = cell.threshold, cell.reset
    g_e, g_i = np.zeros_like(v), np.zeros_like(v)
    slow, excitation = np.zeros_like(v), np.zeros_like(v)  # NMDA, and what it makes with AMPA
    raised = np.zeros_like(v)  # by how much a neuron's threshold is above its own
    sources = len(out_start) - 1
    x_pre, slow_pre = np.zeros((6, sources)), np.zeros((6, sources))
    x_post, slow_post = np.zeros((6, n_all)), np.zeros((6, n_all))
    up, down = np.ones((6, 4)), np.ones((6, 4))
    at_pre, at_post = np.zeros(6, np.bool_), np.zeros(6, np.bool_)
    for p in range(6):
        at_pre[p] = gains[p, 0] != 0 or gains[p, 1] != 0 or gains[p, 2] != 0
        at_post[p] = gains[p, 3] != 0 or gains[p, 4] != 0 or gains[p, 5] != 0
    plastic = at_pre | at_post
    some = plastic.any()
    test = 0
    ring = np.zeros((delay + 1, n_all), np.int32)
    ring_count = np.zeros(delay + 1, np.int64)
    arrived = np.zeros(n_all + len(input_neuron), np.int32)
    next_input = 0
    written = 0
    recent = 0

    for t in range(steps):
        while test < len(frozen) and t >= frozen[test, 1]:
            test += 1
        changing = test == len(frozen) or t < frozen[test, 0]
        slot = t % (delay + 1)
        now = np.int32(t)
        fired = 0
        if cell.nmda_share > 0:
            _with_nmda(g_e, slow, excitation, cell)
            _membranes(v, free, drive, excitation, g_i, cell, now)
        else:
            _membranes(v, free, drive, g_e, g_i, cell, now)
        _decay(g_e, cell.decay_of_excitation)
        _decay(g_i, cell.decay_of_inhibition)
        if cell.threshold_jump > 0:
            _decay(raised, cell.decay_of_threshold)
        for first in range(0, n_all, BLOCK):
            last = min(first + BLOCK, n_all)
            if _crossings(v, threshold, first, last):
                for n in range(first, last):
                    if v[n] > threshold + raised[n]:
                        ring[slot, fired] = n
                        fired += 1
        ring_count[slot] = fired
        here = t // bin_length
        for k in range(fired):
            n = ring[slot, k]
            v[n] = reset
            raised[n] += cell.threshold_jump
            free[n] = t + 1 + refractory
            if written == len(spike_step):
                return FULL, t, written
            spike_step[written] = t
            spike_neuron[written] = n
            written += 1
            inhibitory = n >= excitatory
            recent += not inhibitory
            if here < bins:
                counts[here, int(inhibitory)] += 1

        # what arrives now: neurons that fired a delay ago, and inputs
        arrivals = 0
        if t >= delay:
            old = (t - delay) % (delay + 1)
            for k in range(ring_count[old]):
                arrived[arrivals] = ring[old, k]
                arrivals += 1
        while next_input < len(input_step) and input_step[next_input] <= t:
            arrived[arrivals] = n_all + input_neuron[next_input]
            arrivals += 1
            next_input += 1

        for k in range(arrivals):
            s = arrived[k]
            kind = _kind_of(s, excitatory, n_all)
            g = g_i if kind == 1 else g_e
            for target in range(2):
                p = 2 * kind + target
                first = out_middle[s] if target else out_start[s]
                last = out_start[s + 1] if target else out_middle[s]
                if not (at_pre[p] and changing):
                    for j in range(first, last):
                        g[out_post[j]] += w[j]
                    continue
                if own_at_pre is not None:
                    rate, low, high = gains[p, 0], bounds[p, 0], bounds[p, 1]
                    fast_x, slow_x = x_pre[p, s] * down[p, 0], slow_pre[p, s] * down[p, 2]
                    for j in range(first, last):
                        i = out_post[j]
                        g[i] += w[j]
                        fast_y, slow_y = x_post[p, i] * down[p, 1], slow_post[p, i] * down[p, 3]
                        change = own_at_pre(own_values, p, fast_x, fast_y, slow_x, slow_y, w[j])
                        if change != change:
                            return NOT_A_NUMBER, t, 0
                        w[j] = _clipped(w[j] + rate * change, low, high)
                    continue
                alpha = gains[p, 0]
                kappa = (gains[p, 1] + gains[p, 2] * slow_pre[p, s] * down[p, 2]) * down[p, 1]
                low, high = bounds[p, 0], bounds[p, 1]
                for j in range(first, last):
                    i = out_post[j]
                    g[i] += w[j]
                    w[j] = _clipped(w[j] + (alpha + kappa * x_post[p, i]), low, high)

        if some:
            for k in range(fired):
                n = ring[slot, k]
                target = 1 if n >= excitatory else 0
                for kind in range(3):
                    p = 2 * kind + target
                    if own_at_post is not None:
                        if at_post[p] and changing:
                            rate, low, high = gains[p, 3], bounds[p, 0], bounds[p, 1]
                            fast_y, slow_y = x_post[p, n] * down[p, 1], slow_post[p, n] * down[p, 3]
                            for place in range(in_start[n, kind], in_start[n, kind + 1]):
                                j, s = in_synapse[place], in_source[place]
                                fast_x, slow_x = x_pre[p, s] * down[p, 0], slow_pre[p, s] * down[p, 2]
                                change = own_at_post(own_values, p, fast_x, fast_y, slow_x, slow_y, w[j])
                                if change != change:
                                    return NOT_A_NUMBER, t, 1
                                w[j] = _clipped(w[j] + rate * change, low, high)
                    elif at_post[p] and changing:
                        beta = gains[p, 3]
                        gamma = (gains[p, 4] + gains[p, 5] * slow_post[p, n] * down[p, 3]) * down[p, 0]
                        low, high = bounds[p, 0], bounds[p, 1]
                        for place in range(in_start[n, kind], in_start[n, kind + 1]):
                            j = in_synapse[place]
                            w[j] = _clipped(w[j] + (beta + gamma * x_pre[p, in_source[place]]), low, high)
            for k in range(arrivals):
                s = arrived[k]
                kind = _kind_of(s, excitatory, n_all)
                for target in range(2):
                    p = 2 * kind + target
                    if plastic[p]:
                        x_pre[p, s] += up[p, 0]
                        slow_pre[p, s] += up[p, 2]
            for k in range(fired):
                n = ring[slot, k]
                target = 1 if n >= excitatory else 0
                for kind in range(3):
                    p = 2 * kind + target
                    if plastic[p]:
                        x_post[p, n] += up[p, 1]
                        slow_post[p, n] += up[p, 3]
            for p in range(6):
                if plastic[p]:
                    for q in range(4):
                        up[p, q] /= decays[p, q]
                        down[p, q] *= decays[p, q]
                    if max(up[p, 0], up[p, 1], up[p, 2], up[p, 3]) > FAR:
                        x_pre[p] *= down[p, 0]
                        x_post[p] *= down[p, 1]
                        slow_pre[p] *= down[p, 2]
                        slow_post[p] *= down[p, 3]
                        up[p] = 1.0
                        down[p] = 1.0

        if t + 1 == end:
            weights_at_end[:] = w
        if (t + 1) % bin_length == 0 and here < bins:
            _mean_weights(w, excitatory, n_all, out_start, out_middle, weight_means[here])
        if (t + 1) % window == 0:
            if recent > limit:
                if t + 1 < end:
                    weights_at_end[:] = w
                return BLOWN_UP, t + 1, written
            recent = 0
    for n in range(n_all):
        if not math.isfinite(v[n]):
            return BLOWN_UP, steps, written
    return ALL_WELL, steps, written


# a function of its own, so that the compiler sees a loop over arrays that it can do eight neurons at a time
@compiled
def _membranes(v, free, drive, g_e, g_i, cell, now):
    """One step of potentials, implicit in them and so stable."""
    h, reset, leak_of_g = cell.step, cell.reset, cell.leak_of_g
    pull_e, pull_i = cell.pull_of_excitation, cell.pull_of_inhibition
    one = h / h
    for n in range(len(v)):
        moved = (v[n] + h * (drive[n] + g_e[n] * pull_e + g_i[n] * pull_i)) / (
            one + h * (one + leak_of_g * (g_e[n] + g_i[n]))
        )
        v[n] = moved if now >= free[n] else reset


@compiled
def _decay(values, factor):
    """One step of exact decay."""
    tiny = factor * np.float32(1e-30)  # numbers too small to be normal would make every step slow
    for n in range(len(values)):
        values[n] = values[n] * factor + tiny


@compiled
def _with_nmda(fast, slow, both, cell):
    """What excites in this step, of AMPA and NMDA; and one step of NMDA, exact, whose rise follows AMPA."""
    share, decay, rise = cell.nmda_share, cell.decay_of_nmda, cell.rise_of_nmda
    rest = share / share - share
    for n in range(len(fast)):
        both[n] = rest * fast[n] + share * slow[n]
        slow[n] = slow[n] * decay + rise * fast[n]


@compiled
def _crossings(v, threshold, first, last):
    """How many are above threshold."""
    above = 0
    for n in range(first, last):
        above += v[n] > threshold
    return above


@compiled
def _mean_weights(w, excitatory, n_all, out_start, out_middle, means):
    """Mean weight of each pathway `(6,)`; NaN of one without synapses."""
    total, count = np.zeros(6), np.zeros(6)
    for s in range(len(out_start) - 1):
        kind = _kind_of(s, excitatory, n_all)
        for j in range(out_start[s], out_middle[s]):
            total[2 * kind] += w[j]
        for j in range(out_middle[s], out_start[s + 1]):
            total[2 * kind + 1] += w[j]
        count[2 * kind] += out_middle[s] - out_start[s]
        count[2 * kind + 1] += out_start[s + 1] - out_middle[s]
    for p in range(6):
        means[p] = total[p] / count[p] if count[p] else np.nan
