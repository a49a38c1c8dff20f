"""What commands print on the way: stages with their time, bars on a terminal only, nothing of libraries' own."""

import re
import subprocess
import sys
import types
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sbirules.cli import main
from sbirules.samplers.smc import SamplerSettings, run_smc
from sbirules.support.borrowed import without_notice
from sbirules.support.durations import in_words

CLOSED = """
import os, sys
from sbirules.cli import main
gone, end = os.pipe()
os.dup2(end, 1)
os.close(gone)
sys.exit(main(sys.argv[1:]))
"""

STUDY = """
[rule]
family = "taylor"
terms = ["c rd", "c"]
[task]
name = "choice"
[simulator]
name = "policy_network"
nuisance = []
[prior]
low = -0.6
high = 0.6
[data]
trials = "choices.csv"
[fit]
num_samples = 300
[fit.sampler]
num_particles = 256
[check]
rules = 16
"""

# what `python -m sbirules.cli` does, where every warning that a library would give is an error
STRICT = """
import sys, warnings
warnings.simplefilter("error", FutureWarning)
from sbirules.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("output")
    torch.manual_seed(0)
    chosen = torch.randint(0, 2, (120,)).tolist()
    rows = [f"fly,{t},{'AB'[c]},{int(c == (t // 30) % 2)}" for t, c in enumerate(chosen)]
    (place / "choices.csv").write_text("\n".join(["learner,trial,choice,reward", *rows]) + "\n")
    (place / "small.toml").write_text(STUDY)
    return place


@pytest.mark.slow
def test_into_a_file_go_stages_with_times_but_no_bars(folder):
    command = [sys.executable, "-c", STRICT, "run", "small.toml", "--workers", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr
    assert "it/s]" not in done.stderr
    assert "\033" not in done.stdout + done.stderr
    stages = [line for line in done.stdout.splitlines() if re.match(r"(fit|check|report): ", line)]
    assert len(stages) == 6
    for begun, ended in zip(stages[::2], stages[1::2], strict=True):
        assert begun.endswith(" ...")
        assert re.fullmatch(re.escape(begun.removesuffix(" ...")) + r" \((\d+ min )?[\d.]+ s\)", ended)


def test_quiet_leaves_the_answer(folder, capsys):
    assert main(["run", str(folder / "small.toml"), "--out", str(folder / "runs" / "small"), "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert not re.search(r"^(fit|check|report)", out, re.MULTILINE)
    assert "95 % interval excludes zero" in out
    assert "Results are in" in out
    assert not err


def test_bars_are_for_terminals(monkeypatch, folder):
    from sbirules.studies import stages

    asked = []

    def noted(*args, progress, say, **options):
        asked.append(progress)
        return {"parameters": {}}

    monkeypatch.setattr(stages, "run_study", noted)
    arguments = ["run", str(folder / "small.toml"), "--out", str(folder / "never")]
    for terminal in (True, False):
        monkeypatch.setattr("sys.stderr", types.SimpleNamespace(isatty=lambda t=terminal: t, write=print, flush=print))
        assert main(arguments) == 0
        assert main([*arguments, "--quiet"]) == 0
    assert asked == [True, False, False, False]


def test_the_samplers_bar_ends_at_the_whole(monkeypatch):
    import tqdm.auto

    seen = []

    class Bar(tqdm.auto.tqdm):
        def update(self, n=1):
            seen.append(self.n)
            return super().update(n)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    prior = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))

    def log_likelihood(theta, which):
        return -0.5 * ((theta - 0.3) ** 2).sum(dim=-1) * (5.0 + 20.0 * which[:, None])

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # tqdm warns of fractions above 1
        run_smc(log_likelihood, prior, 7, SamplerSettings(num_particles=256), seed=1, progress=True)
    assert seen == sorted(seen)
    assert seen[-1] == 7


def test_only_the_notice_of_arviz_is_hidden():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with without_notice():
            warnings.warn("\nArviZ is undergoing a major refactor to improve flexibility", FutureWarning)
            warnings.warn("arviz: something else", FutureWarning)
        warnings.warn("\nArviZ is undergoing a major refactor", FutureWarning)
    assert [str(w.message).strip()[:20] for w in heard] == ["arviz: something els", "ArviZ is undergoing "]


def test_arviz_is_imported_without_notice_everywhere():
    for path in (Path(__file__).parents[2] / "sbirules").rglob("*.py"):
        lines = path.read_text("utf-8").splitlines()
        for before, line in pairwise(lines):
            if line.strip().startswith(("import arviz", "from arviz")):
                assert before.strip() in ("if TYPE_CHECKING:", "with without_notice():"), f"{path.name}: {before}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (3.14, "3.1 s"),
        (9.97, "10 s"),
        (59.6, "1 min 0 s"),
        (111.2, "1 min 51 s"),
        (3599.8, "1 h 0 min"),
        (7510, "2 h 5 min"),
    ],
)
def test_times_are_said_in_words(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["list", "tasks"], ["run", "--help"]])
def test_a_reader_who_leaves_at_once_hears_nothing(command):
    """As in `sbirules --version | true`: what is printed meets a pipe that nobody reads."""
    done = subprocess.run([sys.executable, "-c", CLOSED, *command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
