"""Figures of a search over structures: its tree, and complexity against score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbirules.figures.style import bare, palette, panel
from sbirules.support.arguments import ArrayLike
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["connections", "pareto_front", "search_tree"]

NAMED = 4  # structures of a front that are named: where the score rises most
LOWEST = 5.0  # scores that are drawn apart: so many times the distance of the median to the best


@typed
def search_tree(
    parents: Sequence[int], scores: Sequence[float], names: Sequence[str], *, ax: Axes | None = None
) -> Axes:
    """Nodes in the order in which they were found, by score, joined to what they were proposed from.

    Arguments:
        parents: Index of each node's parent, below its own; -1 of none.
        scores: Held-out, higher is better.
        names: Of the nodes; the best ones are written beside their points.
        ax: Axes.
    """
    if not len(parents) == len(scores) == len(names) or not len(scores):
        raise ValueError("parents, scores and names must be as many, and at least one.")
    p, ax = palette(), panel(ax, 6.4, 3.6)
    y = _shown(scores)
    best = int(np.argmax(np.nan_to_num(np.asarray(scores, dtype=float), nan=-math.inf)))
    line = set()
    at = best
    while at >= 0:
        line.add(at)
        at = parents[at]
    for k, parent in enumerate(parents):
        if parent >= 0:
            on = k in line
            colour, width = (p.posterior, 1.6) if on else (p.soft, 0.4)
            ax.plot(
                [parent, k], [y[parent], y[k]], color=colour, lw=width, alpha=1.0 if on else 0.5, zorder=2 if on else 1
            )
    ax.scatter(np.arange(len(y)), y, s=9, color=p.ink, alpha=0.6, lw=0, zorder=3)
    ax.plot(np.arange(len(y)), np.maximum.accumulate(y), color=p.posterior, lw=0.8, ls=":", label="best so far")
    ax.scatter([best], [y[best]], s=40, color=p.posterior, zorder=4)
    ax.annotate(
        names[best],
        (best, y[best]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center" if 0.25 < best / len(y) < 0.75 else ("left" if best / len(y) <= 0.25 else "right"),
        fontsize=9,
    )
    ax.set_xlabel("structure, in the order found")
    ax.set_ylabel("held-out score")
    low, high = float(np.min(y)), float(np.max(y))
    ax.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.15 * (high - low or 1.0))
    bare(ax)
    return ax


@typed
def pareto_front(
    complexity: Sequence[int],
    scores: Sequence[float],
    front: Sequence[int],
    names: Sequence[str],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Complexity of structures against their held-out score.

    Arguments:
        complexity: Of each structure.
        scores: Of each.
        front: Indices of those on the front, the simplest first.
        names: Of these.
        ax: Axes.
    """
    if len(complexity) != len(scores) or len(front) != len(names) or not len(scores):
        raise ValueError("complexity and scores must be as many, and front and names.")
    p, ax = palette(), panel(ax, 5.2, 3.6)
    y = _shown(scores)
    ax.scatter(complexity, y, s=10, color=p.soft, alpha=0.7, lw=0)
    ax.step([complexity[k] for k in front], [y[k] for k in front], where="post", color=p.posterior, lw=1.2)
    ax.scatter([complexity[k] for k in front], [y[k] for k in front], s=22, color=p.posterior, zorder=3)
    gains = [math.inf, *np.diff([y[k] for k in front])][: len(front)]
    telling = sorted(sorted(range(len(front)), key=lambda k: -gains[k])[:NAMED])
    for mark, k in zip("abcd", telling, strict=False):
        at = (complexity[front[k]], y[front[k]])
        ax.annotate(mark, at, xytext=(-6, 5), textcoords="offset points", fontsize=9, ha="center")
        ax.plot([], [], " ", label=f"{mark}  {names[k]}")
    ax.legend(loc="lower right", fontsize=8, frameon=True, handlelength=0, handletextpad=0)
    ax.set_xlabel("complexity")
    ax.set_ylabel("held-out score")
    bare(ax)
    return ax


@typed
def connections(values: ArrayLike, units: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Connections between units as a matrix, what receives down and what sends across.

    Arguments:
        values: `(post, pre)`, such as the probability that a connection excites less that it inhibits.
        units: Names.
        ax: Axes.
    """
    matrix = np.asarray(values, dtype=float)
    if matrix.shape != (len(units), len(units)) or not len(units):
        raise ValueError(f"values must have shape ({len(units)}, {len(units)}), as units say, got {matrix.shape}.")
    p, size = palette(), 0.17 * len(units)
    ax = panel(ax, size + 3.4, size + 2.2)
    largest = float(np.nanmax(np.abs(matrix))) if np.isfinite(matrix).any() else 1.0
    ax.set_facecolor(p.paper)
    image = ax.imshow(matrix, cmap=p.diverging, vmin=-(largest or 1.0), vmax=largest or 1.0)
    ax.set_xticks(range(len(units)), list(units), rotation=90, fontsize=6.5)
    ax.set_yticks(range(len(units)), list(units), fontsize=6.5)
    ax.tick_params(length=0)
    ax.set_xlabel("sends")
    ax.set_ylabel("receives")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6)
    bar.set_ticks([-largest, 0.0, largest], labels=["inhibits", "none", "excites"])
    return ax


def _shown(scores: Sequence[float]) -> np.ndarray:
    """Scores, those far below the others drawn at the lower edge."""
    y = np.asarray(scores, dtype=float)
    known = y[np.isfinite(y)]
    if not len(known):
        return np.zeros(len(y))
    floor = known.max() - LOWEST * max(float(known.max() - np.median(known)), 1e-9)
    out: np.ndarray = np.maximum(np.nan_to_num(y, nan=floor, neginf=floor), floor)
    return out
