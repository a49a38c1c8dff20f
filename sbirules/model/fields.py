"""What a simulator reports, declared: fields of every trial and of the whole run, with units and meanings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.typed import typed_class

__all__ = ["Field", "Layout", "task_fields"]

TAKEN = ("theta", "x", "status", "trial_types")  # names of a store's own fields
DTYPES = ("float32", "float64", "bool", "int32")
DERIVATIONS = ("minus", "below")


@typed_class
@dataclass(frozen=True)
class Field:
    """One thing that a simulator reports: of every trial, of the whole run, or of every recorded unit in every trial.

    Arguments:
        name: Its name, in runs, stores and tables of trials.
        meaning: What it is, in a few words.
        unit: Its unit.
        per: `"trial"`, `"run"` or `"unit"`.
        dtype: `"float32"`, `"float64"`, `"int32"`, or `"bool"` for 0 and 1. Missing values are NaN, so runs hold all as
            floating numbers.
        low: Smallest possible value.
        high: Largest possible value.
        better: On the measure of performance, if there is one: `"low"` or `"high"`.
        follows: How it follows from another field, which a store need not keep then: `("minus", "error")`, or
            `("below", "error", 0.5)` for 1 where the error is below 0.5 and else 0.
        units: Of each unit: how many are recorded.
    """

    name: str
    meaning: str = ""
    unit: str = ""
    per: str = "trial"
    dtype: str = "float32"
    low: float = -math.inf
    high: float = math.inf
    better: str = ""
    follows: tuple[Any, ...] = ()
    units: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or self.name in TAKEN:
            raise ValueError(
                f"a field's name must be a Python identifier other than {arguments.listed(TAKEN)}, got {self.name!r}."
            )
        arguments.known(f"per of field {self.name}", self.per, ("trial", "run", "unit"))
        if (self.units > 0) != (self.per == "unit"):
            raise ValueError(
                f"units of field {self.name} must be how many units are recorded where per is 'unit', and 0 elsewhere, got "
                f"{self.units} for per={self.per!r}."
            )
        arguments.known(f"dtype of field {self.name}", self.dtype, DTYPES)
        if self.better:
            arguments.known(f"better of field {self.name}", self.better, ("low", "high"))
        object.__setattr__(self, "follows", tuple(self.follows))
        if self.follows:
            object.__setattr__(self, "follows", _derivation(self.name, self.follows))

    def config(self) -> dict[str, object]:
        """Plain types for a manifest, without what is as by default."""
        default = Field("default")
        return {k: list(v) if k == "follows" else v for k, v in asdict(self).items() if v != getattr(default, k)}

    @classmethod
    def from_config(cls, config: Plain) -> Field:
        """The field that gave this `config()`."""
        with arguments.plain_form("a field"):
            ends = {k: float(config[k]) for k in ("low", "high") if k in config}
            return cls(**{**config, **ends})

    def derived(self, source: Tensor) -> Tensor:
        """Its values from those of the field that it follows from."""
        if not self.follows:
            raise ValueError(f"{self.name} follows from no other field.")
        source = arguments.floating(source)
        if self.follows[0] == "minus":
            return -source
        return torch.where(torch.isnan(source), torch.nan, (source < self.follows[2]).to(source.dtype))


def _derivation(name: str, follows: object) -> tuple[Any, ...]:
    """How a field follows from another, checked."""
    parts = tuple(follows) if isinstance(follows, (list, tuple)) else (follows,)
    arguments.known(f"follows of field {name}", parts[0], DERIVATIONS)
    if len(parts) != (2 if parts[0] == "minus" else 3) or not isinstance(parts[1], str):
        raise ValueError(
            f'follows of field {name} must be like ("minus", "error") or ("below", "error", 0.5), got {follows!r}.'
        )
    for bound in parts[2:]:
        arguments.finite(f"follows of field {name}: the bound", bound)
    return parts


def task_fields(criterion: float = 0.5) -> tuple[Field, ...]:
    """What a network reports of a trial in which its read-out has a target.

    Arguments:
        criterion: Error below which a trial is correct.
    """
    return (
        Field("error", "mean |read-out - target| over the response window", low=0.0, better="low"),
        Field("output", "mean read-out over the response window"),
        Field("reward", "minus the error", high=0.0, follows=("minus", "error")),
        Field(
            "correct", f"whether the error is below {criterion:g}", dtype="bool", follows=("below", "error", criterion)
        ),
    )


@typed_class
@dataclass(frozen=True)
class Layout:
    """What runs of a simulator consist of.

    Arguments:
        fields: What it declares.
        type_names: Names of its trial types.

    Raises:
        ValueError: If two fields have one name, or more than one is the measure of performance.
    """

    fields: tuple[Field, ...] = ()
    type_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) for name in self.type_names):
            raise ValueError(f"type_names must be names, got {self.type_names!r}.")
        names = [f.name for f in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"fields must have different names, got {arguments.listed(names)}.")
        if len([f for f in self.fields if f.better]) > 1:
            raise ValueError("only one field can be the measure of performance; leave better empty for the others.")

    def __getitem__(self, name: str) -> Field:
        arguments.known("field", name, tuple(f.name for f in self.fields))
        return next(f for f in self.fields if f.name == name)

    def named(self, per: str) -> tuple[str, ...]:
        """Names of the fields of every `"trial"`, of the whole `"run"`, or of each `"unit"` in every trial."""
        return tuple(f.name for f in self.fields if f.per == per)

    @property
    def performance(self) -> Field | None:
        """The measure of performance, if there is one."""
        return next((f for f in self.fields if f.better), None)

    def completed(self, values: Mapping[str, Tensor], per: str) -> dict[str, Tensor]:
        """Values by field, with those that follow from them, or that they follow from by a sign."""
        out = dict(values)
        wanted = [f for f in self.fields if f.per == per]
        for f in wanted:
            if f.name in out and f.follows[:1] == ("minus",) and f.follows[1] not in out:
                out[f.follows[1]] = -out[f.name]
        for f in wanted:
            if f.name not in out and f.follows and f.follows[1] in out:
                out[f.name] = f.derived(out[f.follows[1]])
        order = [f.name for f in wanted]
        return {name: out[name] for name in (*(n for n in order if n in out), *(n for n in out if n not in order))}

    def config(self) -> dict[str, object]:
        """Plain types for a manifest."""
        return {"fields": [f.config() for f in self.fields], "type_names": list(self.type_names)}

    @classmethod
    def from_config(cls, config: Plain) -> Layout:
        """The layout that gave this `config()`."""
        with arguments.plain_form("a layout"):
            return cls(tuple(Field.from_config(f) for f in config["fields"]), tuple(config["type_names"]))
