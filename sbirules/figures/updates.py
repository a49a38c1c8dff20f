"""A rule as a function: how a weight changes with what a synapse sees, with bands over rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from sbirules.figures.style import bands, bare, beside, palette, panels
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from sbirules.figures.style import Grid, GridLike

__all__ = ["updates"]


@typed
def updates(
    along: Mapping[str, Tensor], lines: Sequence[str], changes: Mapping[str, Tensor], *, axes: GridLike | None = None
) -> Grid:
    """Change of a weight against each variable, a panel each: mean over rules, 50 and 95 % bands.

    Arguments:
        along: By variable, the values along which it goes, `(K,)`.
        lines: What tells lines of a panel apart, L of them, such as `"w = -1"`.
        changes: By variable, dw in logit units, `(rules, L, K)`.
        axes: One for each variable.
    """
    for name, values in along.items():
        shape = tuple(changes[name].shape) if name in changes else ()
        if len(shape) != 3 or shape[1:] != (len(lines), len(values)) or not shape[0]:
            raise ValueError(f"changes[{name!r}] must be (rules, {len(lines)}, {len(values)}), got {shape}.")
    if not along:
        raise ValueError("along must hold at least one variable.")
    p = palette()
    colours = (p.prior, p.posterior, p.contrast, p.other)
    columns = beside(len(along), 3, 1)
    rows = -(-len(along) // columns)
    grid = panels(axes, rows, columns, 2.7 * columns + 0.6, 2.5 * rows + 0.5, sharey=True)
    cells = [ax for row in grid for ax in row]
    for ax in cells[len(along) :]:
        ax.set_visible(False)
    for ax, (name, values) in zip(cells, along.items(), strict=False):
        x = values.double().numpy()
        for k, line in enumerate(lines):
            drawn = changes[name][:, k].double().numpy()
            bands(ax, x, drawn, colours[k % len(colours)], mean=True, label=line)
        ax.axhline(0.0, color=p.soft, lw=0.8, ls=":")
        ax.set_xlabel(name)
        bare(ax)
    for row in grid:
        row[0].set_ylabel("change of weight (logit units)")
    cells[0].legend(frameon=False, fontsize=8)
    return grid
