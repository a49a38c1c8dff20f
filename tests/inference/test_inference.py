"""Inference against closed forms and exact rejection."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from sbirules import (
    Constraints,
    LikelihoodSettings,
    PolynomialRule,
    Posterior,
    SamplerSettings,
    Trajectory,
    Trials,
)
from sbirules.inference.estimators import RatioPotential, SuccessPotential
from sbirules.inference.estimators.likelihood import fit_likelihood
from sbirules.inference.estimators.ratio import fit_ratio
from sbirules.inference.questions.sessions import cut_like_learners
from sbirules.inference.rounds.refining import _thin_out_half
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.neural_nets.classifiers import fit_event_probability
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.priors import IndependentPrior, log_uniform
from sbirules.simulators import RateRNN

FAST = SamplerSettings(num_particles=512)


def box(*names, low=-1.0, high=1.0):
    uniform = torch.distributions.Uniform(low, high, validate_args=False)
    return IndependentPrior({name: uniform for name in names})


class Gaussian(nn.Module):
    """A correlated Gaussian potential, cut off by the prior's box."""

    def __init__(self):
        super().__init__()
        self.precision = torch.linalg.inv(torch.tensor([[0.09, 0.081], [0.081, 0.09]]))

    def forward(self, theta):
        d = theta - torch.tensor([0.7, 0.0])
        return -0.5 * torch.einsum("ni,ij,nj->n", d, self.precision, d)


def test_sampler_against_rejection_in_a_correlated_truncated_gaussian():
    posterior = Posterior(box("a", "b"), ["a", "b"], Gaussian(), settings=FAST)
    draws = posterior.sample((4000,), seed=1)
    assert posterior.chains.r_hat < 1.05
    assert draws.abs().max() <= 1, "no leakage outside the prior"
    exact = torch.tensor(
        np.random.default_rng(0).multivariate_normal([0.7, 0.0], [[0.09, 0.081], [0.081, 0.09]], 200_000)
    ).float()
    exact = exact[(exact.abs() <= 1).all(dim=1)]
    torch.testing.assert_close(draws.mean(0), exact.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(draws.std(0), exact.std(0), rtol=0.1, atol=0)
    assert torch.corrcoef(draws.T)[0, 1].item() == pytest.approx(torch.corrcoef(exact.T)[0, 1].item(), abs=0.05)
    assert torch.equal(posterior.sample((100,), seed=4), posterior.sample((100,), seed=4))
    value, error = posterior.log_evidence()
    closed = stats.multivariate_normal([0.7, 0], [[0.09, 0.081], [0.081, 0.09]])
    inside = closed.cdf([1, 1], lower_limit=[-1, -1])
    expected = math.log(inside * 2 * math.pi * math.sqrt(np.linalg.det(closed.cov)) / 4)
    assert value == pytest.approx(expected, abs=5 * error + 0.01)
    assert posterior.potential(torch.tensor([[2.0, 0.0]])) == -math.inf


def success(theta):
    return torch.sigmoid(3 * theta[:, 0] - 2 * theta[:, 1] ** 2 - 1)


@pytest.fixture(scope="module")
def event():
    torch.manual_seed(0)
    theta = box("a", "b", "c").sample((4000,))
    happened = torch.rand(4000) < success(theta)
    return fit_event_probability(theta, happened, Standardiser.of(theta), seed=0)


def test_success_probability_is_learned_and_calibrated(event):
    theta = box("a", "b", "c").sample((5000,))
    p = event.log_prob(theta).exp()
    truth = success(theta)
    assert (p - truth).abs().mean() < 0.04
    for low in np.linspace(0.05, 0.75, 8):
        near = (p >= low) & (p < low + 0.1)
        assert p[near].mean().item() == pytest.approx(truth[near].mean().item(), abs=0.08)


@pytest.mark.parametrize("n", [1, 8])
def test_n_of_n_networks_against_rejection(event, n):
    prior = box("a", "b", "c")
    posterior = Posterior(prior, prior.names, SuccessPotential(event, n, None), settings=FAST)
    draws = posterior.sample((4000,), seed=0)
    torch.manual_seed(1)
    theta = prior.sample((400_000,))
    exact = theta[torch.rand(len(theta)) < success(theta) ** n]
    assert len(exact) > 500
    torch.testing.assert_close(draws.mean(0), exact.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(draws.std(0), exact.std(0), rtol=0, atol=0.1)


def test_demanded_reliability_keeps_to_the_region_where_it_is_predicted(event):
    prior = box("a", "b", "c")
    posterior = Posterior(prior, prior.names, SuccessPotential(event, None, 0.7), settings=FAST)
    draws = posterior.sample((1000,), seed=0)
    assert (event.log_prob(draws).exp() >= 0.7 - 1e-5).all()
    assert success(draws).mean() > 0.7
    hopeless = Posterior(prior, prior.names, SuccessPotential(event, None, 0.9999), settings=FAST)
    with pytest.raises(ValueError, match="too few to start"):
        hopeless.sample((10,))


def test_certain_events_have_a_finite_probability():
    theta = box("a").sample((98,))
    always = fit_event_probability(theta, torch.ones(98, dtype=torch.bool), Standardiser.of(theta))
    assert always.log_prob(theta).exp().numpy() == pytest.approx(0.99)


def gaussian_learners(n, seed):
    """x = (theta_0 + theta_1, theta_0) + noise, and failures that depend on theta_0."""
    stream = torch.Generator().manual_seed(seed)
    theta = torch.rand(n, 2, generator=stream) * 2 - 1
    x = torch.stack([theta.sum(1), theta[:, 0]], 1) + 0.5 * torch.randn(n, 2, generator=stream)
    return theta, x


def exact_posterior(x):
    """Mean and covariance of the Gaussian likelihood of theta given learners (L, 2); flat prior, little cut off."""
    a = np.array([[1.0, 1.0], [1.0, 0.0]])
    precision = len(x) * a.T @ a / 0.25
    mean = np.linalg.solve(precision, a.T @ x.sum(0).numpy() / 0.25)
    return mean, np.linalg.inv(precision)


@pytest.mark.parametrize("estimator", ["ratio", "likelihood"])
def test_many_learners_against_the_closed_form(estimator):
    theta, x = gaussian_learners(4000, 0)
    length = torch.full((4000,), 300)
    standardiser = Standardiser.of(theta)
    valid = fit_event_probability(theta, torch.ones(4000, dtype=torch.bool), standardiser)
    if estimator == "ratio":
        model = fit_ratio(theta, x, length, valid, standardiser)
    else:
        few = LikelihoodSettings(members=2, hidden_features=20, epochs=10, min_steps=0)
        model = fit_likelihood(theta, x, length, valid, standardiser, settings=few)
    truth = torch.tensor([0.3, -0.2])
    x_o = torch.stack([truth.sum(), truth[0]]) + 0.5 * torch.randn(24, 2, generator=torch.Generator().manual_seed(5))
    potential = RatioPotential(model, x_o, torch.full((24,), 300)).eval()
    posterior = Posterior(box("a", "b"), ["a", "b"], potential, settings=FAST)
    draws = posterior.sample((1000,), seed=0).double().numpy()
    mean, cov = exact_posterior(x_o)
    sd = np.sqrt(np.diag(cov))
    assert np.abs((draws.mean(0) - mean) / sd).max() < 1.0
    assert np.all((draws.std(0) / sd > 0.75) & (draws.std(0) / sd < 1.35))


def test_ensembles_walk_on_their_own():
    posterior = Posterior(box("a", "b"), ["a", "b"], Gaussian(), settings=FAST)
    draws = posterior.draw(4000).draws
    assert torch.corrcoef(draws[:, :, 0])[0, 1:].abs().max() < 0.2


def test_sparse_rules_do_not_go_with_a_sequence_of_trials():
    family = PolynomialRule(degree=2)
    simulator = RateRNN(family, DelayedDiscrimination())
    prior = box(*family.names)
    theta = _thin_out_half(prior.sample((4000,)), simulator, prior, 0)
    sparse = (theta == 0).any(dim=1)
    assert 0.35 < sparse[::2].float().mean() < 0.6
    assert 0.35 < sparse[1::2].float().mean() < 0.6
    assert (theta[sparse] == 0).float().mean(dim=1).std() > 0.15, "from one term dropped to all"


def test_failures_weigh_on_the_likelihood_once_per_learner():
    theta, x = gaussian_learners(3000, 1)
    fails = torch.sigmoid(6 * theta[:, 1])  # rules of high theta_1 often fail
    ok = torch.rand(3000, generator=torch.Generator().manual_seed(2)) > fails
    standardiser = Standardiser.of(theta)
    valid = fit_event_probability(theta, ok, standardiser)
    flat = torch.zeros_like(x)  # summaries that say nothing: what is left is that nobody failed
    noise = torch.randn(len(x), 2, generator=torch.Generator().manual_seed(3))
    model = fit_ratio(theta[ok], (flat + noise)[ok], torch.full((int(ok.sum()),), 300), valid, standardiser)
    grid = torch.stack([torch.zeros(21), torch.linspace(-0.9, 0.9, 21)], 1)
    got = model.log_prob(grid, torch.zeros(8, 2), torch.full((8,), 300))
    expected = 8 * torch.log(1 - torch.sigmoid(6 * grid[:, 1]))
    difference = (got - got[0]) - (expected - expected[0])
    assert difference.abs().max() < 0.25 * (expected - expected[0]).abs().max()


def test_runs_are_cut_to_learners_whose_sequence_they_began_with():
    types = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]]).repeat(20, 1)
    error = torch.rand(40, 4)
    runs = Trajectory(
        torch.zeros(40, dtype=torch.int8), types, {"error": error, "output": error}, type_names=("A", "B")
    )
    wanted = torch.tensor([[0, 1, 0], [0, 1, -1], [1, 1, 0]])
    e = torch.where(wanted >= 0, 0.3, torch.nan)
    observed = Trajectory(torch.zeros(3, dtype=torch.int8), wanted, {"error": e}, type_names=("A", "B"))
    table = Trials(("x", "y", "z"), observed)
    rows, cut, length, _ = cut_like_learners(runs, table, 0)
    assert torch.equal(rows, torch.arange(40))
    assert set(length[::2].tolist()) == {2, 3}
    assert set(length[1::2].tolist()) == {3}
    assert torch.equal((cut.trial_types >= 0).sum(1), length)
    odd = Trials(
        ("w",), Trajectory(**{**observed.rows(torch.tensor([0])).__dict__, "trial_types": torch.tensor([[1, 0, 0]])})
    )
    with pytest.raises(ValueError, match="sequence of trial types of learner w"):
        cut_like_learners(runs, odd, 0)


def test_a_saved_posterior_gives_the_same_densities_in_a_new_process(event, tmp_path):
    uniform = torch.distributions.Uniform(-1.0, 1.0, validate_args=False)
    prior = IndependentPrior({"a": uniform, "b": uniform, "c": log_uniform(0.1, 1.0)})
    posterior = Posterior(prior, prior.names, SuccessPotential(event, 4, None), settings=FAST)
    posterior = posterior.with_draws(posterior.draw(200))
    posterior.save(tmp_path / "p")
    theta = prior.sample((20,))
    here = posterior.log_prob(theta)
    torch.save(theta, tmp_path / "theta.pt")
    script = (
        "import sys, torch; from sbirules import Posterior;"
        "p = Posterior.load(sys.argv[1]); t = torch.load(sys.argv[2], weights_only=True);"
        "torch.save(p.log_prob(t), sys.argv[3]); assert p.draws.shape == (200, 3)"
    )
    files = [str(tmp_path / "p"), str(tmp_path / "theta.pt"), str(tmp_path / "out.pt")]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
    assert torch.equal(torch.load(tmp_path / "out.pt", weights_only=True), here)
    (tmp_path / "p" / "posterior.safetensors").write_bytes(b"\x80\x04garbage")
    with pytest.raises(ValueError, match="is damaged"):
        Posterior.load(tmp_path / "p")
    with pytest.raises(ValueError, match=r"posterior\.json is missing"):
        Posterior.load(tmp_path)


def test_inference_data_has_a_scalar_per_coefficient(event):
    prior = box("a", "b", "c")
    posterior = Posterior(prior, prior.names, SuccessPotential(event, 4, None), settings=FAST)
    data = posterior.to_inference_data(400)
    assert set(data.posterior.data_vars) == {"a", "b", "c"}
    assert data.posterior["a"].dims == ("chain", "draw")
    assert data.posterior["a"].shape == (4, 100)
    assert "raw_per_unit" in data.prior["a"].attrs
    assert posterior.pairplot().axes


def test_an_sbi_posterior_is_wrapped():
    class Fake:
        def sample(self, shape, x=None, show_progress_bars=False):
            return torch.rand(*shape, 2)

        def log_prob(self, theta, x=None):
            return torch.zeros(len(theta))

    wrapped = Posterior.wrap(Fake(), box("a", "b"), ["a", "b"])
    assert wrapped.sample((50,)).shape == (50, 2)
    assert wrapped.potential(torch.zeros(3, 2)).shape == (3,)
    with pytest.raises(ValueError, match="2 columns, but 1 names"):
        Posterior.wrap(Fake(), box("a"), ["a"]).sample((5,))
    with pytest.raises(ValueError, match="method 'sample'"):
        Posterior.wrap(object(), box("a"), ["a"])


def test_constraints_are_closed_and_failures_violate_them():
    x = torch.tensor([[0.9, 1.0], [0.8999, 1.0], [0.95, math.nan], [0.95, 0.0]])
    c = Constraints.of({"accuracy": (0.9, None), "rate": (0.0, 1.0)})
    assert c.satisfied(x, ["accuracy", "rate"]).tolist() == [True, False, False, True]
    only = Constraints.of({"accuracy": (0.9, None)})
    assert only.satisfied(x, ["accuracy", "rate"]).tolist() == [True, False, True, True], "an undefined bystander"
    assert Constraints.of(c.config()).intervals == c.intervals
    for bad, words in [
        ({}, "at least one"),
        ({"a": (1, 0)}, "swap"),
        ({"a": 3}, "must be"),
        ({"a": (math.nan, 1)}, "number"),
    ]:
        with pytest.raises(ValueError, match=words):
            Constraints.of(bad)
    with pytest.raises(ValueError, match="did you mean 'rate'"):
        Constraints.of({"rat": (0, 1)}).satisfied(x, ["accuracy", "rate"])
