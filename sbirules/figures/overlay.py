"""Several posteriors over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from sbirules.figures.style import axis_label, bare, beside, breadth, palette, panels
from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from sbirules.figures.style import Grid, GridLike

__all__ = ["overlay"]

LINES = ("-", "--", "-.", ":")  # beside the colour, for those who print in grey
POINTS = 256
FEW = 1e-9  # relative spread below which a coefficient does not vary


@typed
def overlay(
    draws: Mapping[str, Tensor], names: Sequence[str], axes: GridLike | None = None, *, prior: Tensor | None = None
) -> Grid:
    """Density of every coefficient under each of several posteriors, one panel a coefficient.

    Densities are Gaussian kernel estimates of the draws that are not exactly zero, as the share of these; where a term may be
    absent, its probability of being present stands in the legend's order in the panel's title.

    Arguments:
        draws: By name of the posterior, `(n, D)`.
        names: Of the coefficients, `D`.
        axes: One for each panel, in rows of up to four (two on narrow pages), the last row filled up.
        prior: Draws of the prior to show in grey, `(n, D)`.
    """
    from scipy.stats import gaussian_kde

    if not len(draws) or not len(names):
        raise ValueError("draws and names must hold at least one posterior and one coefficient.")
    draws = {name: arguments.theta_matrix(v, names, argument=f"draws[{name!r}]").double() for name, v in draws.items()}
    before = None if prior is None else arguments.theta_matrix(prior, names, argument="prior").double().numpy()
    p = palette()
    columns = beside(len(names), 4, 2)
    rows = math.ceil(len(names) / columns)
    lines = math.ceil(len(draws) / beside(len(draws), 3, 1))
    axes = panels(axes, rows, columns, breadth(1.9 * columns + 0.3), 1.5 * rows + 0.4 + 0.2 * lines)
    colours = [p.posterior, p.contrast, p.other, p.ink, p.soft]
    for k, ax in enumerate(axes.ravel()):
        if k >= len(names):
            ax.set_axis_off()
            continue
        every = {name: v[:, k].numpy() for name, v in draws.items()}
        if before is not None and varies(before[:, k]):
            ax.hist(before[:, k], 40, density=True, color=p.prior, alpha=0.35)
        x = np.linspace(min(v.min() for v in every.values()), max(v.max() for v in every.values()), POINTS)
        present = []
        for j, values in enumerate(every.values()):
            kept = values[values != 0]
            present.append(len(kept) / len(values))
            style = {"color": colours[j % len(colours)], "ls": LINES[j % len(LINES)], "lw": 1.4}
            if len(kept) > 1 and varies(kept):
                ax.plot(x, present[-1] * gaussian_kde(kept)(x), **style)
            else:
                ax.axvline(values.mean(), **style)
        ax.set_yticks([])
        bare(ax)
        ax.spines["left"].set_visible(False)
        shares = "" if min(present) == 1 else f"  {' / '.join(f'{v:.0%}' for v in present)}"
        ax.set_title(axis_label(names[k]) + shares, fontsize=9)
        ax.tick_params(labelsize=7)
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=colours[j % len(colours)], ls=LINES[j % len(LINES)], lw=1.6, label=name.replace("$", r"\$")
        )
        for j, name in enumerate(draws)
    ]
    figure = axes[0, 0].figure
    figure.legend(
        handles=handles, loc="outside upper left", ncols=beside(len(handles), 3, 1), frameon=False, fontsize=8
    )
    return axes


def varies(values: np.ndarray) -> bool:
    """Whether there is more than one value, beyond rounding."""
    return bool(np.ptp(values) > FEW * np.abs(values).max())
