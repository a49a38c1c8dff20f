"""Figures of spiking networks: who fires when, rates and weights over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbirules.figures.style import bare, palette, panels
from sbirules.model.spikes import SpikeTrains
from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike

__all__ = ["raster", "rates_and_weights"]

MOST_NEURONS = 200  # of each population that a raster shows


def _named(trains: Sequence[SpikeTrains] | SpikeTrains, labels: Sequence[str]) -> tuple[list[SpikeTrains], list[str]]:
    every = [trains] if isinstance(trains, SpikeTrains) else list(trains)
    if not every:
        raise ValueError("trains must hold at least one network.")
    if labels and len(labels) != len(every):
        raise ValueError(f"labels must be one for each of {len(every)} networks, got {len(labels)}.")
    stopped = [" (stopped: its rate exploded)" if t.blown_up else "" for t in every]
    return every, [label + more for label, more in zip(labels or [""] * len(every), stopped, strict=True)]


def _show_patterns(ax: Axes, trains: SpikeTrains) -> None:
    """Bands where a familiar and where a new pattern of inputs was presented."""
    p = palette()
    for start, end, what in trains.presented:
        colour = p.other if what == "familiar" else p.prior
        ax.axvspan(start, end, color=colour, alpha=0.3, lw=0, label=f"{what} pattern", zorder=0)


def _say(ax: Axes, words: str) -> None:
    """In the middle of a panel that has nothing else to show."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", fontsize=8, color=palette().soft)


def _legend_below(grid: Grid) -> None:
    """Each name once, whichever panel it is of."""
    named = {w: h for ax in grid.ravel() for h, w in zip(*ax.get_legend_handles_labels(), strict=True)}
    if named:
        grid[0, 0].figure.legend(
            named.values(),
            named.keys(),
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=8,
            markerscale=5,
        )


@typed
def raster(
    trains: Sequence[SpikeTrains] | SpikeTrains,
    *,
    labels: Sequence[str] = (),
    start: float | None = None,
    seconds: float = 1.0,
    axes: GridLike | None = None,
) -> Grid:
    """Spikes of networks side by side: a dot each, inhibitory neurons above excitatory ones; bands where patterns are shown.

    Arguments:
        trains: One network, or several.
        labels: A title for each.
        start: Seconds at which the window begins; by default it ends where the simulation does.
        seconds: Length of the window.
        axes: One for each network.
    """
    p = palette()
    every, names = _named(trains, labels)
    arguments.above("seconds", seconds, 0.0)
    if start is not None:
        arguments.finite("start", start)
        if not 0 <= start < max(t.duration for t in every):
            raise ValueError(
                f"start must lie in the {max(t.duration for t in every):g} s that were simulated, got {start:g}."
            )
    grid = panels(axes, 1, len(every), 3.4 * len(every), 2.8)
    for ax, t, name in zip(grid.ravel(), every, names, strict=True):
        begin = max(0.0, t.duration - seconds) if start is None else start
        inside = (t.time >= begin) & (t.time < begin + seconds)
        height = 0
        for first, size, colour, what in (
            (0, t.num_excitatory, p.posterior, "excitatory"),
            (t.num_excitatory, t.num_inhibitory, p.contrast, "inhibitory"),
        ):
            shown = min(size, MOST_NEURONS)
            mine = inside & (t.neuron >= first) & (t.neuron < first + shown)
            ax.scatter(
                t.time[mine], t.neuron[mine] - first + height, s=1.2, lw=0, color=colour, label=what, rasterized=True
            )
            height += shown
        _show_patterns(ax, t)
        if t.blown_up and t.duration <= begin:
            _say(ax, f"stopped after {t.duration:.2g} s")
        ax.set_xlim(begin, begin + seconds)
        ax.set_ylim(-1, height)
        ax.set_yticks([])
        ax.set_xlabel("time (s)")
        ax.set_title(name, fontsize=9)
        bare(ax)
    grid[0, 0].set_ylabel("neurons")
    _legend_below(grid)
    return grid


@typed
def rates_and_weights(
    trains: Sequence[SpikeTrains] | SpikeTrains,
    synapses: Sequence[str] = ("EE", "IE"),
    *,
    labels: Sequence[str] = (),
    axes: GridLike | None = None,
) -> Grid:
    """Mean rates and mean weights of networks over time; below, weights at the end.

    Arguments:
        trains: One network, or several.
        synapses: Kinds of synapses that are shown, such as `"IE"`.
        labels: A title for each.
        axes: Three rows of one for each network.
    """
    p = palette()
    every, names = _named(trains, labels)
    for s in synapses:
        arguments.known("synapses", s, tuple(every[0].mean_weights))
    colours = (p.posterior, p.contrast, p.other, p.prior, p.ink, p.soft)
    grid = panels(axes, 3, len(every), 3.4 * len(every), 5.4)
    for column, (t, name) in enumerate(zip(every, names, strict=True)):
        rate, weight, last = grid[:, column]
        edges = t.bin_length * np.arange(len(t.rates) + 1)
        bins = int((edges[1:] <= t.duration + 1e-9).sum())  # that were over when it ended
        for k, (colour, what) in enumerate(((p.posterior, "excitatory"), (p.contrast, "inhibitory"))):
            if k == 0 or t.num_inhibitory:
                held = np.append(t.rates[:bins, k], t.rates[bins - 1 : bins, k])
                rate.step(edges[: len(held)], held, where="post", color=colour, label=what)
        rate.set_ylim(bottom=0)
        top = max([float(t.weights[s].max()) for s in synapses if len(t.weights[s])], default=0.0) or 1.0
        for colour, s in zip(colours, synapses, strict=False):
            weight.plot(edges[1 : bins + 1], t.mean_weights[s][:bins], color=colour, label=s)
            values = t.weights[s]
            if len(values):
                last.hist(values, bins=30, range=(0, top), histtype="step", color=colour, density=True, label=s)
        weight.set_ylim(bottom=0)
        last.set_xlim(left=0)
        rate.set_title(name, fontsize=9)
        if not bins:
            for ax in (rate, weight):
                _say(ax, f"stopped after {t.duration:.2g} s,\nbefore a bin of {t.bin_length:g} s was over")
        for ax in (rate, weight):
            ax.set_xlim(0, edges[-1])
            ax.set_xlabel("time (s)")
        last.set_xlabel(f"weight at the end ({t.weight_unit})")
        last.set_yticks([])
        bare(rate, weight, last)
    for row, label in enumerate(("rate (Hz)", f"mean weight\n({every[0].weight_unit})", "density")):
        grid[row, 0].set_ylabel(label)
        if row < 2 and grid[row, 0].get_legend_handles_labels()[0]:
            grid[row, 0].legend(frameon=False, fontsize=8)
    return grid
