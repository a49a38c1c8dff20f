"""Runs that are ended from outside, or that run out of disk: nothing lost, nobody left behind, nothing half-written."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from cheap import PRIOR, Cheap
from test_store import digests

from sbirules import SimulationStore, simulate
from sbirules.cli import EXIT, main
from sbirules.support.ending import Terminated, terminable
from sbirules.support.locks import locked

SHARDS = 200  # of the run that is ended
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from cheap import PRIOR, Cheap
from sbirules import simulate
simulate(Cheap(seconds=0.05), PRIOR, 200 * 8, store=sys.argv[2], shard_size=8, num_workers=2, progress=False)
"""


def quiet(folder, shards=200, part=None, **options):
    keep = {"shard_size": 8, "num_workers": 1, "progress": False, "shards": part, **options}
    return simulate(keep.pop("simulator", Cheap()), PRIOR, shards * 8, store=folder, **keep)


def children(pid):
    """Processes below one, by number, from /proc."""
    parent = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # ended in between
    found, front = set(), {pid}
    while front:
        front = {child for child, above in parent.items() if above in front}
        found |= front
    return found


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def unfinished(folder):
    return list(Path(folder).rglob(".*.tmp"))


def killed(folder, how, times):
    """Starts the run, ends it at a random moment after it has come further, and again; returns what was left."""
    draws, orphans, left, slowest = random.Random(1), 0, 0, 0.0
    for _ in range(times):
        before, deadline = len(digests(folder)), time.monotonic() + 120
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), str(folder)])
        while len(digests(folder)) <= before and process.poll() is None:
            assert time.monotonic() < deadline, "the run came no further"
            time.sleep(0.005)
        time.sleep(draws.uniform(0.0, 0.1))
        workers, done = children(process.pid), digests(folder)
        assert len(workers) >= 2
        assert len(done) < SHARDS, "the run ended before it could be killed"
        process.send_signal(how)
        ended = time.monotonic()
        process.wait(timeout=20)
        assert process.returncode == -how, "the process ended as it would have without us"
        while any(map(alive, workers)) and time.monotonic() < ended + 5:
            time.sleep(0.02)
        slowest = max(slowest, time.monotonic() - ended)
        orphans += sum(map(alive, workers))
        left += len(unfinished(folder))
        after = digests(folder)
        assert {name: after[name] for name in done} == done, "a completed shard was lost or changed"
    return orphans, left, slowest


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
@pytest.mark.parametrize(
    ("how", "times"),
    [
        (signal.SIGTERM, 1),
        pytest.param(signal.SIGTERM, 20, marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, 20, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_ended_leaves_nobody_and_nothing_behind(tmp_path, how, times):
    orphans, left, slowest = killed(tmp_path / "killed", how, times)
    made, shards = len(digests(tmp_path / "killed")), SHARDS if times > 1 else 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may be damaged
        quiet(tmp_path / "killed", shards)
    quiet(tmp_path / "whole", shards)
    same = digests(tmp_path / "killed") == digests(tmp_path / "whole")
    print(
        f"\n{times} x {how.name}: {made} of {shards} shards made on the way, {orphans} orphans (the last worker gone "
        f"{slowest:.1f} s after the caller was told), {left} unfinished files then, {len(unfinished(tmp_path))} after the "
        f"next run; same bytes as a quiet run: {same}"
    )
    assert same
    assert orphans == 0
    assert not unfinished(tmp_path)
    assert left == 0 or how == signal.SIGKILL, "only what is killed without a word may leave something"


def test_sigterm_is_as_it_was_after_a_run(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    quiet(tmp_path / "s", 2)
    assert signal.getsignal(signal.SIGTERM) == before
    with terminable():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)  # what the caller had set is what happens
    finally:
        signal.signal(signal.SIGTERM, mine)


def test_the_command_line_says_that_it_was_terminated(tmp_path, monkeypatch, capsys):
    def told(*args):
        raise Terminated

    monkeypatch.setattr("sbirules.commands.listing.run", told)
    assert main(["list", "tasks"]) == EXIT["terminated"] == 143
    assert "run the same command again" in capsys.readouterr().err


# Two runs on one folder -------------------------------------------------------------------------


def test_two_runs_on_one_folder_exclude_each_other(tmp_path):
    folder = tmp_path / "s"
    first = subprocess.Popen([sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), str(folder)])
    try:
        while len(digests(folder)) < 2 and first.poll() is None:
            time.sleep(0.01)
        for part in (None, (100, 200)):
            with pytest.raises(ValueError, match="is in use by another run; wait until it has ended"):
                quiet(folder, part=part)
    finally:
        workers = children(first.pid)
        first.kill()
        first.wait()
    time.sleep(1.5)
    assert len(workers) >= 2
    assert not any(map(alive, workers)), "workers end with their caller"
    quiet(folder, part=(0, 4))  # the lock died with its process


def test_parts_of_a_folder_are_held_apart_and_let_go(tmp_path):
    with locked(tmp_path, range(0, 4)):
        with pytest.raises(ValueError, match="in use"), locked(tmp_path, range(3, 5)):
            pass
        with locked(tmp_path, range(4, 8)):
            assert elsewhere(tmp_path, (0, 4), (4, 8), (8, 12)) == ["held", "held", "free"]
        assert elsewhere(tmp_path, (0, 4), (4, 8)) == ["held", "free"], "letting go of one part lets go of no other"
        with pytest.raises(ValueError, match="in use"), locked(tmp_path):
            pass
    with locked(tmp_path), pytest.raises(ValueError, match="in use"), locked(tmp_path, range(7, 8)):
        pass
    assert elsewhere(tmp_path, (0, 2**39)) == ["free"]


def elsewhere(folder, *parts):
    """Whether another process could have these parts."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=attempt, args=(folder, parts, answers))
    process.start()
    process.join()
    return [answers.get() for _ in parts]


def attempt(folder, parts, answers):
    for part in parts:
        try:
            with locked(folder, range(*part)):
                answers.put("free")
        except ValueError:
            answers.put("held")


def test_threads_of_one_process_exclude_each_other(tmp_path):
    said, begun, go_on = [], threading.Event(), threading.Event()

    class Slow(Cheap):
        def run(self, theta, **options):
            begun.set()
            go_on.wait(20)
            return super().run(theta, **options)

    thread = threading.Thread(target=lambda: said.append(len(quiet(tmp_path / "s", 4, simulator=Slow()))))
    thread.start()
    begun.wait(20)
    with pytest.raises(ValueError, match="in use by another run"):
        quiet(tmp_path / "s", 4)
    go_on.set()
    thread.join()
    assert said == [32]


# Disks ------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


class Filling(Cheap):
    """Fills the disk up before its run number `at`."""

    at, done = 8, 0  # three runs try whether it goes by its seed

    def run(self, theta, **options):
        self.done += 1
        if self.done == self.at:
            with open(self.place / "something else", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 1024)
                except OSError:
                    pass
        return super().run(theta, **options)


def test_a_full_disk_is_one_sentence_and_loses_nothing(disk, tmp_path):
    simulator = Filling()
    simulator.place = disk
    with pytest.raises(
        OSError, match=r"cannot be written: the disk is full; free some space.*What was complete is kept"
    ):
        quiet(disk / "s", 40, simulator=simulator)
    kept = digests(disk / "s")
    print(f"\nfull disk: {len(kept)} of 40 shards kept, {len(unfinished(disk))} unfinished files")
    assert len(kept) >= 4
    assert not unfinished(disk)
    assert not SimulationStore(disk / "s").damaged(range(40))
    (disk / "something else").unlink()
    quiet(disk / "s", 40)
    quiet(tmp_path / "whole", 40)
    assert digests(disk / "s") == digests(tmp_path / "whole")
    assert {name: digests(disk / "s")[name] for name in kept} == kept


def test_a_read_only_disk_is_one_sentence_and_can_be_read(disk):
    quiet(disk / "done", 3)
    quiet(disk / "begun", 3)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for folder, shards in ((disk / "begun", 6), (disk / "new", 3)):
        with pytest.raises(OSError, match="cannot be written: it lies on a read-only file system; choose"):
            quiet(folder, shards)
    assert len(quiet(disk / "done", 3).theta) == 24, "what is complete needs no writing"
    assert not unfinished(disk)
    print(f"\nread-only disk: {len(digests(disk / 'begun'))} + {len(digests(disk / 'done'))} of 6 shards kept")


STUDY = """
[rule]
degree = 1
[simulator]
num_units = 16
num_trials = 24
[simulate]
num_simulations = 16
[constraints]
final_error = [0.0, 2.0]
[check]
rules = 4
networks_per_rule = 2
[sensitivity]
parts = ["stiff"]
"""


def test_the_command_line_says_it_in_one_line(disk, tmp_path, capsys):
    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for command in ("run", "simulate"):
        assert (
            main([command, str(study), "--out", str(disk / "out"), "--quiet", "--workers", "1"]) == EXIT["wrong input"]
        )
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "read-only file system" in said
    (tmp_path / "file").write_text("")
    assert main(["run", str(study), "--out", str(tmp_path / "file"), "--quiet"]) == EXIT["wrong input"]
    assert "a file is in the way" in capsys.readouterr().err
