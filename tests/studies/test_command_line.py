"""The command line as people and scripts use it: help, exit codes, JSON, interruption, mistakes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sbirules import Study
from sbirules.cli import EXIT, main
from sbirules.commands.completing import commands_of
from sbirules.commands.parsing import parser

STUDY = """
[rule]
degree = 1
[task]
stimulus = 40
delay = 20
response = 40
[simulator]
num_units = 16
num_trials = 60
[constraints]
final_error = [0, 0.9]
[simulate]
num_simulations = 300
[fit]
all_of_networks = 2
num_samples = 300
[fit.sampler]
num_particles = 256
[check]
rules = 8
networks_per_rule = 2
[check.held_out."longer delay"]
task = { delay = 60 }
[sensitivity]
parts = ["stiff"]
"""

TEN = """
[rules]                          # 1
degree = 3
[rule]
degre = 3                        # 2
[task]
name = "delayed_discriminaton"   # 3
[simulator]
num_unit = 64                    # 4
[prior]
low = 1                          # 5
high = -1
[simulate]
num_simulations = 0              # 6
[constraints]
learned = [1, 0]                 # 7
[fit]
reliability = 1.5                # 8
estimator = "ratio"              # 9
[check]
rule = 4                         # 10
"""

MANY_OF_A_SECTION = """
[rule]
degre = 3
infr = ["tau_e"]
degree = -2
[task]
delayy = 3
delay = -5
stimulus = -40
[simulator]
num_unit = 64
num_units = -3
num_trials = -1
[prior]
low = "a"
high = "b"
[prior.theta_00]
lo = 3
low = "x"
[constraints]
learned = [1, 0]
lerned = [0, 1]
mean_rate = [2, 1]
[fit.sampler]
num_particle = 3
num_particles = 3
num_moves = -1
[check.held_out.a]
tusk = { delay = 3 }
taskk = 3
[check.held_out.b]
task = 3
[sensitivity]
parts = ["sobl", "stif"]
"""

OF_COEFFICIENTS = """
[rule]
degree = 1
infer = ["tau_e"]
[prior]
low = 1
high = 0
lw = 3
theta_99 = 4
theta_00 = 4
[prior.theta_01]
lo = 3
low = "x"
[prior.tau_e]
low = 3
[data]
trails = "nowhere.csv"
trials = "nowhere.csv"
rows = 4
"""

# where the suite runs in the background, SIGINT is ignored, and a child inherits that
LISTENING = """
import signal, sys
from sbirules.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.toml").write_text(STUDY)
    assert main(["run", str(folder / "small.toml"), "--out", str(folder / "out"), "--quiet", "--workers", "1"]) == 0
    return folder


COMMANDS = tuple(name for name in commands_of(parser()) if name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_exit_codes(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: sbirules " + command)
    assert "exit codes" in out


def test_no_command_is_left_out_of_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("    ") and line.split()}
    assert set(COMMANDS) <= listed
    assert len(COMMANDS) >= 13


def test_every_command_and_exit_code_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "study_files.md").read_text("utf-8")
    listed = page.split("```text\n")[1].split("```")[0]
    for command in COMMANDS:
        assert re.search(rf"^sbirules (?:\w+ \| )*{command}\b", listed, re.MULTILINE), command
    for name, code in EXIT.items():
        assert re.search(rf"^\| {code} \|", page, re.MULTILINE), name


def test_ten_mistakes_get_ten_messages(tmp_path, capsys):
    (tmp_path / "ten.toml").write_text(TEN)
    assert main(["run", str(tmp_path / "ten.toml")]) == EXIT["wrong input"]
    message = capsys.readouterr().err
    assert "the study has 10 problems" in message
    for words in (
        "unknown section: 'rules'; did you mean 'rule'?",
        "unknown key in [rule]: 'degre'; did you mean 'degree'?",
        "[task] name: 'delayed_discriminaton' is not known; did you mean 'delayed_discrimination'?",
        "unknown key in [simulator]: 'num_unit'; did you mean 'num_units'?",
        "low must be less than high",
        "[simulate] num_simulations must be a whole number of at least 1, got 0",
        "constraint learned: low must not exceed high, got (1, 0); swap them?",
        "[fit] reliability must lie in (0, 1], got 1.5",
        "[fit] estimator belongs to studies with [data], not with [constraints]",
        "unknown key in [check]: 'rule'; did you mean 'rules'?",
    ):
        assert words in message, words
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "every"),
    [
        (
            MANY_OF_A_SECTION,
            (
                *("[rule]: 'degre'", "[rule]: 'infr'", "degree must be a whole number of at least 1, got -2"),
                *("[task]: 'delayy'", "delay must be at least 0, got -5", "stimulus must be at least 0, got -40"),
                *(
                    "[simulator]: 'num_unit'",
                    "at least 1, got -3",
                    "num_trials must be a whole number of at least 1, got -1",
                ),
                *("low must be a number, got 'a'", "high must be a number, got 'b'"),
                *(
                    "[prior.theta_00]: 'lo'",
                    "[prior.theta_00] lacks high",
                    "[prior.theta_00] low must be a finite number",
                ),
                *("learned: low must not exceed high", "'lerned' is not known", "mean_rate: low must not exceed high"),
                *(
                    "[fit.sampler]: 'num_particle'",
                    "at least 80, got 3",
                    "num_moves must be a whole number of at least 1",
                ),
                *(
                    "[check.held_out.a]: 'tusk'",
                    "[check.held_out.a]: 'taskk'",
                    "[check.held_out.b] task must be a table",
                ),
                *("'sobl' is not known", "'stif' is not known"),
            ),
        ),
        (
            OF_COEFFICIENTS,
            (
                *(
                    "low must be less than high",
                    "[prior]: 'lw'",
                    "[prior]: 'theta_99'",
                    "[prior.theta_00] must be a table",
                ),
                *(
                    "[prior.theta_01]: 'lo'",
                    "[prior.theta_01] lacks high",
                    "[prior.theta_01] low must be a finite number",
                ),
                *("[prior.tau_e] lacks high", "[data]: 'trails'", "[data]: 'rows'", "no file"),
            ),
        ),
    ],
)
def test_all_mistakes_within_sections_are_said_once_and_nothing_else(text, every, tmp_path, capsys):
    (tmp_path / "many.toml").write_text(text)
    assert main(["run", str(tmp_path / "many.toml")]) == EXIT["wrong input"]
    lines = capsys.readouterr().err.splitlines()[1:]
    for words in every:
        assert sum(words in line for line in lines) == 1, words
    assert len(lines) == len(every)


def test_what_stands_in_for_a_wrong_rule_is_not_complained_of(tmp_path, capsys):
    """Coefficients of a rule whose terms are wrong are not known, so that their priors may be right."""
    (tmp_path / "s.toml").write_text(
        '[rule]\ndegree = 2\ninfer = ["tau_e"]\nterms = ["theta_99"]\n[prior]\nlow = -1\nhigh = 1\n'
        "[prior.theta_99]\nlow = 0\nhigh = 1\n[prior.tau_e]\nlow = 5\nhigh = 50\n[constraints]\nlearned = [1, 1]\n"
    )
    assert main(["run", str(tmp_path / "s.toml")]) == EXIT["wrong input"]
    said = capsys.readouterr().err
    assert "theta_99" in said
    assert len(said.splitlines()) == 1


def test_a_dry_run_prints_the_study_and_how_long_it_will_take(finished, capsys):
    assert main(["run", str(finished / "small.toml"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# simulations: simulate 300, check 544, variants 32; 876 networks of 60 trials in all")
    assert "expected time" in out
    import tomllib

    again = Study.of(tomllib.loads(out), name="again")
    assert again.check.held_out["longer delay"] == {"task": {"delay": 60}}
    assert list(again.variants) == ["longer delay"]
    assert again.variants["longer delay"].task.delay == 60


def test_a_forecast_is_said_as_stages_say_how_long_they_took(tmp_path, capsys):
    (tmp_path / "long.toml").write_text(STUDY.replace("num_simulations = 300", "num_simulations = 400_000"))
    assert main(["run", str(tmp_path / "long.toml"), "--dry-run", "--workers", "1"]) == 0
    assert re.search(r"expected time of these: about \d+ (min \d+ s|h \d+ min) with 1 worker", capsys.readouterr().out)


def test_json_is_the_summary_and_nothing_else(finished, capsys):
    out = finished / "out"
    assert main(["report", str(out), "--json", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((out / "summary.json").read_text())
    content = json.loads(printed)
    assert set(content["checks"]["checks"]) >= {"success", "held out", "sampler", "simulations"}
    assert content["checks"]["verdict"] in ("pass", "caution", "fail")
    assert main(["list", "tasks", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) >= {"delayed_discrimination", "selective_integration"}


def test_stages_run_on_a_folder_of_results(finished, capsys):
    out = finished / "out"
    before = (out / "report.html").stat().st_mtime_ns
    assert main(["fit", str(out), "--quiet"]) == 0
    assert main(["check", str(out), "--quiet"]) == 0
    assert "success: On fresh networks" in capsys.readouterr().out
    assert (out / "report.html").stat().st_mtime_ns == before, "a check writes no report"
    (out / "report.html").unlink()
    assert main(["report", str(out), "--quiet"]) == 0
    assert "Posterior over plasticity rules: small" in (out / "report.html").read_text()
    assert main(["report", str(finished)]) == EXIT["wrong input"]
    assert "holds no results of a study" in capsys.readouterr().err


def test_strict_turns_a_failed_check_into_an_exit_code(finished, monkeypatch):
    import sbirules.studies.stages as pipeline

    def doomed(*args, **options):
        return {"parameters": {}, "checks": {"verdict": "fail", "checks": {}}}

    monkeypatch.setattr(pipeline, "run_study", doomed)
    arguments = ["run", str(finished / "small.toml"), "--out", str(finished / "out"), "--quiet"]
    assert main(arguments) == EXIT["done"]
    assert main([*arguments, "--strict"]) == EXIT["failed checks"]


def test_ctrl_c_leaves_a_state_to_go_on_from(tmp_path):
    text = STUDY.replace("num_simulations = 300", "num_simulations = 200000\nshard_size = 64")
    (tmp_path / "long.toml").write_text(text)
    command = [sys.executable, "-c", LISTENING, "run", "long.toml", "--quiet", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    store = tmp_path / "runs" / "long" / "store"
    for _ in range(600):
        if len(list(store.glob("shard-*"))) >= 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == EXIT["interrupted"], said
    assert "run the same command again to go on from here" in said
    kept = {p.name: p.stat().st_mtime_ns for p in store.glob("shard-*.safetensors")}
    shards = f"0:{len(kept) + 1}"
    assert (
        main(["simulate", str(tmp_path / "long.toml"), "--out", str(store.parent), "--shards", shards, "--quiet"]) == 0
    )
    assert {name: (store / name).stat().st_mtime_ns for name in kept} == kept


@pytest.mark.parametrize("command", [["run", "study.toml", "--out", ""], ["demo", "--out", " "], ["report", ""]])
def test_an_empty_path_is_not_the_current_folder(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert "a path is needed" in capsys.readouterr().err
