"""The store: nothing lost, nothing mixed up, the same bytes whatever happened on the way."""

import hashlib
import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch.distributions import Independent, LogNormal, Normal

from sbirules import (
    Coefficient,
    PolynomialRule,
    SimulationStore,
    Task,
    ThreeFactorRule,
    TrialTensors,
    simulate,
)
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

FAMILY = PolynomialRule(degree=1)
PRIOR = uniform(FAMILY, -1, 1)


def simulator(**options):
    return RateRNN(FAMILY, DelayedDiscrimination(), **{"num_units": 16, "num_trials": 24, **options})


def run(folder, n=40, **options):
    keep = {"shard_size": 8, "num_workers": 1, "progress": False, **options}
    return simulate(simulator(), PRIOR, n, store=folder, **keep)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path(folder).glob("shard-*"))}


def test_rows_shapes_and_names(tmp_path):
    store = run(tmp_path / "s", 20)
    assert len(store) == 20
    assert store.theta.shape == (20, 4)
    assert store.x.shape == (20, len(store.summary_names))
    assert store.names == FAMILY.names
    assert sum(store.status_counts().values()) == 20
    assert store.trajectory.error.shape == (20, 24)
    assert store.seconds > 0
    assert len(SimulationStore(tmp_path / "s")) == 24, "on disk there are whole shards"


def test_rules_follow_the_prior_and_networks_are_fresh(tmp_path):
    store = run(tmp_path / "s", 400, shard_size=100)
    assert store.theta.mean(dim=0).abs().max() < 4 * 0.577 / 20
    assert len(torch.unique(store.theta, dim=0)) == 400
    assert len(torch.unique(store.trajectory.error[:, 0])) == 400


def test_bytes_do_not_depend_on_workers_or_interruptions(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "two", num_workers=2)
    partial = tmp_path / "partial"
    run(partial, 16)
    (partial / "shard-000000.safetensors").unlink()
    (partial / ".shard-000003.safetensors.99.tmp").write_bytes(b"half a shard")
    run(partial)
    assert digests(tmp_path / "one") == digests(tmp_path / "two") == digests(partial)
    assert len(digests(partial)) == 5


def test_a_rerun_simulates_nothing_and_more_are_appended(tmp_path):
    store = run(tmp_path / "s", 16)
    times = {p.name: p.stat().st_mtime_ns for p in store.path.glob("shard-*")}
    run(tmp_path / "s", 16)
    assert {p.name: p.stat().st_mtime_ns for p in store.path.glob("shard-*")} == times
    more = run(tmp_path / "s", 40)
    torch.testing.assert_close(more.theta[:16], store.theta)
    assert len(more) == 40


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip(path):
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    content[8 + size + json.loads(content[8 : 8 + size])["x"]["data_offsets"][0]] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def swap(path):
    path.write_bytes(path.with_name("shard-000000.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (cut, "cannot be read"),
        (empty, "cannot be read"),
        (flip, "checksum of x"),
        (swap, "belongs to other simulations"),
    ],
)
def test_a_damaged_shard_is_reported_never_read_and_simulated_anew(tmp_path, harm, words):
    run(tmp_path / "s", 32)
    before = digests(tmp_path / "s")
    harm(tmp_path / "s" / "shard-000002.safetensors")
    with pytest.raises(ValueError, match=f"{words}.*Call simulate"):
        SimulationStore(tmp_path / "s").read("x")
    with pytest.warns(UserWarning, match=f"{words}.*simulated anew"):
        run(tmp_path / "s", 32)
    assert digests(tmp_path / "s") == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path / "s", 32)


def test_other_versions_are_warned_about_and_other_formats_refused(tmp_path):
    run(tmp_path / "s", 8)
    path = tmp_path / "s" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["versions"]["engine"] == "numba on cpu"
    manifest["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match=r"begun with torch 1\.0 \(now .*may differ in rounding"):
        run(tmp_path / "s", 16)
    path.write_text(json.dumps({**manifest, "schema": 1}))
    with pytest.raises(ValueError, match="another version of sbirules"):
        run(tmp_path / "s", 16)


def test_a_store_of_ones_own_arrays(tmp_path):
    theta, x = torch.randn(50, 3), torch.randn(50, 2)
    x[7, 1] = math.nan
    made = dict(names=["a", "b", "c"], summary_names=["s", "t"], shard_size=8)
    store = SimulationStore.from_arrays(theta.numpy(), x.numpy(), path=tmp_path / "s", **made)
    for again in (store, SimulationStore(tmp_path / "s")):
        assert torch.equal(again.theta, theta)
        assert torch.isnan(again.x[7]).all()
        assert torch.equal(again.x[8:], x[8:])
        assert again.names == ("a", "b", "c")
        assert again.summary_names == ("s", "t")
        assert again.status_counts() == {"OK": 49, "DIVERGED": 0, "SILENT": 0, "FAILED": 1}
        assert len(again) == 50
    with pytest.raises(ValueError, match="another configuration"):
        SimulationStore.from_arrays(theta + 1, x, path=tmp_path / "s", **made)
    assert SimulationStore.from_arrays(theta, x).names == ("theta_1", "theta_2", "theta_3")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(x=torch.zeros(4, 2)), "one row per simulation"),
        (dict(theta=torch.full((5, 3), math.nan)), "theta must be finite"),
        (dict(names=["a", "b"]), "names must be (3 different names|a list of names)"),
        (dict(summary_names=["s", "s"]), "summary_names must be 2 different names"),
        (dict(status=[0, 0, 0, 0, 9]), "status must be a Status per row"),
        (dict(status=[256, 0, 0, 0, 0]), "status must be a Status per row"),
        (dict(x=torch.full((5, 2), math.nan), status=[0] * 5), "must not be OK where x is not finite"),
        (dict(names="abc"), "names must be (3 different names|a list of names)"),
    ],
)
def test_arrays_that_are_no_simulations_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        SimulationStore.from_arrays(**{"theta": torch.zeros(5, 3), "x": torch.zeros(5, 2), **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(seed=1), "seed was 0 and is now 1"),
        (dict(shard_size=9), "shard_size"),
        (dict(keep_trials=False), "keep_trials"),
        (dict(prior=uniform(FAMILY, -1, 2)), "proposal.prior.theta_00.high was 1.0 and is now 2.0"),
        (dict(simulator=simulator(num_trials=25)), "num_trials was 24 and is now 25"),
        (dict(simulator=simulator(summaries=["learned"])), "summaries"),
        (dict(trial_types=torch.zeros(24, dtype=torch.long)), "trial_types"),
    ],
)
def test_another_configuration_is_refused_with_the_field_named(tmp_path, change, words):
    run(tmp_path / "s", 8)
    before = digests(tmp_path / "s")
    change = dict(change)
    sim, prior = change.pop("simulator", simulator()), change.pop("prior", PRIOR)
    with pytest.raises(ValueError, match=words):
        simulate(sim, prior, 8, store=tmp_path / "s", num_workers=1, progress=False, **{"shard_size": 8, **change})
    assert digests(tmp_path / "s") == before


class Power(ThreeFactorRule):
    coefficients = (Coefficient("a"),)

    def __init__(self, power):
        self.power = power
        super().__init__()

    def drive(self, theta, rate, deviation, weight):
        return theta["a"] * rate * deviation**self.power


class Cue(Task):
    type_names = ("go",)

    def __init__(self, steps):
        self.steps = steps

    def tensors(self, dt):
        inputs = torch.zeros(1, 10, 1)
        inputs[:, : self.steps] = 1.0
        return TrialTensors(inputs, torch.tensor([0.5]), torch.arange(10) >= 5)


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        ((Power(1), Cue(3)), (Power(2), Cue(3)), "probes.family"),
        ((Power(1), Cue(3)), (Power(1), Cue(4)), "probes.task"),
    ],
)
def test_models_of_one_name_that_compute_something_else_are_told_apart(tmp_path, one, other, field):
    for model, refused in ((one, False), (one, False), (other, True)):
        sim = RateRNN(*model, num_units=14, num_trials=22, summaries=["final_error"])
        arguments = (sim, uniform(model[0], -1, 1), 4)
        if refused:
            with pytest.raises(ValueError, match=field):
                simulate(*arguments, store=tmp_path / "s", progress=False)
        else:
            simulate(*arguments, store=tmp_path / "s", progress=False)


def test_components_of_one_kind_with_other_parameters_are_told_apart(tmp_path):
    for scale, refused in ((1.0, False), (1.0, False), (2.0, True)):
        prior = uniform(FAMILY, -1, 1, theta_11=LogNormal(0.0, scale))
        if refused:
            with pytest.raises(ValueError, match=r"theta_11\.scale"):
                simulate(simulator(), prior, 4, store=tmp_path / "s", progress=False)
        else:
            simulate(simulator(), prior, 4, store=tmp_path / "s", progress=False)


def test_forty_and_forty_point_zero_are_the_same_setting(tmp_path):
    for tau in (40, 40.0):
        simulate(simulator(tau=tau), PRIOR, 4, store=tmp_path / "s", progress=False)


def test_a_table_of_rules_and_sequences_in_turn(tmp_path):
    theta = torch.linspace(-1, 1, 40).reshape(10, 4)
    sequences = torch.zeros(3, 24, dtype=torch.long)
    sequences[1] = 1
    sequences[2, 20:] = -1
    store = simulate(
        simulator(), theta, store=tmp_path / "s", trial_types=sequences, shard_size=4, num_workers=1, progress=False
    )
    torch.testing.assert_close(store.theta, theta)
    assert torch.equal(store.trajectory.trial_types, sequences[torch.arange(10) % 3])
    assert len(SimulationStore(tmp_path / "s")) == 10


def test_any_torch_distribution_is_a_prior_and_a_temporary_store_goes_away():
    prior = Independent(Normal(torch.zeros(4), torch.ones(4)), 1)
    store = simulate(simulator(), prior, 8, progress=False)
    path = store.path
    assert store.theta.shape == (8, 4)
    del store
    assert not path.exists()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: simulate(simulator(), PRIOR, 0, store=p), "num_simulations"),
        (lambda p: simulate(simulator(), PRIOR, store=p), "num_simulations is needed"),
        (lambda p: simulate(simulator(), PRIOR, 8, store=p, seed=-1), "seed"),
        (lambda p: simulate(simulator(), PRIOR, 8, store=p, num_workers=0), "num_workers"),
        (lambda p: simulate(simulator(), uniform(PolynomialRule(degree=2)), 8, store=p), "the prior is over"),
        (lambda p: simulate(simulator(), torch.zeros(3, 5), store=p), r"\(batch, 4\)"),
        (lambda p: simulate(simulator(), "uniform", 8, store=p), "prior must be"),
        (lambda p: SimulationStore(p), "no manifest"),
    ],
)
def test_bad_input_is_refused_in_words_and_nothing_is_written(tmp_path, call, words):
    with pytest.raises(ValueError, match=words):
        call(tmp_path / "s")
    assert not list(tmp_path.rglob("shard-*"))
