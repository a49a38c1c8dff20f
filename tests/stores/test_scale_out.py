"""Runs that are killed, spread over machines or larger than memory end like one quiet run on one core."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import pytest
import torch
from cheap import PRIOR, Cheap
from test_store import digests
from torch.utils.data import DataLoader

from sbirules import PolynomialRule, SimulationStore, merge, simulate
from sbirules.cli import main
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

SHARDS = 200
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from cheap import PRIOR, Cheap
from sbirules import simulate
simulate(Cheap(seconds=0.03), PRIOR, 200 * 8, store=sys.argv[2], shard_size=8, num_workers=2, progress=False)
"""


def quiet(folder, n=SHARDS * 8, **options):
    return simulate(
        Cheap(), PRIOR, n, store=folder, **{"shard_size": 8, "num_workers": 1, "progress": False, **options}
    )


def kill_repeatedly(folder, times):
    """Starts the run, kills it at a random moment after it has come further, and again."""
    draws = random.Random(0)
    for _ in range(times):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), str(folder)])
        before, deadline = len(digests(folder)), time.monotonic() + 120
        while len(digests(folder)) <= before and process.poll() is None:
            assert time.monotonic() < deadline, "the run came no further"
            time.sleep(0.005)
        time.sleep(draws.uniform(0.0, 0.15))
        done = digests(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(done) < SHARDS, "the run ended before it could be killed"
        time.sleep(0.2)  # workers that were left alone end; what they computed is not written
        after = digests(folder)
        assert {name: after[name] for name in done} == done, "a completed shard was lost or changed"
        assert len(after) <= len(done) + 1


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.long)])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path, times):
    kill_repeatedly(tmp_path / "killed", times)
    assert 0 < len(digests(tmp_path / "killed")) < SHARDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may be damaged
        quiet(tmp_path / "killed")
    quiet(tmp_path / "whole")
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert len(digests(tmp_path / "killed")) == SHARDS
    assert not [
        p
        for p in (tmp_path / "killed").iterdir()
        if p.name not in ("manifest.json", "progress.json")
        and not p.name.startswith(("shard-", ".shard-", ".progress"))
    ]


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path, backend):
    family = PolynomialRule(degree=2)
    simulator = RateRNN(family, DelayedDiscrimination(), num_units=20, num_trials=30, backend=backend)
    for workers in (1, 2, 4):
        simulate(
            simulator,
            uniform(family, -1, 1),
            48,
            store=tmp_path / str(workers),
            shard_size=8,
            num_workers=workers,
            progress=False,
        )
    assert digests(tmp_path / "1") == digests(tmp_path / "2") == digests(tmp_path / "4")
    assert len(digests(tmp_path / "1")) == 6


@pytest.mark.slow
def test_dask_workers_one_of_which_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(sys.path.insert, 0, str(Path(__file__).parents[1]))
        pids = set(client.run(os.getpid).values())
        assert len(pids) == 2
        assert os.getpid() not in pids
        # a process of its own, because the call to simulate blocks
        killer = multiprocessing.get_context("spawn").Process(target=kill_later, args=(min(pids), tmp_path / "dask"))
        killer.start()
        with joblib.parallel_config(backend="dask"):
            simulate(Cheap(seconds=0.1), PRIOR, 480, store=tmp_path / "dask", shard_size=8, progress=False)
        killer.join()
        assert killer.exitcode == 0, "the worker was not killed during the run"
    quiet(tmp_path / "whole", 480)
    assert digests(tmp_path / "dask") == digests(tmp_path / "whole")


def kill_later(pid, folder):
    deadline = time.monotonic() + 60
    while len(list(folder.glob("shard-*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert len(list(folder.glob("shard-*"))) < 50


def test_threads_draw_the_same_rules(tmp_path):
    with joblib.parallel_config(backend="threading", n_jobs=3):
        simulate(Cheap(), PRIOR, 160, store=tmp_path / "threads", shard_size=8, progress=False)
    quiet(tmp_path / "whole", 160)
    assert digests(tmp_path / "threads") == digests(tmp_path / "whole")


def test_ranges_of_shards_in_folders_of_their_own_are_joined(tmp_path):
    for first, stop in ((0, 3), (5, 8)):
        quiet(tmp_path / f"{first}", 64, shards=(first, stop))
    with pytest.raises(ValueError, match=r"shards \(3, 5\) are missing"):
        merge([tmp_path / "0", tmp_path / "5"], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    quiet(tmp_path / "0", 64, shards=(3, 5))
    with pytest.raises(ValueError, match=r"shards \(8, 10\) are missing"):
        merge([tmp_path / "0", tmp_path / "5"], tmp_path / "all", num_simulations=80)
    joined = merge([tmp_path / "0", tmp_path / "5"], tmp_path / "all")
    whole = quiet(tmp_path / "whole", 64)
    assert digests(tmp_path / "all") == digests(tmp_path / "whole")
    assert len(joined) == len(whole) == 64
    assert joined.seconds > 0
    quiet(tmp_path / "other", 64, seed=1)
    with pytest.raises(ValueError, match="seed was"):
        merge([tmp_path / "0", tmp_path / "other"], tmp_path / "mixed")


def test_ranges_of_shards_in_one_folder(tmp_path):
    quiet(tmp_path / "s", 64, shards=(4, 8))
    assert len(SimulationStore(tmp_path / "s")) == 0, "the first shard is not there yet"
    quiet(tmp_path / "s", 64, shards=(0, 4))
    quiet(tmp_path / "whole", 64)
    assert digests(tmp_path / "s") == digests(tmp_path / "whole")


@pytest.mark.parametrize("shards", [(3, 3), (-1, 2), (0, 9), (1,), (5, 2)])
def test_a_range_that_is_none_is_refused(tmp_path, shards):
    with pytest.raises(ValueError, match=r"0 <= first < stop <= 8"):
        quiet(tmp_path / "s", 64, shards=shards)


STUDY = """
[rule]
degree = 1
[simulator]
num_units = 16
num_trials = 24
[prior]
low = -1
high = 1
[simulate]
num_simulations = 40
shard_size = 8
[constraints]
final_error = [0.0, 2.0]
"""


def test_array_jobs_on_the_command_line(tmp_path, capsys):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    keep = ["--workers", "1", "--quiet"]
    assert main(["simulate", str(study), "--out", str(tmp_path / "a"), "--shards", "0:2", *keep]) == 0
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "all")]) == 2
    assert "no manifest.json" in capsys.readouterr().err
    assert main(["simulate", str(study), "--out", str(tmp_path / "b"), "--shards", "2:5", *keep]) == 0
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "all")]) == 0
    assert "40 simulations" in capsys.readouterr().out
    assert main(["simulate", str(study), "--out", str(tmp_path / "whole"), *keep]) == 0
    assert digests(tmp_path / "all" / "store") == digests(tmp_path / "whole" / "store")
    for wrong in ("1-2", "a:b", "3:99"):
        assert main(["simulate", str(study), "--out", str(tmp_path / "w"), "--shards", wrong, *keep]) == 2
        assert "shards" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_visits_every_row_once_and_anew_in_each_pass(tmp_path, workers):
    store = quiet(tmp_path / "s", 203)
    data = store.dataset("theta", "x", batch_size=32, buffer=3, seed=1)
    passes = []
    for _ in range(2):
        batches = list(DataLoader(data, batch_size=None, num_workers=workers))
        assert all(len(theta) == len(x) for theta, x in batches)
        passes.append(torch.cat([theta for theta, _ in batches]))
        pairs = {tuple(t.tolist()): v for theta, x in batches for t, v in zip(theta, x, strict=True)}
        for t, v in zip(store.theta, store.x, strict=True):
            torch.testing.assert_close(pairs[tuple(t.tolist())], v, equal_nan=True)
        if not workers:
            assert [len(theta) for theta, _ in batches] == [32] * 6 + [11]
    for rows in passes:
        assert rows.shape == (203, 2)
        assert torch.equal(rows.sort(dim=0).values, store.theta.sort(dim=0).values)
    assert not torch.equal(passes[0], store.theta)
    if not workers:
        assert not torch.equal(*passes)
    plain = torch.cat([theta for theta, _ in store.dataset(shuffle=False)])
    assert torch.equal(plain, store.theta)


def test_loader_workers_without_shards_and_passes_with_workers(tmp_path):
    store = quiet(tmp_path / "s", 40, shard_size=20)
    data = store.dataset("theta", batch_size=8)
    orders = [torch.cat([t for (t,) in DataLoader(data, batch_size=None, num_workers=3)]) for _ in range(2)]
    assert all(len(order) == 40 for order in orders)
    assert not torch.equal(*orders)
    quiet(tmp_path / "late", 40, shard_size=20, shards=(1, 2))
    with pytest.raises(ValueError, match="no complete shard"):
        next(iter(SimulationStore(tmp_path / "late").dataset()))


def begin(folder, seed):
    try:
        quiet(folder, 16, seed=seed)
    except ValueError as error:
        return "another configuration" in str(error)
    return False


def test_of_runs_that_start_together_with_different_seeds_one_wins(tmp_path):
    for k in range(5):
        jobs = (joblib.delayed(begin)(tmp_path / str(k), seed) for seed in range(3))
        refused = joblib.Parallel(n_jobs=3)(jobs)
        assert sum(refused) == 2
        assert not SimulationStore(tmp_path / str(k)).damaged(range(2))


class Short(Cheap):
    def run(self, theta, **options):
        return super().run(theta, **options).rows(torch.arange(len(theta) - 1))


def test_a_simulator_that_loses_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="8 rules were given, but x has 7 rows"):
        simulate(Short(), PRIOR, 16, store=tmp_path / "s", shard_size=8, num_workers=1, progress=False)
    assert not digests(tmp_path / "s")


def test_merging_mends_what_is_damaged_and_counts_seconds_once(tmp_path):
    for first, stop in ((0, 4), (4, 8)):
        quiet(tmp_path / f"{first}", 64, shards=(first, stop))
    for _ in range(2):
        joined = merge([tmp_path / "0", tmp_path / "4"], tmp_path / "all")
        shard = joined.shard_path(2)
        shard.write_bytes(shard.read_bytes()[:-5])
    assert merge([tmp_path / "4", tmp_path / "0"], tmp_path / "all").x.shape == (64, 1)
    parts = [SimulationStore(tmp_path / name).seconds for name in ("0", "4")]
    assert joined.seconds == pytest.approx(sum(parts))
