"""Priors that people bring: whatever sbi takes works, or is refused by name before anything is computed."""

import math

import pytest
import torch
from cheap import Cheap
from sbi.utils import BoxUniform, MultipleIndependent
from sbi.utils.user_input_checks import process_prior
from torch import ones, zeros
from torch.distributions import (
    Beta,
    Categorical,
    Dirichlet,
    Distribution,
    Exponential,
    ExpTransform,
    Gamma,
    HalfCauchy,
    Independent,
    LogNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Poisson,
    TransformedDistribution,
    Uniform,
)

import sbirules as sr
from sbirules.priors import as_prior, from_written, spike_and_slab, uniform, written_down

NAMES = ("a", "b")


class Mine(Distribution):
    """A class of one's own, without support, mean or bounds."""

    arg_constraints = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self):
        super().__init__(event_shape=torch.Size([2]), validate_args=False)

    def sample(self, sample_shape=()):
        return torch.randn(*sample_shape, 2)

    def log_prob(self, value):
        return -0.5 * value.square().sum(-1) - math.log(2 * math.pi)


class Object:
    def sample(self, sample_shape=()):
        return torch.randn(*sample_shape, 2)

    def log_prob(self, value):
        return -0.5 * value.square().sum(-1)


def gamma_and_beta():
    return MultipleIndependent([Gamma(2 * ones(1), ones(1)), Beta(2 * ones(1), 3 * ones(1))])


TAKEN = {
    "MultipleIndependent": gamma_and_beta,
    "MultipleIndependent with a Gaussian": lambda: MultipleIndependent(
        [Gamma(ones(1), ones(1)), MultivariateNormal(ones(1), torch.eye(1))]
    ),
    "BoxUniform": lambda: BoxUniform(-ones(2), ones(2)),
    "batch shape": lambda: Uniform(zeros(2), ones(2)),
    "Independent": lambda: Independent(Normal(zeros(2), ones(2)), 1),
    "double precision": lambda: Independent(Uniform(zeros(2).double(), ones(2).double()), 1),
    "list of scalars": lambda: [Uniform(0.0, 1.0), Normal(0.0, 1.0)],
    "list of batches": lambda: [Uniform(zeros(1), ones(1)), Exponential(ones(1))],
    "list without moments": lambda: [LogNormal(0.0, 1.0), HalfCauchy(1.0)],
    "Gaussian": lambda: MultivariateNormal(zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]])),
    "processed list": lambda: process_prior([Uniform(zeros(1), ones(1)), Normal(zeros(1), ones(1))])[0],
    "processed double": lambda: process_prior(Independent(Uniform(zeros(2).double(), ones(2).double()), 1))[0],
    "processed object": lambda: process_prior(Object(), {"lower_bound": -9 * ones(2), "upper_bound": 9 * ones(2)})[0],
    "one's own": Mine,
    "mixture": lambda: MixtureSameFamily(
        Categorical(ones(2)), Independent(Normal(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), ones(2, 2)), 1)
    ),
    "transformed": lambda: TransformedDistribution(Normal(zeros(2), ones(2)), [ExpTransform()]),
}
EXACT = {  # densities at (.5, .25), by hand
    "MultipleIndependent": math.log(0.5 * math.exp(-0.5)) + math.log(12 * 0.25 * 0.75**2),
    "batch shape": 0.0,
    "list of scalars": -0.5 * 0.25**2 - 0.5 * math.log(2 * math.pi),
    "Independent": -0.5 * (0.5**2 + 0.25**2) - math.log(2 * math.pi),
}


@pytest.fixture
def checks_on():
    before = Distribution._validate_args
    Distribution.set_default_validate_args(True)  # as torch has it before zuko is imported
    yield
    Distribution.set_default_validate_args(before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TAKEN)
def test_what_sbi_takes_is_one_distribution_over_vectors(kind, checks_on):
    given = TAKEN[kind]()
    prior = as_prior(given, NAMES)
    assert prior.names == NAMES
    assert prior.event_shape == (2,)
    theta = prior.sample((50,))
    assert theta.dtype == torch.float32
    assert theta.shape == (50, 2)
    assert torch.isfinite(prior.log_prob(theta)).all()
    assert prior.log_prob(theta.reshape(5, 10, 2)).shape == (5, 10)
    far = torch.tensor([[-50.0, -50.0]])
    assert float(prior.log_prob(far)) < -1000, "no error and no density outside the support"
    if kind in EXACT:
        assert float(prior.log_prob(torch.tensor([[0.5, 0.25]]))) == pytest.approx(EXACT[kind], abs=1e-5)
    plain = written_down(prior)
    if plain is not None:
        torch.testing.assert_close(from_written(plain).log_prob(theta), prior.log_prob(theta))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: Uniform(0.0, 1.0), "prior is over one number, but there are 2 coefficients"),
        (lambda: Uniform(zeros(3), ones(3)), r"one column per coefficient \(a, b\), 2, got 3"),
        (lambda: Uniform(zeros(2, 2), ones(2, 2)), r"got batch shape \(2, 2\)"),
        (lambda: MultivariateNormal(zeros(1, 2), torch.eye(2)), r"got batch shape \(1,\)"),
        (lambda: Dirichlet(ones(2)), "that of Dirichlet is not one"),
        (lambda: Independent(Poisson(ones(2)), 1), "Poisson is over whole numbers"),
        (lambda: [Uniform(0.0, 1.0), 3.0], r"prior\[1\] must be a torch Distribution, got float"),
        (lambda: [], "must not be an empty list"),
        (lambda: [spike_and_slab(sr.Oja(), 0.5), Uniform(0.0, 1.0)], "continuous; spike_and_slab"),
        (lambda: __import__("scipy.stats").stats.norm(0, 1), "got scipy's norm"),
        (Object, "process_prior"),
        (lambda: None, "must be a torch Distribution, got NoneType"),
        (lambda: "uniform", "must be a torch Distribution, got str"),
    ],
)
def test_what_is_no_prior_is_refused_by_name_everywhere(given, words):
    """In as_prior, simulate, fit and Posterior, before anything is computed."""

    def never(theta):
        raise AssertionError("computed")

    theta = torch.rand(200, 2)
    store = sr.SimulationStore.from_arrays(theta, theta, names=NAMES)
    for call in (
        lambda: as_prior(given(), NAMES),
        lambda: sr.fit(store, given(), x_o=[0.5, 0.5]),
        lambda: sr.simulate(Cheap(), given(), 10, num_workers=1),
        lambda: sr.Posterior(given(), NAMES, never),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_one_coefficient_takes_a_distribution_over_numbers():
    for given in (Uniform(0.0, 1.0), Uniform(zeros(1), ones(1)), [Uniform(0.0, 1.0)]):
        assert as_prior(given, ("a",)).sample((3,)).shape == (3, 1)


def test_what_is_given_stays_as_it_is(checks_on):
    given = Independent(Uniform(zeros(2).double(), ones(2).double()), 1)
    as_prior(given, NAMES)
    assert given._validate_args
    assert given.base_dist.low.dtype == torch.float64
    with pytest.raises(ValueError, match="within the support"):
        given.log_prob(torch.tensor([2.0, 2.0]))
    own = uniform(sr.PolynomialRule(degree=1), -1, 1)
    assert as_prior(own, own.names) is own


def test_a_plain_prior_gives_the_draws_that_torch_gives():
    given = BoxUniform(-ones(2), ones(2))
    torch.manual_seed(1)
    expected = given.sample((20,))
    torch.manual_seed(1)
    assert torch.equal(as_prior(given, NAMES).sample((20,)), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["MultipleIndependent", "batch shape", "mixture"])
def test_priors_that_people_bring_are_simulated_and_sampled_under(kind, checks_on):
    """Posterior means against weighted draws of the prior."""
    given = TAKEN[kind]()
    store = sr.simulate(Cheap(), given, 40, num_workers=1, progress=False)
    assert store.theta.shape == (40, 2)

    def bell(theta):
        return -0.5 * ((theta - 0.4) / 0.2).square().sum(dim=1)

    quick = sr.SamplerSettings(num_runs=2, num_particles=512, num_moves=6, max_doublings=0)
    posterior = sr.Posterior(given, NAMES, bell, settings=quick)
    draws = posterior.sample((2000,))
    theta = as_prior(given, NAMES).sample((200_000,))
    weight = torch.softmax(bell(theta).double(), dim=0)[:, None]
    mean = (weight * theta).sum(dim=0)
    sd = (weight * (theta - mean).square()).sum(dim=0).sqrt()
    assert ((draws.mean(dim=0) - mean).abs() < 0.15 * sd).all()
    best = posterior.map()
    assert torch.isfinite(posterior.log_prob(best)).all()
    assert float(posterior.log_prob(best)) >= float(posterior.log_prob(draws).max()) - 1e-4
