"""Gradients of learning: two exact ones against each other and finite differences, the estimate against its formula."""

import pytest
import torch

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.simulators import RateRNN

TASK = DelayedDiscrimination(stimulus=30, delay=20, response=30)
SMALL = {"num_units": 12, "dtype": torch.float64, "warm_up": 4}
CASES = {
    "degree 2": (sr.PolynomialRule(degree=2), {}),
    "time constants": (sr.PolynomialRule(terms=["theta_11", "theta_21"], infer=["tau_e", "tau_w"]), {}),
    "running xbar, carried over": (
        sr.PolynomialRule(terms=["theta_11", "theta_22"]),
        {"tau_xbar": 50.0, "reset_xbar": False},
    ),
    "mask, Dale, error factor": (
        sr.PolynomialRule(terms=["theta_11", "theta_01"]),
        {"mask": 0.6, "dale": True, "error_factor": True},
    ),
    "powers of the weight, read-out weights": (
        sr.PolynomialRule(degree=1, weight_degree=1),
        {"readout": "random", "nonlinearity": "sigmoid"},
    ),
}


def rules(family, rows=2):
    torch.manual_seed(1)
    theta = 0.4 * torch.randn(rows, family.dim, dtype=torch.float64)
    for name, value in (("tau_e", 80.0), ("tau_w", 200.0)):
        if name in family.names:
            theta[:, family.names.index(name)] = value
    return theta


@pytest.mark.parametrize("case", CASES)
def test_exact_gradients_agree_with_finite_differences(case):
    family, options = CASES[case]
    simulator = RateRNN(family, TASK, **SMALL, **options)
    theta = rules(family)
    types = torch.arange(14) % 2
    found = {g: simulator.value_and_grad(theta, gradient=g, seed=5, trial_types=types) for g in ("reverse", "forward")}
    exact = found["reverse"].gradient
    assert exact.abs().max() > 1e-5
    torch.testing.assert_close(found["forward"].gradient, exact, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found["forward"].value, found["reverse"].value, rtol=1e-12, atol=0)
    run = simulator.run(theta, seed=5, trial_types=types)
    torch.testing.assert_close(found["reverse"].value, run.reward[:, 4:].mean(dim=1), rtol=1e-12, atol=0)
    torch.testing.assert_close(found["forward"].error, run.error, rtol=1e-12, atol=0)

    best = torch.full_like(exact, torch.inf)
    for size in (1e-3, 1e-4, 1e-5):
        for column in range(family.dim):
            step = size * max(1.0, float(theta[0, column].abs()))
            ends = []
            for sign in (1, -1):
                moved = theta.clone()
                moved[:, column] += sign * step
                ends.append(simulator.run(moved, seed=5, trial_types=types).reward[:, 4:].mean(dim=1))
            difference = (ends[0] - ends[1]) / (2 * step)
            best[:, column] = torch.minimum(best[:, column], (difference - exact[:, column]).abs())
    assert (best / exact.norm(dim=1, keepdim=True)).max() < 1e-5


def test_the_estimate_is_the_papers_formula():
    family = sr.PolynomialRule(degree=2, tau_e=60.0)
    simulator = RateRNN(family, TASK, **SMALL)
    theta, trials = rules(family), 9
    found = simulator.value_and_grad(theta, gradient="reinforce", seed=5, trial_types=torch.arange(trials) % 2)
    run = simulator.run(theta, seed=5, trial_types=torch.arange(trials) % 2, record=range(trials))
    # written out: x(0) is not recorded, so the first step's rates and deviations come from a run of the draws
    x, rate = run.recording.x, run.recording.rate
    expectation = torch.full((2, 2), torch.nan, dtype=torch.float64)
    total = torch.zeros_like(theta)
    for k in range(trials):
        c = k % 2
        surprise = run.reward[:, k] - expectation[:, c]
        if k >= simulator.settings.warm_up:
            steps = x.shape[2]
            for t in range(1, steps):
                age = torch.exp(torch.tensor(-(steps - 1 - t) * 5.0 / 60.0))
                for column, (p, q, _) in enumerate(family.powers.values()):
                    pre = (rate[:, k, t - 1] ** p).sum(dim=1)
                    post = ((x[:, k, t - 1] - x[:, k, t]) ** q).sum(dim=1)
                    total[:, column] += surprise * 5.0 * age * pre * post
        seen = ~torch.isnan(expectation[:, c])
        expectation[:, c] = torch.where(seen, 0.75 * expectation[:, c] + 0.25 * run.reward[:, k], run.reward[:, k])
    total = total * simulator.raw_per_unit / (trials - simulator.settings.warm_up)
    # the step from x(0) is left out above: one of sixteen
    cosine = torch.cosine_similarity(found.gradient, total)
    assert cosine.min() > 0.9


def test_a_teachers_weights_are_the_best_there_is():
    family = sr.PolynomialRule(terms=["theta_11", "theta_20"])
    simulator = RateRNN(family, TASK, **SMALL)
    theta = rules(family)
    own = []
    for trials in range(1, 11):
        types = (torch.arange(trials) % 2).expand(2, -1)
        own.append(simulator.run(theta, seed=5, trial_types=types, keep_weights=True).final_weights)
    teacher = torch.stack(own, dim=1)
    types = torch.arange(10) % 2
    at = simulator.value_and_grad(theta, seed=5, trial_types=types, teacher=teacher)
    assert at.value.abs().max() < 1e-20
    off = simulator.value_and_grad(theta + 0.1, seed=5, trial_types=types, teacher=teacher)
    assert (off.value < 0).all()
    assert ((off.gradient * -0.1).sum(dim=1) > 0).all()


def test_a_network_that_blows_up_leaves_the_others_alone():
    family = sr.PolynomialRule(terms=["theta_11"])
    simulator = RateRNN(family, TASK, **SMALL)
    types = torch.arange(12) % 2
    wild = torch.tensor([[0.3], [1e6], [0.3]], dtype=torch.float64)
    for gradient in ("reverse", "forward", "reinforce"):
        found = simulator.value_and_grad(wild, gradient=gradient, seed=2, trial_types=types)
        assert found.ok.tolist() == [True, False, True]
        tame = simulator.value_and_grad(torch.full((3, 1), 0.3), gradient=gradient, seed=2, trial_types=types)
        torch.testing.assert_close(found.gradient[found.ok], tame.gradient[found.ok])


def test_what_cannot_be_is_refused_in_words():
    simulator = RateRNN(sr.PolynomialRule(terms=["theta_11"]), TASK, **SMALL)
    for options, words in [
        ({"gradient": "backprop"}, "gradient"),
        ({"trial_types": [0, 1]}, "do not go beyond the warm-up of 4"),
        ({"teacher": torch.zeros(5, 3, 3)}, "teacher must have shape"),
        ({"teacher": torch.zeros(400, 12, 12), "gradient": "reinforce"}, "follows reward"),
        ({"record": [0]}, "record"),
    ]:
        with pytest.raises(ValueError, match=words):
            simulator.value_and_grad(torch.zeros(1, 1), **options)
