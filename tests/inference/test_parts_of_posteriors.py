"""Parts of a posterior, its maximum and its evidence, against closed forms."""

import math

import pytest
import torch
from sbi.utils import BoxUniform
from sbi.utils.user_input_checks import process_prior
from torch.distributions import Exponential, Independent, MultivariateNormal, Normal, Uniform

import sbirules as sr
from sbirules.priors import correlated_normal, spike_and_slab

NAMES = ("a", "b")
QUICK = sr.SamplerSettings(num_runs=4, num_particles=1024, num_moves=8, max_doublings=0)
WIDE = Independent(Uniform(-4 * torch.ones(2), 4 * torch.ones(2)), 1)
MEAN, COVARIANCE = torch.tensor([0.3, -0.2]), torch.tensor([[0.25, 0.12], [0.12, 0.16]])
EXACT = MultivariateNormal(MEAN, COVARIANCE)  # all but all of it inside WIDE
PLAIN = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
HALF = torch.tensor([[0.5, 0.0], [0.1, -0.5], [0.3, 0.3]])


class Sbis:
    """As sbi's posteriors are, but exact."""

    def sample(self, shape, x=None, show_progress_bars=False):
        return EXACT.sample(shape)

    def log_prob(self, theta, x=None):
        return EXACT.log_prob(theta)


def of_function(prior=WIDE):
    """The same posterior, by its likelihood: not normalised."""

    def log_likelihood(theta):
        return EXACT.log_prob(theta) + 5.0

    return sr.Posterior(prior, NAMES, log_likelihood, settings=QUICK)


def wrapped():
    return sr.Posterior.wrap(Sbis(), WIDE, NAMES)


def conditional(a):
    """Of b given a."""
    slope = COVARIANCE[0, 1] / COVARIANCE[0, 0]
    return Normal(MEAN[1] + slope * (a - MEAN[0]), (COVARIANCE[1, 1] - slope * COVARIANCE[0, 1]).sqrt())


def log_mass(a, b):
    """Of the exact posterior in a box, by the two-dimensional trapezoidal rule."""
    x, y = torch.linspace(*a, 2001), torch.linspace(*b, 2001)
    density = EXACT.log_prob(torch.cartesian_prod(x, y)).exp().reshape(2001, 2001)
    return math.log(float(torch.trapezoid(torch.trapezoid(density, y, dim=1), x)))


@pytest.mark.parametrize("make", [wrapped, of_function])
def test_a_conditioned_density_is_the_conditional(make):
    part = make().conditioned(a=0.5)
    b = torch.linspace(-1.0, 1.0, 9)
    rules = torch.stack([torch.full_like(b, 0.5), b], dim=1)
    value = part.log_prob(rules) - (0.0 if part.normalised else part.log_evidence()[0])
    torch.testing.assert_close(value, conditional(0.5).log_prob(b), atol=0.1, rtol=0)
    assert part.normalised == (make is wrapped)
    draws = part.sample((2000,))[:, 1]
    assert float(draws.mean()) == pytest.approx(float(conditional(0.5).mean), abs=0.03)
    assert torch.isinf(part.log_prob([[0.51, 0.0]])).all(), "elsewhere there is nothing of it"


@pytest.mark.parametrize("make", [wrapped, of_function])
def test_a_truncated_density_integrates_to_one(make):
    part = make().truncated(a=(0.0, 0.6), b=(-0.4, 0.1))
    inside = torch.tensor([[0.3, -0.2], [0.1, 0.0]])
    value = part.log_prob(inside) - (0.0 if part.normalised else part.log_evidence()[0])
    mass = log_mass((0.0, 0.6), (-0.4, 0.1))
    torch.testing.assert_close(value, EXACT.log_prob(inside) - mass, atol=0.1, rtol=0)
    assert torch.isinf(part.log_prob([[0.7, 0.0]])).all()
    again = part.truncated(b=(-0.2, 0.1))  # parts of parts know their own share
    value = again.log_prob(inside) - (0.0 if again.normalised else again.log_evidence()[0])
    expected = EXACT.log_prob(inside) - log_mass((0.0, 0.6), (-0.2, 0.1))
    torch.testing.assert_close(value, expected, atol=0.1, rtol=0)


def test_a_whole_normalised_density_stays_as_it_is():
    torch.testing.assert_close(wrapped().log_prob(HALF), EXACT.log_prob(HALF))
    assert wrapped().log_evidence()[0] == pytest.approx(0.0, abs=0.1)


@pytest.mark.filterwarnings("ignore")
def test_coefficients_can_be_fixed_under_gaussian_and_plain_priors():
    """Likelihood N(y; a + b, .5^2), y = 1; by completing squares."""

    def log_likelihood(theta):
        return Normal(theta.sum(dim=1), 0.5).log_prob(torch.tensor(1.0))

    rho = 0.8
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]])
    priors = {
        "correlated": (correlated_normal(Two(), covariance), rho),
        "torch's": (MultivariateNormal(torch.zeros(2), covariance), rho),
        "independent": (PLAIN, 0.0),
        "list": ([Normal(0.0, 1.0), Normal(0.0, 1.0)], 0.0),
    }
    for prior, r in priors.values():
        part = sr.Posterior(prior, NAMES, log_likelihood, settings=QUICK).conditioned(a=0.7)
        before = Normal(torch.tensor(0.7 * r), torch.tensor(1 - r**2).sqrt())  # of b given a
        precision = 1 / before.variance + 4.0
        mean = (before.mean / before.variance + 4.0 * (1.0 - 0.7)) / precision
        exact = Normal(mean, precision.rsqrt())
        draws = part.sample((2000,))
        assert (draws[:, 0] == 0.7).all()
        assert float(draws[:, 1].mean()) == pytest.approx(float(mean), abs=0.04)
        assert float(draws[:, 1].std()) == pytest.approx(float(exact.stddev), rel=0.1)
        evidence = Normal(0.7 + before.mean, (before.variance + 0.25).sqrt()).log_prob(torch.tensor(1.0))
        assert part.log_evidence()[0] == pytest.approx(float(evidence), abs=0.1)
        b = torch.tensor([[0.7, 0.2]])
        assert float(part.log_prob(b)) - part.log_evidence()[0] == pytest.approx(
            float(exact.log_prob(b[0, 1])), abs=0.1
        )
    mine = process_prior(Object(), {"lower_bound": -9 * torch.ones(2), "upper_bound": 9 * torch.ones(2)})[0]
    unknown = sr.Posterior(mine, NAMES, log_likelihood)
    with pytest.raises(ValueError, match="conditioned needs a prior whose coefficients are independent"):
        unknown.conditioned(a=0.0)
    with pytest.raises(ValueError, match="lies outside the prior"):
        of_function().conditioned(a=5.0)


def test_an_absent_term_is_counted_with_its_probability():
    """Spike-and-slab: a fixed at 0 has the prior probability that it is absent."""
    prior = spike_and_slab(Two(), 0.25)
    posterior = sr.Posterior(prior, NAMES, lambda theta: -theta.square().sum(dim=1), settings=QUICK)
    rules = torch.tensor([[0.0, 0.3]])
    found = posterior.conditioned(a=0.0).log_prob(rules)
    assert float(found) == pytest.approx(float(posterior.log_prob(rules)) - math.log(0.75), abs=1e-5)


class Two(sr.Oja):
    coefficients = (sr.Coefficient("a"), sr.Coefficient("b"))

    def change(self, theta, *, pre, post):
        return theta["a"] * pre + theta["b"] * post


class Object:
    def sample(self, sample_shape=()):
        return torch.randn(*sample_shape, 2).numpy()

    def log_prob(self, value):
        import numpy as np

        return -0.5 * np.square(np.asarray(value)).sum(-1)


class Flat:
    """Of numpy, on (-1, 1)."""

    def sample(self, sample_shape=()):
        return 2 * torch.rand(*sample_shape, 2).numpy() - 1

    def log_prob(self, value):
        import numpy as np

        return np.full(len(np.asarray(value)), -math.log(4.0))


# The maximum --------------------------------------------------------------------------------------


def beyond(theta):
    """x = theta + .2 noise, x_o = (1.3, .2)."""
    return -0.5 * ((theta - torch.tensor([1.3, 0.2])) / 0.2).square().sum(dim=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("prior", "best"),
    [
        (BoxUniform(-torch.ones(2), torch.ones(2)), (1.0, 0.2)),
        ([Uniform(-1.0, 1.0), Uniform(-1.0, 0.1)], (1.0, 0.1)),
        (Uniform(torch.tensor([1.5, -1.0]), torch.tensor([3.0, 1.0])), (1.5, 0.2)),
        (PLAIN, (1.25, 0.2 / 1.04)),
        ([Exponential(1.0), Normal(0.0, 1.0)], (1.26, 0.2 / 1.04)),
        (process_prior(Flat(), {"lower_bound": -torch.ones(2), "upper_bound": torch.ones(2)})[0], (1.0, 0.2)),
    ],
)
def test_the_maximum_goes_up_to_the_edge_and_not_beyond(prior, best):
    posterior = sr.Posterior(prior, NAMES, beyond, settings=QUICK)
    for ask in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with ask():
            found = posterior.map()
            assert found.tolist() == pytest.approx(best, abs=5e-3)
            assert torch.isfinite(posterior.prior.log_prob(found[None])).all()
            assert torch.isfinite(posterior.log_prob(found)).all()


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_maximum_does_not_depend_on_the_scale(scale):
    prior = BoxUniform(-scale * torch.ones(2), scale * torch.ones(2))
    posterior = sr.Posterior(prior, NAMES, lambda theta: beyond(theta / scale), settings=QUICK)
    assert (posterior.map() / scale).tolist() == pytest.approx((1.0, 0.2), abs=5e-3)


def test_the_maximum_under_npe_lies_at_the_edge_and_inside():
    torch.manual_seed(0)
    theta = 2 * torch.rand(1000, 2) - 1
    store = sr.SimulationStore.from_arrays(theta, theta + 0.2 * torch.randn(1000, 2), names=NAMES)
    prior = Independent(Uniform(-torch.ones(2), torch.ones(2)), 1)
    small = sr.NPESettings(members=1, hidden_features=20, epochs=20, min_steps=0)
    with torch.no_grad():  # which a fit does without
        posterior = sr.fit(store, prior, x_o=[1.3, 0.2], estimator="npe", settings=small)
    found = posterior.map()
    assert (found.abs() <= 1).all()
    assert float(found[0]) > 0.95
    assert float(found[1]) == pytest.approx(0.2, abs=0.15)
    draws = posterior.conditioned(b=0.2).sample((200,))
    assert float(draws[:, 0].mean()) > 0.8
    assert (draws.abs() <= 1).all()
    with pytest.raises(ValueError, match="outside the prior"):
        posterior.conditioned(b=1.2)
