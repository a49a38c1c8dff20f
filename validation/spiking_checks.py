"""The spiking network beside Brian2, its inhibitory rule, and its speed."""

from __future__ import annotations

import math
import tempfile
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from result_rows import Row, row
from scipy.stats import t as student_t

import sbirules as sr
from sbirules.model.rules import SYNAPSES
from sbirules.simulators import SpikingNetwork
from sbirules.simulators.spiking import coefficient_of_variation
from sbirules.simulators.spiking._network import pathways

__all__ = ["equal_rows", "speed_rows", "target_rows"]

SEED = 20261128
SIBLINGS = 12
FAMILY = sr.SpikePairRule(["EE", "IE"])
NEURONS: dict[str, dict[str, Any]] = {
    "conductances": {},
    "conductances, NMDA, moving threshold": {"nmda_share": 0.4, "threshold_jump": 10.0},
    "currents, NMDA, moving threshold": {"synapse_model": "current", "nmda_share": 0.4, "threshold_jump": 10.0},
}
HAVE_BRIAN = find_spec("brian2") is not None


def rule(target: float = 5.0) -> dict[str, float]:
    """Depression and potentiation of EE that nearly balance, and the inhibitory rule."""
    still = {name: 20.0 if name.startswith("tau") else 0.0 for name in FAMILY.names}
    pairs = {
        "alpha_EE": 0.001,
        "beta_EE": -0.002,
        "kappa_EE": -0.1,
        "gamma_EE": 0.12,
        "tau_pre_EE": 15.0,
        "tau_post_EE": 30.0,
    }
    return {**still, **sr.vogels2011(target), **pairs}


def theta(values: dict[str, float], names: tuple[str, ...] = FAMILY.names) -> list[list[float]]:
    return [[values[name] for name in names]]


def in_order(trains: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    step = np.rint(trains.time * 1000.0 / dt).astype(int)
    order = np.lexsort((trains.neuron, step))
    return step[order], trains.neuron[order]


def equal_rows(quick: bool, _: int) -> list[Row]:
    if not HAVE_BRIAN:
        return [row("beside Brian2", "equal", "brian2 is not installed: left out", None)]
    from spiking_peer import brian_run

    seconds = 0.5 if quick else 2.0
    out = []
    for kind, settings in NEURONS.items():
        double = SpikingNetwork(
            FAMILY, dtype=torch.float64, duration=seconds, judged=seconds / 2, bin_length=seconds / 4, **settings
        )
        ours = double.spikes(theta(rule()), seed=SEED)[0]
        theirs = brian_run(double, rule(), seed=SEED)
        step, neuron = in_order(ours, double.settings.dt)
        count = min(len(step), len(theirs.step))
        differ = np.flatnonzero((step[:count] != theirs.step[:count]) | (neuron[:count] != theirs.neuron[:count]))
        first = "none" if not len(differ) else f"{step[differ[0]] * double.settings.dt / 1000:.2f} s"
        same = len(step) == len(theirs.step) and not len(differ)
        goal = f"spikes of 1000 neurons in {seconds:g} s, EE and IE plastic, {kind}, double precision"
        out.append(row(goal, "equal", f"{len(step)} and {len(theirs.step)}, first difference: {first}", same))
        for s in FAMILY.synapses:
            gap = float(np.abs(np.sort(ours.weights[s]) - np.sort(theirs.weights[s])).max())
            most = double.settings.max_weights[s]
            moved = float(np.abs(ours.weights[s].mean() / double.settings.weights[s] - 1))
            found = f"{gap / most:.1e} of the largest weight (mean moved by {moved:.1%})"
            out.append(row(f"weights {s}, {kind}, largest difference", "below 1e-6", found, gap / most < 1e-6))
    # chaos parts two runs in single precision within a second. Neurons and synapses of one network move together, so that what
    # Brian2 gives is held against the spread between runs of our own that a change of 1e-6 in one coefficient sets apart
    long = 4.0 if quick else 20.0
    single = SpikingNetwork(FAMILY, duration=long, judged=long / 2)
    theirs = brian_run(single, rule(), seed=SEED)
    siblings = [{**rule(), "alpha_IE": rule()["alpha_IE"] * (1 + 1e-6 * k)} for k in range(SIBLINGS)]
    late = theirs.step * single.settings.dt / 1000 >= long / 2
    wanted = _statistics(
        theirs.step[late] * single.settings.dt / 1000, theirs.neuron[late], theirs.weights, single, long / 2
    )
    found = []
    for values in siblings:
        t = single.spikes(theta(values), seed=SEED)[0]
        late = t.time >= long / 2
        found.append(_statistics(t.time[late], t.neuron[late], t.weights, single, long / 2))
    for name, value in wanted.items():
        own = np.array([f[name] for f in found])
        z = (value - own.mean()) / (own.std(ddof=1) * math.sqrt(1 + 1 / len(own)))
        p = 2 * float(student_t.sf(abs(z), len(own) - 1))
        text = f"{value:.4f} against {own.mean():.4f} +- {own.std(ddof=1):.4f} of {len(own)} runs, p {p:.2f}"
        goal = f"{name} over {long:g} s, single precision"
        out.append(row(goal, f"p at least .05 / {len(wanted)}", text, p >= 0.05 / len(wanted)))
    return out


def _statistics(time: Any, neuron: Any, weights: Any, simulator: SpikingNetwork, seconds: float) -> dict[str, float]:
    """Of excitatory neurons, and of plastic weights."""
    mine = neuron < simulator.settings.num_excitatory
    rates = np.bincount(neuron[mine], minlength=simulator.settings.num_excitatory) / seconds
    out = {
        "mean rate": rates.mean(),
        "s.d. of rates": rates.std(),
        "CV of intervals": coefficient_of_variation(time[mine], neuron[mine]),
    }
    for s in FAMILY.synapses:
        out |= {f"mean weight {s}": weights[s].mean(), f"s.d. of weights {s}": weights[s].std()}
    return {name: float(value) for name, value in out.items()}


def target_rows(quick: bool, _: int) -> list[Row]:
    """Many weak inhibitory synapses, as the mean of the rule assumes: sparse, as in the source; where neurons share nearly all
    inhibition, so that they fire together; and few strong ones, the default."""
    family = sr.SpikePairRule(["IE"])
    duration = 20.0 if quick else 60.0
    weak: dict[str, Any] = {
        "in_degree_inhibitory": 190,
        "weights": {"IE": 0.1, "II": 0.1},
        "max_weights": {"IE": 3.0, "II": 3.0},
    }
    large = {"num_excitatory": 4000, "num_inhibitory": 1000, "num_inputs": 5000}
    out = []
    for name, settings, judged in (
        ("5000 neurons, 190 weak synapses", {**weak, **large}, True),
        ("1000 neurons, 190 weak synapses", weak, False),
        ("1000 neurons, 40 strong synapses, the default", {}, False),
    ):
        simulator = SpikingNetwork(family, duration=duration, judged=10.0, learning_rate=0.01, **settings)
        still = float(simulator.without_plasticity().run(theta(sr.vogels2011(5.0), family.names), seed=SEED).rate_E)
        for target in (3.0, 8.0, 16.0):
            run = simulator.run(theta(sr.vogels2011(target), family.names), seed=SEED)
            rate = float(run.rate_E)
            met = abs(rate - target) <= 0.1 * target
            text = (
                f"{rate:.2f} Hz, {rate / target - 1:+.0%} (unplastic {still:.1f}); s.d. {float(run.rate_spread_E):.2f}"
            )
            wanted, shown = ("within 10 %", met) if judged else ("beside it", None)
            out.append(row(f"{name}: target {target:g} Hz", wanted, text, shown))
    return out + _balance(family, duration, weak)


def _balance(family: Any, duration: float, weak: dict[str, Any]) -> list[Row]:
    """Detailed balance: what excites a neuron more is inhibited more. Neurons get inputs of different strength."""
    simulator = SpikingNetwork(family, duration=duration, judged=10.0, learning_rate=0.01, weight_spread=0.5, **weak)
    found = []
    for plastic in (simulator.without_plasticity(), simulator):
        trains = plastic.spikes(theta(sr.vogels2011(5.0), family.names), seed=SEED)[0]
        net = simulator.network(seed=SEED)
        rates = np.bincount(trains.neuron[trains.time > duration - 10.0], minlength=simulator.settings.num_units) / 10.0
        source = np.repeat(np.arange(len(net.out_start) - 1), np.diff(net.out_start))
        rate_of = np.concatenate([rates, np.full(simulator.settings.num_inputs, simulator.settings.input_rate)])
        s = simulator.settings
        pathway = pathways(s, net.out_start, net.out_middle)
        weight = np.empty(len(source))
        # weights come by kind of synapse, each in the order of the network's synapses
        for p, name in enumerate(SYNAPSES):
            weight[pathway == p] = trains.weights[name]
        drive = weight * rate_of[source]
        onto = net.out_post < s.num_excitatory
        excitation = np.bincount(
            net.out_post[onto & (pathway // 2 != 1)], drive[onto & (pathway // 2 != 1)], minlength=s.num_excitatory
        )
        inhibition = np.bincount(
            net.out_post[onto & (pathway // 2 == 1)], drive[onto & (pathway // 2 == 1)], minlength=s.num_excitatory
        )
        found.append(float(np.corrcoef(excitation, inhibition)[0, 1]))
    text = f"correlation over neurons of excitatory and inhibitory drive {found[0]:+.2f} before, {found[1]:+.2f} after"
    return [row("detailed balance", "grows above .5", text, found[1] > 0.5 and found[1] > found[0] + 0.3)]


def seconds_of(simulator: SpikingNetwork, networks: int) -> float:
    """Wall seconds of a batch of rules on this process, drawing of networks included."""
    draw = np.random.default_rng(SEED)
    rows = [theta({**rule(), "gamma_EE": 0.1 + 0.02 * draw.random()})[0] for _ in range(networks)]
    start = time.perf_counter()
    simulator.run(rows, seed=SEED)
    return time.perf_counter() - start


def speed_rows(quick: bool, _: int) -> list[Row]:
    torch.set_num_threads(1)
    out = []
    seconds = 2.0 if quick else 10.0
    for scale in (1, 5):
        sizes = {"num_excitatory": 800 * scale, "num_inhibitory": 200 * scale, "num_inputs": 1000 * scale}
        simulator = SpikingNetwork(FAMILY, duration=seconds, judged=seconds / 2, **sizes)
        seconds_of(simulator, 1)  # compiles
        networks = 4 if scale == 1 else 2
        ours = networks * seconds / seconds_of(simulator, networks)
        name = f"{1000 * scale} neurons, {simulator.settings.num_synapses:,} synapses"
        if not HAVE_BRIAN:
            out.append(row(f"{name}: seconds of network per second, one process", "beside it", f"{ours:.1f}", None))
            continue
        from spiking_peer import brian_run

        peer = brian_run(simulator, rule(), seed=SEED)
        again = networks * seconds / seconds_of(simulator, networks)
        ours = math.sqrt(ours * again)  # before and after, for what else the machine does
        theirs = seconds / peer.seconds
        text = (
            f"{ours:.1f} against {theirs:.2f}, {ours / theirs:.0f} times (Cython, built in {peer.build_seconds:.0f} s)"
        )
        out.append(
            row(f"{name}: seconds of network per second, one process", "10 times Brian2", text, ours >= 10 * theirs)
        )
        if scale == 1:
            with tempfile.TemporaryDirectory() as folder:
                alone = brian_run(simulator, rule(), seed=SEED, target="cpp_standalone", folder=folder)
            text = f"{ours * alone.seconds / seconds:.1f} ({seconds / alone.seconds:.2f}, {alone.build_seconds:.0f} s to build)"
            out.append(row(f"{name}: times C++ standalone", "beside it", text, None))
    for name, settings in (
        ("500 neurons", {"num_excitatory": 400, "num_inhibitory": 100, "num_inputs": 500}),
        ("2000 neurons", {"num_excitatory": 1600, "num_inhibitory": 400, "num_inputs": 2000}),
        (
            "1000 neurons, twice the synapses",
            {"in_degree_excitatory": 160, "in_degree_inhibitory": 80, "in_degree_inputs": 200},
        ),
        (
            "1000 neurons in torch, CPU, two networks of .2 s",
            {"backend": "torch", "duration": 0.2, "judged": 0.1, "bin_length": 0.05},
        ),
    ):
        simulator = SpikingNetwork(FAMILY, **{"duration": seconds, "judged": seconds / 2, **settings})
        seconds_of(simulator, 1)
        rate = 2 * simulator.settings.duration / seconds_of(simulator, 2)
        out.append(row(f"scaling, {name}: seconds of network per second", "listed", f"{rate:.1f}", None))
    gpu = "not run: no GPU here" if not torch.cuda.is_available() else _on_gpu(seconds)
    return [*out, row("torch on a GPU", "timed where there is one", gpu, None)]


def _on_gpu(seconds: float) -> str:
    simulator = SpikingNetwork(FAMILY, device="cuda", duration=seconds, judged=seconds / 2)
    networks = 64
    seconds_of(simulator, networks)
    return (
        f"{networks * seconds / seconds_of(simulator, networks):.1f} seconds of network per second, {networks} together"
    )
