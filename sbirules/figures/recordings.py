"""Figures of recordings: responses over learning, and the controls beside a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules.figures.style import bare, palette, panel, panels
from sbirules.model.recording_means import cells_of
from sbirules.model.recordings import Recordings
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike

__all__ = ["controls", "recorded", "responses"]

IN_A_ROW = 4


@typed
def responses(
    types: Sequence[str],
    trial: Sequence[float],
    observed: Tensor,
    error: Tensor,
    *,
    predicted: Tensor | None = None,
    quantity: str = "mean response",
    axes: GridLike | None = None,
) -> Grid:
    """Mean responses over the session, a panel for each trial type, and what rules predict.

    Arguments:
        types: Trial type of each mean, M of them.
        trial: Where in the session its trials are.
        observed: The means, `(M,)`.
        error: Their standard errors, `(M,)`.
        predicted: The same under rules, `(rules, M)`: shown by median, 50 and 95 %.
        quantity: What is shown.
        axes: One for each type.
    """
    p = palette()
    kinds = list(dict.fromkeys(types))
    across = min(len(kinds), IN_A_ROW)
    down = -(-len(kinds) // across)
    axes = panels(axes, down, across, 3.4 * across + 0.4, 2.9 * down, sharex=True, sharey=True)
    flat = list(np.asarray(axes).flatten())
    for k, kind in enumerate(kinds):
        ax, at = flat[k], [i for i, t in enumerate(types) if t == kind]
        x = np.asarray([trial[i] + 1 for i in at])
        if predicted is not None:
            low, quarter, middle, three, high = (
                torch.quantile(predicted[:, at].double(), q, dim=0).numpy() for q in (0.025, 0.25, 0.5, 0.75, 0.975)
            )
            ax.fill_between(x, low, high, color=p.posterior, alpha=0.18, lw=0, label="rules, 95 %")
            ax.fill_between(x, quarter, three, color=p.posterior, alpha=0.3, lw=0, label="50 %")
            ax.plot(x, middle, color=p.posterior, lw=1.6, label="median")
        ax.errorbar(
            x,
            observed[at],
            error[at],
            fmt="o",
            color=p.ink,
            ms=4.5,
            lw=1,
            capsize=2,
            label="recorded, mean over animals",
        )
        ax.set_title(kind if len(kinds) > 1 else "", fontsize=10)
        bare(ax)
    for ax in flat[len(kinds) :]:
        ax.set_visible(False)
    for ax in flat[max(0, len(kinds) - across) : len(kinds)]:
        ax.set_xlabel("trial")
    for row in np.asarray(axes):
        row[0].set_ylabel(quantity)
    handles, names = flat[0].get_legend_handles_labels()
    flat[0].figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return axes


@typed
def recorded(recordings: Recordings, *, axes: GridLike | None = None) -> Grid:
    """What was recorded: mean over animals and channels by trial type over the session, with its standard error over animals.

    Arguments:
        recordings: With or without bins of time.
        axes: One for each trial type.
    """
    means = recordings.means()
    cells = cells_of(means)
    by_animal = cells.by_animal(means.values)
    mean = by_animal.nanmean(dim=0)
    count = torch.isfinite(by_animal).sum(dim=0)
    error = ((by_animal - mean).square().nanmean(dim=0) / (count - 1).clamp(min=1)).sqrt()
    unit = f" ({recordings.unit})" if recordings.unit else ""
    return responses(cells.types, cells.trial, mean, error, quantity=f"mean response{unit}", axes=axes)


@typed
def controls(gains: Mapping[str, tuple[float, float]], ax: Axes | None = None) -> Axes:
    """Log-evidence of a rule above no plasticity, by what it is asked of, with standard errors.

    Arguments:
        gains: Nats and their standard error, by name.
        ax: Where to draw.
    """
    p = palette()
    ax = panel(ax, 4.6, 0.6 + 0.55 * len(gains))
    for k, (value, se) in enumerate(gains.values()):
        ax.barh(k, value, xerr=se, color=p.posterior if k == 0 else p.prior, ecolor=p.ink, capsize=3, height=0.6)
    ax.axvline(0.0, color=p.ink, lw=0.8)
    ax.set_yticks(range(len(gains)), list(gains))
    ax.invert_yaxis()
    ax.set_xlabel("log-evidence above no plasticity (nats)")
    bare(ax)
    return ax
