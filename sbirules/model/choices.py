"""What the fields of a table of choices stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.typed import typed_class

__all__ = ["BETTER", "ROLES", "ChoiceColumns"]

ROLES = ("choice", "reward", "session", "trial")  # fields that every table of choices has
BETTER = "better"  # a field that a table may have: code of the option that pays best in the trial


@typed_class
@dataclass(frozen=True)
class ChoiceColumns:
    """What the fields of a table of choices stand for.

    Arguments:
        options: Names of the answers, by code.
        stimuli: Names of the fields that are stimuli.
        labels: Of stimuli that hold labels: names of their codes.
        accept: Whether one option is accepted (1) or rejected (0).

    Raises:
        ValueError: If there are fewer than two answers, a stimulus has the name of another field, or labels belong to none.
    """

    options: tuple[str, ...]
    stimuli: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accept: bool = False

    def __post_init__(self) -> None:
        for name in ("options", "stimuli"):
            object.__setattr__(self, name, arguments.strings(name, getattr(self, name)))
        if len(self.options) < 2 or len(set(self.options)) != len(self.options):
            raise ValueError(f"options must be at least two different answers, got {arguments.listed(self.options)}.")
        taken = [name for name in self.stimuli if name in (*ROLES, BETTER)]
        if taken:
            raise ValueError(f"a stimulus cannot be called {taken[0]!r}: the table has that name for something else.")
        unknown = [name for name in self.labels if name not in self.stimuli]
        if unknown:
            raise ValueError(f"labels belong to stimuli ({arguments.listed(self.stimuli)}), got {unknown[0]!r}.")
        object.__setattr__(self, "labels", {name: tuple(names) for name, names in self.labels.items()})

    def config(self) -> dict[str, object]:
        """Plain types for files."""
        labels = {name: list(names) for name, names in self.labels.items()}
        return {"options": list(self.options), "stimuli": list(self.stimuli), "labels": labels, "accept": self.accept}

    @classmethod
    def from_config(cls, config: Plain) -> ChoiceColumns:
        """The meaning that gave this `config()`."""
        with arguments.plain_form("the meaning of a table of choices"):
            labels = {str(name): tuple(names) for name, names in config["labels"].items()}
            return cls(tuple(config["options"]), tuple(config["stimuli"]), labels, bool(config["accept"]))

    def other_than(self, other: ChoiceColumns) -> str:
        """The first of its fields that is not as in another; empty where all are."""
        return next((f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)), "")
