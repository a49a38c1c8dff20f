"""What the README shows works as it stands, scaled down."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch

from sbirules import Study

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def scaled_down(code):
    for old, new in {
        "4096": "200",
        "8192": "300",
        "350_000": "300",
        "Client()": "Client(n_workers=1, processes=False, dashboard_address=None)",
        "num_units=64": "num_units=20, num_trials=60",
        '"learned": (1, 1)': '"final_error": (0, 1)',
        "all_of_networks=32": "all_of_networks=2",
        "all_of_networks=8": "all_of_networks=2",
        "(5000,)": "(400,)",
        "rules=128, networks_per_rule=32": "rules=8, networks_per_rule=2",
        "sr.sensitivity(posterior, simulator, store=store)": "sr.sensitivity(posterior, simulator, parts=['stiff'])",
        "trials=learners\n)\nprint(checked.level": "trials=learners, rules=8, calibration=50\n)\nprint(checked.level",
        '"stiff", "compensation", "knock_outs"]': '"stiff", "compensation", "knock_outs"], num_rules=2, networks=1',
        "num_rules=32, networks=2": "num_rules=4, networks=1",
        "start=point)": "start=point, budget=300)",
        "rounds=3": "rounds=1, num_simulations=100",
        "restarts=4": "restarts=2, iterations=2, networks=2, episodes=30",
        "budget=20_000": "budget=400",
        "learners=24, rules=100": "learners=2, rules=10, num_simulations=300, num_samples=100",
    }.items():
        assert old in README, f"{old} is no longer in the README"
        code = code.replace(old, new)
    return code


@pytest.mark.slow
def test_all_scripts_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, with_data, asking, bridge, trust, matters, structure, rounds, studies, many = blocks("python")
    space = {"__name__": "__main__"}
    exec(compile(scaled_down(first), "README", "exec"), space)
    assert "de_ij/dt = " in capsys.readouterr().out
    assert space["theta"].shape == (400, 16)
    assert (tmp_path / "runs" / "dd" / "report.html").is_file()

    run = space["simulator"].run(torch.zeros(4, 16), seed=1)
    rows = [
        {"learner": i, "trial": t, "trial_type": t % 2, "error": float(run.error[i, t])}
        for i in range(4)
        for t in range(60)
    ]
    pd.DataFrame(rows).to_csv("learners.csv", index=False)
    exec(compile(scaled_down(with_data), "README", "exec"), space)
    assert len(space["stores"]) == 2
    assert space["posterior"].sample((100,)).shape == (100, 16)

    space["other_learners"] = space["learners"].subset([0, 1])
    exec(compile(scaled_down(asking), "README", "exec"), space)
    assert space["many"].shape == (1000, 2, 16)
    assert (tmp_path / "runs" / "posterior").is_dir()
    exec(compile(scaled_down(bridge), "README", "exec"), space)
    assert (tmp_path / "bridge.png").is_file()
    exec(compile(scaled_down(trust), "README", "exec"), space)
    assert (tmp_path / "calibration.png").is_file()
    exec(compile(scaled_down(matters), "README", "exec"), space)
    assert (tmp_path / "knock_outs.png").is_file()
    exec(compile(scaled_down(structure), "README", "exec"), space)
    assert len(space["posterior"].inclusion_probabilities()) == 16
    exec(compile(scaled_down(rounds), "README", "exec"), space)
    assert space["theta"].shape == (1000, 16)
    capsys.readouterr()
    exec(compile(scaled_down(studies), "README", "exec"), space)
    assert "degree 2" in capsys.readouterr().out

    exec(compile(scaled_down(many), "README", "exec"), space)
    space["client"].close()
    assert len(space["store"]) == len(space["theta"]) == 300


def test_the_study_file_is_valid(tmp_path):
    (study,) = [tomllib.loads(text) for text in blocks("toml")]
    pd.DataFrame({"learner": ["a"] * 50, "trial": range(50), "trial_type": [0, 1] * 25, "error": [0.5] * 50}).to_csv(
        tmp_path / "learners.csv", index=False
    )
    resolved = Study.of(study, name="readme", folder=tmp_path)
    assert resolved.simulator.names[-1] == "tau_e"
    assert resolved.simulator.num_trials == 50
