"""Several episodes of a known network: exact likelihood, its gradient, and NUTS against weighted draws."""

import math

import pytest
import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import KnownNetwork

FAMILY = sr.PolynomialRule(degree=2, terms=["theta_11", "theta_20"])
SMALL = KnownNetwork(FAMILY, num_units=12, episodes=2, projections=4)
BOX = uniform(FAMILY, -1, 1)


def test_the_likelihood_is_that_of_its_own_noise():
    theta = torch.tensor([[0.5, -0.4]])
    run = SMALL.run(theta.repeat(4000, 1), seed=1)
    x = torch.stack([run.activity[name] for name in SMALL.layout.named("run")], dim=1)
    mean = SMALL.mean(theta)[0]
    assert (x.double().mean(dim=0) - mean).abs().max() < 5 * SMALL.noise / math.sqrt(4000)
    torch.testing.assert_close(x.std(dim=0), torch.full((4,), SMALL.noise), rtol=0.05, atol=0)
    want = torch.distributions.Normal(mean, SMALL.noise).log_prob(x[0].double()).sum()
    assert SMALL.log_likelihood(theta, x[0])[0].item() == pytest.approx(float(want), rel=1e-9)


def test_projections_have_unit_variance_and_are_not_linear_in_theta():
    full = KnownNetwork(num_units=12, episodes=3)
    theta = 2 * torch.rand(400, 9) - 1
    with torch.no_grad():
        x = full.mean(theta)
    assert x.std(dim=0).min() > 0.3
    assert x.std(dim=0).max() < 2.0
    design = torch.cat([torch.ones(400, 1), theta], dim=1).double()
    left = x - design @ torch.linalg.lstsq(design, x).solution
    assert left.std() > 0.02 * x.std(), "later episodes depend on what earlier ones did"


def test_the_gradient_is_that_of_finite_differences():
    x_o = torch.tensor([0.3, -0.5, 0.2, 0.1])
    theta = torch.tensor([[0.4, -0.2], [-0.7, 0.6]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(SMALL.log_likelihood(theta, x_o).sum(), theta)
    step = 1e-5
    with torch.no_grad():
        for k in range(2):
            move = step * torch.eye(2, dtype=torch.float64)[k]
            numeric = (SMALL.log_likelihood(theta + move, x_o) - SMALL.log_likelihood(theta - move, x_o)) / (2 * step)
            torch.testing.assert_close(slope[:, k], numeric, rtol=1e-5, atol=1e-6)


def test_nuts_draws_what_weighted_draws_of_the_prior_say():
    torch.manual_seed(2)
    x_o = SMALL(torch.tensor([0.5, -0.4]))
    draws = SMALL.nuts(x_o, BOX, 200, warmup=60, seed=1)
    assert draws.abs().max() <= 1
    theta = BOX.sample((3000,))
    with torch.no_grad():
        weight = torch.softmax(SMALL.log_likelihood(theta, x_o), dim=0)[:, None]
    mean = (weight * theta).sum(dim=0)
    sd = (weight * (theta - mean) ** 2).sum(dim=0).sqrt()
    assert ((draws.mean(dim=0) - mean).abs() / sd).max() < 0.3
    torch.testing.assert_close(draws.std(dim=0).double(), sd, rtol=0.25, atol=0)


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="x_o must hold 4 projections, got 3"):
        SMALL.log_likelihood(torch.zeros(1, 2), torch.zeros(3))
    with pytest.raises(ValueError, match="noise"):
        KnownNetwork(FAMILY, noise=0.0)
    with pytest.raises(ValueError, match="episodes"):
        KnownNetwork(FAMILY, episodes=0)
