"""`sbirules new`: study files that run as they are, and nothing overwritten."""

import re
import tomllib

import pytest
import torch

from sbirules import Trials
from sbirules.cli import EXIT, main
from sbirules.commands.example_tables import OF_ANIMALS, OF_FLIES, OF_LEARNERS
from sbirules.commands.parsing import QUESTIONS
from sbirules.studies.study import Study, sections_of_questions

SMALLER = {  # sizes, cut down so that whole runs take seconds
    r"num_simulations = \d+": "num_simulations = 300",
    r"num_units = \d+": "num_units = 16",
    r"num_trials = \d+": "num_trials = 60",
    r"learned = \[1, 1\]": "final_error = [0, 0.9]",
    r"round_simulations = \d+": "round_simulations = 100\nrecalibration = 0",
    r"all_of_networks = \d+": "all_of_networks = 2",
    r"rounds = \d+": "rounds = 1",
    r"rules = \d+": "rules = 8",
    r"networks = \d+": "networks = 2\nparts = ['stiff']",
    r"networks_per_rule = \d+": "networks_per_rule = 2",
    r"calibration = \d+": "calibration = 0",
}


@pytest.fixture(autouse=True)
def _there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_written_is_a_study_and_says_how_to_go_on(question, tmp_path, capsys):
    assert main(["new", "my first.toml", "--question", question]) == EXIT["done"]
    told = capsys.readouterr().out
    commands = re.findall(r"^  sbirules (\w+) '(.+?)'( --dry-run)?", told, re.MULTILINE)
    assert commands == [
        ("run", "my first.toml", " --dry-run"),
        ("run", "my first.toml", ""),
        ("open", "runs/my first", ""),
    ]
    assert main(["run", "my first.toml", "--dry-run"]) == EXIT["done"]
    printed = capsys.readouterr().out
    assert Study.of(tomllib.loads(printed), name="again", folder=tmp_path).question is not None
    text = (tmp_path / "my first.toml").read_text("utf-8")
    section = question if question in sections_of_questions() else "data"
    assert set(tomllib.loads(text)) & set(sections_of_questions()) == {section}
    assert "FILE" not in text.replace("data FILE", "")
    assert "TABLE" not in text
    headings = [line for line in text.splitlines() if line.startswith("[") and not line.startswith("[prior.")]
    bare = [line for line in headings if "#" not in line and line not in ("[fit]", "[check]", "[simulate]", "[task]")]
    assert all(line in ("[simulator]",) for line in bare), "sections say what they are for"


def test_the_table_of_recordings_is_made_by_the_rule_that_is_told(tmp_path):
    for name in ("a", "b"):
        assert main(["new", f"{name}.toml", "--question", "recordings"]) == EXIT["done"]
    assert (tmp_path / "a_trials.csv").read_bytes() == (tmp_path / "b_trials.csv").read_bytes()
    study = Study.read(tmp_path / "a.toml")
    told = {n: float(v) for n, v in re.findall(r"\b(x_r|w|overlap) = (-?0\.\d+)", (tmp_path / "a.toml").read_text())}
    assert told == {name: OF_FLIES[name] for name in ("x_r", "w", "overlap")}
    simulator = study.simulator
    rule = torch.tensor([[OF_FLIES.get(name, 0.0) for name in simulator.names]])
    likelihood = simulator.likelihood(study.question.table)
    other = rule.clone()
    other[:, simulator.names.index("x_r")] = 0.3
    assert float(likelihood.log_prob(rule).sum()) > float(likelihood.log_prob(other).sum()) + 20


def test_a_new_study_asks_for_constraints_by_default(tmp_path):
    assert main(["new", "a.toml"]) == main(["new", "b.toml", "--question", "constraints"]) == EXIT["done"]
    assert (tmp_path / "a.toml").read_text().replace("a.toml", "b.toml") == (tmp_path / "b.toml").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.toml", "b.toml"]


@pytest.mark.parametrize("question", ["data", "choices"])
def test_the_table_is_small_the_same_each_time_and_made_by_the_rule_that_is_told(question, tmp_path, capsys):
    for name in ("a", "b"):
        assert main(["new", f"{name}.toml", "--question", question]) == EXIT["done"]
    table = tmp_path / "a_trials.csv"
    assert table.read_bytes() == (tmp_path / "b_trials.csv").read_bytes()
    assert table.stat().st_size < 100_000
    study = Study.read(tmp_path / "a.toml")
    trials = Trials.read(table, None if question == "choices" else study.simulator.layout)
    assert len(trials) == 8
    text = (tmp_path / "a.toml").read_text()
    told = {n: float(v) for n, v in re.findall(r"\b(c_rd|c|w|lapse|theta_13|theta_33) = (-?0\.\d+)", text)}
    truth = OF_ANIMALS if question == "choices" else OF_LEARNERS
    assert told == {name: value for name, value in truth.items() if value}
    rule = torch.tensor([[truth.get(name, 0.0) for name in study.simulator.names]])
    assert bool(study.prior.log_prob(rule).isfinite().all()), "the prior holds the rule"
    if question == "data":
        error = trials.trajectory.error
        assert float(error[:, -40:].mean()) < 0.6 * float(error[:, :40].mean()), "the networks learn"


@pytest.mark.parametrize("there", ["mine.toml", "mine_trials.csv"])
def test_what_exists_is_left_alone(there, tmp_path, capsys):
    (tmp_path / there).write_text("my own")
    assert main(["new", "mine.toml", "--question", "choices"]) == EXIT["wrong input"]
    assert capsys.readouterr().err == (
        f"sbirules: {there} exists and is not overwritten; name another file, or move it away.\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "my own"


def test_names_that_are_no_study_files_are_refused(tmp_path, capsys):
    assert main(["new", "mine"]) == EXIT["wrong input"]
    assert capsys.readouterr().err == "sbirules: FILE must end in .toml, as mine.toml does, got 'mine'.\n"
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit, match="2"):
        main(["new", "mine.toml", "--question", "errors"])


def run_cut_down(question, tmp_path):
    assert main(["new", "mine.toml", "--question", question]) == EXIT["done"]
    text = (tmp_path / "mine.toml").read_text()
    for old, new in SMALLER.items():
        if not (question == "data" and old.startswith("num_trials")):
            text = re.sub(rf"^{old}", new, text, flags=re.MULTILINE)
    (tmp_path / "mine.toml").write_text(text)
    assert main(["run", "mine.toml", "--quiet", "--workers", "1"]) == EXIT["done"]
    assert main(["show", "runs/mine"]) == EXIT["done"]


def test_a_whole_run_of_a_new_study(tmp_path, capsys):
    run_cut_down("constraints", tmp_path)
    assert "Next:" not in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("question", ["data", "choices", "observation"])
def test_whole_runs_of_the_others(question, tmp_path, capsys):
    run_cut_down(question, tmp_path)
    assert "Next:" not in capsys.readouterr().out
