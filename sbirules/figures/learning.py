"""Figures of learning: curves, success, filter rounds, recorded activity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules.figures.drawable import PredictedSuccess, RoundsOfRules, SuccessfulRules
from sbirules.figures.style import axis_label, bare, fade, palette, panel, panels
from sbirules.model.curves import CurveBand
from sbirules.model.runs import Trajectory
from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike

__all__ = ["activity", "filter_rounds", "learning_curves", "success_over", "success_rates", "success_spread"]


def _split(band: CurveBand) -> list[tuple[str, slice]]:
    """Trial type and span of its bins, from names like learning_curve[A,0]."""
    if not all("[" in name for name in band.names):
        raise ValueError(f"bands must have bins named like learning_curve[A,0], got {band.names!r:.80}.")
    types = [name.split("[", 1)[1].rstrip("]").rsplit(",", 1)[0] for name in band.names]
    spans = []
    for label in dict.fromkeys(types):
        at = [i for i, t in enumerate(types) if t == label]
        spans.append((label, slice(at[0], at[-1] + 1)))
    return spans


def _top(band: CurveBand) -> float:
    tops = [band.high, band.median] + ([] if band.observed is None else [band.observed])
    return max((float(t[torch.isfinite(t)].max()) for t in tops if bool(torch.isfinite(t).any())), default=1.0)


@typed
def learning_curves(
    bands: Mapping[str, CurveBand],
    *,
    title: str = "",
    quantity: str = "mean error",
    trials: int | None = None,
    axes: GridLike | None = None,
) -> Grid:
    """Learning curves per trial type as bands over rules or networks; the observed mean curve as points.

    Arguments:
        bands: By name; "posterior", "prior" and "zero rule" have colours of their own.
        title: Of the figure.
        quantity: What the curves show, for the axis.
        trials: Trials of a session, for the axis; None for parts of the session.
        axes: One for each trial type.
    """
    if not bands:
        raise ValueError("bands must hold at least one band.")
    p = palette()
    spans = _split(next(iter(bands.values())))
    axes = panels(axes, 1, len(spans), 3.3 * len(spans) + 0.4, 3.3, sharey=True)
    colours = {"posterior": p.posterior, "prior": p.prior, "zero rule": p.contrast}
    for ax, (label, span) in zip(axes[0], spans, strict=True):
        bins = span.stop - span.start
        centre = (np.arange(bins) + 0.5) / bins * (trials or 1)
        for name, band in bands.items():
            colour = colours.get(name, p.other)
            ax.fill_between(centre, band.low[span], band.high[span], color=colour, alpha=0.22, lw=0)
            ax.plot(centre, band.median[span], color=colour, lw=1.8, label=f"{name}: median, middle {band.mass:.0%}")
            if band.observed is not None:
                ax.plot(centre, band.observed[span], "o", color=p.ink, ms=4.5, label="observed, mean over learners")
        ax.set_title(f"trial type {label}", fontsize=10)
        ax.set_xlabel("trial" if trials else "part of the session")
        bare(ax)
    axes[0, 0].set_ylim(0, 1.05 * max(_top(band) for band in bands.values()))
    axes[0, 0].set_ylabel(quantity)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure = axes[0, 0].figure
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return axes


@typed
def success_rates(checked: SuccessfulRules, ax: Axes | None = None) -> Axes:
    """Success on fresh networks of posterior rules, prior rules and no plasticity, with standard errors."""
    p = palette()
    ax = panel(ax, 3.4, 2.9)
    rates = {
        "posterior": (checked.posterior_success, p.posterior),
        "prior": (checked.prior_success, p.prior),
        "no plasticity": (checked.zero_rule_success, p.contrast),
    }
    for i, (rate, colour) in enumerate(rates.values()):
        ax.bar(i, rate.value, yerr=rate.se, color=colour, ecolor=p.ink, capsize=3, width=0.65)
        ax.text(i, rate.value + rate.se + 0.02, f"{rate.value:.2f}", ha="center", fontsize=9)
    ax.set_xticks(range(len(rates)), rates)
    ax.set_ylim(0, 1.1)
    ax.set_ylabel("share of fresh networks\nthat satisfy the constraints")
    bare(ax)
    return ax


@typed
def success_spread(checked: SuccessfulRules, ax: Axes | None = None) -> Axes:
    """How the share of successful networks varies over posterior rules."""
    p = palette()
    ax = panel(ax, 3.6, 2.9)
    n = checked.networks_per_rule
    edges = np.linspace(-0.5 / n, 1 + 0.5 / n, min(n + 1, 17) + 1).tolist()
    ax.hist(checked.share.numpy(), edges, color=p.posterior, alpha=0.85)
    ax.set_xlabel(f"share of {n} networks, for one rule")
    ax.set_ylabel("posterior rules")
    bare(ax)
    return ax


@typed
def success_over(
    posterior: PredictedSuccess, first: str, second: str, *, resolution: int = 41, ax: Axes | None = None
) -> Axes:
    """Learned probability that the constraints hold in one network, over two coefficients, the others at the MAP.

    Arguments:
        posterior: Of constraints.
        first: Coefficient along x.
        second: Along y.
        resolution: Points along each.
        ax: Where to draw.

    Raises:
        ValueError: If the posterior is not of constraints, or a name is unknown.
    """
    if posterior.predicted_success(posterior.draws[:1]) is None:
        raise ValueError("success_over needs a posterior made by fit(..., constraints=...).")
    arguments.whole("resolution", resolution, 2, 1000)
    for name in (first, second):
        arguments.known("success_over", name, posterior.names)
    p = palette()
    i, j = (posterior.names.index(n) for n in (first, second))
    low, high = posterior.draws.min(dim=0).values, posterior.draws.max(dim=0).values
    a, b = (torch.linspace(float(low[k]), float(high[k]), resolution) for k in (i, j))
    theta = posterior.map().repeat(resolution**2, 1)
    theta[:, i], theta[:, j] = a.repeat(resolution), b.repeat_interleave(resolution)
    probability = torch.as_tensor(posterior.predicted_success(theta)).reshape(resolution, resolution)
    ax = panel(ax, 4.6, 3.7)
    image = ax.pcolormesh(a, b, probability, cmap=fade(p.posterior), vmin=0, vmax=1, rasterized=True)
    lines = ax.contour(a, b, probability, levels=[0.1, 0.5, 0.9], colors=p.ink, linewidths=0.8)
    ax.clabel(lines, fontsize=7)
    ax.set_xlabel(axis_label(first))
    ax.set_ylabel(axis_label(second))
    ax.figure.colorbar(image, ax=ax, label="P(constraints hold in one network)")
    return ax


@typed
def filter_rounds(found: RoundsOfRules, ax: Axes | None = None) -> Axes:
    """Share of each round's networks that met the constraints asked in it."""
    p = palette()
    ax = panel(ax, 4.8, 3.0)
    number = np.arange(1, len(found.rounds) + 1)
    asked = [", ".join(r.constraints) for r in found.rounds]
    for k, constraint in enumerate(dict.fromkeys(asked)):
        mine = [i for i, a in enumerate(asked) if a == constraint]
        colour = (p.posterior, p.contrast, p.other, p.prior)[k % 4]
        share = [found.rounds[i].accepted for i in mine]
        ax.errorbar(
            number[mine],
            share,
            [found.rounds[i].se for i in mine],
            color=colour,
            marker="o",
            ms=5,
            capsize=2,
            label=constraint,
        )
    ax.set_xticks(number)
    ax.set_ylim(0, None)
    ax.set_xlabel("round")
    ax.set_ylabel("share accepted")
    ax.legend(frameon=False, fontsize=8, title="asked", title_fontsize=8)
    bare(ax)
    return ax


@typed
def activity(
    run: Trajectory, *, network: int = 0, units: int = 12, dt: float = 1.0, axes: GridLike | None = None
) -> Grid:
    """Rates of some units of a network in its first and last recorded trials, by trial type: before and after learning.

    Arguments:
        run: With a recording, `simulator.run(theta, record=[0, 1, 398, 399])`.
        network: Which row.
        units: How many units, the first ones; the read-out unit 0 is drawn in bold.
        dt: Step in ms, for the axis.
        axes: Two rows of one for each recorded trial of the first half.

    Raises:
        ValueError: If nothing, or an odd number of trials, was recorded.
    """
    recording = run.recording
    if recording is None or len(recording.trials) % 2:
        raise ValueError(
            "activity needs a run with as many trials recorded early as late: run(theta, record=[0, 399])."
        )
    arguments.whole("units", units, 1)
    arguments.above("dt", dt, 0.0)
    network = arguments.position("network", network, len(recording.rate))
    p = palette()
    half = len(recording.trials) // 2
    axes = panels(axes, 2, half, 3.0 * half + 0.8, 4.4, sharex=True, sharey=True)
    rate: Tensor = recording.rate[network].detach()
    time = (torch.arange(rate.shape[1]) + 1) * dt
    for k, trial in enumerate(recording.trials.tolist()):
        ax = axes[k // half, k % half]
        for unit in range(min(units, rate.shape[2]) - 1, -1, -1):
            own = {"color": p.contrast, "lw": 2.2} if unit == 0 else {"color": p.posterior, "lw": 0.8, "alpha": 0.6}
            ax.plot(time, rate[k, :, unit], **own)
        kind = int(run.trial_types[network, trial])
        name = run.type_names[kind] if run.type_names else str(kind)
        ax.set_title(f"{'before' if k < half else 'after'}: trial {trial}, type {name}", fontsize=9)
        bare(ax)
    for ax in axes[-1]:
        ax.set_xlabel("time (ms)" if dt != 1.0 else "step")
    for ax in axes[:, 0]:
        ax.set_ylabel("rate")
    return axes
