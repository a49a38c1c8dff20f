"""Studies of choices from the command line, the bundled one among them: what comes out, and what a wrong table is told."""

import csv
import json
import runpy
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import chi2

import sbirules as sr
from sbirules.cli import EXIT, main
from sbirules.simulators import PolicyNetwork

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "sbirules" / "studies"
SCRIPT = ROOT / "examples" / "simulated_flies.py"
COLUMNS = {"learner": "fly", "choice": "odor"}
STUDY = """
[rule]
family = "taylor"
terms = ["c rd", "w"]
[task]
name = "choice"
[simulator]
name = "policy_network"
[prior]
name = "uniform"
low = -0.6
high = 0.6
[prior.lapse]
name = "uniform"
low = 0
high = 0.2
[data]
trials = "flies.csv"
animals = "shared"
columns = {learner = "fly", choice = "odor"}
[fit]
num_samples = 200
[fit.sampler]
num_particles = 256
[check]
rules = 8
"""
NAMES = ["c_rd", "w", "w0_constant", "lapse"]


@pytest.fixture
def folder(tmp_path):
    """A study of three flies, sixty trials each."""
    with open(STUDIES / "flies.csv", newline="") as file:
        head, *rows = csv.reader(file)
    rows = [row for row in rows if row[0] in ("fly01", "fly02", "fly03") and int(row[1]) < 60]
    with open(tmp_path / "flies.csv", "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    (tmp_path / "small.toml").write_text(STUDY)
    return tmp_path


def run(folder):
    return main(["run", str(folder / "small.toml"), "--out", str(folder / "out"), "--quiet", "--workers", "1"])


def test_a_study_of_choices_runs_end_to_end(folder, capsys):
    assert run(folder) == EXIT["done"]
    printed = capsys.readouterr().out
    assert "repetition:" in printed
    excluded = printed.split("95 % interval excludes zero: ")[1].splitlines()[0]
    assert "lapse" not in excluded, "a share is never below zero"

    out = folder / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["parameters"]) == NAMES
    assert summary["data"]["learners"] == 3
    assert {"repetition", "win-stay, lose-shift", "learning curve"} <= set(summary["checks"]["checks"])
    assert {"marginals.png", "pairs.png", "animals.png", "repetition.png"} <= {
        path.name for path in (out / "figures").iterdir()
    }
    assert not (out / "store").exists(), "nothing is simulated for an exact fit"

    page = (out / "report.html").read_text()
    assert all(name in page for name in NAMES)
    for said in ("not the rule", "In logit units", "one step ahead"):
        assert said in page
    for said in ("num_simulations", "raw units", "natural units", "last answer"):
        assert said not in page
    assert "fresh networks" not in printed
    assert (out / "figures" / "weights.png").is_file()
    assert not {"simulate", "sensitivity"} & set(tomllib.loads((out / "study.toml").read_text()))

    import arviz

    draws = arviz.from_netcdf(out / "posterior.nc").posterior
    found = {str(name) for name in draws.data_vars} | {
        str(value) for axis in draws.coords.values() for value in axis.values.tolist() if isinstance(value, str)
    }
    assert set(NAMES) <= found
    assert sr.Posterior.load(out / "posterior").names == tuple(NAMES)


@pytest.mark.long
def test_baselines_stand_beside_the_rule(folder, capsys):
    spoilt(folder, "rules = 8", 'rules = 8\nbaselines = ["random_walk", "coin"]')
    assert run(folder) == EXIT["done"]
    printed = " ".join(capsys.readouterr().out.split())
    out = folder / "out"
    found = json.loads((out / "summary.json").read_text())["baselines"]
    assert "drift as a random walk" in found["plasticity"]
    assert "Fitted was one rule for all animals" in found["plasticity"]
    assert found["plasticity"] in printed
    assert set(found["families"]) == {"the rule", "random_walk", "coin"}
    assert (out / "figures" / "baselines.png").is_file()
    page = (out / "report.html").read_text()
    assert page.count(found["plasticity"]) >= 3, "beside the answer, the figure and the table"
    kept = pd.read_csv(out / "baselines.csv", index_col="family")
    for name, row in found["families"].items():
        assert kept.loc[name, "score"] == pytest.approx(row["score"])

    # a coin, and the rule by the function that is called in Python
    study = sr.Study.read(folder / "small.toml")
    last = pd.read_csv(folder / "flies.csv").groupby("fly").tail(20)  # of a single session its last third
    assert kept.loc["coin", "score"] == pytest.approx(-0.6931472 * len(last))
    families = {"the rule": (study.simulator, study.prior), "random_walk": "random_walk", "coin": "coin"}
    sampler = sr.SamplerSettings(num_particles=256)
    again = sr.compare_families(families, study.question.table, animals="shared", sampler=sampler).table()
    assert kept["score"].to_dict() == pytest.approx(again["score"].to_dict())

    assert main(["show", str(out)]) == EXIT["done"]
    shown = capsys.readouterr().out
    assert found["plasticity"] in shown
    assert "missing" not in shown
    stamp = (out / "check" / "baselines.json").stat().st_mtime_ns
    assert run(folder) == EXIT["done"]
    assert (out / "check" / "baselines.json").stat().st_mtime_ns == stamp, "what was compared is not compared again"
    spoilt(folder, '\nbaselines = ["random_walk", "coin"]', "")
    assert run(folder) == EXIT["done"]
    assert "baselines" not in json.loads((out / "summary.json").read_text())
    assert not (out / "baselines.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "check", "report"])
def test_the_folder_gives_the_same_study_again(folder, command, capsys):
    assert run(folder) == EXIT["done"]
    before = json.loads((folder / "out" / "summary.json").read_text())["parameters"]
    assert main([command, str(folder / "out"), "--quiet", "--workers", "1"]) == EXIT["done"]
    assert json.loads((folder / "out" / "summary.json").read_text())["parameters"] == before


def spoilt(folder, old, new):
    path = folder / "small.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('trials = "flies.csv"', 'trials = "wasps.csv"', "wasps.csv"),
        ('choice = "odor"', 'choice = "odour"', "'odour'"),
        ('animals = "shared"', 'animals = "pooled"', "'pooled'"),
        ("[prior.lapse]", "[prior.laps]", "laps"),
        ('terms = ["c rd", "w"]', 'terms = ["c rt", "w"]', "c rt"),
        ("rules = 8", 'baselines = ["randomwalk"]', "did you mean 'random_walk'"),
        ("rules = 8", 'baselines = "coin"', "must be a list of names"),
        ("rules = 8", 'baselines = ["coin"]\nbaselines_held_out = "session"', "did you mean 'sessions'"),
        ("rules = 8", 'baselines_held_out = "sessions"', "needs baselines"),
        ("[fit]", '[fit]\nanimals = "own"', "'animals'"),  # belongs to [data]; here it would change nothing
    ],
)
def test_a_wrong_study_gets_one_sentence(folder, old, new, words, capsys):
    spoilt(folder, old, new)
    assert run(folder) == EXIT["wrong input"]
    said = capsys.readouterr().err
    assert said.startswith("sbirules: ")
    assert words in said
    assert len(said.splitlines()) == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('animals = "shared"', 'animals = "own"', "needs a rule that animals share"),
        ('odor"}', 'odor"}\nrows = {fly = "fly01"}', "needs at least two animals, got 1"),
    ],
)
def test_baselines_that_cannot_be_compared_are_refused_before_the_fit(folder, old, new, words, capsys):
    spoilt(folder, "rules = 8", 'baselines = ["coin"]\nbaselines_held_out = "animals"')
    test_a_wrong_study_gets_one_sentence(folder, old, new, words, capsys)


def test_baselines_where_nothing_is_known_before_what_is_held_out_are_refused(folder, capsys):
    rows = pd.read_csv(folder / "flies.csv")
    rows.loc[(rows.fly == "fly01") & (rows.trial < 40), ["odor", "reward"]] = None
    rows.to_csv(folder / "flies.csv", index=False)
    spoilt(folder, "rules = 8", 'baselines = ["coin"]')
    assert run(folder) == EXIT["wrong input"]
    assert "too few sessions to hold out the last ones" in capsys.readouterr().err


def test_a_wrong_table_is_told_where(folder, capsys):
    table = folder / "flies.csv"
    lines = table.read_text().splitlines()
    lines[5] = lines[5].rsplit(",", 1)[0] + ",much"
    table.write_text("\n".join(lines) + "\n")
    assert run(folder) == EXIT["wrong input"]
    said = capsys.readouterr().err
    assert "'much'" in said
    assert "line 6" in said
    assert len(said.splitlines()) == 1


# The bundled study ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flies():
    return sr.Trials.read(STUDIES / "flies.csv", columns=COLUMNS)


def test_the_bundled_table_is_what_its_script_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path / "flies.csv")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    made, kept = (pd.read_csv(folder / "flies.csv") for folder in (tmp_path, STUDIES))
    pd.testing.assert_frame_equal(made, kept)


def test_the_rule_that_made_the_flies_is_likely(flies):
    truth = runpy.run_path(str(SCRIPT))["TRUTH"]
    simulator = PolicyNetwork(sr.TaylorRule(["c rd", "c", "w"]), nuisance=("lapse",)).suited(flies)
    exact = simulator.likelihood(flies)
    start = torch.tensor([truth[name] for name in simulator.names], dtype=torch.float64)

    def negative(theta):
        value, slope = exact.value_and_slope(torch.tensor(theta)[None])
        return -float(value.sum()), -slope.sum(dim=1)[0].numpy()

    best = minimize(negative, start.numpy(), jac=True, bounds=[(-1, 1)] * 3 + [(0, 0.9)])
    ratio = 2 * (negative(start.numpy())[0] - best.fun)  # Wilks: chi-square with as many degrees as coefficients
    assert 0 <= ratio < chi2.ppf(0.99, len(start))


def test_demo_behaviour_runs_the_bundled_study(tmp_path, monkeypatch, flies):
    from sbirules.studies import stages

    ran = []

    def recorded(study, out, **options):
        ran.append((study, out))
        return {"parameters": {}}

    monkeypatch.setattr(stages, "run_study", recorded)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--behaviour", "--quiet"]) == EXIT["done"]
    assert main(["demo", "--quiet"]) == EXIT["done"]
    (behaviour, out), (demo, other) = ran
    assert (out, other) == (Path("runs/behaviour"), Path("runs/demo"))
    assert behaviour.simulator.names == ("c_rd", "c", "w", "w0_constant", "lapse")
    assert behaviour.question.table.digest() == flies.digest()
    assert demo.question.section == "constraints"
