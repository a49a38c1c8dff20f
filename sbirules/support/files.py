"""Writing files so that a crash leaves the old one or the new one, never half of either; and reading them back."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

__all__ = [
    "Plain",
    "differences",
    "digest",
    "flat",
    "make_folder",
    "plain",
    "read_json",
    "reading",
    "remove_unfinished",
    "told_when_writing",
    "write_atomically",
    "write_bytes",
    "write_first",
    "write_json",
]

Plain = Mapping[str, Any]  # what a file holds by name, of any type until it is looked at

ABSENT = "nothing"  # in place of a value that is not there
FULL = "the disk is full; free some space, or choose a folder elsewhere"
REASONS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "the quota is used up; free some space, or choose a folder elsewhere",
    errno.EROFS: "it lies on a read-only file system; choose a folder that can be written",
    errno.EACCES: "writing there is not allowed; choose a folder that can be written",
    errno.EPERM: "writing there is not allowed; choose a folder that can be written",
    errno.ENOTDIR: "a file is in the way where a folder should be; choose another folder",
    errno.EEXIST: "a file is in the way where a folder should be; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@runtime_checkable
class _Listed(Protocol):
    """A tensor, an array or a number of numpy's."""

    def tolist(self) -> object: ...


@contextmanager
def told_when_writing(path: Path) -> Iterator[None]:
    """Says in one sentence why something cannot be written; still an OSError with its number."""
    try:
        yield
    except OSError as error:
        number = errno.ENOSPC if "No space left" in str(error) else error.errno  # HDF5's errors have no number
        reason = REASONS.get(number or 0) or error.strerror or str(error).partition("\n")[0]
        told = OSError(f"{path} cannot be written: {reason}. What was complete is kept.")
        told.errno = number
        raise told from error


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it is not there yet."""
    with told_when_writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, then renames it into place.

    Raises:
        OSError: If it cannot be written; says why, and leaves nothing behind.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # other jobs may write the same file
    try:
        with told_when_writing(path):
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
        _discard(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file: all of it or nothing."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_first(path: Path, value: object) -> bool:
    """Writes JSON unless the file is there, also where others try at the same moment; returns whether it did."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with told_when_writing(path):
            temporary.write_text(_text(value), encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            with told_when_writing(path):
                os.replace(temporary, path)
    finally:
        _discard(temporary)
    return True


def _discard(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # on a read-only file system there is nothing to remove
        return


def remove_unfinished(folder: Path, beside: Callable[[str], bool] = lambda name: True) -> None:
    """Removes what writers that were killed left half-written beside files of these names; nobody may be writing them."""
    for temporary in folder.glob(".*.tmp"):
        if beside(temporary.name.removeprefix(".").removesuffix(".tmp").rpartition(".")[0]):
            _discard(temporary)


def differences(then: object, now: object) -> list[tuple[str, object, object]]:
    """Where two nested mappings differ, numbers by more than rounding: the place, what was there and what is now."""
    was, given = flat(then), flat(now)
    pairs = [(key, was.get(key, ABSENT), given.get(key, ABSENT)) for key in {**was, **given}]
    return [pair for pair in pairs if not _alike(*pair[1:])]


def _alike(a: object, b: object) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=0.0)
    return a == b


def flat(content: object, stem: str = "") -> dict[str, object]:
    """Values of nested mappings by their place, such as task.delay."""
    if isinstance(content, Mapping):
        pairs = [(f"{stem}.{key}" if stem else str(key), inner) for key, inner in content.items()]
        return {k: v for place, inner in pairs for k, v in flat(inner, place).items()}
    return {stem: content}


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


def _text(value: object) -> str:
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """JSON, indented, keys in the given order."""
    write_bytes(path, _text(value).encode())


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no number of JSON")


def read_json(path: Path) -> Plain:
    """What a JSON file holds by name.

    Raises:
        ValueError: If it is not JSON, or not an object with names.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); was it cut short, or edited by hand?") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object with names, got a {type(content).__name__}.")
    return content


@contextmanager
def reading(path: Path, remedy: str = "") -> Iterator[None]:
    """Whatever goes wrong while the content of a file is taken apart becomes one sentence that names the file.

    Arguments:
        path: The file.
        remedy: What to do about it, a sentence.

    Raises:
        ValueError: If anything goes wrong.
    """
    try:
        yield
    except Exception as error:  # where a wrong content is noticed first depends on what is wrong
        why = f"{error.args[0]!r} is missing" if type(error) is KeyError and error.args else str(error)
        why = " ".join(why.split())[:300].rstrip(". ") or type(error).__name__
        raise ValueError(f"{path} is not as it was written: {why}. {remedy}".rstrip()) from error
