"""How objects look in a notebook: a few lines and a table, in the notebook's own colours, light or dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SIGNS", "Card", "Shown"]

ROWS = 24  # of a table that are shown
CELL = "padding:.15em .6em;vertical-align:top;border-bottom:1px solid color-mix(in srgb, currentColor 15%, transparent)"
SIGNS = {"pass": "✓ pass", "caution": "! caution", "fail": "✗ fail"}  # not by colour alone
WIDE = 40  # characters from which a cell is text, not a number or a name


@dataclass(frozen=True)
class Card:
    """What is shown of an object.

    Arguments:
        title: What it is.
        facts: Values by name.
        text: A sentence or two.
        table: Its table, or None.
        caption: What the table shows.
    """

    title: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    table: pd.DataFrame | None = None
    caption: str = ""

    def html(self) -> str:
        """The card as HTML without scripts, style sheets or anything from elsewhere."""
        out = ['<div style="max-width:70em;line-height:1.45">', f"<strong>{escape(self.title)}</strong>"]
        if self.text:
            out.append(f'<p style="margin:.3em 0">{escape(self.text)}</p>')
        if self.facts:
            pairs = (f"{escape(str(name))}: {escape(shown(value))}" for name, value in self.facts.items())
            out.append(f'<p style="margin:.3em 0">{" · ".join(pairs)}</p>')
        if self.table is not None and len(self.table):
            out += self._table(self.table)
        return "".join([*out, "</div>"])

    def _table(self, table: pd.DataFrame) -> list[str]:
        named = [] if list(table.index) == list(range(len(table))) else [str(table.index.name or "")]
        heads = "".join(
            f'<th scope="col" style="text-align:left;{CELL}">{escape(str(name).replace("_", " "))}</th>'
            for name in [*named, *table.columns]
        )
        out = ['<table style="border-collapse:collapse;margin:.3em 0">']
        if self.caption:
            out.append(f'<caption style="text-align:left;caption-side:top">{escape(self.caption)}</caption>')
        out.append(f"<thead><tr>{heads}</tr></thead><tbody>")
        for name, row in zip(table.index[:ROWS], table.itertuples(index=False), strict=False):
            first = (
                f'<th scope="row" style="text-align:left;font-weight:500;{CELL}">{escape(str(name))}</th>'
                if named
                else ""
            )
            out.append(f"<tr>{first}{''.join(_cell(value) for value in row)}</tr>")
        out.append("</tbody></table>")
        if len(table) > ROWS:
            out.append(f"<p>and {len(table) - ROWS} more rows</p>")
        return out


def _cell(value: Any) -> str:
    text = SIGNS.get(value, shown(value)) if isinstance(value, str) else shown(value)
    side = "left" if isinstance(value, str) else "right"
    width = "min-width:18em;white-space:normal;" if len(text) > WIDE else "white-space:nowrap;"
    return f'<td style="text-align:{side};{width}{CELL}">{escape(text)}</td>'


def shown(value: Any) -> str:
    """A value as text: numbers to four digits, lists without brackets."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of numpy or torch
        value = value.item()
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return str(value)


class Shown:
    """An object that notebooks show as a card."""

    def _card(self) -> Card:
        return Card(type(self).__name__, text=str(self))

    def _repr_html_(self) -> str:
        """What Jupyter and VS Code show; of what cannot be read, such as a damaged store, why."""
        try:
            return self._card().html()
        except (ValueError, OSError) as error:
            return Card(type(self).__name__, text=str(error)).html()
