"""One line on an object: its class and the settings that are not the usual ones."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass

__all__ = ["arguments_of", "one_line", "settings_of"]

MOST = 7  # parts of a line
LONG = 48  # characters of a setting, beyond which only its length is told


def one_line(value: object, *parts: str) -> str:
    """Such as `PolynomialRule(degree=3, 16 coefficients)`; of very many parts only the first, and how many more there are."""
    there = [part for part in parts if part]
    more = [f"{len(there) - MOST} more settings"] if len(there) > MOST + 1 else []
    return f"{type(value).__name__}({', '.join([*there[: MOST if more else None], *more])})"


def arguments_of(value: object, without: Sequence[str] = ()) -> list[str]:
    """Arguments that an object was made with, as far as it has attributes of their names and they are not the defaults."""
    try:
        parameters = inspect.signature(type(value)).parameters
    except (TypeError, ValueError):  # a class whose maker cannot be looked at
        return []
    known = {name: p.default for name, p in parameters.items() if name not in without}
    return [text for name, default in known.items() if (text := _setting(value, name, default))]


def settings_of(value: object, always: Sequence[str] = ()) -> list[str]:
    """Fields of a dataclass that are not the defaults, and those that are always told."""
    if not is_dataclass(value):
        return []
    known = {f.name: MISSING if f.name in always else f.default for f in fields(value)}
    return [text for name, default in known.items() if (text := _setting(value, name, default))]


def _setting(owner: object, name: str, default: object) -> str:
    """Empty where it is the default, or nothing that reads well."""
    found = getattr(owner, name, None)
    if isinstance(found, (list, tuple)):
        same = isinstance(default, (list, tuple)) and list(found) == list(default)
        plain = all(isinstance(v, (str, int, float)) for v in found)
        shown = f"[{', '.join(map(str, found))}]" if plain else ""
        return "" if same or not shown else f"{name}={shown if len(shown) <= LONG else f'[{len(found)}]'}"
    if not isinstance(found, (str, bool, int, float)) or (type(default) is type(found) and found == default):
        return ""
    shown = f"{found:g}" if isinstance(found, float) else repr(found)
    return f"{name}={shown}" if len(shown) <= LONG else ""
