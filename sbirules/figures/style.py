"""What all figures share: colours that anyone can tell apart, panels, names of coefficients; light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sbirules.model.rules import TIME_CONSTANTS, own_unit
from sbirules.model.rules.taylor import product_tex
from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.patches import Patch

    Grid = np.ndarray[tuple[int, int], np.dtype[np.object_]]  # axes in rows and columns
    GridLike = Axes | np.ndarray | Sequence[Axes] | Sequence[Sequence[Axes]]

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "Palette",
    "axis_label",
    "bands",
    "bare",
    "beside",
    "breadth",
    "fade",
    "palette",
    "panel",
    "panels",
    "patch",
    "theme",
]

# Okabe and Ito's colours, told apart with any colour vision
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


class Palette(NamedTuple):
    """Colours by what they stand for."""

    posterior: str
    prior: str
    contrast: str  # the zero rule, an optimised rule, whatever stands against the posterior
    other: str
    ink: str
    soft: str  # secondary text and guides
    paper: str
    diverging: str  # name of a matplotlib colour map


NARROW = 3.8  # inches: 364 pixels of a page
LIGHT = Palette(BLUE, GREY, ORANGE, GREEN, "#1b1f24", "#59636e", "#ffffff", "RdBu_r")
DARK = Palette("#56B4E9", "#9aa4ae", "#F0A050", "#2fc29b", "#e6edf3", "#9aa4ae", "#161b22", "RdBu_r")
_current: ContextVar[Palette] = ContextVar("palette", default=LIGHT)
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)
_paper: ContextVar[int] = ContextVar("paper", default=0)
COLUMNS = (math.inf, 3.35, 6.9)  # inches: no limit, one column of a journal (85 mm), two (175 mm)
PRINT: dict[Any, Any] = {
    "pdf.fonttype": 42,  # text stays text, in fonts that editors can open
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "savefig.dpi": 600,
}


@typed
def palette() -> Palette:
    """The colours in force."""
    return _current.get()


@typed
@contextmanager
def theme(dark: bool = False, narrow: bool = False, paper: int = 0) -> Iterator[None]:
    """Figures made inside are for dark or light pages, for narrow ones (panels below each other), or for a journal.

    Arguments:
        dark: Whether the page is dark.
        narrow: Whether it is as narrow as a telephone.
        paper: Columns of a journal that figures may be wide, 1 (85 mm) or 2 (175 mm), 0 for a screen. Text is then 7 to 8 points
            and stays text in PDF and SVG, if the figure is saved inside as well.

    Examples:
        >>> with sr.figures.theme(paper=1):
        ...     sr.figures.marginals(posterior)[0, 0].figure.savefig("marginals.pdf")
    """
    import matplotlib as mpl

    arguments.whole("paper", paper, 0, len(COLUMNS) - 1)
    if paper and dark:
        raise ValueError("dark=True is for screens; leave it out with paper=1 or 2.")
    p = DARK if dark else LIGHT
    ink = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor", "axes.titlecolor")
    lines = ("axes.edgecolor", "xtick.color", "ytick.color")
    colours: dict[Any, str] = dict.fromkeys(ink, p.ink) | dict.fromkeys(lines, p.soft)
    colours |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), p.paper)
    settings = colours | PRINT if paper else colours
    token, other, third = _current.set(p), _narrow.set(narrow or paper == 1), _paper.set(paper)
    try:
        with mpl.rc_context(settings):
            yield
    finally:
        _current.reset(token)
        _narrow.reset(other)
        _paper.reset(third)


def breadth(width: float) -> float:
    """A width in inches, or what of it a narrow page has room for."""
    limit = NARROW if _narrow.get() else math.inf
    return min(width, limit, COLUMNS[_paper.get()])


def beside(count: int, wide: int, narrow: int) -> int:
    """How many of so many panels stand beside each other, on wide pages and on narrow ones."""
    return min(count, narrow if _narrow.get() else wide)


def _size(width: float, height: float) -> tuple[float, float]:
    """Of a new figure: a journal's columns are never exceeded."""
    return min(width, COLUMNS[_paper.get()]), height


def panel(ax: Axes | None, width: float, height: float) -> Axes:
    """The given axes, or those of a new figure of that size in inches."""
    if ax is not None:
        _check_axes("ax", [ax])
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=_size(width, height), layout="constrained", dpi=130).subplots()


def panels(axes: GridLike | None, rows: int, columns: int, width: float, height: float, **options: Any) -> Grid:
    """The given axes as an array of rows x columns, or those of a new figure.

    Raises:
        ValueError: If another number of axes was given.
    """
    if axes is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=_size(width, height), layout="constrained", dpi=130)
        made: Grid = figure.subplots(rows, columns, squeeze=False, **options)
        return made
    flat = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if len(flat) != rows * columns:
        raise ValueError(f"axes must be {rows * columns} ({rows} x {columns}) for this figure, got {len(flat)}.")
    _check_axes("axes", flat)
    return flat.reshape(rows, columns)


def _check_axes(argument: str, given: Iterable[object]) -> None:
    """Raises ValueError unless all are axes."""
    from matplotlib.axes import Axes

    for ax in given:
        arguments.instance(argument, ax, Axes)


def bands(
    ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, *, mean: bool = False, label: str | None = None
) -> None:
    """The middle of rules `(rules, K)` along x `(K,)`, median or mean, with 50 and 95 % bands."""
    for share, alpha in ((0.95, 0.16), (0.5, 0.3)):
        low, high = (np.nanquantile(values, q, axis=0) for q in (0.5 - share / 2, 0.5 + share / 2))
        ax.fill_between(x, low, high, color=colour, alpha=alpha, lw=0)
    ax.plot(x, (np.nanmean if mean else np.nanmedian)(values, axis=0), color=colour, lw=1.5, label=label)


def bare(*axes: Axes) -> None:
    """No frame at the top and on the right."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def fade(colour: str) -> Colormap:
    """A colour map from the page to a colour."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("fade", [palette().paper, colour])


def patch(color: str, label: str, alpha: float | None = None) -> Patch:
    """An entry of a legend."""
    from matplotlib.patches import Patch

    return Patch(color=color, label=label, alpha=alpha)


@typed
def axis_label(name: str) -> str:
    """Name and unit for an axis, e.g. theta_11 as mathematics, c_rd as the product that it multiplies."""
    if name in TIME_CONSTANTS:
        return rf"$\tau_{name[-1]}$ ({TIME_CONSTANTS[name].unit})"
    stem, _, weight = name.removeprefix("theta_").partition("_")
    if name.startswith("theta_") and stem.isdigit() and (not weight or weight.isdigit()):
        return rf"$\theta_{{{stem}{',' + weight if weight else ''}}}$"
    product = product_tex(name)
    if product:
        return f"${product}$"
    unit = own_unit(name)
    return name.replace("_", " ") + (f" ({unit})" if unit else "")


def labels(names: Sequence[str]) -> list[str]:
    """Axis labels of several coefficients."""
    return [axis_label(name) for name in names]
