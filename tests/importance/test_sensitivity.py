"""Sensitivity: closed forms, finite differences, and rules of which it is known what they need."""

import math

import pytest
import torch
from cheap import PRIOR, Cheap
from torch.distributions import MultivariateNormal

import sbirules as sr
from sbirules.importance import (
    active_subspace,
    compensation,
    elasticities,
    knock_outs,
    learn_outcome,
    shapley,
    sobol,
    stiff_and_sloppy,
)
from sbirules.priors import normal
from sbirules.simulators import RateRNN
from sbirules.support.streams import Stream

NAMES = ("a", "b", "c")


def ishigami(x):
    return x[:, 0].sin() + 7 * x[:, 1].sin() ** 2 + 0.1 * x[:, 2] ** 4 * x[:, 0].sin()


def test_sobol_indices_of_a_closed_form():
    found = sobol(ishigami, [-math.pi] * 3, [math.pi] * 3, NAMES, num_samples=4096)
    for effects, exact in ((found.first, (0.3139, 0.4424, 0.0)), (found.total, (0.5576, 0.4424, 0.2437))):
        gap = (effects.value - torch.tensor(exact)).abs()
        assert bool((gap <= 3 * effects.se + 1e-3).all()), (gap, effects.se)
        assert bool((effects.se < 0.03).all()), "an uncertainty that says nothing would pass anything"
    strongest = found.pairs.iloc[0]
    assert strongest["pair"] == "a, c"
    assert strongest["value"] == pytest.approx(0.2437, abs=3 * strongest["se"] + 1e-3)


def test_the_spread_of_an_ensemble_enters_the_errors():
    one = sobol(ishigami, [-math.pi] * 3, [math.pi] * 3, NAMES, num_samples=512)

    def two(x):
        return torch.stack([ishigami(x), ishigami(x[:, [1, 0, 2]])])

    both = sobol(two, [-math.pi] * 3, [math.pi] * 3, NAMES, num_samples=512)
    assert float(both.first.se[0]) > 1.3 * float(one.first.se[0])


def test_sobol_refuses_what_it_cannot_take():
    with pytest.raises(ValueError, match="not the same everywhere"):
        sobol(lambda x: torch.zeros(len(x)), [0] * 3, [1] * 3, NAMES, num_samples=16)
    with pytest.raises(ValueError, match="low below high"):
        sobol(ishigami, [0, 0, 1], [1, 1, 1], NAMES)


@pytest.mark.parametrize("rho", [0.0, 0.8, -0.5])
def test_shapley_effects_of_correlated_gaussians(rho):
    """Owen & Prieur (2017): of a linear function of two correlated Gaussians, in closed form."""
    (b1, b2), (s1, s2) = (1.0, 2.0), (1.0, 0.7)
    covariance = torch.tensor([[s1**2, rho * s1 * s2], [rho * s1 * s2, s2**2]])
    torch.manual_seed(0)
    draws = MultivariateNormal(torch.zeros(2), covariance).sample((8000,))
    found = shapley(lambda x: b1 * x[:, 0] + b2 * x[:, 1], draws, ("a", "b"), num_permutations=2000)
    v1, v2, both = (b1 * s1) ** 2, (b2 * s2) ** 2, b1 * b2 * rho * s1 * s2
    total = v1 + v2 + 2 * both
    exact = (v1 * (1 - rho**2 / 2) + both + v2 * rho**2 / 2) / total
    assert float(found.value[0]) == pytest.approx(exact, abs=4 * float(found.se[0]) + 0.02)
    assert float(found.value.sum()) == pytest.approx(1, abs=1e-9)


class Known:
    """A Gaussian in the place of sbi's posteriors."""

    def __init__(self, covariance):
        self.inner = MultivariateNormal(torch.zeros(len(covariance)), covariance)

    def sample(self, shape, x=None, show_progress_bars=False):
        return self.inner.sample(shape)

    def log_prob(self, theta, x=None):
        return self.inner.log_prob(theta)


def wrapped(covariance):
    family = (
        Cheap().family
        if len(covariance) == 2
        else sr.PolynomialRule(degree=3, terms=["theta_11", "theta_13", "theta_33"])
    )
    prior = normal(family, 0.0, 1.0)
    return sr.Posterior.wrap(Known(covariance), prior, prior.names)


def test_stiff_and_sloppy_directions_of_a_gaussian():
    u = torch.tensor([0.6, 0.8])
    covariance = torch.eye(2) - (1 - 0.05**2) * torch.outer(u, u)  # s.d. 0.05 along u, 1 across
    found = stiff_and_sloppy(wrapped(covariance))
    assert float(found.value[0]) == pytest.approx(-math.log(0.05), abs=4 * float(found.se[0]) + 0.05)
    assert float(found.value[1]) == pytest.approx(0.0, abs=4 * float(found.se[1]) + 0.05)
    assert float((found.vectors[:, 0].float() @ u).abs()) > 0.999
    assert "+0.80 b" in found.combination(0).replace("-", "+")


def test_compensation_of_a_gaussian():
    r = torch.tensor([[1.0, 0.8, 0.6], [0.8, 1.0, 0.6], [0.6, 0.6, 1.0]])
    table = compensation(wrapped(r * 0.04), conditions=5)
    precision = torch.linalg.inv(r)
    partial = -precision[0, 1] / (precision[0, 0] * precision[1, 1]).sqrt()
    first = table.loc["theta_11, theta_13"]
    assert first["correlation"] == pytest.approx(0.8, abs=5 * first["se"])
    assert first["partial"] == pytest.approx(float(partial), abs=0.06)
    assert first["conditional"] == pytest.approx(float(partial), abs=0.08)
    assert table.index[0] == "theta_11, theta_13"


@pytest.mark.slow
def test_the_active_subspace_is_found():
    w = torch.tensor([0.6, -0.8, 0.0])
    posterior = wrapped(torch.eye(3) * 0.09)
    torch.manual_seed(0)
    theta = 0.6 * torch.randn(1500, 3)
    found = active_subspace(posterior, theta, torch.tanh(theta @ w))
    assert float((found.vectors[:, 0].float() @ w).abs()) > 0.97
    assert float(found.value[0]) > 0.8
    assert float(found.value.sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_a_learned_outcome_is_the_mean_over_networks():
    store = sr.simulate(Cheap(num_trials=50), PRIOR, 2048, seed=1)
    learned = learn_outcome(store, {"final_error": (0, 0.3)})
    fresh = sr.simulate(Cheap(num_trials=50), PRIOR.sample((200,)).repeat_interleave(20, 0), seed=2)
    share = (
        sr.Constraints.of({"final_error": (0, 0.3)})
        .satisfied(fresh.x, fresh.summary_names)
        .float()
        .reshape(200, 20)
        .mean(1)
    )
    predicted = learned(fresh.theta[::20]).mean(dim=0)
    assert float((predicted - share).square().mean().sqrt()) < 0.15
    assert 0.3 < learned.explained < 1
    with pytest.raises(ValueError, match="cannot be learned: all simulations have the same"):
        learn_outcome(sr.SimulationStore.from_arrays(store.theta[:200], torch.ones(200, 1)), "x_1")


TASK = sr.tasks.DelayedDiscrimination()


def test_knocking_out_theta_33_destroys_learning_of_rules_that_need_it():
    family = sr.PolynomialRule(degree=3, terms=["theta_10", "theta_33"])
    simulator = RateRNN(family, TASK)
    rules = torch.tensor([[0.05, -0.8], [-0.05, -0.7], [0.0, -0.9], [0.02, -0.8]])
    found = knock_outs(rules, simulator, networks=12, num_workers=1)
    table = found.table()
    assert table.index[0] == "theta_33"
    assert table.loc["theta_33", "value"] > 0.6
    assert table.loc["theta_33", "value"] > 5 * table.loc["theta_33", "se"]
    assert abs(table.loc["theta_10", "value"]) < 0.2


def test_elasticities_against_differences():
    """Of one rule in one network, in double precision, against the run itself."""
    family = sr.PolynomialRule(degree=3, terms=["theta_11", "theta_33"])
    simulator = RateRNN(family, TASK, num_units=20, dtype=torch.float64)
    rule = torch.tensor([[-0.1, -0.4]], dtype=torch.float64)
    found = elasticities(rule, simulator, networks=1, episodes=50, seed=3)
    types = TASK.sequence(50)

    def error(theta):
        run = simulator.run(theta.float().double(), seed=(3, Stream.EXPERIMENTS), trial_types=types)
        return float(run.error[0, 20:].mean())

    base = rule.float().double()
    for k in range(2):
        step = torch.zeros(1, 2, dtype=torch.float64)
        step[0, k] = 2.0**-12  # exact in single precision, in which rules are passed
        slope = (error(base + step) - error(base - step)) / (2 * 2.0**-12)
        assert float(found.value[k]) == pytest.approx(float(base[0, k]) * slope / error(base), rel=2e-3, abs=1e-6)


class Gated(sr.ThreeFactorRule):
    """Synapses learn only above a threshold, which nothing is differentiable in."""

    coefficients = (
        sr.Coefficient("hebb", "r_j d_i"),
        sr.Coefficient("threshold", low=0.0, high=1.0, linear=False, default=0.1),
    )

    def drive(self, theta, rate, deviation, weight):
        return theta["hebb"] * rate * deviation * (rate.abs() > theta["threshold"])


def test_an_elasticity_of_a_hard_threshold_is_said_to_be_no_answer():
    simulator = RateRNN(Gated(), TASK, num_units=20)
    found = elasticities(torch.tensor([[0.4, 0.05], [-0.3, 0.1]]), simulator, networks=2, episodes=40)
    assert float(found.value[1]) == 0 == float(found.se[1])
    assert float(found.value[0]) != 0
    assert found.note.startswith("Exactly 0 for threshold: it acts through a hard threshold")
    assert found.note in str(found)
    whole = sr.Sensitivity("learned", math.nan, elasticities=found)
    assert found.note in whole.figures()["elasticities"][1]
    assert found.note in str(whole)
    plain = RateRNN(sr.PolynomialRule(degree=1), TASK, num_units=20)
    at_zero = elasticities(torch.tensor([[0.2, 0.0, 0.0, 0.3]]), plain, networks=1, episodes=30)
    assert at_zero.value[1] == 0
    assert not at_zero.note, "a coefficient of 0 has an elasticity of 0, whatever it does"


def test_everything_at_once_and_what_cannot_be_had():
    store = sr.simulate(Cheap(), PRIOR, 1024, seed=1)
    posterior = sr.fit(store, PRIOR, constraints={"final_error": (0, 0.3)})
    found = sr.sensitivity(posterior, Cheap(), store=store, num_rules=8, networks=2, num_workers=1)
    assert set(found.left_out) == {"elasticities"}, "no gradients here"
    assert set(found.effects()) == {"first_order", "total", "shapley", "knock_out"}
    assert "total_se" in found.table().columns
    text = str(found)
    assert "left out: elasticities" in text
    said = f"of whose variance it explains {found.explained:.0%}."
    assert said in text
    for name in ("sobol", "shapley"):
        assert said in found.figures()[name][1]
    assert "explains" not in found.figures()["knock_outs"][1], "those are simulated"
    for draw, caption in found.figures().values():
        assert draw() is not None
        assert caption
    without = sr.sensitivity(posterior, Cheap(), parts=["sobol", "stiff"])
    assert without.left_out["sobol"].startswith("pass store=")
    with pytest.raises(ValueError, match="did you mean 'sobol'"):
        sr.sensitivity(posterior, Cheap(), parts=["sobl"])
    with pytest.raises(ValueError, match="the posterior is over"):
        sr.sensitivity(posterior, RateRNN(sr.PolynomialRule(degree=1), TASK))
