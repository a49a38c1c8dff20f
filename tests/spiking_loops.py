"""The spiking network in plain loops, synapse by synapse, from its equations alone: nothing of the package but what was drawn."""

import math

import numpy as np
from scipy.linalg import expm


def run(s, net, rule, time_constants, frozen=()):
    """Spikes (step, neuron) and last weights by (source, end).

    frozen: first steps and ends of times in which no weight changes.
    rule(kind, side, x_pre, x_post, y_pre, y_post) is the change at a spike of one side, or None where a kind is not plastic;
    time_constants(kind) are those of x_pre, x_post, y_pre, y_post.
    """
    n, e = s.num_excitatory + s.num_inhibitory, s.num_excitatory
    sources = n + s.num_inputs
    letter = ["E" if k < e else "I" if k < n else "X" for k in range(sources)]
    weight, kind_of, onto = {}, {}, {}
    for source in range(sources):
        for place in range(net.out_start[source], net.out_start[source + 1]):
            end = int(net.out_post[place])
            weight[source, end] = float(net.weights[place])
            kind_of[source, end] = letter[source] + letter[end]
            onto.setdefault(source, []).append(end)
    plastic = [pair for pair, kind in kind_of.items() if rule(kind, "pre", 0, 0, 0, 0) is not None]
    traces = {pair: [0.0, 0.0, 0.0, 0.0] for pair in plastic}
    arriving = {}
    for step, neuron in zip(net.input_step, net.input_neuron, strict=True):
        arriving.setdefault(int(step), set()).add(n + int(neuron))
    delay, refractory = round(s.delay / s.dt), round(s.refractory / s.dt)
    v, g_e, g_i, held = [float(x) for x in net.potentials], [0.0] * n, [0.0] * n, [0] * n
    slow, raised = [0.0] * n, [0.0] * n
    # AMPA decays, NMDA follows it
    both = expm(s.dt * np.array([[-1 / s.tau_excitation, 0.0], [1 / s.tau_nmda, -1 / s.tau_nmda]]))
    spikes = []
    h = s.dt / s.tau_membrane
    for t in range(s.total_steps):
        fired = set()
        for k in range(n):
            e = (1 - s.nmda_share) * g_e[k] + s.nmda_share * slow[k]
            if s.synapse_model == "current":
                moved = (v[k] + h * (s.resting + s.current + e - g_i[k])) / (1 + h)
            else:
                pull = s.resting + s.current + e * s.reversal_excitation + g_i[k] * s.reversal_inhibition
                moved = (v[k] + h * pull) / (1 + h * (1 + e + g_i[k]))
            v[k] = s.reset if held[k] else moved
            held[k] = max(held[k] - 1, 0)
            g_e[k], slow[k] = both @ (g_e[k], slow[k])
            raised[k] *= math.exp(-s.dt / s.tau_threshold)
            g_i[k] *= math.exp(-s.dt / s.tau_inhibition)
            if v[k] > s.threshold + raised[k]:
                fired.add(k)
                raised[k] += s.threshold_jump
                v[k], held[k] = s.reset, refractory
                spikes.append((t, k))
                arriving.setdefault(t + delay, set()).add(k)
        here = arriving.pop(t, set())
        for source in sorted(here):
            for end in onto.get(source, []):
                conductance = g_i if letter[source] == "I" else g_e
                conductance[end] += weight[source, end]
        for side, end_of, active in (("pre", 0, here), ("post", 1, fired)):
            for pair in plastic:
                if pair[end_of] in active and not any(first <= t < last for first, last in frozen):
                    kind = kind_of[pair]
                    new = weight[pair] + s.eta * rule(kind, side, *traces[pair])
                    weight[pair] = min(max(new, 0.0), s.max_weights[kind])
        for pair in plastic:
            x = traces[pair]
            for k, stepped in enumerate((pair[0] in here, pair[1] in fired) * 2):
                x[k] = (x[k] + stepped) * math.exp(-s.dt / time_constants(kind_of[pair])[k])
    return spikes, weight
