"""A goal, what was wanted and what was found."""

from __future__ import annotations

from typing import Any

__all__ = ["Row", "row"]

Row = dict[str, Any]


def row(goal: str, wanted: str, found: str, met: bool | None) -> Row:
    return {"goal": goal, "wanted": wanted, "found": found, "met": met}
