"""Single cells of tables: what each may be read as."""

from __future__ import annotations

import math
import re

import numpy as np

__all__ = ["WITH_PANDAS", "empty", "flag", "hint", "label", "natural", "not_finite", "number", "same"]

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
YES_NO = {"true": 1.0, "false": 0.0}
WITH_PANDAS = 'read the file with pandas.read_csv(path, sep=";", decimal=",") and pass the DataFrame'


def empty(cell: object) -> bool:
    """Whether there is nothing in it."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def number(cell: object) -> float | None:
    """A finite number, or None. Flags are no numbers."""
    if isinstance(cell, str):
        cell = cell.strip()
        value = float(cell) if NUMBER.fullmatch(cell) else math.nan
    elif isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, np.integer, np.floating)):
        return None
    else:
        try:
            value = float(cell)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def flag(cell: object) -> float | None:
    """0 or 1, or None."""
    text = str(cell).strip().lower()
    value = YES_NO[text] if text in YES_NO else number(cell)
    return value if value in (0.0, 1.0) else None


def not_finite(cell: object) -> bool:
    """Whether a cell is a number that is infinite, or none."""
    if isinstance(cell, str):
        return cell.strip().lower().lstrip("+-") in ("inf", "infinity", "nan")
    return isinstance(cell, (float, np.floating)) and not math.isfinite(cell)


def same(cell: object, value: object) -> bool:
    """Whether a cell is this value, as text or as a number."""
    if label(cell) == label(value):
        return True
    pair = [number(one) if flag(one) is None else flag(one) for one in (cell, value)]
    return pair[0] is not None and pair[0] == pair[1]


def label(cell: object) -> str:
    """A name as text; whole numbers that a DataFrame holds as floats are still whole."""
    if cell is None:
        return ""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def hint(cell: object) -> str:
    """What may have been meant by a cell that is no number."""
    if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell.strip()):
        return f"numbers need a decimal point; {WITH_PANDAS}"
    return ""


def natural(text: str) -> tuple[int, float, str]:
    """Sorts labels: numbers by value, then text."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
