"""A folder of simulations, written shard by shard and read back as tensors.

    manifest.json              configuration, its hash, seed, versions
    shard-000000.safetensors   theta, x, status, activity and (unless told not to) every trial
    progress.json              seconds spent

Shard k depends on the configuration, the seed and k alone, so a run that was killed ends, once rerun, with
the same bytes as one that was not.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sbirules.files import digest, plain, read_json, write_atomically, write_json
from sbirules.trajectory import Status, Trajectory

__all__ = ["SimulationStore", "config_hash"]

SCHEMA = 1
UNHASHED = ("raw_per_unit",)  # measured from the rest of the configuration, to rounding


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration in plain types."""
    return digest(_hashed(config))


def _hashed(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, dict):
        return {k: _hashed(v) for k, v in value.items() if k not in UNHASHED}
    if isinstance(value, list):
        return [_hashed(v) for v in value]
    # 40 and 40.0 are the same setting
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _flat(value: Any, stem: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{stem}{key}.").items()}
    return {stem.removesuffix("."): value}


class SimulationStore:
    """Simulations on disk.

    Arguments:
        path: The folder.
        num_simulations: How many rows to show; None for all complete shards from the first on.
    """

    def __init__(self, path: str | Path, num_simulations: int | None = None) -> None:
        self.path = Path(path)
        if not (self.path / "manifest.json").is_file():
            raise ValueError(f"{self.path} is not a simulation store: it has no manifest.json.")
        self.manifest = read_json(self.path / "manifest.json")
        # a table of rules is filled up to whole shards; what was added is not shown
        self._limit = num_simulations if num_simulations is not None else self.manifest.get("rows")

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any], seed: int, **facts: Any) -> SimulationStore:
        """Opens the store of this configuration and seed, or starts one.

        Raises:
            ValueError: If the folder holds simulations of another configuration; names what differs.
        """
        path = Path(path)
        config = plain(dict(config))
        if (path / "manifest.json").is_file():
            store = cls(path)
            store._refuse_other(config, seed)
            return store
        if path.is_dir() and any(path.glob("shard-*")):
            raise ValueError(f"{path} holds shards but no manifest.json; choose an empty folder.")
        path.mkdir(parents=True, exist_ok=True)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        manifest = {
            "schema": SCHEMA,
            "hash": config_hash(config),
            "seed": seed,
            "versions": versions,
            "config": config,
            **facts,
        }
        write_json(path / "manifest.json", manifest)
        return cls(path)

    def _refuse_other(self, config: Mapping[str, Any], seed: int) -> None:
        if config_hash(config) == self.manifest["hash"] and seed == self.manifest["seed"]:
            return
        then = plain({**self.manifest["config"], "seed": self.manifest["seed"]})
        now = plain({**config, "seed": seed})
        mine, other = _flat(_hashed(then)), _flat(_hashed(now))
        key = next((k for k in (*mine, *other) if mine.get(k) != other.get(k)), "")
        was, given = _flat(then).get(key), _flat(now).get(key)
        raise ValueError(
            f"{self.path} holds simulations of another configuration: {key} was {was!r} and is now {given!r}; "
            f"use another folder, or set it back to go on."
        )

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
        """Whether a shard is complete."""
        return self.shard_path(shard).is_file()

    def write(self, shard: int, theta: Tensor, x: Tensor, trajectory: Trajectory) -> None:
        """Writes one shard: complete or not at all."""
        tensors = {"theta": theta, "x": x, "status": trajectory.status}
        tensors |= {f"activity.{name}": value for name, value in trajectory.activity.items()}
        if self.manifest["config"].get("keep_trials", True):
            tensors["trial_types"] = trajectory.trial_types.to(torch.int16)
            tensors["error"], tensors["output"] = trajectory.error, trajectory.output
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        write_atomically(self.shard_path(shard), lambda temporary: safetensors.torch.save_file(tensors, str(temporary)))

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
        left = len(self)
        for shard in range(self.num_shards):
            rows = min(left, self.shard_size)
            left -= rows
            with safetensors.safe_open(str(self.shard_path(shard)), framework="pt") as handle:
                names = fields or tuple(handle.keys())
                missing = [name for name in names if name not in handle.keys()]  # noqa: SIM118 - no container
                if missing:
                    raise ValueError(f"{self.path} does not keep {missing[0]!r}; simulate with keep_trials=True.")
                yield {name: handle.get_tensor(name)[:rows] for name in names}

    def read(self, field: str) -> Tensor:
        """One field of all rows."""
        parts = [part[field] for part in self.shards(field)]
        if not parts:
            raise ValueError(f"{self.path} has no complete shard yet.")
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
    def trajectory(self) -> Trajectory:
        """All learning runs, for summaries that were not computed at the time."""
        error, output = self.read("error"), self.read("output")
        correct = torch.where(torch.isnan(error), torch.nan, (error < self.manifest["criterion"]).to(error.dtype))
        first = next(self.shards())
        activity = {n.split(".", 1)[1]: self.read(n) for n in first if n.startswith("activity.")}
        return Trajectory(
            status=self.status, trial_types=self.read("trial_types").long(), error=error, output=output,
            reward=-error, correct=correct, activity=activity,
            num_types=len(self.manifest["type_names"]), type_names=tuple(self.manifest["type_names"]),
        )  # fmt: skip

    def status_counts(self) -> dict[str, int]:
        """How many networks ended in which status; sums to the number of rows."""
        return {s.name: int((self.status == s).sum()) for s in Status}

    # Time -----------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Wall time spent simulating, over all resumptions."""
        path = self.path / "progress.json"
        return float(read_json(path)["seconds"]) if path.is_file() else 0.0

    def add_seconds(self, seconds: float) -> None:
        """Adds to the wall time spent."""
        write_json(self.path / "progress.json", {"seconds": round(self.seconds + seconds, 3)})
