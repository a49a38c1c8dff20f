"""Study files and the command line, from end to end on a very small problem."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import arviz
import numpy as np
import pandas as pd
import pytest
import torch

from sbirules import PolynomialRule, Study
from sbirules.cli import main
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.simulators import RateRNN
from sbirules.studies.folders import replaced

DATA = Path(__file__).parents[3] / "shared" / "data"

SMALL = """
[rule]
degree = 1
[task]
name = "delayed_discrimination"
stimulus = 40
delay = 20
response = 40
[simulator]
num_units = 16
num_trials = 60
[prior]
low = -1.0
high = 1.0
[simulate]
num_simulations = {n}
seed = 3
[fit.sampler]
num_particles = 256
[sensitivity]
rules = 6
networks = 2
parts = ["sobol", "stiff", "compensation", "knock_outs"]
"""

CONSTRAINTS = """
[constraints]
weight_change = [-inf, 0.01]
[fit]
all_of_networks = 16
num_samples = 400
[check]
rules = 24
networks_per_rule = 4
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.toml").write_text(CONSTRAINTS + SMALL.format(n=600))
    code = main(["run", str(folder / "small.toml"), "--out", str(folder / "out"), "--quiet", "--workers", "1"])
    assert code == 0
    return folder


def test_a_constraint_study_leaves_the_promised_files(finished):
    out = finished / "out"
    for name in ("study.toml", "posterior.nc", "summary.json", "report.html", "posterior/posterior.json"):
        assert (out / name).is_file(), name
    assert list((out / "store").glob("*shard*"))
    assert {p.name for p in (out / "figures").iterdir()} >= {"success.png", "marginals.png", "pairs.png"}
    content = json.loads((out / "summary.json").read_text())
    assert content["schema_version"] == 1
    assert content["simulations"]["count"] == sum(content["simulations"]["status"].values()) == 600
    assert content["simulations"]["seconds"] > 0
    assert set(content["parameters"]) == {"theta_00", "theta_01", "theta_10", "theta_11"}
    assert set(content["parameters"]["theta_11"]) == {
        "mean",
        "sd",
        "q025",
        "median",
        "q975",
        "contraction",
        "excludes_zero",
    }
    c = content["constraint"]
    assert (c["all_of_networks"], c["reliability"], c["rules"], c["networks_per_rule"]) == (16, None, 24, 4)
    for name in ("prior_success", "posterior_success", "zero_rule_success", "posterior_reliable"):
        assert 0 <= c[name] <= 1
        assert c[f"{name}_se"] >= 0
    assert c["zero_rule_success"] == 1, "without plasticity no weight changes"
    assert c["posterior_success"] > c["prior_success"] + 3 * c["prior_success_se"]
    assert c["posterior_success"] > 0.6


def test_posterior_nc_is_readable_inference_data(finished):
    data = arviz.from_netcdf(finished / "out" / "posterior.nc")
    assert {"prior", "posterior", "posterior_predictive"} <= set(data.groups())
    theta = data.posterior["theta_11"]
    assert theta.dims == ("chain", "draw")
    simulator = RateRNN(
        PolynomialRule(degree=1), DelayedDiscrimination(stimulus=40, delay=20, response=40), num_units=16
    )
    assert theta.attrs["raw_per_unit"] == pytest.approx(simulator.raw_per_unit[3].item())
    assert json.loads(data.posterior.attrs["constraints"]) == {"weight_change": [None, 0.01]}
    assert float(abs(theta).max()) <= 1


def test_the_report_stands_alone(finished):
    page = (finished / "out" / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    pictures, others = page.count("<img "), page.count("<source ")
    assert pictures == page.count("alt=") > 8
    assert others >= pictures, "for dark pages; of some, for narrow ones, too"
    assert page.count("data:image/png;base64,") == pictures + others
    assert "On fresh networks" in page
    assert "“weight change” from any to 0.01" in page
    assert page.count("<math") > 3
    assert "✓ pass" in page
    assert len(page) < 10e6


def test_the_resolved_study_gives_the_same_study(finished):
    resolved = tomllib.loads((finished / "out" / "study.toml").read_text())
    again = Study.of(resolved, name="small")
    first = Study.read(finished / "small.toml")
    assert again.simulator.config() == first.simulator.config()
    assert again.prior.config() == first.prior.config()
    assert resolved["simulator"]["gain"] == 1.5
    assert resolved["rule"]["terms"] == list(first.simulator.names)
    assert resolved["simulator"]["summaries"][-1] == "weight_change"


def test_a_rerun_simulates_nothing_and_says_the_same(finished):
    out = finished / "out"
    kept = [*out.rglob("shard-*"), out / "sensitivity" / "sensitivity.json"]
    stamps = {p: p.stat().st_mtime_ns for p in kept}
    before = (out / "summary.json").read_text()
    assert main(["run", str(finished / "small.toml"), "--out", str(out), "--quiet"]) == 0
    assert set(out.rglob("shard-*")) <= set(kept)
    assert {p: p.stat().st_mtime_ns for p in kept} == stamps
    assert (out / "summary.json").read_text() == before


@pytest.mark.slow
def test_other_checks_of_the_same_posterior_get_a_folder_of_their_own(finished):
    changed = finished / "changed.toml"
    changed.write_text((CONSTRAINTS + SMALL.format(n=600)).replace("rules = 24", "rules = 8"))
    shards = list((finished / "out" / "check").rglob("shard-*"))
    assert main(["run", str(changed), "--out", str(finished / "out"), "--quiet"]) == 0
    assert json.loads((finished / "out" / "summary.json").read_text())["constraint"]["rules"] == 8
    assert all(shard.is_file() for shard in shards)


def test_another_study_in_the_same_folder_is_refused(finished, capsys):
    other = finished / "other.toml"
    other.write_text(CONSTRAINTS + SMALL.format(n=600).replace("seed = 3", "seed = 4"))
    out = finished / "out"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = []
    for more in (["--dry-run"], ["--quiet"], []):
        assert main(["run", str(other), "--out", str(out), *more]) == 2
        printed = capsys.readouterr()
        assert "seed was 3 and is now 4" in printed.err
        assert not printed.out, "nothing is replaced, and nothing forecast"
        said.append(printed.err)
    assert len(set(said)) == 1, "a dry run says the same"
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.slow
def test_a_run_says_whose_results_it_replaces(finished, capsys):
    first, other = finished / "small.toml", finished / "renamed.toml"
    out = ["--out", str(finished / "out"), "--workers", "1"]
    assert main(["run", str(first), *out]) == 0  # as it was, whatever other tests left
    capsys.readouterr()
    changed = (CONSTRAINTS + SMALL.format(n=600)).replace('"knock_outs"]', '"stiff"]')
    other.write_text(changed.replace("0.01]", "0.012]"))
    line = replaced(Study.read(other), finished / "out")
    assert line.startswith(f"results of small in {finished / 'out'} are replaced, since [")
    assert line.endswith(" changed")
    assert all(section in line for section in ("[constraints]", "[sensitivity]"))
    assert not any(section in line for section in ("[fit]", "[rule]", "[check]"))
    other.write_text(changed)
    assert main(["run", str(other), *out]) == 0
    assert " are replaced, since [sensitivity] changed\n" in capsys.readouterr().out
    assert main(["run", str(first), *out]) == 0
    assert capsys.readouterr().out.startswith("results of renamed in ")
    for again in (["run", str(first), *out], ["fit", str(finished / "out")]):
        assert main(again) == 0
        assert "replaced" not in capsys.readouterr().out


def test_a_data_study_from_table_to_report(tmp_path):
    task = DelayedDiscrimination(stimulus=40, delay=20, response=40)
    family = PolynomialRule(degree=1)
    simulator = RateRNN(family, task, num_units=16, num_trials=60)
    types = torch.arange(60).repeat(5, 1) % 2
    types[3, 50:] = -1  # sessions of unequal length, and one sequence of its own
    types[4, :30] = 1 - types[4, :30]
    run = simulator.run([[0.2, -0.3, 0.1, 0.9]] * 5, seed=12, trial_types=types)
    rows = [
        {"learner": f"<b>{i}</b>", "trial": t, "trial_type": int(types[i, t]), "error": float(run.error[i, t])}
        for i in range(5)
        for t in range(60)
        if types[i, t] >= 0
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "learners.csv", index=False)
    data = """
[data]
trials = "learners.csv"
[fit]
rounds = 1
round_simulations = 150
num_samples = 400
[check]
rules = 12
calibration = 50
"""
    (tmp_path / "data.toml").write_text(data + SMALL.format(n=300).replace("num_trials = 60\n", ""))
    command = [sys.executable, "-m", "sbirules.cli", "run", "data.toml", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("Results are in")
    out = tmp_path / "runs" / "data"
    content = json.loads((out / "summary.json").read_text())
    assert content["data"]["learners"] == 5
    assert content["data"]["trials"] == 290
    inference = arviz.from_netcdf(out / "posterior.nc")
    assert {"prior", "posterior", "posterior_predictive", "observed_data"} <= set(inference.groups())
    assert inference.observed_data["error"].dims == ("learner", "trial")
    assert inference.posterior_predictive["learning_curve"]["bin"].values[0] == "learning_curve[A,0]"
    predicted = inference.posterior_predictive["learning_curve"].values[0]
    observed = inference.observed_data["learning_curve"].values
    low, high = np.quantile(predicted, [0.025, 0.975], axis=0)
    inside = np.mean((observed >= low) & (observed <= high))
    assert content["data"]["predictive_coverage"] == pytest.approx(inside)
    assert inside >= 0.5
    page = (out / "report.html").read_text()
    assert "<b>" not in page, "what comes from a user's file is escaped"
    assert not (tmp_path / "sbi-logs").exists()


def bad(text, words):
    return pytest.param(text, words, id=words[:30])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        bad("[rule\n", "not valid TOML"),
        bad("[rules]\n[constraints]\nlearned=[1,1]", "unknown section: 'rules'; did you mean 'rule'"),
        bad("[rule]\ndegre = 3\n[constraints]\nlearned=[1,1]", "'degre'; did you mean 'degree'"),
        bad("[rule]\ndegree = 3", "exactly one of"),
        bad('[constraints]\nlearned=[1,1]\n[data]\ntrials="x.csv"', "exactly one of"),
        bad("[constraints]\nlerned=[1,1]", "did you mean 'learned'"),
        bad("[constraints]\nlearned=[1,0]", "swap"),
        bad("[constraints]\nlearned=[1,1]\n[prior]\nlow=1\nhigh=-1", "low must be less than high"),
        bad('[constraints]\nlearned=[1,1]\n[prior]\nname="unifrom"', "did you mean 'uniform'"),
        bad("[constraints]\nlearned=[1,1]\n[simulator]\nnum_unit=3", "did you mean 'num_units'"),
        bad("[constraints]\nlearned=[1,1]\n[simulator]\nnum_units=-3", "num_units"),
        bad('[constraints]\nlearned=[1,1]\n[rule]\ninfer=["tau_e"]', "tau_e"),
        bad('[constraints]\nlearned=[1,1]\n[rule]\ninfer=["tau_e"]\n[prior.tau_e]\nlow=5', "lacks high"),
        bad('[constraints]\nlearned=[1,1]\n[task]\nname="mine:Task"', "--trust"),
        bad("[constraints]\nlearned=[1,1]\n[fit]\nreliability=2", "reliability"),
        bad('[constraints]\nlearned=[1,1]\n[check]\nbaselines=["coin"]', "belongs to studies of choices"),
        bad("[constraints]\nlearned=[1,1]\n[fit]\nreliability=0.9\nall_of_networks=3", "not both"),
        bad("[constraints]\nlearned=[1,1]\n[fit.sampler]\nnum_particle=3", "did you mean 'num_particles'"),
        bad("[constraints]\nlearned=[1,1]\n[simulate]\nnum_simulations=0", "num_simulations"),
        bad("[constraints.learned]\nlow=1\nhigh=1", "must be (low, high)"),
        bad('[constraints]\nlearned=[1,1]\n[fit]\nreliability="0.9"', "reliability must lie in"),
        bad("[constraints]\nlearned=[1,1]\n[fit]\nclassifier=3", "must be a table"),
        bad('[constraints]\nlearned=[1,1]\n[task]\ntarget="a"', "[task] with target = 'a'"),
        bad("[constraints]\nlearned=[1,1]\n[simulator]\nclamped={a=1.0}", "clamped must map units"),
        bad('[constraints]\nlearned=[1,1]\n[simulator]\nsummaries="learned"', "must be a list"),
        bad('[constraints]\nlearned=[1,1]\n[rule]\ninfer="tau_e"', "infer must be a list"),
        bad('[data]\ntrials="nowhere.csv"', "no file"),
        bad("[data]\n", "lacks trials, the file of the table"),
    ],
)
def test_mistakes_in_a_study_file_get_one_sentence_and_exit_code_2(tmp_path, capsys, text, words):
    (tmp_path / "s.toml").write_text(text)
    assert main(["run", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists(), "nothing is half-written"


def test_users_own_classes_need_trust(tmp_path, capsys):
    (tmp_path / "mine_for_test.py").write_text(
        "from sbirules.tasks import DelayedDiscrimination\nclass Mine(DelayedDiscrimination): pass\n"
    )
    (tmp_path / "s.toml").write_text(
        '[task]\nname = "mine_for_test:Mine"\ndelay = 20\n' + "[constraints]\nlearned=[1,1]\n"
    )
    assert main(["run", str(tmp_path / "s.toml"), "--dry-run"]) == 2
    assert main(["run", str(tmp_path / "s.toml"), "--dry-run", "--trust"]) == 0
    assert 'name = "mine_for_test:Mine"' in capsys.readouterr().out


def test_lists_and_help(capsys):
    for what, name in [
        ("families", "polynomial"),
        ("tasks", "delayed_discrimination"),
        ("simulators", "rate_rnn"),
        ("priors", "log_uniform"),
        ("summaries", "learned"),
    ]:
        assert main(["list", what]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.split()[0] == name and len(line.split()) > 3 for line in lines), what
    for command in ([], ["demo"], ["run"], ["list"]):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
        assert len(capsys.readouterr().out) > 100


def test_import_is_light_and_starts_no_process():
    script = (
        "import sys, sbirules\n"
        "heavy = [m for m in ('sbi', 'zuko', 'arviz', 'pyro', 'pandas', 'matplotlib') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
        "import multiprocessing; assert not multiprocessing.active_children()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.long
@pytest.mark.skipif(not DATA.is_dir(), reason="no learners beside the repository")
def test_learners_of_another_implementation_are_recovered(tmp_path):
    """Degree 2 on 24 learners whose truth is theta_11 and theta_21."""
    (tmp_path / "b.toml").write_text(
        f'[rule]\ndegree = 2\n[prior]\nlow = -1\nhigh = 1\n[data]\ntrials = "{DATA / "learners_b.csv"}"\n'
        "[simulate]\nnum_simulations = 8192\n"
    )
    assert main(["run", str(tmp_path / "b.toml"), "--out", str(tmp_path / "out")]) == 0
    data = arviz.from_netcdf(tmp_path / "out" / "posterior.nc")
    misses = 0
    for name, draws in data.posterior.data_vars.items():
        truth = {"theta_11": -0.00185248, "theta_21": -0.000903426}.get(name, 0.0)
        low, high = draws.quantile([0.025, 0.975]).values * draws.attrs["raw_per_unit"]
        misses += not low <= truth <= high
    assert misses <= 2
    assert data.posterior["theta_11"].quantile(0.975) < 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["data"]["predictive_coverage"] >= 0.9
