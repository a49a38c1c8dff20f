"""Studies are delivered whole though a check of theirs cannot be made."""

import json
from pathlib import Path

import pytest

from sbirules.cli import main

DATA = Path(__file__).parents[3] / "shared" / "data"

STUDY = """
[rule]
family = "polynomial"
degree = 3
[prior]
name = "uniform"
low = -1
high = 1
[data]
trials = "{trials}"
[simulate]
num_simulations = 1200
[fit]
rounds = 0
num_samples = 200
[fit.sampler]
num_particles = 128
[check]
rules = 16
calibration = 50
[sensitivity]
rules = 4
networks = 2
"""


@pytest.mark.long
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_a_prior_under_which_most_networks_fail_does_not_stop_the_study(tmp_path):
    study = tmp_path / "wide.toml"
    study.write_text(STUDY.format(trials=(DATA / "learners_a.csv").as_posix()))
    out = tmp_path / "out"
    assert main(["run", str(study), "--out", str(out), "--quiet", "--workers", "1"]) == 0
    checks = json.loads((out / "summary.json").read_text())["checks"]["checks"]
    assert checks["calibration"]["verdict"] == "caution"
    assert "narrow the prior" in checks["calibration"]["finding"]
    assert "This could not be checked" in (out / "report.html").read_text()
