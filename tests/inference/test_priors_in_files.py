"""A saved posterior knows its prior: another one is refused, with the difference named."""

import pytest
import torch
from cheap import PRIOR, Cheap, Line
from torch.distributions import Beta, Gamma, Independent, Normal, Uniform

import sbirules as sr
from sbirules.priors import correlated_normal, from_pyro, normal, spike_and_slab, uniform

FAMILY = Line()
QUICK = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)


def model():
    import pyro
    from pyro.distributions import Normal

    for name in FAMILY.names:
        pyro.sample(name, Normal(0.0, 0.5))


def wider():
    import pyro
    from pyro.distributions import Normal

    for name in FAMILY.names:
        pyro.sample(name, Normal(0.0, 0.7))


class Mine(Independent):
    """No plain form: a class of one's own."""

    def __init__(self, scale):
        super().__init__(Normal(torch.zeros(2), scale * torch.ones(2)), 1)
        self.base_dist.__class__ = type("Own", (Normal,), {})


PLAIN = {
    "uniform": (lambda: PRIOR, lambda: uniform(FAMILY, -1, 1, b=(-1, 2)), r"b.high was 1.0, .* it is 2.0"),
    "normal": (lambda: normal(FAMILY), lambda: normal(FAMILY, 0, 2), r"a.scale was 1.0, .* it is 2.0"),
    "gamma": (
        lambda: uniform(FAMILY, a=Gamma(2.0, 1.0)),
        lambda: uniform(FAMILY, a=Gamma(3.0, 1.0)),
        r"a.concentration was 2.0, .* it is 3.0",
    ),
    "list": (
        lambda: [Gamma(2.0, 1.0), Beta(2.0, 2.0)],
        lambda: [Gamma(2.0, 1.0), Beta(2.0, 3.0)],
        "concentration0.1 was 2.0, .* 3.0",
    ),
    "torch": (
        lambda: Independent(Uniform(-torch.ones(2), torch.ones(2)), 1),
        lambda: Independent(Uniform(-torch.ones(2), 3 * torch.ones(2)), 1),
        "high.1 was 1.0, .* 3.0",
    ),
    "correlated": (
        lambda: correlated_normal(FAMILY, torch.eye(2)),
        lambda: correlated_normal(FAMILY, 2 * torch.eye(2)),
        "covariance.1.1 was 1.0, .* 2.0",
    ),
    "sparse": (lambda: spike_and_slab(FAMILY, 0.5), lambda: spike_and_slab(FAMILY, 0.2), "inclusion.a was 0.5, .* 0.2"),
    "another class": (lambda: PRIOR, lambda: normal(FAMILY), "a.name was Uniform, .* it is Normal"),
}
NOT_PLAIN = {
    "pyro": (lambda: from_pyro(model, FAMILY), lambda: from_pyro(wider, FAMILY)),
    "one's own": (lambda: Mine(0.5), lambda: Mine(0.7)),
}


@pytest.fixture(scope="module")
def learned():
    """A potential that can be saved, whatever prior it is put under."""
    store = sr.simulate(Cheap(), PRIOR, 200, seed=1, num_workers=1, progress=False)
    return sr.fit(store, PRIOR, constraints={"final_error": (0, 0.3)}, sampler=QUICK).potential_net


@pytest.mark.parametrize("kind", PLAIN)
def test_another_prior_is_refused_with_the_difference_named(learned, kind, tmp_path):
    right, wrong, words = (f() if callable(f) else f for f in PLAIN[kind])
    posterior = sr.Posterior(right, FAMILY.names, learned, settings=QUICK)
    posterior.save(tmp_path)
    theta = posterior.prior.sample((20,))
    for again in (sr.Posterior.load(tmp_path), sr.Posterior.load(tmp_path, right)):
        assert torch.equal(again.log_prob(theta), posterior.log_prob(theta))
    with pytest.raises(ValueError, match="fitted under another prior.*" + words):
        sr.Posterior.load(tmp_path, wrong)


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_a_prior_without_a_plain_form_is_compared_where_it_was_drawn(learned, kind, tmp_path):
    right, wrong = (make() for make in NOT_PLAIN[kind])
    sr.Posterior(right, FAMILY.names, learned, settings=QUICK).save(tmp_path)
    sr.Posterior.load(tmp_path, right)
    with pytest.raises(ValueError, match=r"fitted under another prior: at a = .*, b = .* its log-density was"):
        sr.Posterior.load(tmp_path, wrong)
    with pytest.raises(ValueError, match=r"pass it as load\(folder, prior=...\)"):
        sr.Posterior.load(tmp_path)


def test_the_same_prior_in_other_words_is_taken(learned, tmp_path):
    sr.Posterior(PRIOR, FAMILY.names, learned, settings=QUICK).save(tmp_path)
    same = Independent(Uniform(-torch.ones(2), torch.ones(2)), 1)
    assert sr.Posterior.load(tmp_path, same).names == FAMILY.names
    with pytest.raises(ValueError, match=r"the prior is over theta_11.*, the posterior of .* over a, b"):
        sr.Posterior.load(tmp_path, uniform(sr.PolynomialRule(degree=2, terms=["theta_11", "theta_20"]), -1, 1))
