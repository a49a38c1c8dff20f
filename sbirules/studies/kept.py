"""Answers of stages that a results folder keeps, so that a report written anew asks nothing again."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from sbirules.importance.effects import Directions, Effects
from sbirules.importance.overview import Sensitivity
from sbirules.importance.variance import Sobol
from sbirules.inference.choice_families import ChoiceComparison
from sbirules.support.files import digest, make_folder, read_json, reading, write_json

__all__ = ["remembered"]

KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in (ChoiceComparison, Directions, Effects, Sensitivity, Sobol)}
KIND = "kind"

Found = TypeVar("Found")


def remembered(path: Path, asked: Any, make: Callable[[], Found]) -> Found:
    """What a file holds, if it answers what is asked; else it is made, and kept there."""
    key = digest(asked)
    if path.is_file():
        try:
            with reading(path):
                content = read_json(path)
                if content["key"] == key:
                    kept: Found = _made(content["found"])
                    return kept
        except ValueError as error:
            warnings.warn(f"{error} It is made anew.")
    found = make()
    make_folder(path.parent)
    write_json(path, {"key": key, "found": _plain(found)})
    return found


def _plain(value: Any) -> Any:
    """Names, numbers and lists of what is one of `KINDS`, and all that is in it."""
    import pandas as pd

    if is_dataclass(value):
        return {KIND: type(value).__name__, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, torch.Tensor):
        return {KIND: "tensor", "dtype": str(value.dtype).removeprefix("torch."), "values": value.tolist()}
    if isinstance(value, pd.DataFrame):
        return {KIND: "table", "content": value.to_json(orient="table", double_precision=15)}
    if isinstance(value, float):
        return {KIND: "number", "value": value}  # JSON has NaN and infinities as text
    return value


def _made(value: Any) -> Any:
    """What was made plain."""
    import pandas as pd

    if isinstance(value, list):
        return tuple(_made(v) for v in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind is None:
        return {name: _made(v) for name, v in value.items()}
    if kind == "number":
        return float(value["value"])
    if kind == "tensor":
        return torch.tensor(_numbers(value["values"]), dtype=getattr(torch, value["dtype"]))
    if kind == "table":
        return pd.read_json(io.StringIO(value["content"]), orient="table", precise_float=True)
    return KINDS[kind](**{name: _made(v) for name, v in value.items() if name != KIND})


def _numbers(value: Any) -> Any:
    return (
        [_numbers(v) for v in value] if isinstance(value, list) else (float(value) if isinstance(value, str) else value)
    )
