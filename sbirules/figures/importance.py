"""Figures of what matters: sensitivity bars, directions, knock-outs, and lazy or rich learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbirules.figures.drawable import CoefficientEffects, RuleDirections, RuleRegimes
from sbirules.figures.style import axis_label, bare, labels, palette, panel, panels
from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike


__all__ = ["directions", "effects", "regime_correlations", "regime_scatter", "regimes"]

SHORT = {
    "kernel_change": "kernel change",
    "weight_change": "weight change / initial weights",
    "effective_rank": "effective rank of the change",
    "participation_before": "participation ratio before",
    "participation_after": "participation ratio after",
    "readout_share": "share of the change at the read-out unit",
    "readout_alone": "error fall by the read-out's synapses alone",
    "recurrent_alone": "error fall by all others alone",
    "error_before": "error before",
    "error_after": "error after",
}


@typed
def effects(found: CoefficientEffects | Sequence[CoefficientEffects], ax: Axes | None = None) -> Axes:
    """One number per coefficient as bars with their standard errors; several kinds beside each other."""
    p = palette()
    kinds = list(found) if isinstance(found, Sequence) else [found]
    if not kinds:
        raise ValueError("found must hold at least one kind of effect.")
    names = kinds[0].names
    shown = labels(names)
    # mathematics is short; words would run into each other
    upright = len(names) > 9 or any(len(text) > 6 and "$" not in text for text in shown)
    ax = panel(ax, 2.0 + 0.4 * len(names), 3.9 if upright else 3.1)
    width = 0.8 / len(kinds)
    place = np.arange(len(names))
    for k, (kind, colour) in enumerate(zip(kinds, (p.posterior, p.contrast, p.other, p.prior), strict=False)):
        ax.bar(
            place + (k - (len(kinds) - 1) / 2) * width,
            kind.value.numpy(),
            width,
            yerr=kind.se.numpy(),
            color=colour,
            ecolor=p.ink,
            error_kw={"lw": 0.9},
            label=kind.label,
        )
    ax.axhline(0, color=p.ink, lw=0.7)
    ax.set_xticks(place, shown, rotation=90 if upright else 0)
    ax.set_ylabel(kinds[0].quantity)
    if len(kinds) > 1:
        ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return ax


@typed
def directions(found: RuleDirections, count: int = 4, axes: GridLike | None = None) -> Grid:
    """Left: how much each direction is constrained or matters. Right: the coefficients of the strongest ones."""
    p = palette()
    count = min(count, len(found.value))
    axes = panels(axes, 1, 2, 3.2 + 2.4 + 0.32 * len(found.names), 3.2, width_ratios=[1, 0.9 + 0.11 * len(found.names)])
    left, right = axes[0]
    order = np.arange(1, len(found.value) + 1)
    left.errorbar(order, found.value, found.se, fmt="o", color=p.posterior, ecolor=p.ink, elinewidth=0.9, ms=5)
    left.set_xlabel("direction")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylabel(found.quantity)
    left.axhline(0, color=p.prior, lw=0.7)
    image = right.imshow(found.vectors[:, :count].T.numpy(), cmap=p.diverging, vmin=-1, vmax=1, aspect="auto")
    right.set_xticks(range(len(found.names)), labels(found.names), rotation=90)
    right.set_yticks(range(count), [f"direction {k + 1}" for k in range(count)])
    right.tick_params(length=0)
    right.figure.colorbar(image, ax=right, label="weight (prior s.d.)")
    bare(left)
    return axes


@typed
def regime_scatter(
    found: RuleRegimes, coefficient: str, x: str = "weight_change", y: str = "kernel_change", ax: Axes | None = None
) -> Axes:
    """Rules between lazy and rich: two measures, coloured by a coefficient."""
    table = found.table()
    for argument, name in (("coefficient", coefficient), ("x", x), ("y", y)):
        arguments.known(argument, name, list(table.columns))
    ax = panel(ax, 4.6, 3.4)
    largest = float(table[coefficient].abs().max())
    dots = ax.scatter(
        table[x],
        table[y],
        c=table[coefficient],
        cmap=palette().diverging,
        vmin=-largest,
        vmax=largest,
        s=22,
        edgecolors=palette().soft,
        linewidths=0.4,
    )
    ax.set_xlabel(SHORT.get(x, x))
    ax.set_ylabel(SHORT.get(y, y))
    ax.figure.colorbar(dots, ax=ax, label=f"{axis_label(coefficient)} (natural units)")
    bare(ax)
    return ax


@typed
def regime_correlations(found: RuleRegimes, ax: Axes | None = None) -> Axes:
    """Spearman's correlation of each coefficient with each measure; numbers where it exceeds two standard errors."""
    table = found.correlations()
    rules = len(found.theta)
    ax = panel(ax, 2.8 + 0.34 * len(table), 1.4 + 0.3 * table.shape[1])
    values = table.T.to_numpy()
    image = ax.imshow(values, cmap=palette().diverging, vmin=-1, vmax=1, aspect="auto")
    for i, j in np.argwhere(np.abs(values) > 2 / np.sqrt(max(rules - 1, 1))):
        ink = "white" if abs(values[i, j]) > 0.6 else "black"
        text = f"{values[i, j]:.1f}".replace("0.", ".")
        ax.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
    ax.set_xticks(range(len(table)), labels(list(table.index)), rotation=90)
    ax.set_yticks(range(table.shape[1]), [SHORT.get(m, m) for m in table.columns])
    ax.tick_params(length=0, labelsize=8)
    ax.figure.colorbar(image, ax=ax, label="Spearman's correlation over rules")
    return ax


@typed
def regimes(found: RuleRegimes, axes: GridLike | None = None) -> Grid:
    """Which coefficients decide between lazy and rich, and the spread of rules by the one that decides most."""
    axes = panels(axes, 1, 2, 13.0, 4.4, width_ratios=[1, 1.5])
    column = found.correlations()["kernel_change"].abs()
    regime_scatter(found, str(column.idxmax()) if column.notna().any() else found.names[0], ax=axes[0, 0])
    regime_correlations(found, ax=axes[0, 1])
    return axes
