"""One shard of a store as bytes: tensors with checksums, so that damage is seen and never trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

__all__ = ["DamagedShard", "checksum", "encode", "read"]


class DamagedShard(ValueError):
    """A shard whose content is not what was written."""


def encode(tensors: Mapping[str, Tensor], owner: str) -> bytes:
    """A shard as the bytes of a safetensors file, the same for the same tensors.

    Arguments:
        tensors: Its fields.
        owner: What it belongs to: configuration, seed and place. A shard of another owner counts as damaged.
    """
    # copies, because two fields of a simulator of one's own may share memory, which safetensors refuses
    tensors = {n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in tensors.items()}
    sums = {name: checksum(value) for name, value in sorted(tensors.items())}
    # one entry, because the order of several is not defined
    return safetensors.torch.save(tensors, {"sbirules": json.dumps({"owner": owner, "sha256": sums})})


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
    try:
        with safetensors.safe_open(str(path), framework="pt") as handle:
            facts = json.loads((handle.metadata() or {}).get("sbirules", "{}"))
            have = set(handle.keys())
            tensors = {name: handle.get_tensor(name) for name in fields or sorted(have) if name in have}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise DamagedShard(f"{path.name} cannot be read ({error})") from error
    if facts.get("owner") != owner:
        raise DamagedShard(f"{path.name} belongs to other simulations or another place")
    for name, value in tensors.items():
        if checksum(value) != facts["sha256"].get(name):
            raise DamagedShard(f"the checksum of {name} in {path.name} is wrong")
    missing = [name for name in fields if name not in have]
    if missing:
        raise KeyError(missing[0])
    return tensors


def checksum(tensor: Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    return hashlib.sha256(tensor.contiguous().numpy()).hexdigest()
