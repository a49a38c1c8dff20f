"""Tensors as files: safetensors with a checksum of each, so that damage is seen and never computed with. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sbirules.support.files import Plain, write_bytes

__all__ = ["DamagedFile", "checksum", "encode", "read", "write"]

ENTRY = "sbirules"  # of the metadata; one entry, because the order of several is not defined


class DamagedFile(ValueError):
    """A file of tensors whose content is not what was written."""


def encode(tensors: Mapping[str, Tensor], facts: Plain) -> bytes:
    """Tensors as the bytes of a safetensors file, the same for the same tensors.

    Arguments:
        tensors: By name.
        facts: What else the file says of itself, in plain types.
    """
    # copies, because two tensors may share memory, which safetensors refuses
    tensors = {n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in tensors.items()}
    sums = {name: _fingerprint(value) for name, value in sorted(tensors.items())}
    return bytes(safetensors.torch.save(tensors, {ENTRY: json.dumps({**facts, "sums": sums})}))


def write(path: Path, tensors: Mapping[str, Tensor], **facts: object) -> None:
    """Writes tensors, and what the file is to say of itself: complete or not at all."""
    write_bytes(path, encode(tensors, facts))


def read(path: Path, fields: Sequence[str] = ()) -> tuple[Plain, dict[str, Tensor]]:
    """What a file says of itself, and its tensors, each held against its checksum.

    Arguments:
        path: The file.
        fields: Names; none for all. Those that the file does not have are left out.

    Raises:
        DamagedFile: If it is truncated, changed or not a file of this package.
    """
    try:
        with safetensors.safe_open(str(path), framework="pt") as handle:
            facts = json.loads((handle.metadata() or {}).get(ENTRY, "{}"))
            have = set(handle.keys())
            tensors = {name: handle.get_tensor(name) for name in fields or sorted(have) if name in have}
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, KeyError, RecursionError) as error:
        raise DamagedFile(f"{path.name} cannot be read ({' '.join(str(error).split())[:200]})") from error
    # sums of shards of earlier versions, of bytes alone, have another name
    kind = "sums" if isinstance(facts, dict) and "sums" in facts else "sha256"
    sums = facts.get(kind) if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or not isinstance(sums, dict):
        raise DamagedFile(f"{path.name} has no checksums")
    for name, value in tensors.items():
        if (_fingerprint(value) if kind == "sums" else checksum(value)) != sums.get(name):
            raise DamagedFile(f"the checksum of {name} in {path.name} is wrong")
    if set(sums) != have:
        raise DamagedFile(f"{path.name} does not hold what it names: {sorted(set(sums) ^ have)!r:.100}")
    return facts, tensors


def checksum(tensor: Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    return _sum(tensor, "")


def _fingerprint(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    return _sum(tensor, f"{tensor.dtype} {list(tensor.shape)} ")


def _sum(tensor: Tensor, head: str) -> str:
    found = hashlib.sha256(head.encode())
    found.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
