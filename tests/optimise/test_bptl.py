"""BPTL against what a teacher used, against nets it has not seen, and against bad input."""

import pytest
import torch

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.simulators import LinearGaussian, RateRNN

TASK = DelayedDiscrimination(stimulus=30, delay=20, response=30)


@pytest.fixture(scope="module")
def student():
    """A degree-2 student, a teacher of two terms, and the teacher's weights after each trial."""
    family = sr.PolynomialRule(degree=2)
    simulator = RateRNN(family, TASK, num_units=16, dtype=torch.float64, warm_up=2, num_trials=12)
    theta = torch.zeros(1, 9, dtype=torch.float64)
    theta[0, family.names.index("theta_11")], theta[0, family.names.index("theta_20")] = -0.6, 0.4
    generator = torch.Generator().manual_seed(3)
    draw = {"generator": generator, "dtype": torch.float64}
    draws = {
        "weights": 1.5 / 4 * torch.randn(16, 16, **draw),
        "input_weights": 2 * torch.rand(16, 2, **draw) - 1,
        "initial_states": 0.2 * torch.rand(12, 16, **draw) - 0.1,
        "kicks": (torch.rand(12, 16, 16, **draw) < 0.05) * (2 * torch.rand(12, 16, 16, **draw) - 1),
    }
    types = torch.arange(12) % 2
    weights = [
        simulator.run(theta, trial_types=types[:k], keep_weights=True, **cut(draws, k)).final_weights[0]
        for k in range(1, 13)
    ]
    return simulator, theta[0], draws, types, torch.stack(weights)


def cut(draws, trials):
    return {n: v[:trials] if n in ("initial_states", "kicks") else v for n, v in draws.items()}


@pytest.mark.slow
def test_a_teachers_terms_and_coefficients_are_found(student):
    simulator, theta, draws, types, weights = student
    optimiser = sr.BPTL(simulator, networks=1, restarts=2, iterations=150, l1=2e-5, polish=80, start_sd=0.1)
    point = optimiser.fit(seed=1, trial_types=types, teacher=weights, draws=draws, evaluate=0)
    for row in point.theta:
        assert (row != 0).tolist() == (theta != 0).tolist()
        assert ((row - theta).abs() <= 0.02 * theta.abs() + 1e-12).all()
    assert point.trace["value"][-1].min() > -1e-4


def test_reward_rises_and_the_result_is_complete(tmp_path):
    family = sr.PolynomialRule(terms=["theta_11", "theta_33"], degree=3, infer=["tau_e"])
    simulator = RateRNN(family, DelayedDiscrimination(), num_units=24, num_trials=40)
    optimiser = sr.BPTL(simulator, episodes=40, networks=6, restarts=2, iterations=6)
    point = optimiser.fit(seed=2, evaluate=4)
    again = optimiser.fit(seed=2, evaluate=4)
    assert torch.equal(point.theta, again.theta)
    assert point.theta.shape == (2, 3)
    assert point.trace["theta"].shape == (6, 2, 3)
    assert (point.theta[:, 2] > 0).all()
    assert (point.trace["theta"][-1, :, 1] < point.trace["theta"][0, :, 1]).all()  # towards the published rule
    assert "tau_e" in point.describe()
    assert "success in fresh networks" in str(point)
    assert point.to_inference_data()["posterior"]["theta_33"].shape == (2, 6)
    point.save(tmp_path)
    loaded = sr.PointEstimate.load(tmp_path, family)
    assert torch.equal(loaded.point, point.point)
    assert loaded.success[0].value == point.success[0].value
    assert str(loaded) == str(point)
    with pytest.raises(ValueError, match="the family has"):
        sr.PointEstimate.load(tmp_path, sr.PolynomialRule(degree=2))
    with pytest.raises(ValueError, match=r"point\.json is missing"):
        sr.PointEstimate.load(tmp_path / "elsewhere", family)


@pytest.mark.slow
def test_the_control_without_gradient_climbs_too():
    family = sr.PolynomialRule(terms=["theta_11", "theta_33"], degree=3)
    simulator = RateRNN(family, DelayedDiscrimination(), num_units=24, num_trials=60)
    optimiser = sr.BPTL(
        simulator, gradient="evolution", episodes=60, networks=32, restarts=2, iterations=12, start_sd=0.0, step_sd=0.3
    )
    point = optimiser.fit(seed=1, evaluate=0)
    assert point.point.min() < -0.15  # either term learns with a negative coefficient
    value = point.trace["value"][:, point.best]
    assert value[-3:].mean() > value[0] + 0.03
    assert torch.equal(optimiser.fit(seed=1, evaluate=0).theta, point.theta)
    with pytest.raises(ValueError, match="leave teacher and draws out"):
        optimiser.fit(teacher=torch.zeros(60, 24, 24))


def test_a_fit_that_diverges_is_reported_not_returned():
    simulator = RateRNN(sr.PolynomialRule(terms=["theta_11"]), TASK, num_units=12, warm_up=2, num_trials=20)
    options = {"episodes": 20, "networks": 4, "iterations": 8, "start_sd": 0.0}
    with pytest.raises(ValueError, match=r"all 1 restarts diverged, the last after 5 iterations"):
        sr.BPTL(simulator, restarts=1, start=[1e6], **options).fit(evaluate=0)
    with pytest.warns(UserWarning, match="1 of 2 restarts diverged"):
        point = sr.BPTL(simulator, restarts=2, start=[[1e6], [-0.3]], **options).fit(evaluate=0)
    assert point.diverged.tolist() == [True, False]
    assert point.best == 1


def test_what_cannot_be_is_refused_in_words():
    simulator = RateRNN(sr.PolynomialRule(terms=["theta_11"], infer=["tau_e"]), TASK, num_units=12)
    for call, words in [
        (lambda: sr.BPTL(LinearGaussian()), "value_and_grad"),
        (lambda: sr.BPTL(simulator, gradient="adjoint"), "gradient"),
        (lambda: sr.BPTL(simulator, restarts=0), "restarts"),
        (lambda: sr.BPTL(simulator, l1=-1), "l1"),
        (lambda: sr.BPTL(simulator, iterations=5, polish=5), "polish must be below iterations"),
        (lambda: sr.BPTL(simulator, start=[[0.0, 100.0]] * 3), "one rule or 2"),
        (lambda: sr.BPTL(simulator, start=[0.0, -3.0]), "time constants above 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


class Bounded(sr.ThreeFactorRule):
    """A gain that must be positive, a threshold between two values, a term that may be absent."""

    coefficients = (
        sr.Coefficient("gain", "r_j d_i", low=0.05, default=0.1),
        sr.Coefficient("threshold", low=0.2, high=0.4, linear=False, default=0.3),
        sr.Coefficient("free", "d_i"),
    )

    def drive(self, theta, rate, deviation, weight):
        return theta["gain"] * torch.relu(rate - theta["threshold"]) * deviation + theta["free"] * deviation


def test_restarts_begin_within_bounds_and_apart():
    simulator = RateRNN(Bounded(infer=["tau_w"]), TASK, num_units=16, num_trials=6)
    optimiser = sr.BPTL(simulator, restarts=64, start_sd=0.5)
    starts = optimiser.starts(seed=0)
    low, high = optimiser.bounds()
    assert (starts >= low).all()
    assert (starts <= high).all()
    inner = (starts > low) & (starts < high)
    assert inner[:, 0].double().mean() > 0.7
    assert all(len(column.unique()) > 20 for column in starts.T)
    theta = torch.where(optimiser.log, starts.exp(), starts)
    simulator.family.check_raw(simulator.to_raw(theta))
    simulator.run(theta.float(), seed=0)


def test_a_start_beyond_a_bound_is_refused_in_words():
    simulator = RateRNN(Bounded(), TASK, num_units=16, num_trials=6)
    with pytest.raises(ValueError, match=r"start of threshold must lie in \[0.2, 0.4\], in natural units, got 0.9"):
        sr.BPTL(simulator, start=[100.0, 0.9, 0.0])
