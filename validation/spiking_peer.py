"""The same spiking network in Brian2 (copyleft: used here only, never by the package or its tests).

Equations, weights, connections, delays, first potentials and spikes of inputs are those of `SpikingNetwork`; steps are taken in
its way, implicit in the potential, and traces are read before they step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbirules.model.rules import SYNAPSES
from sbirules.simulators import SpikingNetwork
from sbirules.simulators.spiking._network import pathways

__all__ = ["Peer", "brian_run"]


@dataclass
class Peer:
    """What Brian2 gave: spikes in the order of time and neuron, last weights by kind of synapse, and seconds of its run."""

    step: Any
    neuron: Any
    weights: dict[str, Any]
    seconds: float
    build_seconds: float


def brian_run(
    simulator: SpikingNetwork, theta: dict[str, float], *, seed: int, target: str = "cython", folder: str = ""
) -> Peer:
    """Runs row 0 of a run with this seed."""
    import brian2 as b2

    s, net = simulator.settings, simulator.network(seed)
    b2.start_scope()
    double = net.weights.dtype == np.float64
    if target == "cpp_standalone":
        b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
    else:
        b2.set_device("runtime")
        b2.prefs.codegen.target = target
    b2.prefs.core.default_float_dtype = np.float64 if double else np.float32
    b2.defaultclock.dt = s.dt * b2.ms
    begun = time.perf_counter()
    n = s.num_units
    values: dict[str, Any] = {
        "h": s.dt / s.tau_membrane,
        "drive": s.resting + s.current,
        "rev_e": s.reversal_excitation,
        "rev_i": s.reversal_inhibition,
        "down_e": float(np.exp(-s.dt / s.tau_excitation)),
        "down_i": float(np.exp(-s.dt / s.tau_inhibition)),
        "v_reset": s.reset,
        "v_threshold": s.threshold,
        "eta": s.learning_rate,
        "share": s.nmda_share,
        "tau_fast": s.tau_excitation,
        "tau_slow": s.tau_nmda,
        "down_slow": float(np.exp(-s.dt / s.tau_nmda)),
        "jump": s.threshold_jump,
        "down_threshold": float(np.exp(-s.dt / s.tau_threshold)),
    }
    if s.synapse_model == "current":
        step = "(v + h * (drive + e - g_i)) / (1 + h)"
    else:
        step = "(v + h * (drive + e * rev_e + g_i * rev_i)) / (1 + h * (1 + e + g_i))"
    neurons = b2.NeuronGroup(
        n,
        "v : 1\ng_e : 1\ng_i : 1\nslow : 1\nraised : 1",
        threshold="v > v_threshold + raised",
        reset="v = v_reset\nraised += jump",
        refractory=(s.refractory + s.dt / 2) * b2.ms,
        namespace=values,
    )
    neurons.run_regularly(
        f"""
        e = (1 - share) * g_e + share * slow
        moved = {step}
        v = int(not_refractory) * moved + (1 - int(not_refractory)) * v_reset
        slow = slow * down_slow + g_e * tau_fast / (tau_fast - tau_slow) * (down_e - down_slow)
        raised = raised * down_threshold
        g_e = g_e * down_e
        g_i = g_i * down_i
        """,
        when="groups",
    )
    neurons.v = net.potentials
    inputs = b2.SpikeGeneratorGroup(max(s.num_inputs, 1), net.input_neuron, net.input_step * s.dt * b2.ms)
    source = np.repeat(np.arange(len(net.out_start) - 1), np.diff(net.out_start))
    kind = pathways(s, net.out_start, net.out_middle)
    objects: list[Any] = [neurons, inputs]
    synapses: dict[str, tuple[Any, Any]] = {}
    for p, name in enumerate(SYNAPSES):
        mine = np.flatnonzero(kind == p)
        if not len(mine):
            continue
        made = _synapses(b2, simulator, theta, name, neurons, inputs, values)
        first = n if name[0] == "X" else 0
        made.connect(i=source[mine] - first, j=net.out_post[mine])
        made.w = net.weights[mine]
        if name[0] != "X":
            for pathway in made._pathways:
                if pathway.prepost == "pre":
                    pathway.delay = s.delay * b2.ms
        synapses[name] = (made, mine)
        objects.append(made)
    monitor = b2.SpikeMonitor(neurons)
    network = b2.Network(*objects, monitor)
    seconds = s.total_steps * s.dt * b2.ms
    if target == "cpp_standalone":
        network.run(seconds)
        b2.device.build(directory=folder, compile=True, run=False, clean=False)
        built = time.perf_counter()
        b2.device.run(directory=folder, with_output=False, run_args=[])
    else:
        network.run(0 * b2.ms)
        # compiles what a run of no steps has not
        network.store()
        network.run(5 * s.dt * b2.ms)
        network.restore()
        built = time.perf_counter()
        network.run(seconds)
    done = time.perf_counter()
    step = np.round(np.asarray(monitor.t / b2.ms) / s.dt).astype(int)
    order = np.lexsort((np.asarray(monitor.i), step))
    weights = {name: np.asarray(made.w) for name, (made, _) in synapses.items()}
    return Peer(step[order], np.asarray(monitor.i)[order], weights, done - built, built - begun)


def _synapses(
    b2: Any, simulator: SpikingNetwork, theta: dict[str, float], name: str, neurons: Any, inputs: Any, values: Any
) -> Any:
    s = simulator.settings
    source = inputs if name[0] == "X" else neurons
    g = "g_i" if name[0] == "I" else "g_e"
    if name not in simulator.family.synapses:
        return b2.Synapses(source, neurons, "w : 1", on_pre=f"{g}_post += w", namespace=values)
    own = {
        **values,
        **{c: theta[f"{c}_{name}"] for c in ("alpha", "beta", "kappa", "gamma")},
        "time_a": theta[f"tau_pre_{name}"] * b2.ms,
        "time_b": theta[f"tau_post_{name}"] * b2.ms,
        "most": s.max_weights[name],
    }
    made = b2.Synapses(
        source,
        neurons,
        """w : 1
        da/dt = -a / time_a : 1 (event-driven)
        db/dt = -b / time_b : 1 (event-driven)""",
        on_pre={
            "pre": f"{g}_post += w\nw = clip(w + eta * (alpha + kappa * b), 0, most)",
            "step_pre": "a += 1",
        },
        on_post={
            "post": "w = clip(w + eta * (beta + gamma * a), 0, most)",
            "step_post": "b += 1",
        },
        namespace=own,
    )
    for pathway, order in (("pre", 0), ("post", 1), ("step_pre", 2), ("step_post", 2)):
        getattr(made, pathway).order = order
    return made
