"""What is wrong with a study file, collected, so that all of it is said at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sbirules.support import arguments

__all__ = ["Problems", "StudyError", "check_keys", "made_with"]

WRONG = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    RuntimeError,
)  # what makers raise, users' own included


class StudyError(ValueError):
    """All that is wrong with a study file.

    Arguments:
        problems: One sentence each.
        instead: What can be made without the settings that are wrong, to look at the others with; None for nothing.
    """

    def __init__(self, problems: list[str], instead: Any = None) -> None:
        self.problems, self.instead = tuple(problems), instead
        listed = "\n".join(f"  {k}. {text}" for k, text in enumerate(problems, start=1))
        super().__init__(problems[0] if len(problems) == 1 else f"the study has {len(problems)} problems:\n{listed}")


class Problems(list[str]):
    """Complaints so far; `attempt` goes on after one."""

    def attempt(self, make: Callable[[], Any], default: Any = None) -> Any:
        """What is made, or the default after a complaint."""
        try:
            return make()
        except ValueError as error:
            self.note(error)
            return default

    def or_instead(self, make: Callable[[], Any]) -> tuple[Any, bool]:
        """What is made, and whether it is sound: after a complaint it is what can be made without what is wrong, or None."""
        try:
            return make(), True
        except ValueError as error:
            self.note(error)
            return getattr(error, "instead", None), False

    def note(self, error: ValueError) -> None:
        """Adds what an error says."""
        self.extend(error.problems if isinstance(error, StudyError) else [str(error)])

    def refuse(self, instead: Any = None) -> None:
        """Raises StudyError if there are any."""
        if self:
            raise StudyError(list(self), instead)


def check_keys(what: str, names: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Raises StudyError for all names that are not allowed; suggests the nearest of each."""
    problems = Problems()
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            problems.append(f"unknown {what}: {name!r}{hint} Allowed: {arguments.listed(allowed)}.")
    problems.refuse()


def made_with(
    where: str,
    maker: Callable[..., Any],
    options: Mapping[str, Any],
    *args: Any,
    passed: Mapping[str, Any] | None = None,
    gone: Iterable[str] = (),
) -> Any:
    """Calls a maker; its complaints name the section.

    After a complaint the settings that it names are left out and the maker is called again, for what it says of the others.

    Arguments:
        where: The section.
        maker: A class or a function.
        options: What the file says, by name.
        args: Passed on before them.
        passed: Passed on by name, and never left out.
        gone: Settings that were wrong and left out before; complaints that name them are not noted.

    Raises:
        StudyError: If it complains.
    """
    problems, left, without = Problems(), dict(options), set(gone)
    made = None
    while made is None:
        try:
            made = maker(*args, **(passed or {}), **left)
        except WRONG as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            named = {name for name in (*left, *without) if re.search(rf"\b{re.escape(name)}\b", said)}
            if not named & without and not (problems and isinstance(error, TypeError)):
                # a complaint that names settings mostly gives their values; one that names none is about any of them
                shown = {name: left[name] for name in left if name in named or not named}
                listed = ", ".join(f"{name} = {value!r}" for name, value in shown.items())
                problems.append(f"{where}{' with ' if listed else ''}{listed}: {said}")
            if not named & set(left):
                break
            left = {name: value for name, value in left.items() if name not in named}
            without |= named
    problems.refuse(made)
    return made
