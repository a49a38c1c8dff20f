"""Checks: right posteriors pass, wrong ones of three kinds fail, each by the check that it should fail by."""

import math

import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.model.verdicts import Verdict
from sbirules.priors import normal, uniform
from sbirules.simulators import LinearGaussian, RateRNN

SIMULATOR = LinearGaussian(num_units=12)
GAUSSIAN = normal(SIMULATOR.family, 0.0, 0.6)


class Exact:
    """The posterior in closed form as sbi's posteriors are asked, made wrong on purpose: scaled and shifted."""

    def __init__(self, scale=1.0, shift=0.0):
        self.scale, self.shift = scale, shift

    def _at(self, x):
        return SIMULATOR.posterior(x, GAUSSIAN)

    def sample(self, shape, x=None, show_progress_bars=False):
        exact = self._at(x)
        draws = exact.sample(torch.Size(shape))
        sd = exact.covariance_matrix.diagonal().sqrt()
        return (exact.mean + self.scale * (draws - exact.mean) + self.shift * sd).float()

    def log_prob(self, theta, x=None):
        return self._at(x).log_prob(theta.double()).float()


@pytest.fixture(scope="module")
def x_o():
    theta = torch.full((1, 9), 0.3)
    return sr.summaries.summarise(SIMULATOR.run(theta, seed=77), SIMULATOR.summaries)[0]


def checked(posterior, x):
    wrapped = sr.Posterior.wrap(posterior, GAUSSIAN, GAUSSIAN.names, x)
    names = dict(zip(SIMULATOR.summary_names, x.tolist(), strict=True))
    return sr.check(wrapped, SIMULATOR, x_o=names, calibration=300, rules=256, num_workers=1)


def test_a_right_posterior_passes(x_o):
    found = checked(Exact(), x_o)
    assert found.level == "pass", str(found)
    assert {"calibration", "coverage", "TARP", "local calibration", "misspecification", "summaries"} <= {
        v.name for v in found
    }
    assert found["coverage"].numbers["coverage_95"] == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("posterior", "by"),
    [
        (Exact(scale=0.6), {"calibration", "coverage", "TARP"}),
        (Exact(shift=1.0), {"calibration", "coverage"}),
        (Exact(scale=2.0), {"calibration", "TARP"}),
    ],
    ids=["too narrow", "shifted", "too wide"],
)
def test_a_wrong_posterior_fails(posterior, by, x_o):
    found = checked(posterior, x_o)
    failed = {v.name for v in found if v.level == "fail"}
    assert by <= failed, str(found)
    assert found.level == "fail"
    assert all(v.advice for v in found if v.level != "pass"), "what to do next"
    assert found["misspecification"].level == "pass", "the data are fine"


def test_data_that_no_rule_makes_fail(x_o):
    found = checked(Exact(), x_o + 25)
    assert found["misspecification"].level == "fail"
    assert "outside of all that was simulated: projections[1]" in found["misspecification"].finding
    assert found["calibration"].level == "pass", "the estimator is fine"


def test_constraints_are_predicted_and_generalise():
    store = sr.simulate(Cheap(), PRIOR, 2048, seed=1)
    posterior = sr.fit(store, PRIOR, constraints={"final_error": (0.5, 1.0)}, all_of_networks=4)
    variants = {"longer": Cheap(num_trials=30), "shorter": Cheap(num_trials=5)}
    found = sr.check(posterior, Cheap(), store=store, rules=64, networks_per_rule=16, held_out=variants, num_workers=1)
    assert {v.name for v in found} == {
        "success",
        "predicted success",
        "held out",
        "information",
        "prior's edge",
        "sampler",
        "simulations",
        "training",
    }
    assert found.level == "pass", str(found)
    assert found.success.posterior_success.value > found.success.prior_success.value
    rates = found["held out"].numbers
    assert rates["posterior in longer"] > rates["prior in longer"] + 0.2
    for draw, caption in found.figures().values():
        assert draw() is not None
        assert caption
    table = found.table()
    assert list(table.columns) == ["verdict", "finding", "advice"]
    plain = found.to_dict()
    assert plain["verdict"] == "pass"
    assert plain["checks"]["success"]["numbers"]["posterior_success"] == found.success.posterior_success.value


def test_a_fit_that_learned_nothing_fails():
    """Shuffled outcomes: the classifier has nothing to go on, and posterior rules do no better than the prior's.

    The shuffle has a seed of its own: only some 36 networks succeed, and about one shuffle in six puts so many of them
    near rules that do learn that a fit to it is of some use (12 % against the prior's 4).
    """
    store = sr.simulate(Cheap(), PRIOR, 1024, seed=1)
    order = torch.randperm(len(store), generator=torch.Generator().manual_seed(1))
    wrong = sr.SimulationStore.from_arrays(
        store.theta, store.x[order], names=store.names, summary_names=store.summary_names
    )
    posterior = sr.fit(wrong, PRIOR, constraints={"final_error": (0, 0.15)})
    found = sr.check(posterior, Cheap(), rules=64, networks_per_rule=8, parts="predictions", num_workers=1)
    assert found["success"].level == "fail"
    assert "do not rely on this fit" in found["success"].advice


def curves(observed, seed=0, rules=200, bins=8):
    torch.manual_seed(seed)
    made = torch.randn(rules, bins)
    names = tuple(f"learning_curve[A,{k}]" for k in range(bins))
    low, median, high = (torch.quantile(made, q, dim=0) for q in (0.025, 0.5, 0.975))
    return sr.TrialsCheck(
        rules, 5, sr.CurveBand(names, low, median, high, 0.95, observed), made, torch.zeros(rules, 2), {}
    )


def test_the_p_value_of_a_curve_is_uniform_for_curves_of_the_same_kind():
    from sbirules.inference.questions.learning import curve_p_value

    torch.manual_seed(1)
    p = sorted(curve_p_value(curves(torch.randn(8), seed=k)) for k in range(200))
    gap = max(abs(v - (k + 0.5) / 200) for k, v in enumerate(p))
    assert gap < 1.63 / math.sqrt(200), "Kolmogorov-Smirnov, 1 %"
    assert curve_p_value(curves(torch.full((8,), 6.0))) < 0.01


def test_learners_of_another_rule_are_seen_through():
    """A posterior of the wrong learners does not reproduce the right ones; that of the right ones does."""
    family = sr.PolynomialRule(degree=3, terms=["theta_33"])
    task = sr.tasks.DelayedDiscrimination()
    simulator = RateRNN(family, task, num_units=32, num_trials=120)
    prior = uniform(family, -1, 1)
    store = sr.simulate(simulator, prior, 1500, seed=2, num_workers=2)

    def learners(value, seed):
        run = simulator.run(torch.full((12, 1), value), seed=seed)
        return sr.Trials(tuple(str(k) for k in range(12)), run)

    good, bad = learners(-0.8, 15), learners(0.8, 16)
    posterior = sr.fit(store, prior, trials=good)
    options = {"rules": 48, "parts": "predictions", "num_workers": 2}
    assert sr.check(posterior, simulator, trials=good, **options)["learning curve"].level == "pass"
    assert sr.check(posterior, simulator, trials=bad, **options)["learning curve"].level != "pass"


def test_refusals(x_o):
    wrapped = sr.Posterior.wrap(Exact(), GAUSSIAN, GAUSSIAN.names, x_o)
    with pytest.raises(ValueError, match="it is not known what this posterior was conditioned on"):
        sr.check(sr.Posterior.wrap(Exact(), GAUSSIAN, GAUSSIAN.names), SIMULATOR)
    with pytest.raises(ValueError, match="names must be one per coefficient of the prior, 9, got a"):
        sr.Posterior.wrap(Exact(), GAUSSIAN, ["a"], x_o)
    with pytest.raises(ValueError, match="calibration must be 0 or at least 50"):
        sr.check(wrapped, SIMULATOR, calibration=20)
    with pytest.raises(ValueError, match="did you mean 'sampler'"):
        sr.check(wrapped, SIMULATOR, parts=["sampler_"])
    with pytest.raises(
        ValueError, match="one of constraints, trials, recordings, sessions, x_o and question, got constraints, x_o"
    ):
        sr.check(wrapped, SIMULATOR, constraints={"projections[1]": (0, 1)}, x_o=x_o)
    with pytest.raises(ValueError, match="level: 'good' is not known"):
        Verdict("x", "good", "finding")
    store = sr.simulate(Cheap(), PRIOR, 600, seed=1)
    posterior = sr.fit(store, PRIOR, constraints={"final_error": (0, 0.3)})
    with pytest.raises(ValueError, match="success belongs to checks of constraints"):
        _ = sr.check(posterior, Cheap(), parts="sampler").success
    with pytest.raises(ValueError, match="a posterior of constraints answers one question"):
        sr.calibrate(posterior, Cheap())


def test_a_posterior_that_is_the_prior_is_said_to_be_that():
    """Nothing fails where nothing was learned; that itself is the finding."""

    class Prior:
        def sample(self, shape, x=None, show_progress_bars=False):
            return GAUSSIAN.sample(shape)

        def log_prob(self, theta, x=None):
            return GAUSSIAN.log_prob(theta)

    found = sr.check(sr.Posterior.wrap(Prior(), GAUSSIAN, GAUSSIAN.names), SIMULATOR, parts="information")
    assert found["information"].level == "caution"
    assert "hardly more than the prior" in found["information"].advice
