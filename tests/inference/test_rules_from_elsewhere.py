"""npe takes rules as often as they come: those of another distribution are weighted where it is known, else refused."""

import warnings

import pytest
import torch
from noisy import QUICK_NPE, Noisy
from torch.distributions import Normal, Uniform
from torch.distributions.multivariate_normal import MultivariateNormal

import sbirules as sr
from sbirules.inference.drawn_from import log_weight_of, refuse_other_rules
from sbirules.priors import IndependentPrior, normal, spike_and_slab, uniform

SIMULATOR = Noisy(noise=0.24)
BOX, BELL = uniform(SIMULATOR.family, -1, 1), normal(SIMULATOR.family, 0.0, 0.35)
X_O = [0.6, -0.4]


def exact(prior_sd):
    """Posterior mean under a Gaussian prior; under the box where that is infinite."""
    if prior_sd < 1:
        return (torch.tensor(X_O) * prior_sd**2 / (prior_sd**2 + 0.24**2)).tolist()
    bell, out = Normal(0.0, 1.0), []
    for x in X_O:
        a, b = torch.tensor([(-1 - x) / 0.24, (1 - x) / 0.24])
        mass = bell.cdf(b) - bell.cdf(a)
        out.append(float(x + 0.24 * (bell.log_prob(a).exp() - bell.log_prob(b).exp()) / mass))
    return out


def test_what_is_right():
    assert exact(9) == pytest.approx([0.58, -0.40], abs=0.01)
    assert exact(0.35) == pytest.approx([0.40, -0.28], abs=0.015)


@pytest.mark.long
def test_rules_of_a_known_distribution_are_weighted():
    store = sr.simulate(SIMULATOR, BELL, 20_000, num_workers=1, progress=False)
    settings = sr.NPESettings(members=1, epochs=8, batch_size=500)
    with pytest.warns(UserWarning, match=r"all 20000 are worth 1\d\d\d"):
        posterior = sr.fit(store, BOX, x_o=X_O, estimator="npe", settings=settings)
    draws = posterior.sample((4000,))
    assert draws.mean(dim=0).tolist() == pytest.approx(exact(9), abs=0.06)
    assert draws.std(dim=0).tolist() == pytest.approx([0.22, 0.24], abs=0.06)
    own = sr.fit(sr.SimulationStore(store.path, 2000), BELL, x_o=X_O, estimator="npe", settings=QUICK_NPE)
    assert own.sample((4000,)).mean(dim=0).tolist() == pytest.approx(exact(0.35), abs=0.06)


def test_the_weights_of_rules_are_prior_by_proposal():
    store = sr.simulate(SIMULATOR, BELL, 5000, num_workers=1, progress=False)
    with pytest.warns(UserWarning, match=r"all 5000 are worth \d\d\d"):
        log_weight = log_weight_of(store, BOX)
    inside = (store.theta.abs() < 1).all(dim=1)
    weight = log_weight(store.theta)
    assert torch.isfinite(weight).tolist() == inside.tolist()
    share = torch.softmax(weight.double(), dim=0)[:, None]
    assert (share * store.theta).sum(dim=0).tolist() == pytest.approx([0.0, 0.0], abs=0.1)  # as under the prior
    assert (share * store.theta**2).sum(dim=0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.06)
    assert log_weight_of(store, BELL) is None


def test_a_table_of_other_rules_is_refused_and_one_of_the_prior_is_not():
    torch.manual_seed(1)
    theta = BELL.sample((2000,)).clamp(-0.99, 0.99)
    store = sr.simulate(SIMULATOR, theta, num_workers=1, progress=False)
    with pytest.raises(ValueError, match=r"do not look like draws of the prior .*Kolmogorov-Smirnov distance 0\.[12]"):
        sr.fit(store, BOX, x_o=X_O, estimator="npe", settings=QUICK_NPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(20):
            torch.manual_seed(k)
            own = sr.SimulationStore.from_arrays(BOX.sample((1500,)), torch.zeros(1500, 1))
            refuse_other_rules(own, BOX, ("a", "b"))
        repeated = BOX.sample((200,)).repeat_interleave(8, dim=0)  # networks that share rules
        refuse_other_rules(sr.SimulationStore.from_arrays(repeated, torch.zeros(1600, 1)), BOX, ("a", "b"))


def test_dependence_between_coefficients_is_seen_and_small_differences_only_warned_of():
    torch.manual_seed(2)
    prior = MultivariateNormal(torch.zeros(2), torch.eye(2))
    together = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.8], [0.8, 1.0]])).sample((2000,))
    with pytest.raises(ValueError, match="how coefficients go together"):
        refuse_other_rules(sr.SimulationStore.from_arrays(together, together), prior, ("a", "b"))
    shifted = prior.sample((20_000,)) + 0.1
    with pytest.warns(UserWarning, match="do not look like draws"):
        refuse_other_rules(sr.SimulationStore.from_arrays(shifted, shifted), prior, ("a", "b"))


def test_a_proposal_that_lacks_part_of_the_prior_or_is_worth_too_little_is_refused():
    narrow = IndependentPrior({"a": Uniform(-0.99, 0.99), "b": Uniform(-1.0, 1.0)})
    store = sr.simulate(SIMULATOR, narrow, 1000, num_workers=1, progress=False)
    with pytest.raises(ValueError, match="of the prior lies where the proposal"):
        sr.fit(store, BOX, x_o=X_O, estimator="npe", settings=QUICK_NPE)
    steep = sr.simulate(SIMULATOR, BELL, 900, num_workers=1, progress=False)
    with pytest.raises(ValueError, match=r"all 900 are worth \d+"):
        sr.fit(steep, BOX, x_o=X_O, estimator="npe", settings=QUICK_NPE)


def test_rules_with_absent_terms_have_no_weight_and_are_refused():
    sparse = spike_and_slab(SIMULATOR.family, slab=Normal(0.0, 0.6), inclusion=0.5)
    store = sr.simulate(SIMULATOR, sparse, 800, num_workers=1, progress=False)
    prior = normal(SIMULATOR.family, 0.0, 0.6)
    with pytest.raises(ValueError, match="do not look like draws of the prior"):
        sr.fit(store, prior, x_o=X_O, estimator="npe", settings=QUICK_NPE)


def test_rules_outside_the_prior_are_still_refused_where_nothing_is_known_of_them():
    theta = 1.5 * torch.rand(500, 2) - 0.75
    half = uniform(SIMULATOR.family, -0.5, 0.5)
    with pytest.raises(ValueError, match="lie outside the prior"):
        sr.fit(sr.SimulationStore.from_arrays(theta, theta, names=["a", "b"]), half, x_o=[0.1, 0.1], estimator="npe")
