"""What coverage, curves and calibration pass though it is wrong: each is caught by a check of its own."""

import pytest
import torch

import sbirules as sr
from sbirules.checks.data_use import unused
from sbirules.checks.edges import edges_verdict
from sbirules.checks.recovery import Recovery
from sbirules.checks.trust import calibration_verdicts
from sbirules.inference.questions.learning import curve_verdict
from sbirules.inference.questions.variety import Variety, statistics_of, variety_verdict
from sbirules.model.runs import Status, Trajectory
from sbirules.model.verdicts import by_p_value
from sbirules.priors import normal, uniform
from sbirules.support.distances import rank_of


def recovery(ignores=0.0, rules=200, draws=200, d=2, noise=0.6, seed=0):
    """x = theta + noise, theta ~ N(0, 1): the exact posterior, or one that takes the noise for larger and forgets a share."""
    torch.manual_seed(seed)
    theta = torch.randn(rules, d)
    x = theta + noise * torch.randn(rules, d)
    gain = (1 - ignores) / (1 + noise**2)
    sd = (1 - (2 * gain - gain**2 * (1 + noise**2))) ** 0.5  # calibrated for that gain, whatever it is
    made = gain * x[:, None] + sd * torch.randn(rules, draws, d)
    return Recovery(("a", "b")[:d], theta, made, 1, torch.ones(d), None), x


def test_the_use_of_data_of_a_right_posterior_has_uniform_p_values():
    p = sorted(unused(*recovery(rules=60, draws=60, seed=k))[0] for k in range(100))
    gap = max(abs(v - (k + 0.5) / 100) for k, v in enumerate(p))
    assert gap < 1.63 / 100**0.5, "Kolmogorov-Smirnov, 1 %"


@pytest.mark.parametrize("ignores", [1.0, 0.5])
def test_a_calibrated_posterior_that_ignores_data_is_caught(ignores):
    found, x = recovery(ignores)
    assert min(found.sbc_p.values()) > 0.001, "ranks alone do not see it"
    p, open_share, chance = unused(found, x)
    assert by_p_value(p) == "fail"
    assert open_share > 3 * chance
    assert by_p_value(unused(*recovery(0.0))[0]) == "pass"


def test_outliers_and_constant_columns_among_the_data_are_no_matter():
    found, x = recovery()
    x = torch.cat([x, torch.zeros(len(x), 1)], dim=1)
    x[0] = 1e6
    assert by_p_value(unused(found, x)[0]) == "pass"
    many = torch.cat([x, torch.randn(len(x), 300)], dim=1)
    assert by_p_value(unused(found, many)[0]) == "pass"


def test_coverage_says_how_much_was_learned_beside_it():
    found, x = recovery(1.0)
    verdict = {v.name: v for v in calibration_verdicts(sr.Calibration(found, x, None), None, 0)}["coverage"]
    assert verdict.level == "caution"
    assert "nothing was learned" in verdict.advice
    found, x = recovery()
    verdict = {v.name: v for v in calibration_verdicts(sr.Calibration(found, x, None), None, 0)}["coverage"]
    assert verdict.level == "pass"
    assert verdict.numbers["contraction"] == pytest.approx(1 / (1 + 0.6**2), abs=0.02)


# The prior's edge ---------------------------------------------------------------------------------


class Family(sr.RuleFamily):
    coefficients = (sr.Coefficient("a"), sr.Coefficient("b"))


def posterior(prior, draws):
    return sr.Posterior(prior, ("a", "b"), lambda theta: torch.zeros(len(theta))).with_draws(draws)


BOX = torch.distributions.Independent(torch.distributions.Uniform(torch.tensor([-1.0, 0.0]), torch.ones(2)), 1)


@pytest.mark.parametrize("prior", [uniform(Family(), -1, 1, b=(0.0, 1.0)), BOX], ids=["ours", "torch"])
def test_mass_at_each_bound_is_told(prior):
    draws = torch.rand(4000, 2)
    draws[:, 0] = draws[:, 0] * 2 - 1
    (free,) = edges_verdict(posterior(prior, draws))
    assert free.level == "pass"
    assert len(free.numbers) == 4
    assert all(v == pytest.approx(0.02, abs=0.01) for v in free.numbers.values())
    draws[:1200, 0] = -0.97  # within 2 % of -1, whose width is 2
    draws[1200:2400, 1] = 0.97  # not within 2 % of 1, whose width is 1
    (found,) = edges_verdict(posterior(prior, draws))
    assert found.level == "caution"
    assert "pressed against the edge" in found.finding
    assert "of a at its lower bound -1" in found.finding
    assert " b at" not in found.finding
    assert "Widen the prior" in found.advice


def test_a_prior_without_bounds_has_no_edges():
    prior = normal(Family(), 0.0, 1.0)
    assert edges_verdict(posterior(prior, torch.randn(500, 2) + 9)) == []


# Learners -----------------------------------------------------------------------------------------


def check_of(made, observed):
    names = tuple(f"learning_curve[A,{k}]" for k in range(made.shape[1]))
    low, median, high = (torch.quantile(made, q, dim=0) for q in (0.025, 0.5, 0.975))
    band = sr.CurveBand(names, low, median, high, 0.95, observed)
    return sr.TrialsCheck(len(made), 5, band, made, torch.zeros(len(made), 2), {})


def test_a_curve_that_is_nowhere_in_its_band_never_passes():
    """A few rules far off widen the s.d., so that no bin of the learners' curve looks far."""
    torch.manual_seed(0)
    made = 0.05 * torch.randn(128, 8)
    made[:3] = 20 + torch.randn(3, 1)
    observed = torch.full((8,), 0.9)
    check = check_of(made, observed)
    check.curve.high.clamp_(max=0.2)
    assert check.curve.coverage == 0.0
    verdict = curve_verdict(check, None)
    assert verdict.numbers["p"] > 0.02, "the worst bin alone would pass"
    assert verdict.level != "pass"
    assert verdict.advice


def test_right_curves_pass_whether_bins_go_together_or_not():
    for together in (0.0, 1.0):
        levels = []
        for k in range(60):
            torch.manual_seed(k)
            both = together * torch.randn(129, 1) + torch.randn(129, 8)
            levels.append(curve_verdict(check_of(both[1:], both[0]), None).level)
        assert levels.count("fail") <= 4
        assert levels.count("pass") >= 52


def sessions(groups, learners=24, trials=60, scatter=0.2, between=0.6, carry=0.0, seed=0):
    """Tables of learners whose errors have a mean of their own, scatter around it, and may go with the one before."""
    torch.manual_seed(seed)
    n = groups * learners
    error = 1 + between * torch.randn(n, 1)
    noise = scatter * torch.randn(n, trials)
    for t in range(2, trials):
        noise[:, t] = carry * noise[:, t - 2] + (1 - carry**2) ** 0.5 * noise[:, t]
    types = (torch.arange(trials) % 2).expand(n, -1)
    ok = torch.full((n,), int(Status.OK), dtype=torch.int8)
    return Trajectory(ok, types, {"error": error + noise}, type_names=("A", "B"))


def variety(observed, made=None):
    names, each = statistics_of(made or sessions(100, seed=1), "error", 100)
    return Variety(names, each, statistics_of(observed, "error", 1)[1][0])


def test_learners_as_the_networks_are_pass():
    levels = []
    for k in range(40):
        found = variety(sessions(1, seed=100 + k))
        levels.append(variety_verdict(found, 24)[0].level)
    assert levels.count("fail") <= 3
    assert levels.count("pass") >= 34


@pytest.mark.parametrize("other", [{"scatter": 0.3}, {"between": 0.05}, {"carry": 0.6}], ids=str)
def test_learners_that_vary_otherwise_are_caught_though_their_mean_is_the_same(other):
    caught = [variety_verdict(variety(sessions(1, seed=k, **other)), 24)[0].level != "pass" for k in range(10)]
    assert sum(caught) >= 9


def test_sessions_of_other_lengths_and_lost_networks_are_taken():
    made = sessions(100, seed=1)
    made.status[3] = int(Status.DIVERGED)
    made.per_trial["error"][3] = torch.nan
    made.per_trial["error"][:, 50:] = torch.nan
    made.trial_types = made.trial_types.clone()
    made.trial_types[:, 50:] = -1
    observed = sessions(1, seed=9).cut(torch.full((24,), 50))
    (verdict,) = variety_verdict(variety(observed, made), 24)
    assert verdict.level == "pass", str(verdict)
    assert variety_verdict(variety(observed, made), 3) == [], "three learners say nothing of a spread"
    assert rank_of(float("nan"), torch.ones(3)) != rank_of(1.0, torch.ones(3))
