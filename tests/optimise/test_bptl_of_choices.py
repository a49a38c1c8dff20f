"""BPTL on choices: against scipy on the same likelihood, the conditions of a maximum under l1, and finite differences."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork, RateRNN
from sbirules.tasks import ChoiceTask, DelayedDiscrimination

FAMILY = sr.TaylorRule(["c rd", "c", "w", "d rd"])
PRIOR = uniform(FAMILY, -1, 1, w=(-0.6, 0.0))
BOUNDS = [(-1, 1), (-1, 1), (-0.6, 0), (-1, 1), (None, None), (0, 0.3)]
SIMULATOR = PolicyNetwork(
    FAMILY, ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.2, 0.8]], block=(20, 40), num_trials=120)
)


class Hebb(sr.PolicyRule):
    """A rule of one's own, by torch."""

    coefficients = (sr.Coefficient("eta", "c_i x_j r"), sr.Coefficient("phi", "w_ij"))

    def update(self, theta, *, x, c, d, y, w, r, rd):
        return theta["eta"] * c * x * r + theta["phi"] * w


@pytest.fixture(scope="module")
def trials():
    return SIMULATOR.animals(torch.tensor([[0.5, 0.05, -0.1, 0.0, 0.3, 0.05]]).repeat(4, 1), seed=1)


def by_scipy(simulator, trials, bounds):
    likelihood = simulator.suited(trials).likelihood(trials)

    def loss(at):
        value, slope = likelihood.value_and_slope(torch.tensor(at)[None])
        return -float(value.sum()), -slope.sum(dim=1)[0].numpy()

    start = np.full(len(bounds), 0.01)
    options = {"ftol": 1e-14, "gtol": 1e-8}
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def test_the_maximum_is_that_of_l_bfgs_from_every_start(trials):
    found = by_scipy(SIMULATOR, trials, BOUNDS)
    point = sr.BPTL(SIMULATOR, restarts=4).fit(trials=trials, prior=PRIOR)
    assert point.log_likelihood.numpy() == pytest.approx(-found.fun, abs=1e-3)
    assert point.theta.numpy() == pytest.approx(np.tile(found.x, (4, 1)), abs=2e-3)
    assert not point.diverged.any()
    assert (point.trace["value"].diff(dim=0) >= 0).all()  # every step leads uphill
    summed = SIMULATOR.log_likelihood(point.theta, trials)
    assert torch.allclose(point.log_likelihood, summed)


def test_l1_makes_terms_zero_exactly_where_the_slope_is_below_it(trials):
    for l1, present in ((10.0, (1, 3)), (1e4, (0, 0))):
        point = sr.BPTL(SIMULATOR, restarts=3, l1=l1).fit(trials=trials, prior=PRIOR)
        theta = point.point.clone().requires_grad_()
        (slope,) = torch.autograd.grad(SIMULATOR.log_likelihood(theta, trials).sum(), theta)
        there = point.point[:4] != 0
        assert present[0] <= int(there.sum()) <= present[1]
        assert (slope[:4][~there].abs() <= l1 * (1 + 1e-6)).all()
        assert slope[:4][there].numpy() == pytest.approx(l1 * point.point[:4][there].sign().numpy(), abs=0.01)
        penalty = l1 * point.theta[:, :4].abs().sum(dim=1)
        assert torch.allclose(point.trace["value"][-1], point.log_likelihood - penalty)


def test_its_gradient_is_that_of_finite_differences(trials):
    at = torch.tensor([[0.4, 0.02, -0.15, -0.1, 0.2, 0.1]], dtype=torch.float64)
    likelihood = SIMULATOR.suited(trials).likelihood(trials)
    slope = likelihood.value_and_slope(at)[1].sum(dim=1)[0]
    for k, step in enumerate(1e-5 * torch.eye(6, dtype=torch.float64)):
        up, down = (SIMULATOR.log_likelihood(at + s, trials) for s in (step, -step))
        assert float((up - down) / 2e-5) == pytest.approx(float(slope[k]), rel=1e-5, abs=1e-5)


def test_a_rule_of_ones_own_without_a_prior(trials):
    simulator = PolicyNetwork(Hebb(), SIMULATOR.task, nuisance=())
    found = by_scipy(simulator, trials, [(None, None)] * 2)
    point = sr.BPTL(simulator, restarts=1, start=[0.1, -0.1], start_sd=0.0).fit(trials=trials)
    assert float(point.log_likelihood[0]) == pytest.approx(-found.fun, abs=1e-3)
    assert point.trace["theta"][0, 0].tolist() == pytest.approx([0.1, -0.1])


def test_the_point_stands_beside_its_posterior_and_in_a_file(trials, tmp_path):
    point = sr.BPTL(SIMULATOR, restarts=2).fit(trials=trials, prior=PRIOR)
    quick = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0)
    posterior = sr.fit(SIMULATOR, PRIOR, trials=trials, sampler=quick)
    beside = sr.compare_point(posterior, point, SIMULATOR, rules=16)
    assert beside.log_likelihood["point"] == pytest.approx(float(point.log_likelihood[point.best]), abs=1e-3)
    assert max(beside.log_likelihood.values()) == pytest.approx(beside.log_likelihood["point"], abs=1e-3)
    assert not beside.success
    assert "log-likelihood of posterior mean" in str(beside)
    assert "lapse = " in str(point)
    point.save(tmp_path)
    loaded = sr.PointEstimate.load(tmp_path, FAMILY)
    assert loaded.names == posterior.names == point.names
    assert torch.equal(loaded.log_likelihood, point.log_likelihood)
    assert str(loaded) == str(point)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: sr.BPTL(SIMULATOR).fit(prior=PRIOR), "needs the choices"),
        (lambda t: sr.BPTL(SIMULATOR).fit(trials=t, prior=PRIOR, evaluate=3), "evaluate belongs to the reward"),
        (lambda t: sr.BPTL(SIMULATOR, networks=3), "networks belongs to the reward"),
        (lambda t: sr.BPTL(SIMULATOR, start=[0.0]).fit(trials=t), "start"),
        (lambda t: sr.BPTL(SIMULATOR, start=[[0.0] * 6] * 3).fit(trials=t), "one rule or 2"),
        (lambda t: sr.BPTL(SIMULATOR).fit(trials=t, prior=uniform(sr.TaylorRule(["c"]), -1, 1)), "prior is over"),
        (
            lambda t: sr.BPTL(RateRNN(sr.PolynomialRule(degree=1), DelayedDiscrimination())).fit(trials=t),
            "trials belongs to choices",
        ),
    ],
)
def test_what_does_not_suit_choices_is_said(call, words, trials):
    with pytest.raises(ValueError, match=words):
        call(trials)
