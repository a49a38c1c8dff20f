"""One shard of a store as bytes: tensors with checksums, and what they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from sbirules.support import tensors
from sbirules.support.tensors import DamagedFile as DamagedShard
from sbirules.support.tensors import checksum

__all__ = ["DamagedShard", "checksum", "encode", "read"]


def encode(fields: Mapping[str, Tensor], owner: str) -> bytes:
    """A shard as the bytes of a safetensors file, the same for the same tensors.

    Arguments:
        fields: Its tensors.
        owner: What it belongs to: configuration, seed and place. A shard of another owner counts as damaged.
    """
    return tensors.encode(fields, {"owner": owner})


def read(path: Path, owner: str, fields: Sequence[str] = ()) -> dict[str, Tensor]:
    """Fields of a shard, each held against its checksum.

    Arguments:
        path: The file.
        owner: As given to `encode`.
        fields: Names; none for all.

    Raises:
        DamagedShard: If the file is truncated, changed or not a shard of this store.
        KeyError: If the shard has no such field.
    """
    facts, found = tensors.read(path, fields)
    if facts.get("owner") != owner:
        raise DamagedShard(f"{path.name} belongs to other simulations or another place")
    missing = [name for name in fields if name not in found]
    if missing:
        raise KeyError(missing[0])
    return found
