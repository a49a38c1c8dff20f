"""What cannot fit is refused before it is started: with how much it needs, and the largest value that fits."""

import re

import pytest
from cheap import PRIOR, Cheap

from sbirules import BCM, EnsembleSettings, LikelihoodSettings, PolynomialRule, SamplerSettings, simulate
from sbirules.cli import EXIT, main
from sbirules.simulators import KnownNetwork, LinearGaussian, RateRNN
from sbirules.stores.needs import row_bytes
from sbirules.support.room import free_disk, free_memory, largest, refuse_beyond, spoken
from sbirules.tasks import DelayedDiscrimination

FAMILY, TASK = PolynomialRule(degree=1), DelayedDiscrimination()
HUGE = 10**18


def test_the_largest_value_is_the_largest_that_fits(tmp_path):
    for needed, room in ((lambda n: 28 * n * n, 1e9), (lambda n: 7 * n, 100), (lambda n: n + 5, 4)):
        found = largest(needed, room, 10**12)
        assert not found or needed(found) <= room
        assert needed(found + 1) > room
    with pytest.raises(
        ValueError, match=r"n = 1,000 needs about 7\.0 kB of memory for it, and 100 bytes are free: at most 14 "
    ):
        refuse_beyond("n", 1000, lambda n: 7 * n, 100, "memory", "it")
    assert [spoken(v) for v in (0, 999, 1500, 2e9, 1e30)] == ["0 bytes", "999 bytes", "1.5 kB", "2.0 GB", "1e+06 YB"]
    assert 0 < free_memory() < 1e15
    assert free_disk(tmp_path / "not" / "there" / "yet") == pytest.approx(free_disk(tmp_path), rel=0.5)


def test_the_estimate_is_what_a_store_takes(tmp_path):
    simulator = RateRNN(FAMILY, TASK, num_units=16, num_trials=40)
    from sbirules.priors import uniform

    store = simulate(simulator, uniform(FAMILY, -1, 1), 256, store=tmp_path / "s", num_workers=1, progress=False)
    taken = store.shard_path(0).stat().st_size
    assert 256 * row_bytes(simulator, 40) == pytest.approx(taken, rel=0.05)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: simulate(Cheap(), PRIOR, HUGE, progress=False), "num_simulations"),
        (lambda: simulate(Cheap(), PRIOR, HUGE, shard_size=HUGE, progress=False), "shard_size"),
        (lambda: simulate(Cheap(num_trials=10**7), PRIOR, 10**6, shard_size=10**5, progress=False), "shard_size"),
        (lambda: RateRNN(FAMILY, TASK, num_units=10**7), "num_units"),
        (lambda: RateRNN(BCM(), TASK, num_units=10**7), "num_units"),
        (lambda: RateRNN(FAMILY, TASK, num_trials=HUGE), "num_trials"),
        (lambda: RateRNN(FAMILY, DelayedDiscrimination(delay=1e12)), "delay in steps of dt = 5 ms"),
        (lambda: RateRNN(FAMILY, DelayedDiscrimination(delay=2e8)), "num_units"),
        (lambda: LinearGaussian(projections=HUGE), "projections"),
        (lambda: KnownNetwork(episodes=HUGE), "episodes"),
        (lambda: SamplerSettings(num_particles=HUGE), "num_particles"),
        (lambda: SamplerSettings(num_runs=HUGE), "num_runs"),
        (lambda: EnsembleSettings(hidden=10**9), "hidden"),
        (lambda: EnsembleSettings(members=HUGE), "members"),
        (lambda: LikelihoodSettings(hidden_features=10**9), "hidden_features"),
        (lambda: LikelihoodSettings(num_transforms=HUGE), "num_transforms"),
    ],
)
def test_numbers_beyond_this_machine_are_refused_at_once(call, argument):
    with pytest.raises(
        ValueError, match=rf"^{re.escape(argument)} = .* needs about .* of (memory|disk).* free: (at most|not)"
    ):
        call()


def test_too_small_a_step_is_refused():
    with pytest.raises(ValueError, match="choose a larger dt"):
        RateRNN(FAMILY, TASK, dt=1e-300)


STUDY = "[rule]\ndegree = 1\n[simulator]\nnum_units = 16\nnum_trials = 24\n[constraints]\nfinal_error = [0.0, 2.0]\n"


def test_a_dry_run_says_what_a_study_needs(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(STUDY + "[simulate]\nnum_simulations = 1000\n")
    assert main(["run", str(tmp_path / "s.toml"), "--dry-run", "--out", str(tmp_path / "out")]) == EXIT["done"]
    said = capsys.readouterr().out
    assert re.search(r"# disk: about [\d.]+ MB for simulations, .* free in .*out; memory: about .* free", said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("simulate", "num_simulations"),
        ("fit", "num_samples"),
        ("check", "rules"),
        ("check", "networks_per_rule"),
        ("sensitivity", "rules"),
    ],
)
@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_study_that_cannot_fit_is_refused_before_anything_is_written(tmp_path, capsys, section, key, dry):
    (tmp_path / "s.toml").write_text(STUDY + f"[{section}]\n{key} = {HUGE}\n")
    assert main(["run", str(tmp_path / "s.toml"), *dry, "--out", str(tmp_path / "out")]) == EXIT["wrong input"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(rf"\[{section}\] \w+ = .* needs about .* free: (at most|not)", said), said
    assert not (tmp_path / "out").exists()
