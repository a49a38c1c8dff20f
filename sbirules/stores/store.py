"""A folder of simulations, written shard by shard and read back as tensors.

    manifest.json              configuration, its hash, seed, versions
    shard-000000.safetensors   theta, x, status, and the fields that the simulator declares, with checksums
    progress.json              seconds spent; one such file for each range of shards that ran apart

Shard k depends on the configuration, the seed and k alone, so a run that was killed ends, once rerun, with
the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sbirules.model.fields import Field, Layout, task_fields
from sbirules.model.runs import Status, Trajectory
from sbirules.stores import progress, shards
from sbirules.stores.arrays import checked_arrays
from sbirules.stores.dataset import ShardDataset
from sbirules.stores.manifest import (
    BEFORE,
    NAME,
    SCHEMA,
    config_hash,
    new_manifest,
    read_manifest,
    refuse_other,
    refuse_other_facts,
    warn_of_other_versions,
)
from sbirules.stores.shards import DamagedShard
from sbirules.stores.temporary import removed_with, temporary_folder
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.files import (
    Plain,
    make_folder,
    plain,
    write_bytes,
    write_first,
)
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

__all__ = ["SimulationStore"]

PREFIX = "activity."  # of fields of the whole run in stores of version 0.1


@typed_class
class SimulationStore(Shown):
    """Simulations on disk.

    Arguments:
        path: The folder.
        num_simulations: How many rows to show; None for all complete shards from the first on.
    """

    def __init__(self, path: str | Path, num_simulations: int | None = None) -> None:
        self.path = Path(path)
        self.manifest: Plain = read_manifest(self.path)
        # a table of rules is filled up to whole shards; what was added is not shown
        rows = self.manifest.get("rows")
        if num_simulations is not None:
            num_simulations = arguments.whole("num_simulations", num_simulations, 1)
            rows = num_simulations if rows is None else min(rows, num_simulations)
        self._limit = rows

    def __repr__(self) -> str:
        return f"SimulationStore({str(self.path)!r}, {len(self)} simulations, {len(self.names)} coefficients)"

    def _card(self) -> Card:
        ended = {name.lower(): n for name, n in self.status_counts().items() if n}
        facts = {**ended, "rules": self.names, "summaries": self.summary_names, "seconds": round(self.seconds)}
        return Card(repr(self), facts)

    @classmethod
    def create(
        cls, path: str | Path, config: Mapping[str, object], seed: int, *, engine: str = "", **facts: object
    ) -> SimulationStore:
        """Opens the store of this configuration and seed, or starts one.

        Warns if other versions or another engine began it: new shards may then differ in rounding.

        Raises:
            ValueError: If the folder holds simulations of another configuration; names what differs.
        """
        path = Path(path)
        config = plain(dict(config))
        if (path / NAME).is_file():
            store = cls(path)
            refuse_other(path, store.manifest, config, seed)
            refuse_other_facts(path, store.manifest, facts)
            warn_of_other_versions(path, store.manifest, engine)
            return store
        if path.is_dir() and any(path.glob("shard-*")):
            raise ValueError(f"{path} holds shards but no manifest.json; choose an empty folder.")
        make_folder(path)
        if not write_first(path / NAME, new_manifest(config, seed, engine, facts)):
            return cls.create(path, config, seed, engine=engine, **facts)  # another job was faster
        return cls(path)

    @classmethod
    def from_arrays(
        cls,
        theta: ArrayLike,
        x: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        summary_names: Sequence[str] | None = None,
        status: ArrayLike | None = None,
        path: str | Path | None = None,
        shard_size: int = 4096,
    ) -> SimulationStore:
        """A store of simulations that were made elsewhere.

        Arguments:
            theta: Parameters, `(n, D)`.
            x: Summaries, `(n, S)`; NaN where a simulation failed. In single precision, unless that would lose something.
            names: Names of theta's columns; theta_1, theta_2, ... by default.
            summary_names: Names of x's columns; x_1, x_2, ... by default.
            status: A `Status` per row; by default `FAILED` where x is not finite, else `OK`.
            path: Folder of the store; None for a temporary one that lives as long as the returned object.
            shard_size: Rows of a shard.

        Raises:
            ValueError: If shapes or names do not fit, theta is not finite, or the folder holds other simulations.
        """
        theta, x, status, columns = checked_arrays(theta, x, names, summary_names, status)
        size = min(arguments.whole("shard_size", shard_size, 1), len(theta))
        arrays = [shards.checksum(v) for v in (theta, x, status)]
        config = {"simulator": {"arrays of": columns}, "proposal": arrays, "shard_size": size, "keep_trials": False}
        folder = temporary_folder() if path is None else Path(path)
        store = cls.create(
            folder,
            config,
            0,
            names=columns["names"],
            summary_names=columns["summary_names"],
            layout=Layout().config(),
            rows=len(theta),
        )
        rows = torch.arange(-(-len(theta) // size) * size).clamp(max=len(theta) - 1)  # filled up to whole shards
        for k, mine in enumerate(torch.split(rows, size)):
            if not store.has(k) or store.damaged([k]):
                fields = {"theta": theta[mine], "x": x[mine], "status": status[mine]}
                store.write(k, shards.encode(fields, store.owner(k)))
        return store if path is not None else removed_with(cls(folder))

    @property
    def simulator_hash(self) -> str:
        """Tells stores of one simulator from others, whatever their rules, seeds and lengths."""
        return config_hash(self.manifest["config"]["simulator"])

    # Shards ---------------------------------------------------------------------------------------

    def shard_path(self, shard: int) -> Path:
        """File of a shard."""
        return self.path / f"shard-{shard:06d}.safetensors"

    @property
    def shard_size(self) -> int:
        """Rows of a shard."""
        return int(self.manifest["config"]["shard_size"])

    def has(self, shard: int) -> bool:
        """Whether a shard has been written."""
        return self.shard_path(shard).is_file()

    def owner(self, shard: int) -> str:
        """What a shard must say that it belongs to."""
        facts = self.manifest.get("facts") if self.manifest["schema"] == SCHEMA else None
        named = "" if facts is None else f" facts {facts[:16]}"  # stores of earlier versions do not name them
        return f"{self.manifest['hash']}{named} seed {self.manifest['seed']} shard {shard}"

    def write(self, shard: int, content: bytes) -> None:
        """Writes one shard, encoded for its `owner`: complete or not at all.

        Raises:
            ValueError: If version 0.1 of the package began the store: it can be read, not continued.
        """
        if self.manifest["schema"] == BEFORE:
            raise ValueError(
                f"{self.path} was begun by sbirules 0.1: its simulations can be used, but none can be added; simulate into "
                f"another folder, and pass both stores to fit."
            )
        write_bytes(self.shard_path(shard), content)

    def _read(self, shard: int, fields: Sequence[str] = ()) -> dict[str, Tensor]:
        """Fields of one shard as it lies on disk, held against what the manifest says."""
        path = self.shard_path(shard)
        tensors = shards.read(path, self.owner(shard), fields)
        widths = {"theta": (len(self.names),), "x": (len(self.summary_names),), "status": ()}
        for name, value in tensors.items():
            rows = (self.shard_size, *widths.get(name, value.shape[1:]))
            if tuple(value.shape) != rows:
                raise DamagedShard(
                    f"{name} in {path.name} has shape {tuple(value.shape)}, but by {NAME} it must be {rows}"
                )
        return tensors

    def damaged(self, wanted: Iterable[int]) -> dict[int, str]:
        """Which of these shards, where written, are not what was written, and why."""
        out = {}
        for shard in (arguments.whole("wanted", k, 0) for k in wanted):
            if self.has(shard):
                try:
                    self._read(shard)
                except DamagedShard as error:
                    out[shard] = str(error)
        return out

    def shard(self, shard: int, *fields: str) -> dict[str, Tensor]:
        """Fields of one shard that are shown; all without names.

        Raises:
            ValueError: If it is damaged, or does not keep a field.
        """
        rows = min(len(self) - shard * self.shard_size, self.shard_size)
        if shard < 0 or rows <= 0:
            raise ValueError(f"shard must lie in 0...{self.num_shards - 1} here, got {shard}.")
        try:
            tensors = self._read(shard, fields)
        except DamagedShard as error:
            raise DamagedShard(
                f"{self.path} is damaged: {error}. Call simulate (from_arrays, merge) again with the arguments "
                f"it was made with; what is damaged is then made anew."
            ) from error
        except KeyError as error:
            have = arguments.listed(tuple(sorted(self._read(shard))))
            raise ValueError(
                f"{self.path} does not keep {error.args[0]!r}, only {have}; fields of every trial come with "
                f"simulate(..., keep_trials=True)."
            ) from error
        return {name: value[:rows] for name, value in tensors.items()}

    @cached_property
    def num_shards(self) -> int:
        """Complete shards from the first one on that are shown."""
        limit = None if self._limit is None else -(-self._limit // self.shard_size)
        count = 0
        while self.has(count) and (limit is None or count < limit):
            count += 1
        return count

    def __len__(self) -> int:
        rows = self.num_shards * self.shard_size
        return rows if self._limit is None else min(rows, self._limit)

    def shards(self, *fields: str) -> Iterator[dict[str, Tensor]]:
        """Tensors of each shard in turn, without loading the others."""
        for k in range(self.num_shards):
            yield self.shard(k, *fields)

    def dataset(self, *fields: str, **options: Any) -> ShardDataset:
        """Batches of `fields` (theta and x) for training on more than fits in memory; see `ShardDataset`."""
        for name in options:
            arguments.known("option of dataset", name, ("batch_size", "shuffle", "seed", "buffer"))
        return ShardDataset(self, fields, **options)

    def read(self, field: str) -> Tensor:
        """One field of all rows."""
        parts = [part[field] for part in self.shards(field)]
        if not parts:
            raise ValueError(f"{self.path} has no complete shard yet; simulate first, or wait until one is there.")
        return torch.cat(parts)

    @cached_property
    def theta(self) -> Tensor:
        """Rules in natural units, `(n, D)`."""
        return self.read("theta")

    @cached_property
    def x(self) -> Tensor:
        """Named summaries, `(n, S)`; NaN for failed networks."""
        return self.read("x")

    @cached_property
    def status(self) -> Tensor:
        """A `Status` per network, `(n,)`."""
        return self.read("status")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return tuple(self.manifest["names"])

    @property
    def summary_names(self) -> tuple[str, ...]:
        """Names of the columns of x."""
        return tuple(self.manifest["summary_names"])

    @cached_property
    def layout(self) -> Layout:
        """What its runs consist of, as the simulator declared it."""
        kept = tuple(self.shard(0)) if self.num_shards else ()
        if self.manifest["schema"] == BEFORE:
            if "criterion" not in self.manifest:  # made from arrays
                return Layout()
            fields = task_fields(float(self.manifest["criterion"]))
            more = [Field(name.removeprefix(PREFIX), per="run") for name in kept if name.startswith(PREFIX)]
            return Layout((*fields, *more), tuple(self.manifest["type_names"]))
        layout = Layout.from_config(self.manifest["layout"])
        known = {"theta", "x", "status", "trial_types", *(f.name for f in layout.fields)}
        rows = {name: self.shard(0, name)[name] for name in kept if name not in known}
        more = [
            Field(name, per=("run", "trial", "unit")[value.ndim - 1], units=value.shape[2] if value.ndim == 3 else 0)
            for name, value in rows.items()
        ]
        return Layout((*layout.fields, *more), layout.type_names)

    @cached_property
    def trajectory(self) -> Trajectory:
        """All learning runs, for summaries that were not computed at the time."""
        layout, kept = self.layout, tuple(self.shard(0)) if self.num_shards else ()
        parts: dict[str, dict[str, Tensor]] = {"trial": {}, "run": {}, "unit": {}}
        for per, found in parts.items():
            for name in layout.named(per):
                stored = name if name in kept else PREFIX + name
                if not layout[name].follows and stored in kept:
                    found[name] = self.read(stored)
        trials = (*layout.named("trial"), *layout.named("unit"))
        if trials and not (parts["trial"] or parts["unit"]) and len(self):
            self.shard(0, trials[0])  # says that single trials were not kept
        types = (
            self.read("trial_types").long() if "trial_types" in kept else torch.zeros(len(self), 1, dtype=torch.long)
        )
        run = Trajectory(
            self.status, types, parts["trial"], parts["run"], per_unit=parts["unit"], type_names=layout.type_names
        )
        return run.completed(layout)

    def status_counts(self) -> dict[str, int]:
        """How many networks ended in which status; sums to the number of rows."""
        return {s.name: int((self.status == s).sum()) for s in Status}

    # Time -----------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Wall time spent simulating, over all resumptions and ranges of shards."""
        return progress.seconds(self.path)

    def add_seconds(self, seconds: float, part: str = "") -> None:
        """Adds to the wall time spent; jobs that run side by side name their `part`."""
        arguments.at_least("seconds", seconds, 0.0)
        arguments.path("part", self.path / f"progress{part}.json")
        progress.add_seconds(self.path, seconds, part)
