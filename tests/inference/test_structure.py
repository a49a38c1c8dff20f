"""Priors in which terms may be absent or depend on each other, and what a posterior says of a rule's structure."""

import math
import pickle

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import safetensors.torch
import torch
from scipy import integrate, stats
from torch import nn

from sbirules import PolynomialRule, Posterior, SamplerSettings
from sbirules.inference.estimators import SuccessPotential
from sbirules.neural_nets.classifiers import EventProbability
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.priors import (
    CorrelatedNormal,
    Horseshoe,
    IndependentPrior,
    SpikeAndSlab,
    correlated_normal,
    from_pyro,
    horseshoe,
    log_uniform,
    spike_and_slab,
    two_sided,
    uniform,
)

FAMILY = PolynomialRule(degree=2, terms=["theta_02", "theta_11", "theta_20"])
TIMED = PolynomialRule(degree=1, terms=["theta_11"], infer=["tau_e"])


# Priors ----------------------------------------------------------------------------------------------


def test_a_horseshoe_has_the_density_of_its_draws():
    prior = Horseshoe(0.3)
    draws = prior.sample((40_000,)).numpy()

    def density(x):
        return float(prior.log_prob(torch.tensor([x], dtype=torch.float64)).exp())

    assert 2 * integrate.quad(density, 0, 1, points=[1e-3])[0] == pytest.approx(np.mean(abs(draws) < 1), abs=0.01)
    assert 2 * integrate.quad(density, 1, 3)[0] == pytest.approx(np.mean((abs(draws) > 1) & (abs(draws) < 3)), abs=0.01)
    x = torch.tensor([1e-3, -0.2, 0.7, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(prior.log_prob, x)
    # against the mixture that defines it
    local = stats.halfcauchy.ppf((np.arange(200_000) + 0.5) / 200_000)
    for x in (0.05, 0.5, 4.0, 40.0):
        assert density(x) == pytest.approx(stats.norm.pdf(x, scale=0.3 * local).mean(), rel=5e-3)


def test_two_sided_is_uniform_away_from_zero():
    prior = two_sided(0.4, 1.0)
    draws = prior.sample((20_000,))
    assert draws.abs().min() >= 0.4
    assert stats.kstest(draws.abs().numpy(), stats.uniform(0.4, 0.6).cdf).pvalue > 1e-4
    assert (draws > 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert prior.log_prob(draws[:3]).exp().tolist() == pytest.approx([1 / 1.2] * 3)
    assert prior.log_prob(torch.tensor([0.2, 1.1])).exp().sum() == 0
    assert prior.variance.item() == pytest.approx(draws.var().item(), rel=0.02)


def test_spike_and_slab_counts_presence_and_keeps_time_constants():
    prior = spike_and_slab(TIMED, 0.3, (-1, 1), tau_e=log_uniform(10, 100))
    theta = prior.sample((20_000,))
    assert (theta[:, 0] != 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert (theta[:, 1] >= 10).all()
    assert prior.variance[0].item() == pytest.approx(theta[:, 0].var().item(), rel=0.05)
    # the absent term is a point of probability .7, the present one has the slab's density
    tau = math.log(1 / (20.0 * math.log(10)))
    value = prior.log_prob(torch.tensor([[0.0, 20.0], [0.5, 20.0], [1.5, 20.0]]))
    assert value[0].item() == pytest.approx(math.log(0.7) + tau, abs=1e-5)
    assert value[1].item() == pytest.approx(math.log(0.3 * 0.5) + tau, abs=1e-5)
    assert value[2] == -math.inf


def test_switching_terms_leaves_the_prior_as_it_is():
    """Metropolis with these moves and a flat likelihood: what was drawn from the prior stays so."""
    prior = spike_and_slab(FAMILY, {"theta_02": 0.2, "theta_11": 0.6}, two_sided(0.4, 1.0))
    theta = prior.sample((20_000,))
    for _ in range(20):
        new, log_ratio = prior.propose_switch(theta)
        yes = torch.log(torch.rand(len(theta))) < log_ratio
        theta = torch.where(yes[:, None], new, theta)
    share = (theta != 0).float().mean(dim=0)
    torch.testing.assert_close(share, torch.tensor([0.2, 0.6, 1.0]), atol=0.02, rtol=0)
    both = ((theta[:, 0] != 0) & (theta[:, 1] != 0)).float().mean()
    assert both.item() == pytest.approx(0.12, abs=0.015)


def test_a_correlated_prior_is_the_gaussian_it_says():
    covariance = [[0.2, 0.1, 0.0], [0.1, 0.3, 0.0], [0.0, 0.0, 0.1]]
    prior = correlated_normal(FAMILY, covariance, mean=0.5)
    theta = prior.sample((50,))
    want = stats.multivariate_normal([0.5] * 3, covariance).logpdf(theta.double().numpy())
    np.testing.assert_allclose(prior.log_prob(theta).numpy(), want, rtol=1e-4, atol=1e-4)


def test_a_pyro_model_becomes_the_mixture_that_it_describes():
    def model():
        scale = pyro.sample("scale", dist.LogNormal(-1.0, 0.3))
        a = pyro.sample("theta_02", dist.Normal(0.0, scale))
        pyro.sample("theta_11", dist.Normal(a, 0.2))
        pyro.sample("theta_20", dist.Uniform(-1.0, 1.0))

    prior = from_pyro(model, FAMILY, hyperparameter_draws=4000)
    theta = prior.sample((20_000,))
    assert torch.corrcoef(theta.T)[0, 1] > 0.7
    assert theta[:, 2].abs().max() <= 1
    scale = stats.lognorm.ppf((np.arange(4000) + 0.5) / 4000, s=0.3, scale=math.exp(-1.0))
    for rule in ([0.1, 0.2, 0.5], [-0.8, -0.5, 0.0]):
        want = stats.norm.pdf(rule[0], 0, scale).mean() * stats.norm.pdf(rule[1], rule[0], 0.2) * 0.5
        assert prior.log_prob(torch.tensor(rule)).exp().item() == pytest.approx(want, rel=0.05)
    assert prior.log_prob(torch.tensor([0.0, 0.0, 1.2])) == -math.inf


@pytest.mark.parametrize(
    "prior",
    [
        spike_and_slab(FAMILY, 0.3, two_sided(0.4, 1.0)),
        horseshoe(FAMILY, 0.2),
        correlated_normal(FAMILY, 0.1 * torch.eye(3), [0.0, 0.1, 0.2]),
    ],
)
def test_priors_are_rebuilt_from_their_config(prior):
    again = type(prior).from_config(prior.config())
    theta = prior.sample((50,))
    torch.testing.assert_close(again.log_prob(theta), prior.log_prob(theta))
    assert isinstance(again, (SpikeAndSlab, CorrelatedNormal, IndependentPrior))


def vector_sites():
    for name in FAMILY.names:
        pyro.sample(name, dist.Normal(torch.zeros(3, 1), 1.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: two_sided(1.0, 0.4), "low must be less than high"),
        (lambda: two_sided(-1.0, 0.4), "low"),
        (lambda: horseshoe(FAMILY, 0.0), "scale"),
        (lambda: spike_and_slab(FAMILY, 1.0), "between 0 and 1"),
        (lambda: spike_and_slab(FAMILY, {"theta_99": 0.5}), "theta_99"),
        (lambda: spike_and_slab(FAMILY, {}), "at least one"),
        (lambda: spike_and_slab(TIMED, 0.5), "tau_e"),
        (lambda: correlated_normal(FAMILY, torch.eye(2)), r"must have shape \(3, 3\)"),
        (lambda: correlated_normal(FAMILY, -torch.eye(3)), "positive definite"),
        (lambda: correlated_normal(TIMED, torch.eye(2)), "tau_e is positive"),
        (lambda: from_pyro(3, FAMILY), "must be a function"),
        (lambda: from_pyro(lambda: pyro.sample("theta_02", dist.Normal(0.0, 1.0)), FAMILY), "no site 'theta_11'"),
        (lambda: from_pyro(vector_sites, FAMILY), "one number"),
    ],
)
def test_bad_priors_are_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# Structure -------------------------------------------------------------------------------------------


class Sum(nn.Module):
    """Data that see only theta_02 + theta_11, and that theta_20 is about -0.7."""

    kind = "test"

    def forward(self, theta):
        return -0.5 * (((theta[:, 0] + theta[:, 1] - 0.7) / 0.1) ** 2 + ((theta[:, 2] + 0.7) / 0.1) ** 2)


@pytest.fixture(scope="module")
def structure():
    prior = spike_and_slab(FAMILY, 0.3, two_sided(0.4, 1.0))
    posterior = Posterior(prior, FAMILY.names, Sum(), settings=SamplerSettings(max_doublings=0))
    posterior.sample((4000,), seed=0)
    return posterior


def test_terms_that_stand_in_for_each_other_are_named_together(structure):
    chance = structure.inclusion_probabilities()
    assert chance["theta_20"] > 0.99
    assert 0.35 < chance["theta_02"] < 0.65
    (pair,) = structure.collinear_terms()
    assert pair.terms == ("theta_02", "theta_11")
    assert pair.either > 0.99
    assert "theta_02 or theta_11" in str(pair)


def test_the_most_probable_rules_are_printed_as_equations(structure):
    rules = structure.top_rules(3, FAMILY)
    assert {rules[0].terms, rules[1].terms} == {("theta_02", "theta_20"), ("theta_11", "theta_20")}
    assert rules[0].probability + rules[1].probability > 0.85
    assert rules[0].mean[2].item() == pytest.approx(-0.7, abs=0.05)
    assert rules[0].equation.startswith("de_ij/dt = ")
    with pytest.raises(ValueError, match="family has"):
        structure.top_rules(2, TIMED)


def test_the_mode_keeps_absent_terms_absent(structure):
    best = structure.map()
    assert sorted((best != 0).tolist()) == [False, True, True]
    assert best[2].item() == pytest.approx(-0.7, abs=0.01)


# Files -----------------------------------------------------------------------------------------------


def saved(folder):
    names = FAMILY.names
    prior = uniform(FAMILY, -1, 1)
    net = EventProbability(Standardiser.of(prior.sample((500,)), None), EnsembleSettings(members=2))
    posterior = Posterior(prior, names, SuccessPotential(net, 2, None))
    posterior.truncated(theta_11=(0.0, 0.5)).save(folder)
    return posterior


def test_a_part_of_a_posterior_survives_saving(tmp_path):
    posterior = saved(tmp_path)
    theta = posterior.prior.sample((200,))
    want = posterior.truncated(theta_11=(0.0, 0.5)).log_prob(theta)
    assert 20 < torch.isfinite(want).sum() < 120
    assert torch.equal(Posterior.load(tmp_path).log_prob(theta), want)


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle ran",))


def test_a_file_with_a_pickle_in_it_is_refused_and_not_run(tmp_path, capsys):
    saved(tmp_path)
    path = tmp_path / "posterior.safetensors"
    whole = path.read_bytes()
    torch.save({"net": Bomb()}, path)
    with pytest.raises(ValueError, match="is damaged"):
        Posterior.load(tmp_path)
    path.write_bytes(whole + pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="is damaged"):
        Posterior.load(tmp_path)
    path.write_bytes(whole)
    Posterior.load(tmp_path)
    (tmp_path / "posterior.json").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"posterior\.json"):
        Posterior.load(tmp_path)
    assert "a pickle ran" not in capsys.readouterr().out


def test_tensors_of_another_posterior_are_refused(tmp_path):
    saved(tmp_path / "a")
    other = safetensors.torch.load_file(tmp_path / "a" / "posterior.safetensors")
    safetensors.torch.save_file(
        {k: v + 1 for k, v in other.items()}, tmp_path / "a" / "posterior.safetensors", {"content": "0"}
    )
    with pytest.raises(ValueError, match=r"is damaged"):
        Posterior.load(tmp_path / "a")
