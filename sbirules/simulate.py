"""Filling a store: shards in worker processes of one thread each."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm.auto import tqdm

from sbirules import _check
from sbirules.simulator import Simulator
from sbirules.store import SimulationStore
from sbirules.streams import seeded
from sbirules.summaries import summarise
from sbirules.trajectory import Status

__all__ = ["simulate"]

SHARD_SIZE = 256
DRAW, RUN = 0, 1  # streams of a shard


def simulate(
    simulator: Simulator,
    prior: Distribution | Tensor,
    num_simulations: int | None = None,
    *,
    store: str | Path | None = None,
    seed: int = 0,
    shard_size: int | None = None,
    trial_types: Any = None,
    keep_trials: bool = True,
    num_workers: int | None = None,
    progress: bool = True,
    label: str = "simulate",
) -> SimulationStore:
    """Simulates rules from a prior, one fresh network each, into a store. Running it again resumes.

    Arguments:
        simulator: What to simulate.
        prior: Distribution of theta `(D,)` in natural units, or a table of rules `(n, D)`.
        num_simulations: Number of networks; more than a store holds adds to it. With a table, its length.
        store: Folder of the store; None for a temporary one that lives as long as the returned object.
        seed: Shard k draws from the streams named by (seed, k).
        shard_size: Networks per shard, the unit of saving; 256, or all if they are fewer.
        trial_types: Sequences of trial types that the networks get in turn, `(sequences, trials)`, -1 past
            the end; None for the task's own.
        keep_trials: Whether to keep the error and output of every trial, so that other summaries can be
            computed later.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show a progress bar.
        label: Its label.

    Returns:
        The store, showing the first `num_simulations` rows.

    Raises:
        ValueError: If the folder holds simulations of another configuration, or an argument is wrong.
    """
    table = prior if isinstance(prior, Tensor) else None
    if table is not None:
        table = _check.theta_matrix(table, simulator.names).float()
        if num_simulations not in (None, len(table)):
            raise ValueError(f"num_simulations must be {len(table)}, the length of the table, or left out.")
        num_simulations = len(table)
    if num_simulations is None:
        raise ValueError("num_simulations is needed with a prior.")
    if table is None and isinstance(prior, Distribution) and (prior.batch_shape or len(prior.event_shape) != 1):
        raise ValueError(
            f"prior must be one distribution over vectors of {len(simulator.names)} coefficients, got batch shape "
            f"{tuple(prior.batch_shape)} and event shape {tuple(prior.event_shape)}; "
            f"wrap univariate ones in torch.distributions.Independent(prior, 1)."
        )
    count = _check.whole("num_simulations", num_simulations, 1)
    names = getattr(prior, "names", simulator.names) if table is None else simulator.names
    if tuple(names) != simulator.names:
        raise ValueError(
            f"the prior is over {_check.listed(names)}, but the simulator's rules have "
            f"{_check.listed(simulator.names)}."
        )
    folder = Path(store) if store is not None else Path(tempfile.mkdtemp(prefix="sbirules-"))
    if shard_size is None:
        known = (folder / "manifest.json").is_file()
        shard_size = SimulationStore(folder).shard_size if known else min(SHARD_SIZE, count)
    _check.whole("shard_size", shard_size, 1)
    _check.whole("seed", seed, 0)
    sequences = simulator.task.sequence(simulator.num_trials) if trial_types is None else torch.as_tensor(trial_types)
    sequences = sequences[None] if sequences.ndim == 1 else sequences
    sequences = simulator.sequence_matrix(sequences, len(sequences))
    config = {
        "simulator": simulator.config(),
        "proposal": proposal_config(prior, simulator),
        "trial_types": _digest(sequences),
        "shard_size": shard_size,
        "keep_trials": keep_trials,
    }
    target = SimulationStore.create(
        folder, config, seed,
        names=list(simulator.names), summary_names=list(simulator.summary_names),
        type_names=list(simulator.task.type_names),
        criterion=simulator.criterion,
        raw_per_unit=simulator.raw_per_unit.tolist(),
        rows=None if table is None else count,
    )  # fmt: skip
    shards = range(-(-count // shard_size))
    todo = [k for k in shards if not target.has(k)]
    if todo:
        job = _Job(simulator, table if table is not None else prior, seed, shard_size, sequences, folder)
        _run(job, todo, target, num_workers, progress, label, done=(len(shards) - len(todo)) * shard_size)
    done = SimulationStore(folder, count)
    if store is None:  # remove a temporary store with the object that shows it
        weakref.finalize(done, shutil.rmtree, folder, ignore_errors=True)
    return done


def proposal_config(prior: Distribution | Tensor, simulator: Simulator) -> dict[str, Any]:
    """What identifies a proposal: its own `config()`, the digest of a table, or a few of its draws."""
    if isinstance(prior, Tensor):
        return {"table": _digest(prior)}
    if hasattr(prior, "config"):
        return {"prior": prior.config()}
    if not isinstance(prior, Distribution):
        raise ValueError(f"prior must be a torch Distribution or a table of rules, got {type(prior).__name__}.")
    with seeded(0):
        draws = prior.sample(torch.Size((8,)))
    _check.theta_matrix(draws, simulator.names, argument="a draw of the prior")
    return {"prior": type(prior).__name__, "draws": _digest(draws)}


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


class _Job:
    """What a worker needs to make any shard."""

    def __init__(
        self, simulator: Simulator, proposal: Distribution | Tensor, seed: int, size: int, sequences: Tensor, path: Path
    ) -> None:
        self.simulator, self.proposal, self.seed = simulator, proposal, seed
        self.size, self.sequences, self.path = size, sequences, path

    def __call__(self, shard: int) -> dict[str, int]:
        """Simulates and writes one shard; returns its counts by status."""
        torch.set_num_threads(1)
        first = shard * self.size
        if isinstance(self.proposal, Tensor):
            theta = self.proposal[first : first + self.size]
            # the last shard of a table is filled up, so that all have one size
            theta = torch.cat([theta, theta[-1:].expand(self.size - len(theta), -1)])
        else:
            with seeded(self.seed, shard, DRAW):
                theta = self.proposal.sample(torch.Size((self.size,)))
        rows = torch.arange(first, first + self.size) % len(self.sequences)
        trajectory = self.simulator.run(theta, seed=(self.seed, shard, RUN), trial_types=self.sequences[rows])
        x = summarise(trajectory, self.simulator.summaries)
        SimulationStore(self.path).write(shard, theta.float(), x, trajectory)
        return trajectory.status_counts()


def _results(job: _Job, todo: list[int], num_workers: int | None) -> Iterator[dict[str, int]]:
    on_gpu = getattr(getattr(job.simulator, "device", None), "type", "cpu") != "cpu"
    workers = min(num_workers or (1 if on_gpu else joblib.cpu_count()), len(todo))
    if workers == 1:
        threads = torch.get_num_threads()
        try:
            yield from map(job, todo)
        finally:
            torch.set_num_threads(threads)
        return
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    yield from parallel(joblib.delayed(job)(shard) for shard in todo)


def _run(
    job: _Job, todo: list[int], store: SimulationStore, workers: int | None, progress: bool, label: str, done: int
) -> None:
    if workers is not None:
        _check.whole("num_workers", workers, 1)
    counts: Counter[str] = Counter()
    total = done + len(todo) * job.size
    clock = time.perf_counter()
    with tqdm(total=total, initial=done, desc=label, unit="sim", disable=not progress) as bar:
        for result in _results(job, todo, workers):
            counts.update(result)
            now = time.perf_counter()
            store.add_seconds(now - clock)
            clock = now
            bar.update(job.size)
            failed = {k.lower(): n for k, n in counts.items() if n and k != Status.OK.name}
            bar.set_postfix(failed, refresh=False)
