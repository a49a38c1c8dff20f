"""Checks, sensitivity and studies at their edges: failed networks, ties, short sessions, re-read studies, odd variants."""

import math

import pandas as pd
import pytest
import torch
from cheap import PRIOR, Cheap, Line

import sbirules as sr
from sbirules.checks.misfit import misspecification
from sbirules.checks.recovery import Recovery
from sbirules.checks.trust import calibration_verdicts, simulation_verdict
from sbirules.cli import main
from sbirules.importance import active_subspace, compensation, knock_outs, shapley, stiff_and_sloppy
from sbirules.inference.questions.learning import curve_p_value, curve_verdict
from sbirules.inference.questions.observation import summaries_verdict
from sbirules.model.verdicts import by_p_value
from sbirules.priors import uniform
from sbirules.studies.study import Study


def test_a_test_that_could_not_be_made_does_not_pass():
    assert by_p_value(math.nan) == "fail"
    lost = sr.ObservationCheck(
        4, 1, ("a", "b"), torch.zeros(2), torch.full((4, 2), torch.nan), torch.zeros(4, 2), {"DIVERGED": 4}
    )
    verdict = summaries_verdict(lost)
    assert verdict.level == "fail"
    assert "All of 4 fresh networks under posterior rules failed" in verdict.finding


def curves(made, observed):
    names = tuple(f"learning_curve[A,{k}]" for k in range(made.shape[1]))
    low, median, high = (torch.nanquantile(made, q, dim=0) for q in (0.025, 0.5, 0.975))
    return sr.TrialsCheck(
        len(made), 5, sr.CurveBand(names, low, median, high, 0.95, observed), made, torch.zeros(len(made), 2), {}
    )


def test_bins_without_trials_are_left_out():
    torch.manual_seed(0)
    made = torch.randn(100, 6)
    made[:, 4] = torch.nan
    observed = torch.zeros(6)
    observed[4] = torch.nan
    found = curves(made, observed)
    assert found.curve.coverage == 1.0
    assert 0.05 < curve_p_value(found) <= 1
    assert curve_verdict(found, Cheap()).level == "pass"


def test_correlated_bins_do_not_condemn_a_right_posterior():
    """All bins of a curve move together: half of them outside is no surprise then, and no failure."""
    verdicts = []
    for k in range(60):
        torch.manual_seed(k)
        made = torch.randn(128, 1) + 0.05 * torch.randn(128, 8)
        verdicts.append(curve_verdict(curves(made, torch.randn(1) + 0.05 * torch.randn(8)), Cheap()).level)
    assert verdicts.count("fail") <= 3
    assert verdicts.count("pass") >= 50


def test_coverage_counts_absent_terms_at_random():
    """Posterior = prior with terms that are mostly absent: exactly right, though truth and draws tie."""

    def sparse(*shape):
        return torch.randn(*shape) * (torch.rand(*shape) < 0.05)

    torch.manual_seed(0)
    recovery = Recovery(("a", "b", "c"), sparse(300, 3), sparse(300, 200, 3), 1, torch.ones(3), None)
    tested = sr.Calibration(recovery, torch.zeros(300, 1), None)
    found = {v.name: v for v in calibration_verdicts(tested, None, 0)}
    assert found["coverage"].level == "pass", found["coverage"].finding


def test_shapley_effects_of_terms_that_are_mostly_absent():
    torch.manual_seed(0)
    draws = torch.randn(4000, 2) * (torch.rand(4000, 2) < 0.1)
    v = draws.var(dim=0)
    exact = float(v[0] / (v[0] + 4 * v[1]))
    for sign in (1, -1):
        found = shapley(lambda x, s=sign: x[:, 0] + s * 2 * x[:, 1], draws, ("a", "b"), num_permutations=1000)
        assert float(found.value[0]) == pytest.approx(exact, abs=4 * float(found.se[0]) + 0.03)


@pytest.fixture(scope="module")
def posterior():
    store = sr.simulate(Cheap(), PRIOR, 600, seed=1, num_workers=1)
    out = sr.fit(store, PRIOR, constraints={"final_error": (0, 0.3)})
    out.sample((300,))
    return out


def test_few_draws_have_large_errors(posterior):
    few = sr.Posterior.wrap(PRIOR_AS_SBI(), PRIOR, PRIOR.names)
    few = few.with_draws(few.draw(100))
    found = stiff_and_sloppy(few)
    assert float(found.se.min()) > 0.03, "a hundred draws, not two thousand"
    assert compensation(few, conditions=0)["se"].iloc[0] > 0.08


class PRIOR_AS_SBI:
    def sample(self, shape, x=None, show_progress_bars=False):
        return PRIOR.sample(shape)

    def log_prob(self, theta, x=None):
        return PRIOR.log_prob(theta)


def test_what_cannot_be_had_says_why(posterior):
    part = posterior.conditioned(a=0.1)
    part.sample((200,))
    with pytest.raises(ValueError, match="compensation needs at least two coefficients that vary, got 1"):
        compensation(part)
    found = sr.sensitivity(part, Cheap(), parts=["stiff", "compensation"])
    assert "compensation" in found.left_out

    class Powers(sr.RuleFamily):
        coefficients = (sr.Coefficient("power", linear=False),)

        def drive(self, theta, rate, deviation, weight):
            return rate ** theta["power"] * deviation

    class Odd(Cheap):
        def __init__(self):
            super().__init__()
            self.family = Powers()

        raw_per_unit = torch.ones(1)

    with pytest.raises(ValueError, match="knock-outs need a linear coefficient"):
        knock_outs(torch.ones(3, 1), Odd())
    single = sr.Posterior.wrap(PRIOR_AS_SBI(), uniform(Powers(), power=(0.5, 2.0)), ("power",))
    with pytest.raises(ValueError, match="active_subspace needs at least two"):
        active_subspace(single, torch.randn(200, 1), torch.randn(200))
    effects = knock_outs(torch.full((1, 2), 0.2), Cheap(), outcome="final_error", networks=2, num_workers=1)
    assert bool(torch.isnan(effects.se).all()), "one rule says nothing about the spread over rules"


def test_check_holds_names_against_the_simulator(posterior):
    class Other(Line):
        coefficients = (sr.Coefficient("c"), sr.Coefficient("d"))

    other = Cheap()
    other.family = Other()
    with pytest.raises(ValueError, match="the posterior is over a, b, the simulator's rules have c, d"):
        sr.check(posterior, other)


def test_few_rules_and_several_stores_are_taken(posterior):
    stores = [sr.simulate(Cheap(), PRIOR, 100, seed=s, num_workers=1) for s in (1, 2)]
    found = sr.check(posterior, Cheap(), store=stores, rules=4, networks_per_rule=2, num_workers=1)
    assert "of 200 simulations" in found["simulations"].finding
    assert found["predicted success"].draw() is not None
    assert simulation_verdict([], None) == []


@pytest.mark.slow
def test_a_kept_calibration_belongs_to_its_posterior(tmp_path):
    from test_check import GAUSSIAN, SIMULATOR, Exact

    x = sr.summaries.summarise(SIMULATOR.run(torch.zeros(1, 9), seed=3), SIMULATOR.summaries)[0]
    levels = []
    for scale in (1.0, 0.3, 1.0):
        wrapped = sr.Posterior.wrap(Exact(scale), GAUSSIAN, GAUSSIAN.names, x)
        found = sr.check(
            wrapped, SIMULATOR, x_o=x, parts="calibration", calibration=100, folder=tmp_path, num_workers=1
        )
        levels.append(found["coverage"].level)
    assert levels == ["pass", "fail", "pass"]
    assert len(list((tmp_path / "calibration").glob("*.safetensors"))) == 2


SMALL = """
[rule]
degree = 1
[task]
stimulus = 40
delay = 20
response = 40
[simulator]
num_units = 12
num_trials = 40
[constraints]
final_error = [0, 0.9]
[simulate]
num_simulations = 120
[fit]
num_samples = 100
[fit.sampler]
num_particles = 128
[check]
rules = 4
[sensitivity]
parts = ["stiff"]
"""


def test_a_resolved_study_is_the_same_study(tmp_path):
    """Defaults that results depend on are spelled out before anything is computed from them."""
    import tomllib

    import tomli_w

    variant = '\n[check.held_out."another/task"]\ntask = { name = "delayed_non_match_to_sample" }\n'
    first = Study.of(tomllib.loads(SMALL + variant), name="s", folder=tmp_path)
    text = tomli_w.dumps(first.resolved())
    again = Study.of(tomllib.loads(text), name="s", folder=tmp_path / "elsewhere")
    assert again.fit == first.fit
    assert again.check == first.check
    assert first.fit.options == {"all_of_networks": 1}
    assert again.variants["another/task"].task == first.variants["another/task"].task
    assert first.variants["another/task"].task.stimulus == 200, "its own default, not the study's"


@pytest.mark.slow
def test_a_study_of_a_users_own_family_goes_on_in_its_folder(tmp_path, monkeypatch):
    (tmp_path / "mine_own.py").write_text(
        "import sbirules as sr\n\n\nclass Plain(sr.RuleFamily):\n"
        "    coefficients = (sr.Coefficient('hebb'), sr.Coefficient('post'))\n\n"
        "    def __init__(self):\n        super().__init__()\n\n"
        "    def drive(self, theta, rate, deviation, weight):\n"
        "        return theta['hebb'] * rate * deviation + theta['post'] * deviation\n"
    )
    (tmp_path / "own.toml").write_text(SMALL.replace("degree = 1", 'family = "mine_own:Plain"'))
    out = tmp_path / "out"
    arguments = ["--trust", "--quiet", "--workers", "1"]
    assert main(["run", str(tmp_path / "own.toml"), "--out", str(out), *arguments]) == 0
    monkeypatch.chdir(out)
    import sys

    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    sys.modules.pop("mine_own")
    assert main(["report", str(out), *arguments]) == 0


def test_variants_that_make_no_sense_are_said_at_once(tmp_path):
    for text, words in (
        ("[check.held_out.x]\ntask = 5", "task must be a table"),
        ("[check.held_out.x]\nunits = 5", "unknown key in [check.held_out.x]: 'units'"),
        ("[check.held_out.x]\ntrials = 'a.csv'", "trials belongs to studies with [data]"),
    ):
        import tomllib

        with pytest.raises(ValueError, match=r"\[check.held_out.x\]") as refused:
            Study.of(tomllib.loads(SMALL + "\n" + text), name="s", folder=tmp_path)
        assert words in str(refused.value)

    class Draw(Line):
        coefficients = (sr.Coefficient("draw"),)

    with pytest.raises(ValueError, match="a coefficient cannot be called 'draw'"):
        Draw()


def test_held_out_trials_are_found_again(tmp_path):
    table = pd.DataFrame({"learner": ["a"] * 40, "trial": range(40), "trial_type": [0, 1] * 20, "error": [0.5] * 40})
    for name in ("now.csv", "later.csv"):
        table.to_csv(tmp_path / name, index=False)
    content = {
        "rule": {"degree": 1},
        "data": {"trials": "now.csv"},
        "check": {"held_out": {"later": {"task": {"delay": 100.0}, "trials": "later.csv"}}},
    }
    study = Study.of(content, name="s", folder=tmp_path)
    again = Study.of(study.resolved(), name="s", folder=tmp_path / "elsewhere")
    assert again.variants["later"][1].digest() == study.variants["later"][1].digest()


def test_few_data_sets_of_the_prior_do_not_prove_that_rare_data_are_impossible():
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(100, 3, generator=stream)
    rare = torch.full((3,), 2.6)  # beyond each of a hundred, as one data set in a hundred is
    names = ("a", "b", "c")
    assert misspecification(x, rare, names).p_mmd == pytest.approx(1 / 101)
    assert misspecification(x, torch.zeros(3), names).p_mmd > 0.2
    many = torch.randn(1000, 3, generator=stream)
    assert misspecification(many, torch.full((3,), 6.0), names).p_mmd == 0.0
