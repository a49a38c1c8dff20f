"""A simulator that knows neither tasks nor errors goes all the way: store, fit, check, report, files, study file."""

import re
import tomllib

import pytest
import torch
from spikes import PRIOR, Habit, Spikes

import sbirules as sr
from sbirules.cli import main
from sbirules.inference.estimators.likelihood import LikelihoodSettings

QUICK = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)
TRUTH = torch.tensor([0.5, -0.3])
STUDY = """
[rule]
family = "spikes:Habit"
[simulator]
name = "spikes:Spikes"
num_trials = 30
[simulate]
num_simulations = 300
[observation]
choice_share = 0.62
mean_spikes = 2.0
[fit]
estimator = "likelihood"
num_samples = 400
[fit.likelihood]
members = 1
epochs = 10
min_steps = 0
[check]
rules = 20
calibration = 0
[sensitivity]
rules = 8
networks = 4
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return sr.simulate(Spikes(), PRIOR, 1000, store=tmp_path_factory.mktemp("s") / "store", seed=1, num_workers=1)


@pytest.fixture(scope="module")
def x_o():
    return dict(zip(("choice_share", "mean_spikes"), Spikes(300)(TRUTH)[:2].tolist(), strict=True))


def test_the_store_keeps_what_was_declared_and_nothing_else(store):
    assert store.layout.named("trial") == ("choice", "spike_count")
    assert store.layout.named("run") == ("latency",)
    assert store.layout.performance is None
    assert store.layout["spike_count"].unit == "spikes"
    run = store.trajectory
    assert set(run.per_trial) == {"choice", "spike_count"}
    assert set(run.choice.unique().tolist()) == {0.0, 1.0}
    again = sr.summaries.summarise(run, Spikes().summaries)
    torch.testing.assert_close(again, store.x)
    with pytest.raises(AttributeError, match="this run has no 'error'; it has choice, spike_count, latency"):
        _ = run.error


def test_fit_check_report_save_and_load(store, x_o, tmp_path):
    few = LikelihoodSettings(members=1, hidden_features=10, epochs=10, min_steps=0)
    posterior = sr.fit(store, PRIOR, x_o=x_o, settings=few, sampler=QUICK)
    draws = posterior.sample((500,))
    assert (draws.mean(dim=0) - TRUTH).abs().max() < 0.5
    checked = sr.check(posterior, Spikes(), store=store, rules=60, calibration=50, num_workers=1)
    assert {v.name for v in checked} >= {"summaries", "calibration", "coverage", "simulations", "sampler"}
    found = sr.sensitivity(posterior, Spikes(), store=store, num_rules=6, networks=4)
    assert "elasticities" in found.left_out
    sr.report(tmp_path / "r.html", posterior, Spikes(), checked=checked, sensitivity=found, store=store)
    page = (tmp_path / "r.html").read_text()
    words = re.sub(r"<[^>]*>|data:image[^\"]*", " ", page)
    for word in ("error over a session", "mean error", "reward", "eligibility", "read-out", "initial s.d.", "on None"):
        assert word not in words, word
    assert "could have led to what was observed in one network?" in words
    posterior.save(tmp_path / "p")
    loaded = sr.Posterior.load(tmp_path / "p")
    assert torch.equal(loaded.potential(draws), posterior.potential(draws))
    assert loaded.question.config() == posterior.question.config()


def test_constraints_without_a_measure_of_performance_draw_no_curve(store):
    posterior = sr.fit(store, PRIOR, constraints={"choice_share": (0.5, 1.0)}, sampler=QUICK)
    checked = sr.check(posterior, Spikes(), rules=20, networks_per_rule=4, parts="predictions", num_workers=1)
    assert checked.success.curves == {}
    assert checked.question.figures(checked.resimulation, Spikes()) == []


def test_a_table_of_choices_is_read_and_asked_about(store):
    import pandas as pd

    rows = [(k, t, (t + k) % 3 > 0, t % 4) for k in range(3) for t in range(30)]
    table = pd.DataFrame(rows, columns=["learner", "trial", "choice", "spike_count"]).astype({"choice": int})
    posterior = sr.fit(store, PRIOR, trials=table, sampler=QUICK, settings=sr.EnsembleSettings(members=2, max_epochs=5))
    assert posterior.question.names[0] == "choice_curve[all,0]"
    table.loc[4, "choice"] = 2
    with pytest.raises(ValueError, match="choice must be 0 or 1, got 2 in row 6"):
        sr.fit(store, PRIOR, trials=table)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_study_file_names_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "own.toml").write_text(STUDY)
    assert main(["run", str(tmp_path / "own.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "pass --trust" in capsys.readouterr().err
    options = ["--trust", "--quiet", "--workers", "1"]
    assert main(["run", str(tmp_path / "own.toml"), "--out", str(tmp_path / "out"), *options]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "choice_share 0.62, mean_spikes 2" in page
    resolved = tomllib.loads((tmp_path / "out" / "study.toml").read_text())
    assert resolved["observation"] == {"choice_share": 0.62, "mean_spikes": 2.0}
    assert main(["report", str(tmp_path / "out"), *options]) == 0


def test_a_family_without_a_trace_is_not_simulated_by_a_network():
    from sbirules.simulators import RateRNN

    with pytest.raises(ValueError, match="family must be a ThreeFactorRule or a LocalRule, got Habit"):
        RateRNN(Habit(), sr.tasks.DelayedDiscrimination())
