"""Recordings as one .npz file: arrays and text, no pickled objects."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sbirules.support.files import write_bytes

__all__ = ["holds_recordings", "read_npz", "write_npz"]

KIND = "sbirules recordings"
TENSORS = ("values", "trial_types", "sessions")
TOLD = ("learners", "channels", "type_names", "labels", "unit", "times")


def write_npz(path: Path, fields: Mapping[str, Any]) -> None:
    """Writes the fields of `Recordings`."""
    arrays = {name: fields[name].numpy() for name in TENSORS}
    arrays |= {f"event.{name}": value.numpy() for name, value in fields["events"].items()}
    told = {"kind": KIND, **{name: fields[name] for name in TOLD}}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, told=np.array(json.dumps(told)), **arrays)
    write_bytes(path, buffer.getvalue())


def holds_recordings(path: Path) -> bool:
    """Whether `write_npz` may have made a file; other archives hold columns of a table."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return "told.npy" in file.namelist()


def read_npz(path: Path) -> dict[str, Any]:
    """The fields of `Recordings` that `write_npz` wrote.

    Raises:
        ValueError: If there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise ValueError(f"source: there is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(str(arrays.pop("told")))
        if told.pop("kind") != KIND:
            raise KeyError("kind")
        out = {name: torch.from_numpy(arrays[name]) for name in TENSORS}
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"source: {path.name} is no file that Recordings.write wrote; arrays of your own go into Recordings.of(values, "
            f"...), a "
            f"table of columns into Recordings.read(..., columns=...)."
        ) from error
    events = {
        name.removeprefix("event."): torch.from_numpy(v) for name, v in arrays.items() if name.startswith("event.")
    }
    lists = {name: tuple(told[name]) for name in ("learners", "channels", "type_names", "times")}
    labels = {name: tuple(v) for name, v in told["labels"].items()}
    return {**out, "events": events, **lists, "labels": labels, "unit": told["unit"]}
