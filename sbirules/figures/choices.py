"""Figures of choices: statistics beside predictions, learning curves by animal, forest plots, recovery by amount of data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules.figures.style import axis_label, bands, bare, beside, breadth, fade, labels, palette, panel, panels
from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike

__all__ = [
    "animals",
    "by_amount",
    "by_animal",
    "forest",
    "held_out_scores",
    "reversals",
    "statistics",
    "weights_over_trials",
]

SHOWN = 24  # animals with panels of their own


@typed
def statistics(
    names: Sequence[str], observed: Tensor, predicted: Tensor, quantity: str = "value", *, ax: Axes | None = None
) -> Axes:
    """Observed statistics (points) beside those under rules: median and 95 % interval.

    Arguments:
        names: Of the statistics, K of them.
        observed: `(K,)`.
        predicted: `(rules, K)`.
        quantity: For the axis.
        ax: Axes to draw in.
    """
    if observed.shape != (len(names),):
        raise ValueError(f"observed must be ({len(names)},), one for each of names, got {tuple(observed.shape)}.")
    if predicted.ndim != 2 or predicted.shape[1] != len(observed):
        raise ValueError(
            f"predicted must be (rules, {len(observed)}), one column per statistic, got {tuple(predicted.shape)}."
        )
    p = palette()
    ax = panel(ax, breadth(max(4.4, 0.42 * len(names) + 1.6)), 3.3)
    low, middle, high = (np.nanquantile(predicted.numpy(), q, axis=0) for q in (0.025, 0.5, 0.975))
    place = np.arange(len(names))
    ax.vlines(place, low, high, color=p.posterior, lw=5, alpha=0.35, label="rules, 95 %")
    ax.plot(place, middle, "_", color=p.posterior, ms=11, mew=2, label="rules, median")
    ax.plot(place, observed.numpy(), "o", color=p.ink, ms=5, label="animals")
    ax.set_xticks(place, list(names), rotation=45 if len(names) > 4 else 0, ha="right" if len(names) > 4 else "center")
    ax.tick_params(axis="x", labelsize=8)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylabel(quantity)
    ax.legend(frameon=False, fontsize=8, ncol=3, loc="lower left", bbox_to_anchor=(-0.05, 1.0), columnspacing=0.8)
    bare(ax)
    return ax


@typed
def animals(
    names: Sequence[str],
    observed: Tensor,
    predicted: Tensor,
    quantity: str = "choice rate",
    *,
    axes: GridLike | None = None,
) -> Grid:
    """Choice rate of each animal over its trials (points), and as it is predicted (line), a panel each.

    Arguments:
        names: Of the animals.
        observed: `(animals, parts)`.
        predicted: `(animals, parts)`.
        quantity: For the axis.
        axes: One for each animal shown, at most 24.
    """
    if observed.shape != predicted.shape or len(names) != len(observed):
        raise ValueError(
            f"observed and predicted must be ({len(names)}, parts), got {tuple(observed.shape)} and {tuple(predicted.shape)}."
        )
    p = palette()
    count = min(len(names), SHOWN)
    columns = beside(count, 6, 2)
    rows = math.ceil(count / columns)
    grid = panels(axes, rows, columns, 1.55 * columns + 0.6, 1.35 * rows + 0.6, sharex=True, sharey=True)
    centre = (np.arange(observed.shape[1]) + 0.5) / observed.shape[1]
    for k, ax in enumerate([ax for row in grid for ax in row]):
        if k >= count:
            ax.set_visible(False)
            continue
        ax.plot(centre, observed[k], "o", color=p.ink, ms=2.6)
        ax.plot(centre, predicted[k], color=p.posterior, lw=1.6)
        ax.set_title(str(names[k]), fontsize=8)
        ax.set_ylim(-0.03, 1.03)
        ax.tick_params(labelsize=7)
        bare(ax)
    grid[0, 0].figure.supxlabel("part of the animal's trials", fontsize=9)
    grid[0, 0].figure.supylabel(quantity, fontsize=9)
    return grid


@typed
def by_animal(names: Sequence[str], values: Tensor, quantity: str, *, ax: Axes | None = None) -> Axes:
    """One number of each animal as bars, with the median."""
    if values.shape != (len(names),) or values.is_complex():
        raise ValueError(
            f"values must be numbers of shape ({len(names)},), one for each animal, got {values.dtype} {tuple(values.shape)}."
        )
    p, values = palette(), values.double()
    ax = panel(ax, breadth(max(3.6, 0.3 * len(names) + 1.4)), 3.0)
    ax.bar(np.arange(len(names)), values.numpy(), color=p.posterior, width=0.7)
    ax.axhline(float(values.median()), color=p.ink, lw=1, ls="--")
    ax.axhline(0.0, color=p.soft, lw=0.8)
    ax.set_xticks(np.arange(len(names)), list(names), rotation=60, ha="right", fontsize=8)
    ax.set_ylabel(quantity)
    bare(ax)
    return ax


@typed
def forest(
    names: Sequence[str],
    coefficients: Sequence[str],
    draws: Tensor,
    population: Tensor | None = None,
    *,
    axes: GridLike | None = None,
) -> Grid:
    """Each animal's coefficients: mean and 95 % interval, with the population's centre as a band.

    Arguments:
        names: Of the animals.
        coefficients: Names of the columns of theta.
        draws: `(n, animals, D)`.
        population: Draws of the centre, `(n, D)`, or None.
        axes: One for each coefficient.
    """
    arguments.instance("draws", draws, Tensor)
    if draws.ndim != 3 or draws.shape[1:] != (len(names), len(coefficients)):
        raise ValueError(f"draws must be (n, {len(names)}, {len(coefficients)}), got {tuple(draws.shape)}.")
    if population is not None and (population.ndim != 2 or population.shape[1] != len(coefficients)):
        raise ValueError(f"population must be (n, {len(coefficients)}), got {tuple(population.shape)}.")
    p = palette()
    columns = beside(len(coefficients), 4, 1)
    rows = math.ceil(len(coefficients) / columns)
    height = 0.17 * len(names) + 0.9
    grid = panels(axes, rows, columns, 2.2 * columns + 0.8, height * rows, sharey=True)
    place = np.arange(len(names))[::-1]
    for k, ax in enumerate([ax for row in grid for ax in row]):
        if k >= len(coefficients):
            ax.set_visible(False)
            continue
        low, high = (torch.quantile(draws[:, :, k].double(), q, dim=0).numpy() for q in (0.025, 0.975))
        if population is not None:
            centre = population[:, k].double()
            ax.axvspan(*(float(torch.quantile(centre, q)) for q in (0.025, 0.975)), color=p.contrast, alpha=0.18, lw=0)
            ax.axvline(float(centre.mean()), color=p.contrast, lw=1)
        ax.hlines(place, low, high, color=p.posterior, lw=1.6)
        ax.plot(draws[:, :, k].double().mean(dim=0).numpy(), place, "o", color=p.posterior, ms=3)
        ax.axvline(0.0, color=p.soft, lw=0.8, ls=":")
        ax.set_title(axis_label(coefficients[k]), fontsize=9)
        ax.set_yticks(place, list(names), fontsize=7)
        ax.tick_params(axis="x", labelsize=7)
        bare(ax)
    return grid


@typed
def held_out_scores(
    names: Sequence[str], values: Tensor, quantity: str = "deviance explained", *, ax: Axes | None = None
) -> Axes:
    """How well families predict what was held out: a point for each animal, a line at the median; the first family on top.

    Arguments:
        names: Of the families.
        values: `(families, animals)`.
        quantity: For the axis.
        ax: Axes to draw in.
    """
    if values.ndim != 2 or len(values) != len(names) or not len(names):
        raise ValueError(f"values must be ({len(names)}, animals), one row per family, got {tuple(values.shape)}.")
    p = palette()
    ax = panel(ax, 5.2, 0.34 * len(names) + 1.1)
    count = values.shape[1]
    # animals keep their place within the row, so that one can be followed from family to family
    off = np.linspace(0.26, -0.26, count) if count > 1 else np.zeros(1)
    for k, row in enumerate(values.double().numpy()):
        place = len(names) - 1 - k
        ax.plot(row, place + off, "o", color=p.posterior, ms=3.2, alpha=0.7, mew=0)
        ax.vlines(np.median(row), place - 0.36, place + 0.36, color=p.ink, lw=2)
    ax.axvline(0.0, color=p.soft, lw=0.8, ls=":")
    ax.set_yticks(np.arange(len(names))[::-1], list(names), fontsize=8)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlabel(quantity)
    bare(ax)
    return ax


@typed
def by_amount(amounts: Sequence[str], names: Sequence[str], contraction: Tensor, *, ax: Axes | None = None) -> Axes:
    """How much more data narrow each coefficient: contraction from prior to posterior, 1 - (posterior s.d. / prior s.d.)^2.

    Arguments:
        amounts: Of data, such as `"6 x 300"`, animals x trials; a row for each.
        names: Of the coefficients.
        contraction: `(amounts, coefficients)`: 0 where data say nothing, 1 where they say all.
        ax: Axes to draw in.
    """
    if tuple(contraction.shape) != (len(amounts), len(names)) or not contraction.numel():
        raise ValueError(f"contraction must be ({len(amounts)}, {len(names)}), got {tuple(contraction.shape)}.")
    p = palette()
    ax = panel(ax, 0.62 * len(names) + 1.6, 0.34 * len(amounts) + 1.3)
    shown = contraction.double().numpy()
    ax.imshow(np.clip(shown, 0.0, 1.0), vmin=0.0, vmax=1.25, cmap=fade(p.posterior), aspect="auto")
    for (i, k), value in np.ndenumerate(shown):
        ax.text(k, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=p.ink)
    ax.set_xticks(np.arange(len(names)), labels(names), fontsize=8, rotation=30, ha="right")
    ax.set_yticks(np.arange(len(amounts)), list(amounts), fontsize=8)
    ax.set_ylabel("animals x trials")
    ax.set_title("contraction from prior to posterior", fontsize=9)
    bare(ax)
    return ax


@typed
def reversals(place: Tensor, observed: Tensor, predicted: Tensor, *, ax: Axes | None = None) -> Axes:
    """Rate of the option that is better after a reversal, around it: animals (points) and rules (median, 50 and 95 %).

    Arguments:
        place: Trials from the reversal, whose first one is 1, `(K,)`.
        observed: `(K,)`.
        predicted: `(rules, K)`.
        ax: Axes to draw in.
    """
    if place.ndim != 1 or observed.shape != place.shape or predicted.shape[1:] != place.shape or not len(predicted):
        raise ValueError(
            f"place, observed and predicted must be (K,), (K,) and (rules, K), got {tuple(place.shape)}, "
            f"{tuple(observed.shape)} and {tuple(predicted.shape)}."
        )
    p = palette()
    ax = panel(ax, 4.6, 3.3)
    x = place.double().numpy()
    bands(ax, x, predicted.double().numpy(), p.posterior)
    ax.plot(x, observed.double().numpy(), "o", color=p.ink, ms=5, label="animals")
    ax.axvline(0.5, color=p.soft, lw=0.8, ls="--")
    ax.set_xlabel("trials from the reversal")
    ax.set_ylabel("rate of the option then better")
    ax.plot([], [], color=p.posterior, label="rules")
    ax.legend(frameon=False, fontsize=8, loc="best")
    bare(ax)
    return ax


@typed
def weights_over_trials(
    names: Sequence[str],
    weights: Sequence[str],
    trial: Tensor,
    draws: Tensor,
    rate: Tensor,
    quantity: str = "choice rate",
    *,
    axes: GridLike | None = None,
) -> Grid:
    """A policy's weights along each animal's own trials (mean, 50 and 95 % over rules), its choice rate beneath.

    Arguments:
        names: Of the animals, A of them.
        weights: Names of the weights, W of them.
        trial: Decisions at which weights are given, `(A, points)`.
        draws: `(rules, A, points, W)`, in logit units.
        rate: `(A, points)`.
        quantity: What that is the rate of, for the axis.
        axes: Two for each animal: of all animals' weights, then of their rates.
    """
    shape = (len(names), *trial.shape[1:2])
    if (
        trial.ndim != 2
        or not trial.shape == rate.shape == shape
        or draws.shape[1:] != (*shape, len(weights))
        or not len(draws)
    ):
        raise ValueError(
            f"trial and rate must be ({len(names)}, points), draws (rules, {len(names)}, points, {len(weights)}), got "
            f"{tuple(trial.shape)}, {tuple(rate.shape)} and {tuple(draws.shape)}."
        )
    p = palette()
    colours = (p.posterior, p.contrast, p.other, p.prior, p.ink)
    columns = beside(len(names), 4, 1)
    blocks = math.ceil(len(names) / columns)
    heights = [2.0, 0.8] * blocks
    grid = panels(
        axes, 2 * blocks, columns, 2.5 * columns + 0.9, 3.0 * blocks + 0.5, sharey="row", height_ratios=heights
    )
    for k, ax in enumerate(grid[row, column] for row in range(0, 2 * blocks, 2) for column in range(columns)):
        below = grid[2 * (k // columns) + 1, k % columns]
        if k >= len(names):
            ax.set_visible(False)
            below.set_visible(False)
            continue
        x = trial[k].double().numpy() + 1
        for j, name in enumerate(weights):
            colour = colours[j % len(colours)]
            bands(ax, x, draws[:, k, :, j].double().numpy(), colour, mean=True)
            ax.plot([], [], color=colour, label=name)
        ax.axhline(0.0, color=p.soft, lw=0.8, ls=":")
        ax.set_title(str(names[k]), fontsize=9)
        below.plot(x, rate[k].double().numpy(), color=p.ink, lw=1.2)
        below.set_ylim(-0.03, 1.03)
        below.set_xlabel("trial", fontsize=9)
        if k % columns == 0:
            ax.set_ylabel("weight (logit units)", fontsize=9)
            below.set_ylabel(quantity.replace("rate of ", "rate of\n"), fontsize=9)
        for one in (ax, below):
            one.tick_params(labelsize=7)
            bare(one)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    grid[0, 0].figure.legend(
        handles, labels, loc="outside upper left", ncols=beside(len(labels), 4, 1), frameon=False, fontsize=8
    )
    return grid
