"""The fish's circuit: its equation and symmetry, models against closed forms, the posterior against enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch

from sbirules.simulators.zebrafish import (
    CircuitActivity,
    CircuitModel,
    LinearAutoregression,
    MeanActivity,
    NLinear,
    OptomotorCircuit,
    Persistence,
    RecurrentModel,
    TrueModel,
    circuit_posterior,
    closed_loop,
    connection_signs,
    impulse_responses,
    jacobian,
    one_step_error,
    sign_accuracy,
)
from sbirules.simulators.zebrafish.posterior import _drawn, _log_evidence, _sweep

TRAINED = ("inward", "leftward", "rightward")


@pytest.fixture(scope="module")
def circuit():
    return OptomotorCircuit()


@pytest.fixture(scope="module")
def data(circuit):
    return circuit.simulate(TRAINED, num_trials=6, num_steps=120, seed=1)


def other_side(names):
    swap = {"left": "right", "right": "left"}
    return [names.index(f"{swap[n.split(' ', 1)[0]]} {n.split(' ', 1)[1]}") for n in names]


# The circuit ----------------------------------------------------------------------------------------------


def test_the_circuit_is_its_own_mirror_image(circuit):
    mirror = other_side(list(circuit.units))
    assert torch.equal(circuit.weights[mirror][:, mirror], circuit.weights)
    assert len(circuit.units) == 28
    assert bool((torch.sign(circuit.weights) == circuit.signs).all())
    assert not circuit.mask.diagonal().any()


def test_motion_to_one_side_turns_to_that_side_and_motion_inward_does_not(circuit):
    still = OptomotorCircuit(state_noise=0.0, observation_noise=0.0)
    drive = {}
    for name in ("leftward", "rightward", "inward"):
        run = still.simulate([name], num_trials=20, num_steps=150, seed=3)
        activity = run.activity[:, 50:].mean(dim=(0, 1))
        at = {unit: float(activity[k]) for k, unit in enumerate(run.units)}
        drive[name] = at["left turn"] - at["right turn"]
    assert drive["leftward"] > 0.3
    assert drive["rightward"] < -0.3
    assert abs(drive["inward"]) < 0.1


def test_steps_are_those_of_the_equation(circuit):
    x, u = torch.rand(28).double(), torch.rand(8).double()
    wanted = np.array(x)
    for i in range(28):
        field = sum(float(circuit.weights[i, j] * x[j]) for j in range(28)) - 2.5
        field += 5.0 * float(u[i]) if i < 8 else 0.0
        wanted[i] += 50.0 / 250.0 * (1 / (1 + math.exp(-field)) - float(x[i]))
    assert np.allclose(circuit.step(x, u), wanted)


def test_the_error_of_the_circuit_itself_is_the_noise(circuit):
    quiet = OptomotorCircuit(observation_noise=0.0)
    run = quiet.simulate(num_trials=10, num_steps=200, seed=5)
    error = one_step_error(TrueModel(quiet).fit(run), run)
    assert math.isclose(float(error.mean()), quiet.state_noise**2, rel_tol=0.02)
    slope = jacobian(TrueModel(quiet), run, points=20)
    assert bool((torch.sign(slope)[circuit.mask] == circuit.signs[circuit.mask]).all())
    assert torch.allclose(slope.diagonal(), torch.tensor(0.8).double())
    assert sign_accuracy(slope, circuit.signs) == 1.0
    assert sign_accuracy(-slope, circuit.signs) == 0.0


# Models ---------------------------------------------------------------------------------------------------


def test_autoregression_is_least_squares(data):
    model = LinearAutoregression(2).fit(data)
    x = data.activity
    before = torch.cat([x[:, :1], x[:, :-2]], dim=1)
    rows = torch.cat([x[:, :-1], before, torch.ones_like(x[:, 1:, :1])], dim=2).flatten(0, 1).numpy()
    wanted = np.linalg.lstsq(rows, x[:, 1:].flatten(0, 1).numpy(), rcond=None)[0]
    assert np.abs(rows @ wanted - model.predict(x, data.drive).flatten(0, 1).numpy()).max() < 1e-3


def test_simple_baselines(data):
    x = data.activity
    assert torch.equal(Persistence().fit(data).predict(x, data.drive), x[:, :-1])
    mean = MeanActivity().fit(data).predict(x, data.drive)
    assert torch.allclose(mean[0, 0], x.mean(dim=(0, 1)))
    # a unit that decays towards 0.5 by a fixed share: its change is .8 of the change before
    fall = (0.5 + 0.4 * 0.8 ** torch.arange(40).double())[None, :, None].repeat(3, 1, 2)
    decaying = CircuitActivity(fall, torch.zeros(3, 40, 1).double(), ("a",) * 3, ("one", "two"))
    found = NLinear(3).fit(decaying)
    assert float((found.predict(fall, decaying.drive) - fall[:, 1:])[:, 5:].abs().max()) < 2e-3


def test_a_circuit_with_its_connections_is_found(circuit, data):
    model = CircuitModel(circuit.mask, circuit.input_mask, steps=150).fit(data)
    fresh = circuit.simulate(num_trials=4, num_steps=120, seed=9)
    inside, outside = fresh.of(*TRAINED), fresh.of("outward")
    true = TrueModel(circuit).fit(data)
    excess = [float((one_step_error(model, d) - one_step_error(true, d)).mean()) for d in (inside, outside)]
    plain = float((one_step_error(LinearAutoregression().fit(data), outside) - one_step_error(true, outside)).mean())
    assert excess[0] < 2e-6
    assert excess[1] < plain / 10
    assert sign_accuracy(jacobian(model, inside, points=10), circuit.signs) > 0.95
    blind = CircuitModel(circuit.mask, drive=False, steps=30).fit(data)
    assert float(blind.parameters()[:, 28:36].abs().max()) == 0.0


def test_a_recurrent_network_predicts_better_with_drive_and_is_the_same_again(circuit, data):
    told, again, blind = (RecurrentModel(drive=d, hidden=16, steps=60, seed=2).fit(data) for d in (True, True, False))
    error = [float(one_step_error(m, data).mean()) for m in (told, again, blind)]
    assert error[0] == error[1] < error[2]


def test_pushes_and_closed_loops_follow_the_circuit(circuit, data):
    true = TrueModel(circuit).fit(data)
    answers = impulse_responses(true, data, size=1e-4, steps=1, trials=1)
    x = data.activity[0, 9].clone().requires_grad_(True)
    wanted = torch.autograd.functional.jacobian(lambda v: circuit.step(v, data.drive[0, 9]), x)
    assert torch.allclose(answers[:, 0].T, wanted, atol=1e-4)
    quiet = OptomotorCircuit(state_noise=0.0, observation_noise=0.0)
    run = quiet.simulate(["leftward"], num_trials=2, num_steps=40)
    assert torch.allclose(closed_loop(TrueModel(quiet), run), run.activity)


# The posterior --------------------------------------------------------------------------------------------


def test_connections_are_switched_as_enumeration_says():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    x[:, 1] = x[:, 0] + 0.3 * x[:, 1]  # two that move together
    y = 0.35 * x[:, 0] - 0.2 * x[:, 2] + rng.normal(size=60)
    gram, moment, precision = x.T @ x, x.T @ y, np.full(6, 1.0)
    sets = list(itertools.product([False, True], repeat=6))
    log = []
    for s in sets:  # the evidence as a normal density of y
        index = np.flatnonzero(s)
        cov = np.eye(60) + x[:, index] @ x[:, index].T
        log.append(-0.5 * np.linalg.slogdet(cov)[1] - 0.5 * y @ np.linalg.solve(cov, y))
        own = _log_evidence(np.array(s), gram, moment, precision)
        assert math.isclose(own - 0.5 * y @ y, log[-1], abs_tol=1e-8)
    log = np.array(log) + np.array([sum(s) for s in sets]) * math.log(0.3 / 0.7)
    wanted = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
    there, count = np.zeros(6, dtype=bool), dict.fromkeys(sets, 0)
    for _ in range(4000):
        _sweep(there, np.arange(6), gram, moment, precision, 0.3, rng)
        count[tuple(there.tolist())] += 1
    found = np.array([count[s] for s in sets]) / 4000
    assert 0.5 * np.abs(found - wanted).sum() < 0.05


def test_weights_given_connections_have_their_closed_form():
    rng = np.random.default_rng(1)
    there = np.array([True, False, True])
    gram = np.array([[3.0, 0.5, 1.0], [0.5, 2.0, 0.1], [1.0, 0.1, 4.0]])
    moment, precision = np.array([1.0, 2.0, -1.0]), np.full(3, 0.5)
    draws = np.array([_drawn(there, gram, moment, precision, rng) for _ in range(20000)])
    cov = np.linalg.inv(gram[np.ix_([0, 2], [0, 2])] + 0.5 * np.eye(2))
    assert np.abs(draws[:, [0, 2]].mean(axis=0) - cov @ moment[[0, 2]]).max() < 0.015
    assert np.abs(np.cov(draws[:, [0, 2]].T) - cov).max() < 0.015
    assert (draws[:, 1] == 0).all()


@pytest.mark.slow
def test_the_posterior_finds_the_connections(circuit):
    small = circuit.simulate(TRAINED, num_trials=4, num_steps=150, seed=4)
    found = circuit_posterior(small, num_draws=30, seed=1)
    off = ~torch.eye(28, dtype=torch.bool)
    right = torch.where(
        circuit.signs > 0, found.excitatory, torch.where(circuit.signs < 0, found.inhibitory, 1 - found.connected)
    )
    assert float(right[circuit.mask].mean()) > 0.8
    assert float(right[off & ~circuit.mask].mean()) > 0.95
    assert torch.allclose(found.connected, found.excitatory + found.inhibitory)
    new = found.next_step(small.activity[0, :5], small.drive[0, :5])
    assert float((new.mean(dim=0) - circuit.step(small.activity[0, :5], small.drive[0, :5])).abs().max()) < 0.05


# Bad input ------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_with_a_sentence(circuit, data):
    with pytest.raises(ValueError, match="stimulus"):
        circuit.simulate(["up"])
    with pytest.raises(ValueError, match="at least one"):
        circuit.simulate([])
    with pytest.raises(ValueError, match="dt must be at most tau"):
        OptomotorCircuit(dt=300.0)
    with pytest.raises(ValueError, match="drive must have shape"):
        CircuitActivity(data.activity, data.drive[:, 1:], data.stimuli, data.units)
    with pytest.raises(ValueError, match="finite"):
        CircuitActivity(data.activity * math.nan, data.drive, data.stimuli, data.units)
    with pytest.raises(ValueError, match="mask must have shape"):
        CircuitModel(torch.ones(3, 3, dtype=torch.bool)).fit(data)
    with pytest.raises(ValueError, match="boolean"):
        CircuitModel(torch.ones(28, 28))
    with pytest.raises(ValueError, match="probability"):
        circuit_posterior(data, probability=1.0)
    with pytest.raises(ValueError, match="steps must be at most"):
        impulse_responses(Persistence(), data, steps=1000)
    with pytest.raises(ValueError, match="shape of jacobian"):
        sign_accuracy(torch.zeros(2, 2), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="must have a connection"):
        sign_accuracy(torch.zeros(2, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="memory"):
        circuit.simulate(num_trials=100_000, num_steps=100_000)
    assert float(connection_signs(torch.tensor([[1.0, -2.0], [0.0, 1.0]])).abs().sum()) == 1.0
