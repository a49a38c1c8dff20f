"""What simulations need: bytes on disk for each network, bytes of memory for a shard that is being made."""

from __future__ import annotations

from pathlib import Path

from sbirules.model.simulator import Simulator
from sbirules.support.room import free_disk, free_memory, refuse_beyond

__all__ = ["refuse_too_large", "row_bytes"]

HEADER = 4096  # bytes of a shard beside its rows
COPIES = 4  # of a shard's rows in memory: fields, those encoded, those on the way to the caller
WIDTHS = {"float64": 8}


def row_bytes(simulator: Simulator, num_trials: int, keep_trials: bool = True) -> int:
    """Bytes that a store keeps of one network, but for fields that its simulator does not declare."""
    layout = simulator.layout
    width = {f.name: 0 if f.follows else WIDTHS.get(f.dtype, 4) for f in layout.fields}
    each = 4 * len(simulator.names) + 4 * len(simulator.summary_names) + 1 + sum(width[n] for n in layout.named("run"))
    of_units = sum(width[f.name] * f.units for f in layout.fields)
    return each + num_trials * (2 + sum(width[n] for n in layout.named("trial")) + of_units) * keep_trials


def refuse_too_large(
    argument: str, count: int, shard_size: int, row: int, folder: Path, wanted: range, workers: int
) -> None:
    """Raises ValueError if shards in the making do not fit into memory, or those that are lacking on the disk."""
    refuse_beyond(
        "shard_size",
        shard_size,
        lambda size: size * row * COPIES * workers,
        free_memory(),
        "memory",
        f"shards in {workers} worker(s)" if workers > 1 else "one shard",
    )
    there = sum(1 for _ in folder.glob("shard-*.safetensors")) if folder.is_dir() else 0
    share = len(wanted) / max(1, -(-count // shard_size))  # of all shards, for one of several jobs
    each = row + HEADER / shard_size
    room = free_disk(folder) + there * shard_size * each
    refuse_beyond(argument, count, lambda n: n * each * share, room, f"disk in {folder}")
