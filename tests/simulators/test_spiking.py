"""The spiking network against plain loops over its equations, its measures against what is known of spike trains."""

import numpy as np
import pytest
import torch
from simulators_small import SMALL_SPIKING as SMALL
from spiking_loops import run as by_loops

import sbirules as sr
from sbirules.model.rules import SYNAPSES, Coefficient, SpikePairRule, SpikeRule, TripletRule, vogels2011
from sbirules.model.runs import Status
from sbirules.simulators import SpikingNetwork

DOUBLE = {**SMALL, "dtype": torch.float64}
CURRENTS = {
    "synapse_model": "current",
    "weights": {"EE": 16.0, "EI": 16.0, "XE": 55.0, "XI": 55.0},
    "max_weights": {"EE": 30.0, "XE": 110.0, "XI": 110.0},
    "learning_rate": 1.0,
}


def theta_of(family, seed):
    """Random coefficients of either sign; time constants from 5 to 60 ms."""
    draw = np.random.default_rng(seed)
    return {n: draw.uniform(5, 60) if n.startswith("tau") else draw.uniform(-1, 1) for n in family.names}


def pair_rule(theta):
    def rule(kind, side, x_pre, x_post, y_pre, y_post):
        if f"alpha_{kind}" not in theta:
            return None
        if side == "pre":
            return theta[f"alpha_{kind}"] + theta[f"kappa_{kind}"] * x_post
        return theta[f"beta_{kind}"] + theta[f"gamma_{kind}"] * x_pre

    return rule, lambda kind: (theta[f"tau_pre_{kind}"], theta[f"tau_post_{kind}"], 100.0, 100.0)


def triplet_rule(theta):
    def rule(kind, side, x_pre, x_post, y_pre, y_post):
        if f"A2_plus_{kind}" not in theta:
            return None
        if side == "pre":
            return -x_post * (theta[f"A2_minus_{kind}"] + theta[f"A3_minus_{kind}"] * y_pre)
        return x_pre * (theta[f"A2_plus_{kind}"] + theta[f"A3_plus_{kind}"] * y_post)

    names = ("tau_pre", "tau_post", "tau_pre_slow", "tau_post_slow")
    return rule, lambda kind: tuple(theta[f"{name}_{kind}"] for name in names)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(
    ("family", "plain"),
    [(SpikePairRule(list(SYNAPSES)), pair_rule), (TripletRule(["EE", "IE", "XI"]), triplet_rule)],
    ids=["pairs everywhere", "triplets"],
)
def test_every_spike_and_weight_is_that_of_plain_loops(backend, family, plain):
    every_spike_and_weight(SpikingNetwork(family, backend=backend, **DOUBLE), plain)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(
    "neurons",
    [
        {"nmda_share": 0.4, "tau_nmda": 60.0},
        {"nmda_share": 1.0, "tau_nmda": 5.0},
        {"threshold_jump": 8.0, "tau_threshold": 30.0},
        CURRENTS | {"nmda_share": 0.3, "threshold_jump": 4.0},
    ],
    ids=["NMDA", "NMDA as fast as AMPA", "moving threshold", "currents, all"],
)
def test_neurons_of_other_kinds_are_those_of_plain_loops(backend, neurons):
    settings = {**DOUBLE, **neurons}
    usual = SpikingNetwork(SpikePairRule(), **DOUBLE)
    found = every_spike_and_weight(SpikingNetwork(SpikePairRule(), backend=backend, **settings), pair_rule)
    theta = [[theta_of(usual.family, 1)[n] for n in usual.names]]
    assert len(found.time) != len(usual.spikes(theta, seed=5)[0].time), "else the setting does nothing"


def every_spike_and_weight(simulator, plain):
    family = simulator.family
    theta = theta_of(family, 1)
    found = simulator.spikes([[theta[n] for n in family.names]], seed=5)[0]
    network = simulator.network(seed=5)
    spikes, weight = by_loops(simulator.settings, network, *plain(theta))
    assert len(spikes) > 100
    step = np.rint(found.time / 1e-4).astype(int)
    assert sorted(zip(step.tolist(), found.neuron.tolist(), strict=True)) == sorted(spikes)
    source = np.repeat(np.arange(50), np.diff(network.out_start))
    wanted = {name: [] for name in SYNAPSES}
    kinds = "E" * 24 + "I" * 6 + "X" * 20
    for a, b in zip(source, network.out_post, strict=True):
        wanted[kinds[a] + kinds[b]].append(weight[int(a), int(b)])
    for name in SYNAPSES:
        assert np.allclose(found.weights[name], wanted[name], atol=1e-10), name
    moved = [np.abs(found.weights[s] - simulator.settings.weights[s]).max() for s in family.synapses]
    assert min(moved) > 0.05, "else nothing was compared"
    return found


def test_networks_are_drawn_as_said():
    simulator = SpikingNetwork(SpikePairRule(), **SMALL)
    net = simulator.network(seed=3, row=2)
    kinds = np.repeat([0, 1, 2], [24, 6, 20])
    seen = set()
    for n in range(30):
        sources = net.in_source[net.in_start[n, 0] : net.in_start[n, 3]]
        assert np.bincount(kinds[sources], minlength=3).tolist() == [6, 3, 8]
        assert len(set(sources.tolist())) == len(sources)
        assert n not in sources
        for place, source in enumerate(sources):
            synapse = net.in_synapse[net.in_start[n, 0] + place]
            assert net.out_start[source] <= synapse < net.out_start[source + 1]
            assert net.out_post[synapse] == n
            seen.add(int(synapse))
    assert len(seen) == len(net.weights) == simulator.settings.num_synapses
    for s in range(50):
        ends = net.out_post[net.out_start[s] : net.out_start[s + 1]]
        assert (ends[: net.out_middle[s] - net.out_start[s]] < 24).all()
        assert (ends[net.out_middle[s] - net.out_start[s] :] >= 24).all()
    # each source is as likely as another: 400 networks, excitatory onto neuron 0
    counts = np.zeros(24)
    for row in range(400):
        other = simulator.network(seed=1, row=row)
        counts[other.in_source[: other.in_start[0, 1]]] += 1
    expected = 400 * 6 / 23
    assert counts[0] == 0
    assert ((counts[1:] - expected) ** 2 / (expected * (1 - 6 / 23))).sum() < 48.3, "chi-square, 22 d.f., .1 %"


def test_inputs_are_poisson():
    simulator = SpikingNetwork(SpikePairRule(), **{**SMALL, "duration": 20.0, "num_inputs": 200})
    net = simulator.network(seed=1)
    assert (np.diff(net.input_step) >= 0).all()
    count = np.bincount(net.input_neuron, minlength=200)
    expected = 20.0 * 20.0
    assert abs(count.mean() - expected) < 4 * np.sqrt(expected / 200)
    assert 0.7 < count.var() / count.mean() < 1.35


def test_what_a_row_does_is_its_own():
    """Neither other rows nor a batch's size changes a network; and the same seed gives the same."""
    family = SpikePairRule(["IE"])
    simulator = SpikingNetwork(family, **SMALL)
    rows = torch.tensor([[0.1, -0.2, 0.5, 0.5, 20.0, 20.0], list(vogels2011(10.0).values())])
    together = simulator.run(rows, seed=4)
    assert torch.equal(simulator.run(rows[:1], seed=4).weight_IE, together.weight_IE[:1])
    torch_too = SpikingNetwork(family, backend="torch", **DOUBLE).run(rows, seed=4)
    numba_too = SpikingNetwork(family, backend="numba", **DOUBLE).run(rows, seed=4)
    for name, value in numba_too.per_run.items():
        assert torch.allclose(torch_too.per_run[name], value, atol=1e-5, equal_nan=True), name
    for name, value in numba_too.per_trial.items():
        assert torch.allclose(torch_too.per_trial[name], value, atol=1e-5, equal_nan=True), name


class Pairs(SpikeRule):
    of_synapse = SpikePairRule.of_synapse

    def at_pre(self, theta, traces):
        return theta["alpha"] + theta["kappa"] * traces.x_post

    def at_post(self, theta, traces):
        return theta["beta"] + theta["gamma"] * traces.x_pre


class Curved(SpikeRule):
    """Slow traces, the weight, and a threshold."""

    of_synapse = (
        Coefficient("up", "x_pre"),
        Coefficient("down", "y_post w"),
        Coefficient("tau_post_slow", "tau", default=60.0),
    )

    def at_pre(self, theta, traces):
        over = torch.relu(traces.x_post - 0.1) * traces.y_pre.tanh()
        return torch.where(traces.weight > 0.05, -theta["down"] * traces.y_post * traces.weight**2, over)

    def at_post(self, theta, traces):
        return theta["up"] * traces.x_pre.clamp(max=0.8) * torch.exp(-traces.weight) - 0.1 * traces.y_post


class Branching(Pairs):
    """The same as `Pairs`, in a way that no formula is made of."""

    def at_pre(self, theta, traces):
        if bool((traces.weight >= 0).all()):
            return super().at_pre(theta, traces)
        raise AssertionError("weights have bounds")


def test_a_rule_of_ones_own_is_compiled_where_it_is_a_formula():
    row = [list(theta_of(SpikePairRule(["EE"]), 2).values())]
    known = SpikingNetwork(SpikePairRule(["EE"]), **DOUBLE)
    for own, backend in ((Pairs, "numba"), (Branching, "torch")):
        simulator = SpikingNetwork(own(["EE"]), **DOUBLE)
        assert simulator.backend == backend
        assert np.allclose(simulator.spikes(row)[0].weights["EE"], known.spikes(row)[0].weights["EE"], atol=1e-10)
    with pytest.raises(ValueError, match='backend must be "torch" for Branching'):
        SpikingNetwork(Branching(["EE"]), backend="numba", **SMALL)


def test_compiled_rules_give_every_spike_of_those_in_torch():
    row = [[0.8, 0.5, 60.0, -0.4, 0.3, 90.0]]
    family = Curved(["EE", "IE"])
    one, other = (SpikingNetwork(family, backend=b, **DOUBLE).spikes(row, seed=3)[0] for b in ("numba", "torch"))
    assert np.array_equal(one.time, other.time)
    assert np.array_equal(one.neuron, other.neuron)
    still = SpikingNetwork(family, **DOUBLE).without_plasticity().spikes(row, seed=3)[0]
    for synapse in ("EE", "IE"):
        assert np.allclose(one.weights[synapse], other.weights[synapse], atol=1e-10)
        assert np.abs(one.weights[synapse] - still.weights[synapse]).max() > 1e-3


def test_a_family_that_changes_is_looked_at_again():
    class Scaled(Pairs):
        size = 0.0

        def at_pre(self, theta, traces):
            return self.size * traces.x_post

    simulator = SpikingNetwork(Scaled(["EE"]), **DOUBLE)
    row = [[0.0, 0.0, 0.0, 0.0, 20.0, 20.0]]
    still = simulator.spikes(row)[0].weights["EE"]
    simulator.family.size = 0.5
    assert simulator.spikes(row)[0].weights["EE"].mean() > still.mean() + 1e-3


def test_thresholds_of_a_rule_of_ones_own_are_as_precise_as_weights():
    """All weights begin at .1, in single precision a little more than .1: not above a threshold of .1 there."""

    class Keep(SpikeRule):
        of_synapse = (Coefficient("up", "x"),)

        def at_post(self, theta, traces):
            return torch.where(traces.weight > 0.1, theta["up"] * traces.x_pre, -theta["up"] * traces.x_pre)

    settings = {**SMALL, "weight_spread": 0.0, "weights": {**SMALL.get("weights", {}), "EE": 0.1}}
    one, other = (
        SpikingNetwork(Keep(["EE"]), backend=b, **settings).spikes([[1.0]], seed=0)[0].weights["EE"]
        for b in ("numba", "torch")
    )
    assert float(one.mean()) < 0.1
    assert float(one.mean()) == pytest.approx(float(other.mean()), abs=1e-3)


def test_weights_go_to_where_a_rule_of_ones_own_leads():
    class Soft(SpikeRule):
        of_synapse = (Coefficient("up", "1 - w"),)

        def at_post(self, theta, traces):
            return theta["up"] * (0.5 - traces.weight)

    for backend in ("numba", "torch"):
        soft = SpikingNetwork(Soft(["EE"]), backend=backend, **{**DOUBLE, "learning_rate": 1.0})
        assert np.allclose(soft.spikes([[1.0]])[0].weights["EE"].max(), 0.5)


def test_networks_that_blow_up_or_stay_silent_say_so():
    family = SpikePairRule(["EE"])
    grows = [0.0, 1.0, 0.0, 0.0, 20.0, 20.0]
    run = SpikingNetwork(family, **{**SMALL, "learning_rate": 1.0, "rate_limit": 40.0}).run([grows, grows], seed=0)
    assert run.status.tolist() == [Status.DIVERGED] * 2
    assert bool(torch.isnan(run.rate_E).all())
    quiet = SpikingNetwork(family, **{**SMALL, "input_rate": 0.0}).run([grows], seed=0)
    assert quiet.status.tolist() == [Status.SILENT]
    assert quiet.rate_over_time_E[0, 1:].tolist() == [0.0, 0.0]


def test_without_plasticity_nothing_changes():
    simulator = SpikingNetwork(SpikePairRule(["EE"]), **SMALL).without_plasticity()
    row = [list(theta_of(SpikePairRule(["EE"]), 2).values())]
    assert np.array_equal(
        np.sort(simulator.spikes(row, seed=1)[0].weights["EE"]),
        np.sort(simulator.network(seed=1).weights[simulator_kind(simulator, "EE")]),
    )


def simulator_kind(simulator, name):
    from sbirules.simulators.spiking._network import pathways

    net = simulator.network(seed=1)
    return pathways(simulator.settings, net.out_start, net.out_middle) == SYNAPSES.index(name)


def test_the_inhibitory_rule_moves_the_rate_to_its_target():
    """Many weak inhibitory synapses: each spike of them changes what follows little, as the mean of the rule assumes."""
    simulator = SpikingNetwork(
        SpikePairRule(["IE"]),
        num_excitatory=300,
        num_inhibitory=150,
        in_degree_excitatory=20,
        in_degree_inhibitory=140,
        weights={"IE": 0.08, "II": 0.08},
        max_weights={"IE": 2.0, "II": 2.0},
        learning_rate=0.005,
        duration=40.0,
        judged=10.0,
    )
    for target in (4.0, 8.0, 16.0):
        rate = float(simulator.run([list(vogels2011(target).values())], seed=1).rate_E)
        assert rate == pytest.approx(target, rel=0.1), target


def test_memory_is_of_the_familiar_pattern():
    """Hebbian inputs make the familiar pattern drive more; without plasticity both drive alike."""
    family = SpikePairRule(["XE"])
    settings = {
        "num_excitatory": 100,
        "num_inhibitory": 25,
        "num_inputs": 100,
        "in_degree_excitatory": 10,
        "in_degree_inhibitory": 10,
        "in_degree_inputs": 40,
        "weights": {"XE": 0.2, "XI": 0.2},
        "learning_rate": 0.002,
        "duration": 3.0,
        "judged": 1.0,
        "memory_delays": (0.2, 1.2),
        "pattern_share": 0.2,
        "presentation": 0.2,
        "presentations": 6,
    }
    hebb = torch.tensor([[-0.1, 0.0, 0.0, 1.0, 20.0, 20.0]]).repeat(12, 1)
    learned = SpikingNetwork(family, **settings).run(hebb, seed=1)
    naive = SpikingNetwork(family, **settings).without_plasticity().run(hebb, seed=1)
    assert float(learned.memory_0.mean()) > 0.1 + float(naive.memory_0.mean())
    assert abs(float(naive.memory_0.mean())) < 4 * float(naive.memory_0.std()) / 12**0.5
    assert learned.familiar_response_1.shape == (12,)


def test_rules_read_well():
    family = SpikePairRule(["EE", "IE"])
    theta = list(theta_of(family, 1).values())
    text = family.text(torch.tensor(theta))
    assert "presynaptic" in text.equations[0]
    assert family.describe(theta).count("\n") == 1
    assert family.describe(theta).startswith("EE: pre: ")
    assert vogels2011(5.0, 20.0)["alpha_IE"] == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"in_degree_excitatory": 24}, "in_degree_excitatory must not exceed num_excitatory - 1 = 23"),
        ({"in_degree_inputs": 21}, "in_degree_inputs must not exceed num_inputs = 20"),
        ({"dt": 3.0}, "dt must be at most 2.5 ms"),
        ({"judged": 1.0}, "judged must not exceed duration = 0.3 s"),
        ({"reset": -40.0}, "reset must be below threshold"),
        ({"weights": {"EX": 1.0}}, "weights: 'EX' is not known"),
        ({"weights": {"EE": 1.0}}, r"must not exceed max_weights\['EE'\] = 0.5"),
        (
            {"num_inhibitory": 0, "in_degree_inhibitory": 0},
            "synapses IE are plastic in the family, but the network has none",
        ),
        ({"memory_delays": (0.3,)}, "duration must hold 10 presentations"),
        ({"memory_delays": (0.3, 0.4), "presentations": 1, "presentation": 0.1}, "must grow by at least four"),
        ({"synapse_model": "cuba"}, "synapse_model: 'cuba' is not known"),
        (
            {"synapse_model": "current", "reversal_inhibition": -70.0, "max_weights": {}},
            "reversal_inhibition has no meaning",
        ),
        ({"nmda_share": 1.5}, r"nmda_share must lie in \[0, 1\]"),
        ({"tau_nmda": 0.0}, "tau_nmda must be"),
        ({"tau_threshold": 0.1, "threshold_jump": 1.0}, "dt must be at most 0.05 ms, half .* tau_threshold"),
        ({"units": 3}, "SpikingNetwork's argument: 'units' is not known"),
        ({"num_excitatory": 40_000_000, "in_degree_excitatory": 4000}, "memory"),
    ],
)
def test_bad_settings_are_refused_with_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        SpikingNetwork(SpikePairRule(["IE"]), **{**SMALL, **settings})


def test_currents_have_weights_in_millivolts():
    alone = {"num_excitatory": 2, "in_degree_excitatory": 0, "num_inhibitory": 0, "in_degree_inhibitory": 0}
    family = SpikePairRule(["XE"])
    simulator = SpikingNetwork(family, num_inputs=1, in_degree_inputs=1, synapse_model="current", **alone)
    s = simulator.settings
    assert (s.weights["XE"], s.max_weights["XE"], s.eta) == (pytest.approx(8.25), 55.0, 0.5)
    assert simulator.rule_unit == "0.5 mV"
    units = {f.name: f.unit for f in simulator.own_fields}
    assert units["weight_XE"] == units["weight_over_time_XE"] == "mV"
    assert units["weight_at_bounds_XE"] == ""
    assert simulator.spikes([[0.0] * 4 + [20.0, 20.0]])[0].weight_unit == "mV"
    assert simulator.without_plasticity().settings.eta == 0.0
    assert SpikingNetwork(family, **SMALL).settings.eta == 0.02


def test_bad_rules_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match="synapses: 'EX' is not known"):
        SpikePairRule(["EX"])
    with pytest.raises(ValueError, match="synapses must differ"):
        SpikePairRule(["EE", "EE"])
    simulator = SpikingNetwork(SpikePairRule(["IE"]), **SMALL)
    with pytest.raises(ValueError, match="tau_pre_IE must lie in"):
        simulator.run([[0.0, 0.0, 0.0, 0.0, -1.0, 20.0]])
    with pytest.raises(ValueError, match="family must be a SpikeRule"):
        SpikingNetwork(sr.Oja(), **SMALL)


def test_measures_of_a_run_are_those_of_its_spikes_and_weights():
    family = SpikePairRule(["EE", "IE"])
    simulator = SpikingNetwork(family, **{**SMALL, "duration": 1.2, "judged": 0.6, "max_weights": {"EE": 0.35}})
    row = [list(theta_of(family, 4).values())]
    run, trains = simulator.run(row, seed=2), simulator.spikes(row, seed=2)[0]
    excitatory = trains.neuron < 24
    late = trains.time >= 0.6
    assert float(run.rate_E) == pytest.approx(float((excitatory & late).sum()) / 24 / 0.6)
    each = np.bincount(trains.neuron[~excitatory & late] - 24, minlength=6) / 0.6
    assert float(run.rate_spread_I) == pytest.approx(each.std(), rel=1e-5)
    first, second = (((trains.time >= a) & (trains.time < b) & excitatory).sum() for a, b in ((0.8, 1.0), (1.0, 1.2)))
    assert float(run.rate_drift_E) == pytest.approx((second - first) / ((first + second) / 2), abs=0.05)
    for s, most in (("EE", 0.35), ("IE", 5.0)):
        w = trains.weights[s]
        assert float(getattr(run, f"weight_{s}")) == pytest.approx(w.mean(), rel=1e-5)
        assert float(getattr(run, f"weight_spread_{s}")) == pytest.approx(w.std() / w.mean(), rel=1e-4)
        bound = ((w <= 1e-3 * most) | (w >= most - 1e-3 * most)).mean()
        assert float(getattr(run, f"weight_at_bounds_{s}")) == pytest.approx(bound)
        means = trains.mean_weights[s]  # twelve bins of .1 s: the last third are four
        drift = (means[-1] - means[-5]) / most
        assert float(getattr(run, f"weight_drift_{s}")) == pytest.approx(drift, rel=1e-4)
    assert float(run.weight_at_bounds_EE) > 0
    assert torch.allclose(run.rate_over_time_E[0], torch.as_tensor(trains.rates[:, 0], dtype=torch.float32))


def test_fewer_bins_are_a_shorter_run():
    simulator = SpikingNetwork(SpikePairRule(["IE"]), **SMALL)
    row = [list(vogels2011(10.0).values())]
    short = simulator.run(row, seed=0, trial_types=torch.zeros(2, dtype=torch.long))
    assert short.rate_over_time_E.shape == (1, 2)
    assert short.per_run.keys() == simulator.run(row, seed=0).per_run.keys()
    with pytest.raises(ValueError, match="at most one for each of the 3 bins"):
        simulator.run(row, trial_types=torch.zeros(4, dtype=torch.long))
