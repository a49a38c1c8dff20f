"""Sequential Monte Carlo against closed forms and against weighted draws of the prior."""

import math
import time

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Uniform

from sbirules import PolynomialRule, Posterior
from sbirules.checks.references import compare
from sbirules.priors import IndependentPrior, normal, spike_and_slab, two_sided, uniform
from sbirules.samplers.chains import draw_chains
from sbirules.samplers.smc import SamplerSettings, run_smc

FAMILY = PolynomialRule(degree=2, terms=["theta_02", "theta_11", "theta_20"])
BELL = normal(FAMILY, 0.2, 0.7)
COVARIANCE = torch.tensor([[0.04, 0.03, 0.0], [0.03, 0.04, -0.01], [0.0, -0.01, 0.09]])
CENTRE = torch.tensor([0.5, -0.2, 0.1])
QUICK = SamplerSettings(num_runs=2, num_particles=1024, max_doublings=0)


def exact(centre=CENTRE):
    """Posterior under BELL of a Gaussian likelihood around a centre, and its log-evidence."""
    precision = torch.linalg.inv(COVARIANCE) + torch.eye(3) / 0.7**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (torch.linalg.inv(COVARIANCE) @ centre + 0.2 / 0.7**2)
    evidence = MultivariateNormal(torch.full((3,), 0.2), COVARIANCE + 0.49 * torch.eye(3)).log_prob(centre)
    return MultivariateNormal(mean, (covariance + covariance.T) / 2), float(evidence)


def gaussian(theta):
    return MultivariateNormal(CENTRE, COVARIANCE).log_prob(theta)


class Gauss(nn.Module):
    """The same likelihood as a posterior takes it."""

    kind = "test"

    def forward(self, theta):
        return gaussian(theta)


def test_draws_and_evidence_against_the_closed_form():
    chains = draw_chains(gaussian, BELL, 4000, SamplerSettings(num_runs=4, max_doublings=0), seed=1)
    posterior, evidence = exact()
    draws = chains.draws.flatten(0, 1)
    assert chains.draws.shape == (4, 1000, 3)
    assert (draws.mean(dim=0) - posterior.mean).abs().max() < 0.1 * posterior.stddev.min()
    torch.testing.assert_close(draws.std(dim=0), posterior.stddev, rtol=0.08, atol=0)
    assert chains.r_hat < 1.05
    # its own error, from four runs, is itself uncertain
    assert abs(chains.log_evidence[0] - evidence) < 5 * max(chains.log_evidence[1], 0.03)
    assert chains.log_evidence[1] < 0.2


def test_from_its_modes_draws_and_evidence_are_those_of_the_closed_form():
    few = SamplerSettings(num_runs=4, num_particles=1000, num_moves=8, max_doublings=0)
    chains = draw_chains(gaussian, BELL, 4000, few, seed=1, from_modes=True)
    posterior, evidence = exact()
    draws = chains.draws.flatten(0, 1)
    assert (draws.mean(dim=0) - posterior.mean).abs().max() < 0.1 * posterior.stddev.min()
    torch.testing.assert_close(draws.std(dim=0), posterior.stddev, rtol=0.08, atol=0)
    assert abs(chains.log_evidence[0] - evidence) < 5 * max(chains.log_evidence[1], 0.01)
    assert len(torch.unique(draws, dim=0)) > 0.9 * len(draws)


def test_from_modes_of_unequal_weight_each_gets_its_share():
    """A likelihood of two bells far apart, the second with a third of the mass, whose parts are closed forms."""
    other = torch.tensor([-0.7, 0.9, -0.5])

    def two(theta):
        second = MultivariateNormal(other, COVARIANCE).log_prob(theta) + math.log(0.5)
        return torch.logaddexp(gaussian(theta), second)

    few = SamplerSettings(num_runs=4, num_particles=1000, num_moves=8, max_doublings=0)
    chains = draw_chains(two, BELL, 4000, few, seed=2, from_modes=True)
    (first, a), (second, b) = exact(), exact(other)
    weight = torch.softmax(torch.tensor([a, b + math.log(0.5)]), dim=0)
    draws = chains.draws.flatten(0, 1)
    near_second = (draws - second.mean).square().sum(dim=1) < (draws - first.mean).square().sum(dim=1)
    assert abs(float(near_second.float().mean()) - float(weight[1])) < 0.03
    wanted = float(torch.logsumexp(torch.tensor([a, b + math.log(0.5)]), dim=0))
    assert abs(chains.log_evidence[0] - wanted) < 5 * max(chains.log_evidence[1], 0.01)


# a ridge that is straight in theta, .003 wide and cut by a bound, as likelihoods of laws make them
RIDGE_BOUNDS = [(-1.0, 0.0), (-0.5, 0.5), (-0.5, 0.5), (-1.0, 0.0), *[(-0.5, 0.5)] * 4]
RIDGE_CENTRE = torch.tensor([-0.5, 0.3, 0.44, -0.04, 0.0, 0.0, 0.1, -0.2], dtype=torch.float64)
ALONG = torch.tensor([-0.15, 0.07, 0.025, 0.013, 0.05, -0.1, 0.0, 0.03], dtype=torch.float64)
ACROSS = 0.003


def along(theta):
    """Place on the ridge, `(n,)`."""
    return (theta.double() - RIDGE_CENTRE) @ ALONG / (ALONG @ ALONG)


def ridge(theta):
    off = theta.double() - RIDGE_CENTRE - along(theta)[:, None] * ALONG
    return -0.5 * (off / ACROSS).square().sum(dim=1) - 0.5 * along(theta).square()


def ridge_prior():
    return IndependentPrior({f"c{k}": Uniform(*bounds) for k, bounds in enumerate(RIDGE_BOUNDS)})


@pytest.mark.parametrize("from_modes", [True, False])
def test_a_ridge_that_bends_on_the_unconstrained_scale_is_drawn_to_its_ends(from_modes):
    """On that scale differences of particles leave it, and curvature at the mode makes the reference too narrow."""
    prior = ridge_prior()
    chains = draw_chains(ridge, prior, 2000, QUICK, seed=0, from_modes=from_modes)
    # draws of the Gaussian on the ridge, those beyond a bound rejected
    gen = torch.Generator().manual_seed(0)
    place = torch.randn(200_000, generator=gen, dtype=torch.float64)
    noise = ACROSS * torch.randn(200_000, 8, generator=gen, dtype=torch.float64)
    unit = ALONG / ALONG.norm()
    theta = RIDGE_CENTRE + place[:, None] * ALONG + noise - (noise @ unit)[:, None] * unit
    inside = torch.isfinite(prior.log_prob(theta.float()))
    place = place[inside]
    found = along(chains.draws.flatten(0, 1))
    assert float(found.mean()) == pytest.approx(float(place.mean()), abs=0.1)
    assert float(found.std()) == pytest.approx(float(place.std()), rel=0.08)
    volume = 7 * math.log(ACROSS * math.sqrt(2 * math.pi)) + math.log(float(ALONG.norm()) * math.sqrt(2 * math.pi))
    evidence = math.log(float(inside.double().mean())) + volume  # of a prior whose density is one
    assert chains.log_evidence[0] == pytest.approx(evidence, abs=0.12)


def test_particles_that_hardly_moved_are_told_of():
    few = SamplerSettings(num_runs=2, num_particles=400, num_moves=1, max_doublings=0)
    with pytest.warns(UserWarning, match=r"2 of 2 runs: particles have hardly left .*correlation up to 0.[5-9]"):
        draw_chains(ridge, ridge_prior(), 400, few, seed=0)


def test_many_observations_at_once_and_a_bad_one_alone_is_nan():
    centres = torch.tensor([[0.5, -0.2, 0.1], [-0.4, 0.0, 0.3], [0.0, 0.0, 0.0]])

    def log_likelihood(theta, which):
        d = theta - centres[which][:, None]
        value = -0.5 * torch.einsum("bpi,ij,bpj->bp", d, torch.linalg.inv(COVARIANCE), d)
        return torch.where((which == 2)[:, None], -math.inf, value)

    out = run_smc(log_likelihood, BELL, 3, QUICK, seed=2)
    for k in range(2):
        want = exact(centres[k])[0]
        assert (out.theta[k].mean(dim=0) - want.mean).abs().max() < 0.2 * want.stddev.min()
        torch.testing.assert_close(out.theta[k].std(dim=0), want.stddev, rtol=0.15, atol=0)
    assert torch.isnan(out.theta[2]).all()
    assert out.possible[2] == 0


def test_the_same_seed_gives_the_same_draws_whatever_torchs_own_state():
    first = draw_chains(gaussian, BELL, 100, QUICK, seed=3).draws
    torch.rand(5)
    assert torch.equal(first, draw_chains(gaussian, BELL, 100, QUICK, seed=3).draws)
    assert not torch.equal(first, draw_chains(gaussian, BELL, 100, QUICK, seed=4).draws)


def test_a_time_limit_returns_what_there_is_with_a_warning():
    def slow(theta):
        time.sleep(0.02)
        return 1000 * gaussian(theta)

    with pytest.warns(UserWarning, match=r"time_limit of 0.3 s: 2 of 2 runs stopped early"):
        chains = draw_chains(slow, BELL, 50, SamplerSettings(num_runs=2, time_limit=0.3), seed=0)
    assert torch.isfinite(chains.draws).all()


def test_an_impossible_observation_is_refused_within_seconds():
    started = time.monotonic()
    with pytest.raises(ValueError, match="of rules drawn from the prior has a posterior density above zero"):
        draw_chains(lambda theta: torch.full((len(theta),), -math.inf), BELL, 50, QUICK, seed=0)
    assert time.monotonic() - started < 20


def test_a_rare_region_of_the_prior_is_found_and_filled():
    box = uniform(FAMILY, -1, 1)

    def corner(theta):
        return torch.where((theta > 0.8).all(dim=1), 0.0, -math.inf)  # a thousandth of the box

    chains = draw_chains(corner, box, 1000, QUICK, seed=5)
    draws = chains.draws.flatten(0, 1)
    assert draws.min() > 0.8
    torch.testing.assert_close(draws.mean(dim=0), torch.full((3,), 0.9), atol=0.01, rtol=0)
    assert chains.log_evidence[0] == pytest.approx(math.log(1e-3), abs=0.4)


def test_presence_of_terms_against_weighted_draws_of_the_prior():
    prior = spike_and_slab(FAMILY, 0.4, two_sided(0.1, 1.0))
    noise = torch.tensor([0.3, 0.5, 0.4])

    def likelihood(theta):
        # theta_02 and theta_11 stand in for each other
        seen = torch.stack([theta[:, 0] + theta[:, 1], theta[:, 1], theta[:, 2]], dim=1)
        return (-0.5 * ((seen - torch.tensor([0.6, 0.2, 0.0])) / noise) ** 2).sum(dim=1)

    chains = draw_chains(likelihood, prior, 8000, SamplerSettings(max_doublings=0), seed=6)
    present = (chains.draws.flatten(0, 1) != 0).float()
    theta = prior.sample((400_000,))
    weight = torch.softmax(likelihood(theta).double(), dim=0)
    other = (theta != 0).double()
    assert (present.mean(dim=0) - (weight[:, None] * other).sum(dim=0)).abs().max() < 0.04
    both, want = (present[:, 0] * present[:, 1]).mean(), (weight * other[:, 0] * other[:, 1]).sum()
    assert both.item() == pytest.approx(want.item(), abs=0.04)
    mean = (weight[:, None] * theta).sum(dim=0)
    assert (chains.draws.flatten(0, 1).mean(dim=0) - mean).abs().max() < 0.04


# Parts of a posterior --------------------------------------------------------------------------------


@pytest.fixture
def posterior():
    return Posterior(BELL, FAMILY.names, Gauss(), settings=QUICK)


def test_fixed_coefficients_leave_the_conditional_gaussian(posterior):
    part = posterior.conditioned(theta_11=0.3)
    draws = part.sample((4000,), seed=1)
    full = exact()[0]
    free, k = [0, 2], 1
    s = full.covariance_matrix
    mean = full.mean[free] + s[free][:, k] / s[k, k] * (0.3 - full.mean[k])
    covariance = s[free][:, free] - torch.outer(s[free][:, k], s[free][:, k]) / s[k, k]
    assert (draws[:, 1] == 0.3).all()
    sd = covariance.diagonal().sqrt()
    assert ((draws[:, free].mean(dim=0) - mean) / sd).abs().max() < 0.1
    torch.testing.assert_close(draws[:, free].std(dim=0), sd, rtol=0.1, atol=0)
    assert torch.isinf(part.log_prob(torch.tensor([[0.5, 0.0, 0.1]]))).all()


def test_a_region_is_kept_to_and_drawn_as_rejection_draws_it(posterior):
    part = posterior.truncated(theta_02=(0.5, 2.0), theta_20=(0.0, 0.4))
    draws = part.sample((2000,), seed=2)
    plain = exact()[0].sample((100_000,))
    kept = plain[(plain[:, 0] > 0.5) & (plain[:, 2] > 0) & (plain[:, 2] < 0.4)]
    assert draws[:, 0].min() >= 0.5
    assert draws[:, 2].min() >= 0
    assert draws[:, 2].max() <= 0.4
    assert compare(draws, kept, num_samples=1000).c2st < 0.56


def test_the_maximum_is_the_closed_forms(posterior):
    torch.testing.assert_close(posterior.map(), exact()[0].mean, atol=2e-3, rtol=0)
    at_the_edge = posterior.truncated(theta_02=(0.6, 1.0)).map()
    assert at_the_edge[0].item() == pytest.approx(0.6, abs=1e-3)


def test_marginals_say_how_much_was_learned(posterior):
    table = posterior.marginals()
    want = exact()[0]
    assert list(table.index) == list(FAMILY.names)
    assert abs(table.loc["theta_02", "mean"] - float(want.mean[0])) < 0.02
    assert table.loc["theta_02", "contraction"] == pytest.approx(1 - float(want.variance[0]) / 0.49, abs=0.03)
    assert table.loc["theta_02", "2.5%"] == pytest.approx(float(want.mean[0] - 1.96 * want.stddev[0]), abs=0.06)


def test_what_a_part_cannot_be_is_said_in_words(posterior):
    for call, words in [
        (lambda: posterior.conditioned(), "at least one coefficient"),
        (lambda: posterior.conditioned(theta_99=0.0), "theta_99"),
        (lambda: posterior.conditioned(theta_02=0, theta_11=0, theta_20=0), "leave at least one coefficient free"),
        (lambda: posterior.conditioned(theta_02=math.nan), "theta_02"),
        (lambda: posterior.truncated(theta_02=(1, 0)), "low < high"),
        (lambda: posterior.truncated(theta_02=3), r"must be \(low, high\)"),
        (lambda: posterior.truncated(), "at least one interval"),
        (lambda: posterior.inclusion_probabilities(), "spike_and_slab"),
        (lambda: posterior.given([0.0]), "cannot be asked about other observations"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_particles": 3}, "num_particles"),
        ({"ess": 1.5}, "ess"),
        ({"time_limit": 0}, "time_limit"),
        ({"num_runs": 0}, "num_runs"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(settings, words):
    with pytest.raises(ValueError, match=words):
        SamplerSettings(**settings)
