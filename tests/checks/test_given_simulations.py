"""Checks with what there is to simulate with: any function, or a store of fresh simulations; and posteriors that leak."""

import time
import warnings

import pytest
import torch

import sbirules as sr
from sbirules.checks.given_simulations import other_than
from sbirules.priors import normal
from sbirules.simulators import LinearGaussian

NAMES = ("a", "b")
PRIOR = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
NOISE = 0.5


def made(theta):
    """x = theta + noise, as a plain function."""
    return theta + NOISE * torch.randn_like(theta)


class Exact:
    """Its posterior in closed form, as sbi's posteriors are asked."""

    def at(self, x):
        gain = 1 / (1 + NOISE**2)
        return torch.distributions.Normal(gain * torch.as_tensor(x).flatten(), (1 - gain) ** 0.5)

    def sample(self, shape, x=None, show_progress_bars=False):
        return self.at(x).sample(torch.Size(shape))

    def log_prob(self, theta, x=None):
        return self.at(x).log_prob(theta).sum(dim=1)


X_O = torch.tensor([0.7, -0.4])


@pytest.fixture
def wrapped():
    return sr.Posterior.wrap(Exact(), PRIOR, NAMES, X_O)


def fresh_store(n=400, seed=5):
    torch.manual_seed(seed)
    theta = PRIOR.sample((n,))
    return sr.SimulationStore.from_arrays(theta, made(theta), names=NAMES, summary_names=("x_1", "x_2"))


def test_any_function_does(wrapped):
    found = sr.check(wrapped, made, calibration=60, rules=64, num_workers=1)
    names = {v.name for v in found}
    assert {"summaries", "calibration", "coverage", "TARP", "misspecification", "information"} <= names
    assert found.level != "fail", str(found)
    assert found["coverage"].level == "pass"
    assert not found.left_out
    again = sr.check(wrapped, made, calibration=60, rules=64, num_workers=1)
    assert again.to_dict() == found.to_dict(), "the function draws from the streams that check names"
    tested = sr.calibrate(wrapped, lambda theta: made(theta)[:, :2], rules=50, num_samples=50, num_workers=1)
    assert tested.recovery.truth.shape == (50, 2)


def test_a_wrong_posterior_is_found_with_a_function_too(wrapped):
    class Narrow(Exact):
        def at(self, x):
            right = super().at(x)
            return torch.distributions.Normal(right.loc, 0.4 * right.scale)

    narrow = sr.Posterior.wrap(Narrow(), PRIOR, NAMES, X_O)
    assert sr.check(narrow, made, calibration=80, parts="calibration", num_workers=1)["coverage"].level == "fail"


def test_columns_of_a_function_have_the_stores_names():
    torch.manual_seed(0)
    theta = PRIOR.sample((600,))
    store = sr.SimulationStore.from_arrays(theta, made(theta), names=NAMES, summary_names=("left", "right"))
    settings = sr.LikelihoodSettings(members=1, epochs=2, min_steps=1)
    sampler = sr.SamplerSettings(num_particles=80)
    posterior = sr.fit(store, PRIOR, x_o={"left": 0.7}, settings=settings, sampler=sampler)
    found = sr.check(posterior, made, store=store, rules=16, parts="predictions", num_workers=1)
    assert set(found["summaries"].numbers) == {"left"}


def test_a_store_of_fresh_simulations_does_for_what_needs_no_more(wrapped):
    store = fresh_store()
    found = sr.check(wrapped, store, calibration=60)
    assert {"calibration", "coverage", "TARP", "misspecification", "information"} <= {v.name for v in found}
    assert found["coverage"].level == "pass"
    assert set(found.left_out) == {"predictions"}
    assert "Left out: predictions." in found.headline
    assert "LEFT OUT predictions: posterior rules can only be tried with a simulator" in str(found)
    assert bool((found.calibration.truth == store.theta[:60]).all()), "nothing was simulated"


def test_what_cannot_stand_for_a_simulator_is_refused(wrapped):
    fitted = fresh_store(seed=1)
    with pytest.raises(ValueError, match=r"400 of 400 rules in .* are also in the store of the fit"):
        sr.check(wrapped, fitted, store=fitted)
    with pytest.raises(ValueError, match=r"simulator must be a Simulator"):
        sr.check(wrapped, 5)
    with pytest.raises(ValueError, match=r"must return x of shape \(n, S\) for theta \(n, D\)"):
        sr.check(wrapped, lambda theta: theta[:1])
    other = sr.SimulationStore.from_arrays(fitted.theta, fitted.x, names=("c", "d"))
    with pytest.raises(ValueError, match="the posterior is over a, b, the simulator's rules have c, d"):
        sr.check(wrapped, other)
    with pytest.raises(ValueError, match="held_out needs the simulator of the fit"):
        sr.check(wrapped, fitted, held_out={"x": 1})


class Leaky:
    """Draws of a network that knows no prior, a given share inside it; sbi would go on until it has them all."""

    def __init__(self, inside, seconds=0.0):
        self.inside, self.seconds, self.drawn = inside, seconds, 0

    def sample(self, shape, x=None, show_progress_bars=False, reject_outside_prior=True):
        n = torch.Size(shape).numel()
        if reject_outside_prior:
            self.drawn += round(n / max(self.inside, 1e-9))
            assert self.drawn < 10**6, "this would crawl"
            return torch.rand(n, 2) * 2 - 1
        self.drawn += n
        draws = torch.rand(n, 2) * 2 - 1
        # as a network's do, draws know their gradients
        return torch.where(torch.rand(n, 1) < self.inside, draws, draws + 5).requires_grad_()

    def log_prob(self, theta, x=None, norm_posterior=True):
        assert not norm_posterior, "sbi measures the leak at every call"
        return torch.full((len(theta),), -1.3863) + torch.log(torch.tensor(self.inside))


BOX = torch.distributions.Independent(torch.distributions.Uniform(-torch.ones(2), torch.ones(2)), 1)


@pytest.mark.parametrize(("inside", "level"), [(0.99, "pass"), (0.5, "caution"), (0.05, "fail")])
def test_leaks_are_said(inside, level):
    leaky = sr.Posterior.wrap(Leaky(inside), BOX, NAMES, X_O)
    found = sr.check(leaky, made, parts=["sampler", "information"])
    assert found["leakage"].level == level, str(found)
    assert found["leakage"].numbers["outside"] == pytest.approx(1 - inside, abs=0.02)
    assert not leaky.draws.requires_grad
    assert leaky.log_prob(torch.zeros(3, 2)) == pytest.approx([-1.3863] * 3, abs=0.1), "normalised inside the prior"


def test_a_posterior_that_leaks_nearly_all_does_not_make_check_crawl():
    lost = Leaky(1e-5)
    clock = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for each observation
        found = sr.check(sr.Posterior.wrap(lost, BOX, NAMES, X_O), made, calibration=50, rules=16, num_workers=1)
    assert time.monotonic() - clock < 60
    assert lost.drawn < 2_000_000
    assert found["leakage"].level == "fail"
    assert found["calibration"].level == "caution"
    assert "led to draws, 50 are needed" in found["calibration"].finding
    assert "the wrapped posterior leaks: " in found["information"].finding


def test_draws_of_a_posterior_that_leaks_little_are_sbis_own():
    one = sr.Posterior.wrap(Leaky(0.9), BOX, NAMES, X_O).draw(50, seed=3).draws
    from sbirules.support.streams import Stream, seeded

    with seeded(3, Stream.SAMPLING):
        own = Leaky(0.9).sample((50,))
    assert torch.equal(one.reshape(-1, 2), own)


def test_a_leaking_posterior_of_sbi_is_capped():
    from sbi.inference import NPE

    torch.manual_seed(0)
    theta = BOX.sample((400,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that training was short is the point
        trained = NPE(BOX, show_progress_bars=False).append_simulations(theta, theta + 0.2 * torch.randn_like(theta))
        trained.train(max_num_epochs=3)
        posterior = sr.Posterior.wrap(trained.build_posterior(), BOX, NAMES, torch.tensor([[1.5, 1.5]]))
        found = sr.check(posterior, made, parts="sampler")
    inside = posterior.potential_net.inside
    assert 0.02 < inside < 0.7
    assert found["leakage"].level != "pass"
    assert bool((posterior.draws.abs() <= 1).all())
    grid = torch.cartesian_prod(*[torch.linspace(-0.99, 0.99, 40)] * 2)
    assert float(posterior.log_prob(grid).exp().mean()) * 4 == pytest.approx(1, abs=0.15)


def test_a_simulator_that_is_not_that_of_the_fit_is_told():
    fitted, other = (LinearGaussian(noise=noise, num_units=12) for noise in (1.0, 3.0))
    prior = normal(fitted.family, 0.0, 0.6)
    store = sr.simulate(fitted, prior, 256, seed=1, num_workers=1)
    assert other_than([store], fitted) == ()
    (told,) = other_than([store], other)
    assert "noise was 1.0 and is now 3.0" in told
    arrays = sr.SimulationStore.from_arrays(store.theta, store.x, names=store.names, summary_names=store.summary_names)
    assert other_than([arrays], other) == (), "arrays do not tell what made them"


def test_a_class_in_place_of_a_simulator_is_refused(wrapped):
    with pytest.raises(ValueError, match="got the class LinearGaussian"):
        sr.check(wrapped, LinearGaussian, calibration=0)
