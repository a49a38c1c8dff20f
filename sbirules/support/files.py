"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

__all__ = ["Plain", "digest", "plain", "read_json", "write_atomically", "write_first", "write_json"]

Plain = Mapping[str, Any]  # what a file holds by name, of any type until it is looked at


@runtime_checkable
class _Listed(Protocol):
    """A tensor, an array or a number of numpy's."""

    def tolist(self) -> object: ...


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, then renames it into place."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # other jobs may write the same file
    try:
        write(temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        if os.name == "posix":  # the new name must survive a power cut as well
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def write_first(path: Path, value: object) -> bool:
    """Writes JSON unless the file is there, also where others try at the same moment; returns whether it did."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    write_json(temporary, value)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if path.exists():
            return False
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def plain(value: object) -> Any:
    """`value` in types that JSON knows: infinities and NaN as strings, tuples as lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, _Listed):
        return plain(value.tolist())
    return str(value)


def digest(value: object) -> str:
    """SHA-256 of a value's plain types."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """JSON, indented, keys in the given order."""
    text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); was it edited by hand?") from error
