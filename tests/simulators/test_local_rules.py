"""Rules that no reward gates: BCM and Oja find their fixed points; slow variables, backends, masks and steps."""

import math

import pytest
import torch

import sbirules as sr
from sbirules.simulators import RateRNN

INPUT = 0.8  # rate of the clamped unit that drives the others


class Steady(sr.Task):
    """One trial type without input: activity settles."""

    type_names = ("only",)

    def tensors(self, dt):
        return sr.TrialTensors(torch.zeros(1, 60, 1), torch.zeros(1), torch.arange(60) >= 40)


def network(family, units=4, **options):
    """Unit 1 is clamped; unit 0 hears it and nothing else."""
    mask = torch.zeros(units, units, dtype=torch.bool)
    mask[0, 1] = True
    settings = dict(
        num_units=units,
        num_trials=300,
        warm_up=0,
        kick_rate=0.0,
        clamped={1: math.atanh(INPUT)},
        mask=mask,
        summaries=["final_error"],
        dt=5.0,
        tau=10.0,
        divergence=1e4,
    )
    return RateRNN(family, Steady(), **{**settings, **options})


def settled(simulator, theta, start, seed=0):
    """Rate of unit 0 in the last trial, and its weight, one row per rule."""
    n = simulator.settings.num_units
    weights = torch.zeros(len(theta), n, n)
    weights[:, 0, 1] = start
    last = simulator.num_trials - 1
    run = simulator.run(theta, seed=seed, weights=weights, keep_weights=True, record=[last])
    assert (run.status != int(sr.Status.DIVERGED)).all()
    return run.recording.rate[:, 0, -1, 0], run.final_weights[:, 0, 1]


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("target", [0.3, 0.6])
def test_bcm_settles_where_the_rate_is_the_threshold(target, every_step):
    simulator = network(sr.BCM(target=target, every_step=every_step))
    theta = torch.tensor([[0.01, 50.0], [0.02, 50.0], [0.02, 100.0]])
    rate, weight = settled(simulator, theta, start=0.4)
    torch.testing.assert_close(rate, torch.full((3,), target), rtol=0, atol=0.02)
    torch.testing.assert_close(weight, torch.full((3,), math.atanh(target) / INPUT), rtol=0, atol=0.05)


def test_bcm_below_its_threshold_falls_silent_when_the_threshold_cannot_follow():
    simulator = network(sr.BCM(target=0.5, start=0.5))
    rate, weight = settled(simulator, torch.tensor([[0.02, 1e7]]), start=0.3)
    assert abs(float(rate)) < 0.05  # r_i = 0, the other fixed point
    assert float(weight) < 0.1


@pytest.mark.parametrize("every_step", [False, True])
def test_oja_settles_where_growth_and_decay_balance(every_step):
    theta = torch.tensor([[1e-3, 1e-3], [1e-3, 2e-3], [2e-3, 5e-3]])
    rate, weight = settled(network(sr.Oja(every_step=every_step)), theta, start=0.3)
    ratio = theta[:, 0] / theta[:, 1]
    # w r_i = (hebb / decay) r_j at the fixed point, with r_i = tanh(w r_j)
    torch.testing.assert_close(weight * rate, ratio * INPUT, rtol=0.02, atol=0)
    torch.testing.assert_close(rate, torch.tanh(weight * INPUT), rtol=0, atol=1e-3)


def test_a_linear_oja_unit_has_weights_of_length_one_along_its_input():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 1:3] = True
    simulator = network(
        sr.Oja(), mask=mask, nonlinearity="threshold_linear", clamped={1: 0.6, 2: 0.3}, readout="random"
    )
    weights = torch.zeros(1, 4, 4)
    weights[:, 0, 1:3] = torch.tensor([0.2, 0.5])
    run = simulator.run([[1e-3, 1e-3]], seed=0, weights=weights, keep_weights=True)
    found = run.final_weights[0, 0, 1:3]
    direction = torch.tensor([0.6, 0.3])
    torch.testing.assert_close(found, direction / direction.norm(), rtol=0, atol=0.01)


class Counter(sr.LocalRule):
    """Sees everything; its slow variable counts the milliseconds with plasticity."""

    coefficients = (sr.Coefficient("a", "everything"), sr.Coefficient("b", "b"))
    sees = ("pre", "post", "state", "deviation", "weight")
    slow = {"clock": 1.0}  # noqa: RUF012

    def change(self, theta, *, pre, post, state, deviation, weight, clock):
        n = weight.shape[1]
        assert pre.shape[1:] == (1, n)
        assert post.shape[1:] == state.shape[1:] == deviation.shape[1:] == clock.shape[1:] == (n, 1)
        return theta["a"] * (post * pre + 0.1 * deviation - 0.01 * weight + 0.001 * state) + theta["b"] * clock

    def drift(self, theta, **seen):
        return {"clock": torch.ones_like(seen["clock"])}


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_what_a_rule_sees_and_its_slow_variables_in_every_backend(backend, every_step):
    options = dict(num_units=20, num_trials=6, warm_up=2, kick_rate=0.0)
    task = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
    reference, fused = (
        RateRNN(Counter(every_step=every_step), task, backend=name, **options) for name in ("torch", backend)
    )
    theta = torch.tensor([[1e-4, 0.0], [0.0, 1e-6], [1e-4, 1e-6]])
    wanted, got = (s.run(theta, seed=1, keep_weights=True) for s in (reference, fused))
    torch.testing.assert_close(got.final_weights, wanted.final_weights, rtol=1e-4, atol=1e-5)
    # dw = b * clock, where the clock starts at 1 and runs in plastic trials: 4 trials of 20 steps of 5 ms
    clock = 1 + 5 * torch.arange(80.0)
    change = (wanted.final_weights - wanted.initial_weights)[1]
    torch.testing.assert_close(change, torch.full_like(change, float(5 * 1e-6 * clock.sum())), rtol=1e-3, atol=0)


def test_the_kinds_of_local_rules_declare_what_they_are():
    for family in (sr.BCM(), sr.Oja()):
        simulator = network(family)
        assert torch.equal(simulator.raw_per_unit, torch.ones(family.dim, dtype=torch.float64))
        assert simulator.rule_text(torch.ones(family.dim)).units.startswith("Coefficients are raw")
        assert simulator.config()["family"]["sees"] == list(family.sees)
        with pytest.raises(ValueError, match="need rules that reward gates"):
            simulator.value_and_grad(torch.ones(1, family.dim))
    with pytest.raises(ValueError, match="every_step must be true or false, got 3"):
        sr.Oja(every_step=3)
    with pytest.raises(ValueError, match="target must be a number greater than 0"):
        sr.BCM(target=0)

    class Blind(sr.LocalRule):
        coefficients = (sr.Coefficient("a"),)
        sees = ("prae",)

        def change(self, theta, **seen):
            return theta["a"]

    with pytest.raises(ValueError, match=r"Blind.sees: 'prae' is not known; did you mean 'pre'"):
        Blind()


def test_dales_law_and_masks_hold_for_them_too():
    task = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
    simulator = RateRNN(sr.Oja(), task, num_units=20, num_trials=30, warm_up=2, dale=True, mask=0.5)
    run = simulator.run([[0.02, 0.01]] * 3, seed=0, keep_weights=True)
    before, after = run.initial_weights, run.final_weights
    assert not torch.equal(before, after)
    assert (after[before == 0] == 0).all()
    assert (after[:, :, :16] >= 0).all()
    assert (after[:, :, 16:] <= 0).all()


def test_rules_go_into_a_store_and_a_posterior(tmp_path):
    from sbirules.priors import log_uniform, uniform

    family = sr.BCM(target=0.5)
    simulator = network(family, num_trials=60, summaries=["final_error", "mean_rate", "weight_change"])
    prior = uniform(family, 0.0, 0.02, tau_theta=log_uniform(20, 400))
    store = sr.simulate(simulator, prior, 300, store=tmp_path, seed=0, num_workers=1)
    assert store.status_counts()["DIVERGED"] == 0
    posterior = sr.fit(store, prior, constraints={"weight_change": (None, float(store.x[:, 2].nanmedian()))})
    assert posterior.names == ("eta", "tau_theta")
