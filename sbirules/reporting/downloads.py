"""Figures to take away: as SVG, with text that stays text, and what is drawn in them as a table."""

from __future__ import annotations

import base64
import csv
import gzip
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["packed", "svg_of", "table_of"]

HEAD = ("panel", "kind", "label", "x", "y", "value")


def svg_of(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sbirules"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def table_of(figure: Figure) -> bytes:
    """What is drawn in a figure, as CSV: one row for each point, bar, or cell, by panel."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for k, ax in enumerate(figure.axes):
        name = ax.get_title() or ax.get_xlabel() or f"panel {k + 1}"
        for kind, label, x, y, value in _drawn(ax):
            writer.writerow([f"{k + 1}: {name}", kind, label, x, y, value])
    return text.getvalue().encode()


def packed(content: bytes) -> str:
    """Compressed, as text that a page can hold."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")


def _drawn(ax: Axes) -> Iterator[tuple[str, str, Any, Any, Any]]:
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
    from matplotlib.patches import Rectangle

    for line in ax.lines:
        for x, y in zip(np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata()), strict=False):
            yield "line", _label(line), _plain(x), _plain(y), ""
    for item in ax.collections:
        if isinstance(item, PathCollection):
            values = item.get_array()
            for k, (x, y) in enumerate(np.asarray(item.get_offsets())):
                yield "point", _label(item), _plain(x), _plain(y), "" if values is None else _plain(values[k])
        elif isinstance(item, QuadMesh):
            corners, values = np.asarray(item.get_coordinates()), np.ma.filled(np.ma.asarray(item.get_array()), np.nan)
            middle = (corners[:-1, :-1] + corners[1:, 1:]) / 2
            for place, value in zip(middle.reshape(-1, 2), values.ravel(), strict=True):
                yield "cell", _label(item), _plain(place[0]), _plain(place[1]), _plain(value)
        elif isinstance(item, (LineCollection, PolyCollection)):
            kind = "band" if isinstance(item, PolyCollection) else "line"
            for path in item.get_paths():
                for x, y in np.asarray(path.vertices):
                    yield kind, _label(item), _plain(x), _plain(y), ""
    for image in ax.images:
        for (row, column), value in np.ndenumerate(np.ma.filled(np.ma.asarray(image.get_array()), np.nan)):
            yield "cell", _label(image), column, row, _plain(value)
    for patch in ax.patches:
        if isinstance(patch, Rectangle):
            x, y = patch.get_x() + patch.get_width() / 2, patch.get_y()
            yield "bar", _label(patch), _plain(x), _plain(y), _plain(patch.get_height())


def _label(item: Any) -> str:
    label = str(item.get_label())
    return "" if label.startswith("_") else label


def _plain(value: Any) -> Any:
    """A number to six digits; a category as it is."""
    try:
        return float(f"{float(value):.6g}")
    except (TypeError, ValueError):
        return str(value)
