"""What a sum over learners is worth: found where it is known in closed form, kept, applied to any number of learners."""

import math

import pytest
import torch
from cheap import Cheap

import sbirules as sr
from sbirules.inference.estimators.base import ProductPotential, share_of
from sbirules.inference.potentials import Observed
from sbirules.inference.rounds.recalibrating import worth_of
from sbirules.priors import uniform


class Shifted:
    """Learners with x ~ N(theta, 1) in each coordinate, by a likelihood that has its mean too high by `bias`."""

    def __init__(self, bias):
        self.bias, self.valid = bias, self

    def log_prob(self, theta, x=None, length=None):
        if x is None:  # that networks run through is certain
            return torch.zeros(len(theta))
        n, mean = len(x), x.mean(dim=0)
        return -0.5 * n * ((mean - theta - self.bias) ** 2).sum(dim=1)


class Product(ProductPotential):
    kind = "test"

    @classmethod
    def from_config(cls, config):
        raise NotImplementedError


def sets_of(truth, learners, seed):
    noise = torch.randn(len(truth), learners, truth.shape[1], generator=torch.Generator().manual_seed(seed))
    length = torch.full((learners,), 10)
    return [Observed(rows, length) for rows in truth[:, None] + noise]


@pytest.mark.parametrize("bias", [0.15, 0.3])
def test_a_shifted_likelihood_is_worth_as_many_learners_as_its_shift_says(bias):
    # the expected log density of the truth, log(T n) / 2 - T n (1 / n + bias^2) / 2, is highest at T = 1 / (1 + n bias^2)
    stream = torch.Generator().manual_seed(0)
    base, truth = (6 * torch.rand(n, 2, generator=stream) - 3 for n in (8192, 400))
    potential = Product(Shifted(bias), torch.zeros(1, 2), torch.zeros(1))
    found = worth_of(potential, base, truth, sets_of(truth, 24, 1))
    assert math.log(found.limit) == pytest.approx(math.log(1 / bias**2), abs=0.4)
    assert found.gain > 4 * found.gain_se > 0
    assert found.counted == pytest.approx(24 / (1 + 24 / found.limit))


def test_a_right_likelihood_is_worth_all_of_its_learners():
    stream = torch.Generator().manual_seed(2)
    base, truth = (6 * torch.rand(n, 2, generator=stream) - 3 for n in (8192, 400))
    potential = Product(Shifted(0.0), torch.zeros(1, 2), torch.zeros(1))
    found = worth_of(potential, base, truth, sets_of(truth, 24, 3))
    assert found.counted > 20
    assert abs(found.gain) < 0.05


def test_survival_counts_in_full_whatever_the_share():
    class Fragile(Shifted):
        def log_prob(self, theta, x=None, length=None):
            survival = torch.log(torch.sigmoid(theta[:, 0]))
            return survival if x is None else super().log_prob(theta, x, length) + len(x) * survival

    theta, x = torch.randn(5, 2), torch.randn(6, 2)
    potential = Product(Fragile(0.0), x, torch.full((6,), 10), limit=3.0)
    survival = 6 * torch.log(torch.sigmoid(theta[:, 0]))
    learned = Shifted(0.0).log_prob(theta, x, None)
    assert torch.allclose(potential.log_likelihood(theta), learned / 3 + survival, atol=1e-5)
    assert potential.share == share_of(6, 3.0) == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def learned():
    simulator = Cheap(num_trials=40)
    prior = uniform(simulator.family, -1, 1)
    store = sr.simulate(simulator, prior, 2000, seed=0, num_workers=1)
    theta = torch.full((6, simulator.family.dim), 0.3)
    table = sr.Trials(tuple("abcdef"), simulator.run(theta, seed=5))
    few = sr.EnsembleSettings(members=2, hidden=16, max_epochs=10)
    posterior = sr.fit(store, prior, trials=table, settings=few)
    return simulator, prior, store, table, posterior


def test_it_is_kept_in_files_and_goes_to_other_learners(learned, tmp_path):
    simulator, prior, _, table, posterior = learned
    found = sr.recalibrate(posterior, simulator, rules=40, num_workers=1)
    worth = found.record.details["worth"]
    assert worth["learners"] == 6
    assert worth["sets"] == 40
    assert 0 < worth["counted"] <= 6
    found.potential_net.limit = 4.0
    theta = prior.sample((50,))
    found.save(tmp_path / "p")
    back = sr.Posterior.load(tmp_path / "p")
    assert back.potential_net.limit == 4.0
    assert torch.allclose(back.log_likelihood(theta), found.log_likelihood(theta), atol=1e-5)
    few = sr.Trials(table.learners[:2], table.trajectory.rows(torch.arange(2)))
    given = found.given(few)
    assert given.potential_net.share == pytest.approx(1 / (1 + 2 / 4.0))
    more = sr.Trials(tuple("abcdefgh"), simulator.run(torch.full((8, 2), 0.3), seed=6))
    with pytest.warns(UserWarning, match="8 learners are given, but their sum was recalibrated on 6"):
        found.given(more)
    # as one of a batch it counts as alone
    both = given.potential_net.together([given.potential_net, found.potential_net])
    each = both(theta.expand(2, -1, -1), torch.arange(2))
    assert torch.allclose(each[0], given.potential_net.log_likelihood(theta), atol=1e-3)
    assert torch.allclose(each[1], found.potential_net.log_likelihood(theta), atol=1e-3)
    assert torch.isfinite(posterior.log_likelihood(theta)).all()
    assert math.isinf(posterior.potential_net.limit)  # what was passed in is as it was


def test_refine_recalibrates_and_a_rerun_finds_the_same(learned, tmp_path):
    simulator, prior, store, table, posterior = learned
    few = sr.EnsembleSettings(members=2, hidden=16, max_epochs=10)
    keep = {
        "rounds": 1,
        "num_simulations": 300,
        "recalibration": 20,
        "trials": table,
        "settings": few,
        "num_workers": 1,
    }
    first, _ = sr.refine(posterior, simulator, store, prior, folder=tmp_path / "r", **keep)
    again, _ = sr.refine(posterior, simulator, store, prior, folder=tmp_path / "r", **keep)
    assert first.record.refined
    assert not posterior.record.refined
    assert first.record.details["worth"] == again.record.details["worth"]
    without, _ = sr.refine(posterior, simulator, store, prior, **{**keep, "recalibration": 0})
    assert "worth" not in without.record.details


def test_a_refined_posterior_is_calibrated_on_rules_of_its_own(learned):
    simulator, prior, store, table, posterior = learned
    few = sr.EnsembleSettings(members=2, hidden=16, max_epochs=10)
    refined, _ = sr.refine(
        posterior,
        simulator,
        store,
        prior,
        rounds=1,
        num_simulations=300,
        recalibration=0,
        trials=table,
        settings=few,
        num_workers=1,
    )
    found = sr.calibrate(refined, simulator, rules=50, num_samples=50, num_workers=1)
    assert found.around
    inside = refined.draw(4000, seed=9).draws.flatten(0, 1)
    gap = (found.recovery.truth.mean(dim=0) - inside.mean(dim=0)).abs() / inside.std(dim=0)
    assert float(gap.max()) < 4 / math.sqrt(50)
    checked = sr.check(refined, simulator, calibration=50, parts=["calibration"], num_workers=1)
    assert "rules of the posterior" in checked["calibration"].finding


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, s: sr.recalibrate(p, s, rules=5), "rules must be"),
        (lambda p, s: sr.recalibrate(p.conditioned(a=0.1), s), "whole posteriors"),
        (lambda p, s: sr.recalibrate(sr.Posterior(p.prior, p.names, lambda t: t[:, 0]), s), "a posterior of trials"),
        (lambda p, s: sr.refine(p, s, [], p.prior, recalibration=3), "recalibration must be 0 or at least 20"),
    ],
)
def test_what_cannot_be_recalibrated_is_said(learned, change, words):
    simulator, _, _, _, posterior = learned
    with pytest.raises(ValueError, match=words):
        change(posterior, simulator)
