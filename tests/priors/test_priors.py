"""Priors against scipy, and inside sbi."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Beta, Normal

from sbirules import PolynomialRule
from sbirules.priors import IndependentPrior, log_uniform, normal, uniform

FAMILY = PolynomialRule(degree=1, terms=["theta_11"], infer=["tau_e", "tau_w"])


def mixed():
    return uniform(FAMILY, -0.6, 0.6, tau_e=log_uniform(50, 5000), tau_w=(10, 1000))


def test_density_and_draws_agree_with_scipy():
    prior = mixed()
    assert prior.names == FAMILY.names
    torch.manual_seed(0)
    theta = prior.sample((4000,))
    parts = [stats.uniform(-0.6, 1.2), stats.loguniform(50, 5000), stats.uniform(10, 990)]
    expected = sum(p.logpdf(theta[:, i].double().numpy()) for i, p in enumerate(parts))
    np.testing.assert_allclose(prior.log_prob(theta).numpy(), expected, rtol=1e-4)
    for i, p in enumerate(parts):
        assert stats.kstest(theta[:, i].numpy(), p.cdf).pvalue > 1e-4
        assert prior.mean[i].item() == pytest.approx(p.mean(), rel=1e-3, abs=1e-6)
        assert prior.variance[i].item() == pytest.approx(p.var(), rel=1e-3)


def test_density_is_zero_outside():
    inside = torch.tensor([0.1, 100.0, 20.0])
    for column, value in ((0, 0.7), (0, -0.61), (1, 49.0), (1, 5001.0), (2, 9.0)):
        theta = inside.clone()
        theta[column] = value
        assert mixed().log_prob(theta) == -math.inf
    assert mixed().log_prob(inside).isfinite()


@pytest.mark.parametrize(
    "prior",
    [
        mixed(),
        normal(PolynomialRule(degree=1)),
        uniform(PolynomialRule(degree=1)),
        IndependentPrior({"a": Normal(0.0, 1.0), "b": log_uniform(1, 2)}),
    ],
)
def test_sbis_unconstrained_scale_maps_back_inside(prior):
    from sbi.utils import mcmc_transform
    from sbi.utils.user_input_checks import process_prior

    process_prior(prior)
    transform = mcmc_transform(prior)
    theta = prior.sample((200,))
    torch.testing.assert_close(transform.inv(transform(theta)), theta, rtol=1e-3, atol=1e-3)
    back = transform.inv(3 * torch.randn(500, theta.shape[1]))
    assert prior.log_prob(back).isfinite().all()
    assert transform.log_abs_det_jacobian(theta, transform(theta)).shape == (200,)


def test_a_prior_is_rebuilt_from_its_config():
    prior = mixed()
    again = IndependentPrior.from_config(prior.config())
    theta = prior.sample((50,))
    torch.testing.assert_close(again.log_prob(theta), prior.log_prob(theta))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: uniform(PolynomialRule(degree=1), 1, -1), "swap"),
        (lambda: uniform(PolynomialRule(degree=1), 0, math.inf), "finite"),
        (lambda: uniform(FAMILY, -1, 1), "tau_e is not measured in natural units"),
        (lambda: uniform(FAMILY, tau_e=(-5, 5), tau_w=(1, 2)), r"tau_e must lie in \[0"),
        (lambda: uniform(FAMILY, tau_e=(1, 5), tau_w=(0.5, 2)), r"tau_w must lie in \[1"),
        (lambda: uniform(PolynomialRule(degree=1), theta_12=(0, 1)), "theta_12"),
        (lambda: uniform(PolynomialRule(degree=1), theta_11=Beta(torch.ones(2), torch.ones(2))), "univariate"),
        (lambda: normal(PolynomialRule(degree=1), 0, -1), "sd must be"),
        (lambda: log_uniform(0, 5), "greater than 0"),
        (lambda: log_uniform(5, 5), "low must be less than high"),
        (lambda: IndependentPrior({}), "at least one"),
    ],
)
def test_bad_input_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()
