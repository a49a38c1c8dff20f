"""Spiking networks at the edges: rules derived from others, tests of memory, runaway inhibition, times and steps."""

import numpy as np
import pytest
import torch
from simulators_small import SMALL_SPIKING as SMALL
from spiking_loops import run as by_loops

import sbirules as sr
from sbirules.model.rules import Coefficient, SpikePairRule, SpikeRule, TripletRule
from sbirules.model.runs import Status
from sbirules.priors import uniform
from sbirules.simulators import SpikingNetwork
from sbirules.simulators.spiking import coefficient_of_variation, correlation, fano_factor

PAIR = [[-0.2, 0.0, 1.0, 1.0, 20.0, 20.0]]


class Still(SpikePairRule):
    """A pair rule whose changes were written anew, as none."""

    def at_pre(self, theta, traces):
        return 0 * traces.x_post

    def at_post(self, theta, traces):
        return 0 * traces.x_post


class StillTriplet(TripletRule):
    def at_post(self, theta, traces):
        return 0.0


def test_changes_written_anew_are_those_that_count():
    plain = SpikingNetwork(SpikePairRule(["IE"]), **SMALL).without_plasticity()
    without = float(plain.run(PAIR, seed=1).weight_IE)
    for backend in ("numba", "torch"):
        simulator = SpikingNetwork(Still(["IE"]), backend=backend, **SMALL)
        assert float(simulator.run(PAIR, seed=1).weight_IE) == pytest.approx(without)
    moved = SpikingNetwork(SpikePairRule(["IE"]), **SMALL).run(PAIR, seed=1).weight_IE
    assert float(moved) != pytest.approx(without)
    family = StillTriplet(["IE"])
    row = [[c.default if c.name.startswith("tau") else 1.0 for c in family.coefficients]]
    less = SpikingNetwork(family, **SMALL).run(row, seed=1).weight_IE
    assert float(less) < without, "depression at presynaptic spikes is what is left"


def test_settings_are_changed_in_a_copy():
    simulator = SpikingNetwork(SpikePairRule(["IE"]), summaries=["rate_E"], **SMALL)
    other = simulator.with_settings(synapse_model="current", weights={}, max_weights={}, dtype=torch.float64)
    assert other.settings.weights["IE"] == 12.5
    assert (other.summary_names, other.dtype, other.settings.num_inputs) == (("rate_E",), torch.float64, 20)
    assert simulator.settings.synapse_model == "conductance"
    same = simulator.with_settings(duration=0.6).with_settings(duration=0.3)
    assert same.config() == simulator.config()
    for name in ("sizes", "family"):
        with pytest.raises(ValueError, match=f"'{name}' is not known"):
            simulator.with_settings(**{name: 3})


def test_settings_that_are_not_used_are_not_in_the_way():
    """Currents know no reversal potentials: potentials may be relative to rest. What is off has no time constant to follow."""
    family = SpikePairRule(["IE"])
    free = {**SMALL, "synapse_model": "current", "weights": {}, "max_weights": {}}
    simulator = SpikingNetwork(family, **free, resting=0.0, reset=0.0, threshold=20.0, tau_nmda=0.1)
    assert simulator.settings.threshold == 20.0
    with pytest.raises(ValueError, match="threshold must lie between reversal_inhibition"):
        SpikingNetwork(family, **SMALL, resting=0.0, reset=0.0, threshold=20.0)
    assert next(iter(simulator.settings.config())) == "synapse_model", "named first where stores differ"


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_weights_are_those_before_memory_is_tested(backend):
    settings = {**SMALL, "memory_delays": (0.1, 0.5), "presentations": 2, "presentation": 0.05}
    simulator = SpikingNetwork(SpikePairRule(["IE"]), backend=backend, **settings)
    run = simulator.run(PAIR, seed=1)
    assert float(run.weight_IE) == pytest.approx(float(run.weight_over_time_IE[0, -1]), rel=1e-5)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_weights_do_not_change_while_memory_is_tested(backend):
    """Spikes of the tests are those of plain loops in which weights stand still from .1 s to .25 s after the duration."""
    settings = {**SMALL, "memory_delays": (0.1, 0.4), "presentations": 2, "presentation": 0.05, "dtype": torch.float64}
    theta = {
        "alpha_XE": 0.3,
        "beta_XE": -0.1,
        "kappa_XE": 0.5,
        "gamma_XE": 0.8,
        "tau_pre_XE": 30.0,
        "tau_post_XE": 10.0,
    }
    simulator = SpikingNetwork(SpikePairRule(["XE"]), backend=backend, **settings)
    network = simulator.network(seed=3)

    def rule(kind, side, x_pre, x_post, y_pre, y_post):
        if kind != "XE":
            return None
        return 0.3 + 0.5 * x_post if side == "pre" else -0.1 + 0.8 * x_pre

    frozen = [(4000, 5500), (7000, 8500)]
    spikes, _ = by_loops(simulator.settings, network, rule, lambda kind: (30.0, 10.0, 100.0, 100.0), frozen)
    found = simulator.spikes([list(theta.values())], seed=3)[0]
    step = np.rint(found.time / 1e-4).astype(int)
    assert max(spikes)[0] > 8000
    assert sorted(zip(step.tolist(), found.neuron.tolist(), strict=True)) == sorted(spikes)


def test_only_excitatory_rates_stop_a_run():
    settings = {
        **SMALL,
        "num_excitatory": 10,
        "num_inhibitory": 40,
        "weights": {"XE": 0.03, "XI": 1.0, "EE": 0.0, "II": 0.0},
        "rate_limit": 20.0,
        "input_rate": 100.0,
        "learning_rate": 0.0,
        "duration": 1.0,
    }
    both = [SpikingNetwork(SpikePairRule(["IE"]), backend=b, **settings) for b in ("numba", "torch")]
    ours, theirs = (s.run(PAIR, seed=0) for s in both)
    assert ours.status.tolist() == theirs.status.tolist() == [Status.SILENT]
    assert bool(torch.isfinite(ours.rate_over_time_I).all())


def test_changes_that_are_no_numbers_are_refused():
    class Broken(SpikeRule):
        of_synapse = (Coefficient("a", "1"),)
        value = None

        def at_post(self, theta, traces):
            return type(self).value(traces)

    for value, words in (
        (lambda t: t.x_pre * float("nan"), "must return real numbers"),
        (lambda t: t.x_pre[:, None], "must return a tensor that broadcasts"),
        (lambda t: None, "must return a tensor that broadcasts"),
    ):
        Broken.value = value
        with pytest.raises(ValueError, match=words):
            SpikingNetwork(Broken(["EE"]), **SMALL).run([[1.0]], seed=0)


def test_time_constants_of_ones_own_have_bounds_and_a_prior():
    class Own(SpikeRule):
        of_synapse = (Coefficient("up", "1"), Coefficient("tau_pre", "tau", default=20.0))

    family = Own(["EE"])
    draws = uniform(family, -2, 2).sample((200,))
    assert float(draws[:, 1].min()) >= 10
    assert float(draws[:, 1].max()) <= 100
    with pytest.raises(ValueError, match="tau_pre_EE must lie in"):
        SpikingNetwork(family, **SMALL).run([[1.0, 0.0]])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bin_length": 0.15}, "bin_length must be at most a third of duration"),
        ({"dt": 0.3}, "whole number of steps of dt = 0.3 ms"),
        ({"delay": 0.04}, "delay must be a whole number of steps"),
        ({"memory_delays": 0.5}, "memory_delays must be a list of seconds"),
        ({"memory_delays": "a"}, "memory_delays must be a list of seconds"),
        ({"memory_delays": (0.1,), "presentations": 1, "presentation": 0.12}, "at least one presentation"),
        ({"judged": 0.05}, "judged must be at least 0.1 s"),
        ({"dt": 2.5, "delay": 2.5, "input_rate": 300.0}, "input_rate must be at most 200 Hz"),
        ({"summaries": ["memory_0"]}, "reads memory_0, which this network does not measure"),
        ({"summaries": ["weight_EE"]}, "reads weight_EE, which this network does not measure"),
        ({"max_weights": {"IE": 0.1}, "weights": {"IE": 0.2}}, "must not exceed max_weights"),
    ],
)
def test_more_bad_settings_are_refused_with_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        SpikingNetwork(SpikePairRule(["IE"]), **{**SMALL, **settings})


def test_usual_weights_follow_smaller_bounds():
    assert SpikingNetwork(SpikePairRule(["IE"]), **{**SMALL, "max_weights": {"IE": 0.1}}).settings.weights["IE"] == 0.1


def test_inputs_fire_at_their_rate_even_in_long_steps():
    settings = {**SMALL, "dt": 2.5, "delay": 2.5, "input_rate": 150.0, "duration": 20.0, "num_inputs": 50}
    net = SpikingNetwork(SpikePairRule(["IE"]), **settings).network(seed=1)
    rate = len(net.input_step) / 50 / 20.0
    assert rate == pytest.approx(150.0, rel=0.01)


def test_measures_take_trains_in_any_order_and_refuse_nonsense():
    time, neuron = np.array([0.5, 0.1, 0.2, 0.3]), np.array([0, 0, 0, 0])
    assert coefficient_of_variation(time, neuron) == coefficient_of_variation(np.sort(time), neuron) > 0
    late = np.linspace(0.0, 0.99, 50)
    assert fano_factor(late, 0.5, start=0.3) == fano_factor(late[(late >= 0.3) & (late < 0.8)], 0.5, start=0.3)
    assert np.isnan(correlation(np.array([]), np.array([]), 2, 1.0))
    with pytest.raises(ValueError, match="one entry for each spike"):
        coefficient_of_variation(time, neuron[:2])
    with pytest.raises(ValueError, match="neuron must be below size = 2"):
        correlation(time, np.array([0, 1, 2, 1]), 2, 1.0)
    with pytest.raises(ValueError, match="bin_length must be above 0"):
        fano_factor(time, 1.0, bin_length=0.0)


def test_rules_that_are_no_rules_are_refused():
    with pytest.raises(ValueError, match="synapses must name at least one"):
        SpikePairRule([])
    with pytest.raises(ValueError, match="tau is in ms and must be at most"):
        sr.vogels2011(5.0, 1e6)
