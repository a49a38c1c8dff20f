"""Filling a store: shards in worker processes of one thread each, on one machine or many.

Workers only compute; the calling process writes, so workers need no folder in common with it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock

import joblib
import torch
from joblib.externals.loky.process_executor import BrokenProcessPool
from torch import Tensor
from torch.distributions import Distribution
from tqdm.auto import tqdm

from sbirules.model.abilities import OnDevice
from sbirules.model.fields import Layout
from sbirules.model.prior import names_of
from sbirules.model.runs import Status
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import summarise
from sbirules.priors import PriorLike
from sbirules.stores.configuration import configuration
from sbirules.stores.manifest import refuse_other_streams
from sbirules.stores.needs import refuse_too_large, row_bytes
from sbirules.stores.proposal import table_or_prior
from sbirules.stores.repeatability import draws_from_global_streams
from sbirules.stores.shards import encode
from sbirules.stores.store import SimulationStore
from sbirules.stores.temporary import removed_with, temporary_folder
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.ending import terminable
from sbirules.support.files import remove_unfinished
from sbirules.support.locks import locked
from sbirules.support.side_by_side import in_processes
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed

__all__ = ["on_gpu", "simulate"]

_Task = tuple[int, str, Tensor | None]  # a shard, what it must say that it belongs to, and its rules
_Result = tuple[int, bytes, dict[str, int]]  # a shard, its content, and networks by status
_GLOBAL_STREAM = Lock()  # priors draw from torch's global stream, which threads share


@typed
def simulate(
    simulator: Simulator,
    prior: PriorLike | ArrayLike,
    num_simulations: int | None = None,
    *,
    store: str | Path | None = None,
    seed: int = 0,
    shard_size: int | None = None,
    trial_types: ArrayLike | None = None,
    keep_trials: bool = True,
    shards: Sequence[int] | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    label: str = "simulate",
) -> SimulationStore:
    """Simulates rules from a prior, one fresh network each, into a store. Running it again resumes.

    Whatever was completed stays completed, whatever stops the run. Shards found damaged are reported with a
    warning and simulated anew.

    To use a cluster, call it under joblib's Dask backend, `with joblib.parallel_config(backend="dask")`, or
    give each job of an array its `shards`: in one folder that all jobs see, or in folders of their own that
    `merge` joins.

    Arguments:
        simulator: What to simulate.
        prior: Distribution of theta `(D,)` in natural units, a list of one for each coefficient, or a table of rules
            `(n, D)`, anything array-like.
        num_simulations: Number of networks; more than a store holds adds to it. With a table, its length.
        store: Folder of the store; None for a temporary one that lives as long as the returned object.
        seed: Shard k draws from the streams named by (seed, k).
        shard_size: Networks per shard, the unit of saving; by default 256, more where the simulator wants larger
            batches, or all if they are fewer.
        trial_types: Sequences of trial types that the networks get in turn, `(sequences, trials)`, -1 past
            the end; None for the task's own.
        keep_trials: Whether to keep the fields of every trial, so that other summaries can be computed later.
        shards: Range (first, stop) of the shards to make, counted from zero; None for all.
        num_workers: Worker processes; None for one per core. Within a `joblib.parallel_config` of one's own,
            its workers are used.
        progress: Whether to show a progress bar.
        label: Its label.

    Returns:
        The store, showing the first `num_simulations` rows.

    Raises:
        ValueError: If the folder holds simulations of another configuration, or an argument is wrong.
    """
    table, proposal = table_or_prior(prior, simulator.names)
    if table is not None:
        if num_simulations not in (None, len(table)):
            raise ValueError(f"num_simulations must be {len(table)}, the length of the table, or left out.")
        num_simulations = len(table)
    if num_simulations is None:
        raise ValueError("num_simulations is needed with a prior.")
    count = arguments.whole("num_simulations", num_simulations, 1)
    names = names_of(proposal, simulator.names)
    if names != simulator.names:
        raise ValueError(
            f"the prior is over {arguments.listed(names)}, but the simulator's rules have "
            f"{arguments.listed(simulator.names)}."
        )
    now = configuration(
        simulator,
        proposal,
        table,
        count,
        store=store,
        shard_size=shard_size,
        trial_types=trial_types,
        keep_trials=keep_trials,
    )
    size, sequences = now.shard_size, now.sequences
    arguments.whole("seed", seed, 0)
    if num_workers is not None:
        arguments.whole("num_workers", num_workers, 1)
    wanted = _range(shards, -(-count // size))
    place = Path(tempfile.gettempdir() if store is None else store)
    row = row_bytes(simulator, sequences.shape[1], keep_trials)
    refuse_too_large("num_simulations", count, size, row, place, wanted, num_workers or 1)
    folder = Path(store) if store is not None else temporary_folder()
    target = SimulationStore.create(folder, now.content(), seed, engine=simulator.engine, **now.facts())
    damaged = target.damaged(wanted)
    for why in damaged.values():
        warnings.warn(f"{target.path}: {why}; it is simulated anew.")
    if damaged or not all(target.has(k) for k in wanted):
        job = _Job(simulator, proposal, seed, size, sequences, keep_trials)
        refuse_other_streams(target.path, target.manifest)
        try:
            with locked(target.path, None if shards is None else wanted), terminable():
                rule = table[0] if table is not None else job.drawn(0)[0]
                job.shared = draws_from_global_streams(simulator, rule, sequences[0])
                part = "" if shards is None else f"-{wanted.start}-{wanted.stop}"
                _tidy(target.path, None if shards is None else wanted, part)
                todo = [k for k in wanted if k in damaged or not target.has(k)]
                bar = tqdm(
                    total=len(wanted) * size,
                    initial=(len(wanted) - len(todo)) * size,
                    desc=label,
                    unit="sim",
                    disable=not progress,
                )
                with bar:
                    _run(job, todo, table, target, num_workers, part, bar)
        except BaseException:
            if store is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    done = SimulationStore(folder, count)
    return done if store is not None else removed_with(done)


def _tidy(folder: Path, shards: range | None, part: str) -> None:
    """Removes what runs that were killed left half-written: of these shards and this part's progress, or of all."""

    def mine(name: str) -> bool:
        number = name.removeprefix("shard-").removesuffix(".safetensors")
        return shards is None or name == f"progress{part}.json" or (number.isdigit() and int(number) in shards)

    remove_unfinished(folder, mine)


def _range(shards: Sequence[int] | None, total: int) -> range:
    """The shards to make, of `total`."""
    if shards is None:
        return range(total)
    pair = tuple(shards) if isinstance(shards, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(k, int) for k in pair) or not 0 <= pair[0] < pair[1] <= total:
        raise ValueError(f"shards must be (first, stop) with 0 <= first < stop <= {total}, got {shards!r}.")
    return range(*pair)


class _Job:
    """What a worker needs to make any shard. The proposal is None where the rules come from a table."""

    def __init__(
        self,
        simulator: Simulator,
        proposal: Distribution | None,
        seed: int,
        size: int,
        sequences: Tensor,
        keep_trials: bool,
    ) -> None:
        self.simulator, self.proposal, self.seed = simulator, proposal, seed
        self.size, self.sequences, self.keep_trials = size, sequences, keep_trials
        self.shared = False  # whether the simulator draws from streams that threads share

    def __call__(self, shard: int, owner: str, theta: Tensor | None) -> _Result:
        """Simulates one shard of given rules, or of draws; returns its bytes and its counts by status."""
        torch.set_num_threads(1)
        theta = self.drawn(shard) if theta is None else theta
        first = shard * self.size
        rows = torch.arange(first, first + self.size) % len(self.sequences)
        with torch.no_grad(), self._streams(shard):
            runs = self.simulator.run(theta, seed=(self.seed, Stream.RUN, shard), trial_types=self.sequences[rows])
            x = summarise(runs, self.simulator.summaries)
        fields = {"theta": theta.float(), "x": x, "status": runs.status}
        layout = self.simulator.layout
        kept = _kept(layout, runs.per_run, "run")
        if self.keep_trials:
            kept |= _kept(layout, runs.per_trial, "trial") | _kept(layout, runs.per_unit, "unit")
            fields["trial_types"] = runs.trial_types.to(torch.int16)
        fields |= kept
        for name, value in fields.items():
            if len(value) != self.size:
                raise ValueError(
                    f"{type(self.simulator).__name__}.run must return one network per rule: {self.size} rules "
                    f"were given, but {name} has {len(value)} rows."
                )
        return shard, encode(fields, owner), runs.status_counts()

    def drawn(self, shard: int) -> Tensor:
        """A shard's rules from the proposal."""
        if self.proposal is None:
            raise ValueError("there is neither a prior to draw rules from nor a table of them.")
        with _GLOBAL_STREAM, seeded(self.seed, Stream.PRIOR, shard):
            return torch.as_tensor(self.proposal.sample(torch.Size((self.size,))))

    @contextmanager
    def _streams(self, shard: int) -> Iterator[None]:
        """Global streams of the shard's own, for a simulator that draws from them."""
        if not self.shared:
            yield
            return
        with _GLOBAL_STREAM, seeded(self.seed, Stream.RUN, shard):
            yield


def _kept(layout: Layout, values: Mapping[str, Tensor], per: str) -> dict[str, Tensor]:
    """What a store keeps of a run's fields: all but those that follow from others.

    Raises:
        ValueError: If the run lacks a declared field.
    """
    wanted = [n for n in layout.named(per) if not layout[n].follows]
    lacking = [n for n in wanted if n not in values]
    if lacking:
        raise ValueError(f"the simulator declares {lacking[0]!r}, of every {per}, but its run does not have it.")
    declared = layout.named(per)
    undeclared = [n for n in values if n not in declared]
    elsewhere = {f.name: f.per for f in layout.fields if f.per != per}
    wrong = next((n for n in undeclared if n in elsewhere), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is declared of every {elsewhere[wrong]}, not of every {per}.")
    return {n: torch.as_tensor(values[n]) for n in (*wanted, *undeclared)}


def on_gpu(simulator: Simulator) -> bool:
    """Whether it runs where several processes would be in each other's way."""
    return isinstance(simulator, OnDevice) and simulator.device.type != "cpu"


def _results(job: _Job, tasks: Iterator[_Task], count: int, num_workers: int | None) -> Generator[_Result, None, None]:
    backend, of_context = joblib.parallel.get_active_backend()
    if isinstance(backend, joblib.parallel.LokyBackend):
        workers = min(num_workers or (1 if on_gpu(job.simulator) else joblib.cpu_count()), count)
        if workers == 1:
            threads = torch.get_num_threads()
            try:
                yield from (job(*task) for task in tasks)
            finally:
                torch.set_num_threads(threads)
            return
        options = in_processes()
    else:
        workers = num_workers or of_context or -1  # the user's own, for instance of a Dask cluster
        options = {}
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs", **options)
    try:
        with _closed(parallel(joblib.delayed(job)(*task) for task in tasks)) as results:
            yield from results
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was ended from outside, most likely because memory ran out. What was complete is kept; run "
            "again, with fewer workers or a smaller shard_size."
        ) from error


@contextmanager
def _closed(results: Generator[_Result, None, None]) -> Iterator[Iterator[_Result]]:
    """Ends workers at once where the block is left early, which joblib would warn of."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()


def _run(
    job: _Job, todo: list[int], table: Tensor | None, store: SimulationStore, workers: int | None, part: str, bar: tqdm
) -> None:
    counts: Counter[str] = Counter()
    clock = time.perf_counter()
    tasks = ((k, store.owner(k), None if table is None else _rows(table, k, job.size)) for k in todo)
    with closing(_results(job, tasks, len(todo), workers)) as results:  # workers end at once if anything happens here
        for shard, content, statuses in results:
            store.write(shard, content)
            counts.update(statuses)
            now = time.perf_counter()
            store.add_seconds(now - clock, part)
            clock = now
            bar.update(job.size)
            failed = {k.lower(): n for k, n in counts.items() if n and k != Status.OK.name}
            bar.set_postfix(failed, refresh=False)


def _rows(table: Tensor, shard: int, size: int) -> Tensor:
    """Rules of a shard; the last one of a table is filled up, so that all have one size."""
    rows = torch.arange(shard * size, (shard + 1) * size).clamp(max=len(table) - 1)
    return table[rows]
