"""One installation, one copy of each class; and nothing beside a study file runs unasked."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sbirules.cli import EXIT, main

ROOT = Path(__file__).parents[2]


def python(code, folder, *options):
    return subprocess.run([sys.executable, *options, "-c", code], cwd=folder, capture_output=True, text=True)


def last_line(done):
    assert done.returncode
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["simulators", "priors", "simulators.rate.rate_rnn", "priors.sparse"])
def test_a_catalogue_is_not_imported_a_second_time_from_the_repository(name):
    done = python(f"import {name}", ROOT)
    folder = name.partition(".")[0]
    assert last_line(done) == f"ImportError: {folder}/ is installed as sbirules.{folder}: import from there."


def test_two_checkouts_are_not_mixed(tmp_path):
    for name in ("sbirules", "simulators", "priors"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    said = last_line(python("import sbirules", tmp_path))
    assert said.startswith("ImportError: ")
    assert f"Run 'pip install -e {tmp_path}'" in said
    # neither through a submodule
    assert f"Run 'pip install -e {tmp_path}'" in last_line(python("import sbirules.model.rules", tmp_path))


def test_without_an_install_one_sentence_says_what_to_do(tmp_path):
    for name in ("sbirules", "simulators", "priors"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    said = last_line(python("import sbirules", tmp_path, "-S"))  # without site-packages
    assert said.startswith(f"ImportError: sbirules is not installed, only found in {tmp_path}. Run 'pip install -e")


STUDY = '[data]\ntrials = "learners.csv"\n[rule]\ndegree = 1\n[simulator]\nnum_units = 16\nnum_trials = 2\n'
TABLE = "learner,trial,trial_type,error\na,0,A,0.5\na,1,B,0.4\n"
BESIDE = ("pandas", "numba", "arviz", "sbi", "tomli_w", "lies_beside")


@pytest.fixture
def study(tmp_path):
    """A study file with modules beside it that leave a trace when they are imported."""
    (tmp_path / "s.toml").write_text(STUDY)
    (tmp_path / "learners.csv").write_text(TABLE)
    for name in BESIDE:
        (tmp_path / f"{name}.py").write_text("from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n")
    return tmp_path / "s.toml"


def test_nothing_beside_a_study_file_is_imported_without_trust(study):
    command = [sys.executable, "-m", "sbirules.cli", "run", "s.toml", "--dry-run"]
    done = subprocess.run(command, cwd=study.parent, capture_output=True, text=True)
    assert done.returncode == EXIT["done"], done.stderr
    assert not list(study.parent.glob("*.ran"))


def test_the_search_path_changes_with_trust_only(study, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    named = study.with_name("named.toml")
    named.write_text('[task]\nname = "lies_beside:Mine"\n[constraints]\nlearned = [1, 1]\n')
    assert main(["run", str(named), "--dry-run"]) == EXIT["wrong input"]
    assert "pass --trust to allow it" in capsys.readouterr().err
    assert sys.path == before
    assert not list(study.parent.glob("*.ran"))
    for _ in range(2):
        assert main(["run", str(named), "--dry-run", "--trust"]) == EXIT["wrong input"]
        assert "has no attribute 'Mine'" in capsys.readouterr().err
    assert sys.path == [str(study.parent), *before]
    assert [path.stem for path in study.parent.glob("*.ran")] == ["lies_beside"]
