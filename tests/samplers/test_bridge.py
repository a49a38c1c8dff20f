"""Log-evidence against closed forms, where the steps of sequential Monte Carlo are far off."""

import math

import pytest
import torch
from sbi.utils.user_input_checks import process_prior
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, Uniform
from torch.distributions import MultivariateNormal as Gaussian

from sbirules.priors import IndependentPrior, as_prior
from sbirules.samplers.bridge import bridged, evidence_of
from sbirules.samplers.chains import draw_chains
from sbirules.samplers.particle_scale import Scale
from sbirules.samplers.smc import SamplerSettings

SETTINGS = SamplerSettings(num_runs=4, num_particles=1024, num_moves=8, max_doublings=0)


def box(low, high, dim):
    return IndependentPrior({f"c{k}": Uniform(low, high) for k in range(dim)})


RATES = torch.linspace(0.5, 40.0, 12, dtype=torch.float64)


def piled_up(theta):
    """Posterior at the lower bounds of a unit box."""
    return -(theta.double() * RATES).sum(dim=1)


def two_modes(theta):
    near, far = (-0.5 * ((theta.double() - m) / 0.05).square().sum(dim=1) for m in (0.4, -0.4))
    return torch.logaddexp(near, far)


def bell(theta):
    return -0.5 * ((theta.double() - 0.5) / 0.1).square().sum(dim=1)


CASES = {
    "at bounds": (piled_up, box(0.0, 1.0, 12), float(((1 - torch.exp(-RATES)) / RATES).log().sum())),
    "two modes": (two_modes, box(-1.0, 1.0, 4), math.log(2) + 4 * math.log(0.05 * math.sqrt(2 * math.pi) / 2)),
    "sixteen coefficients": (
        bell,
        Independent(Normal(torch.zeros(16), torch.ones(16)), 1),
        16
        * (
            math.log(0.1 * math.sqrt(2 * math.pi))
            + float(Normal(0.0, math.sqrt(1.01)).log_prob(torch.tensor(0.5, dtype=torch.float64)))
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_evidence_is_right_and_its_error_says_how_far_off_it_is(case):
    log_likelihood, prior, wanted = CASES[case]
    found = [draw_chains(log_likelihood, prior, 400, SETTINGS, seed=seed).log_evidence for seed in range(3)]
    for value, error in found:
        assert error < 0.08
        assert abs(value - wanted) < 6 * max(error, 0.015)  # of errors that four runs tell


def independent_draws(runs=4, n=2000, dim=3):
    gen = torch.Generator().manual_seed(0)
    return 0.5 + 0.1 * torch.randn(runs, n, dim, generator=gen)


def test_independent_draws_of_a_gaussian_give_its_mass():
    """Prior flat, so evidence is the mass of the likelihood over the box's volume."""
    prior = box(-1.0, 2.0, 3)
    found, error = bridged(bell, Scale(prior, {}), independent_draws(), ess=8000, seed=1)
    wanted = 3 * math.log(0.1 * math.sqrt(2 * math.pi) / 3)
    assert float(found.mean()) == pytest.approx(wanted, abs=0.02)
    assert (error < 0.03).all()
    again = bridged(bell, Scale(prior, {}), independent_draws(), ess=8000, seed=1)
    assert torch.equal(found, again[0])


def test_draws_in_a_plane_leave_the_steps_evidence():
    """No density is known of draws that do not span all coefficients."""
    prior = box(-1.0, 2.0, 3)
    flat = independent_draws()
    flat[..., 2] = flat[..., 1]
    steps = torch.tensor([1.0, 1.2, 0.8, 1.0])
    assert torch.isnan(bridged(bell, Scale(prior, {}), flat, ess=8000, seed=1)[0]).all()
    value, error = evidence_of(bell, prior, flat, steps, ess=8000, seed=1)
    assert value == pytest.approx(1.0, abs=0.05)
    assert error == pytest.approx(float(steps.std()) / 2)


def test_the_error_is_that_of_repeats():
    """Fifty sets of independent draws: spread of what they give, beside the error each of them says."""
    prior, gen = box(-1.0, 2.0, 3), torch.Generator().manual_seed(3)
    values, errors = [], []
    for seed in range(50):
        draws = 0.5 + 0.1 * torch.randn(2, 200, 3, generator=gen)
        value, error = bridged(bell, Scale(prior, {}), draws, ess=400, seed=seed)
        values.append(float(value[0]))
        errors.append(float(error[0]))
    spread = torch.tensor(values).std()
    assert 0.75 < float(torch.tensor(errors).square().mean().sqrt() / spread) < 1.35


def test_where_no_bridge_holds_the_steps_are_kept():
    """Two narrow modes far apart in sixteen coefficients: a t over both has next to nothing at either."""
    gen, prior = torch.Generator().manual_seed(0), box(-1.0, 1.0, 16)
    side = torch.where(torch.rand(4, 100, 1, generator=gen) < 0.5, -0.4, 0.4)
    draws = side + 0.003 * torch.randn(4, 100, 16, generator=gen)

    def sharp(theta):
        near, far = (-0.5 * ((theta.double() - m) / 0.003).square().sum(dim=1) for m in (0.4, -0.4))
        return torch.logaddexp(near, far)

    steps = torch.tensor([-7.0, -7.1, -6.9, -7.0])
    assert evidence_of(sharp, prior, draws, steps, ess=400, seed=1)[0] == pytest.approx(-7.0, abs=0.05)


def test_one_run_is_halved():
    draws, steps = independent_draws(runs=1), torch.tensor([2.5])
    value, error = evidence_of(bell, box(-1.0, 2.0, 3), draws, steps, ess=2000, seed=1)
    assert value == pytest.approx(3 * math.log(0.1 * math.sqrt(2 * math.pi) / 3), abs=0.05)
    assert 0 < error < 0.05
    flat = draws[..., :1].expand(1, 2000, 3)
    value, error = evidence_of(bell, box(-1.0, 2.0, 3), flat, steps, ess=2000, seed=1)
    assert value == 2.5
    assert math.isnan(error)


def test_correlated_coefficients_on_a_prior_with_its_own_bounds():
    """A normal prior without bounds and a likelihood along a diagonal; closed form of two Gaussians."""
    cov = torch.tensor([[1.0, 0.999], [0.999, 1.0]], dtype=torch.float64) * 0.04
    like = Gaussian(torch.tensor([1.0, 0.9], dtype=torch.float64), cov)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    value, error = draw_chains(lambda t: like.log_prob(t.double()), prior, 400, SETTINGS, seed=1).log_evidence
    exact = Gaussian(torch.zeros(2, dtype=torch.float64), cov + torch.eye(2, dtype=torch.float64)).log_prob(like.mean)
    assert abs(value - float(exact)) < 6 * max(error, 0.01)


def test_a_density_of_ones_own_may_lack_a_constant():
    """The steps need draws of the prior only, so the evidence does not change."""

    class Halved(Normal):
        def log_prob(self, value):
            return super().log_prob(value) - math.log(2)

    like = Normal(0.5, 0.3)

    def evidence(prior):
        return draw_chains(lambda t: like.log_prob(t[:, 0]).double(), prior, 400, SETTINGS, seed=1).log_evidence[0]

    def found(kind):
        prior = as_prior([kind(torch.tensor(0.0), torch.tensor(1.0))], ("a",))
        return evidence(prior)

    exact = float(Normal(0.0, math.sqrt(1.09)).log_prob(torch.tensor(0.5)))
    assert found(Normal) == pytest.approx(exact, abs=0.03)
    assert found(Halved) == pytest.approx(exact, abs=0.1)

    class Own:
        def sample(self, shape=()):
            return torch.randn(*shape, 1)

        def log_prob(self, value):
            return -0.5 * value[..., 0].square()

    mixed = MixtureSameFamily(Categorical(torch.ones(2)), Halved(torch.zeros(2), torch.ones(2)))
    for given in ([mixed], process_prior(Own())[0]):
        assert evidence(as_prior(given, ("a",))) == pytest.approx(exact, abs=0.1)
