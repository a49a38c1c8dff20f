"""Figures of a study. Each function returns a matplotlib Figure; nothing is shown or saved here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Size, Tensor

from sbirules.rules import TIME_CONSTANTS
from sbirules.streams import seeded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sbirules.check import ConstraintCheck, CurveBand
    from sbirules.posterior import Posterior

__all__ = ["correlation_figure", "curve_figure", "marginal_figure", "most_informed", "pair_figure", "success_figure"]

# Okabe and Ito's colours, told apart with any colour vision
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
MAX_PAIR = 5  # coefficients in a pair plot; more cannot be read


def _new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=130)


def axis_label(name: str, latex: Mapping[str, str] | None = None) -> str:
    """Name and unit for an axis, e.g. theta_11 as mathematics."""
    if name in TIME_CONSTANTS:
        return rf"$\tau_{name[-1]}$ ({TIME_CONSTANTS[name].unit})"
    if name.startswith("theta_"):
        stem, _, weight = name.removeprefix("theta_").partition("_")
        return rf"$\theta_{{{stem}{',' + weight if weight else ''}}}$"
    return name


def _prior_draws(posterior: Posterior, n: int = 4000) -> Tensor:
    with seeded(0, 9):
        return posterior.prior.sample(Size((n,)))


def most_informed(posterior: Posterior, count: int = MAX_PAIR) -> list[int]:
    """Columns whose posterior differs most from the prior: in width, or in place."""
    draws, prior = posterior.draws, _prior_draws(posterior)
    shrink = 1 - draws.std(dim=0) / prior.std(dim=0)
    shift = (draws.mean(dim=0) - prior.mean(dim=0)).abs() / prior.std(dim=0)
    order = torch.argsort(shrink + shift, descending=True)[:count]
    return sorted(order.tolist())


def pair_figure(
    posterior: Posterior, columns: Sequence[int] | None = None, truth: Any = None, points: Tensor | None = None
) -> Figure:
    """Marginals of the coefficients that were learned most about, prior in grey.

    Arguments:
        posterior: With draws.
        columns: Coefficients to show; None for those that the data tell most about.
        truth: A rule to mark, `(D,)`.
        points: Optimised rules to mark, `(n, D)`, the best first.
    """
    columns = most_informed(posterior) if columns is None else list(columns)
    logs = [posterior.names[i] in TIME_CONSTANTS for i in columns]
    draws, prior = (_logged(t[:, columns], logs) for t in (posterior.draws, _prior_draws(posterior)))
    names = [("log10 " if log else "") + axis_label(posterior.names[i]) for i, log in zip(columns, logs, strict=True)]
    n = len(columns)
    fig = _new(1.5 * n + 1, 1.5 * n + 0.6)
    axes = fig.subplots(n, n, squeeze=False)
    low = torch.minimum(draws.min(0).values, prior.min(0).values).numpy()
    high = torch.maximum(draws.max(0).values, prior.max(0).values).numpy()
    marks = None if truth is None else _logged(torch.as_tensor(truth).flatten()[None, columns], logs)[0].numpy()
    dots = None if points is None else _logged(points.float()[:, columns], logs).numpy()
    if dots is not None:  # an end point may lie outside the prior
        low, high = np.minimum(low, dots.min(axis=0)), np.maximum(high, dots.max(axis=0))
    for i in range(n):
        for j in range(n):
            ax = axes[i, j]
            if j > i:
                r = np.corrcoef(draws[:, i].numpy(), draws[:, j].numpy())[0, 1]
                ax.text(0.5, 0.5, f"r = {r:.2f}", ha="center", va="center", transform=ax.transAxes, fontsize=10)
                ax.set_axis_off()
                continue
            if i == j:
                bins = np.linspace(low[i], high[i], 41)
                ax.hist(prior[:, i].numpy(), bins, density=True, color=GREY, alpha=0.35)
                ax.hist(draws[:, i].numpy(), bins, density=True, color=BLUE, alpha=0.8)
                ax.set_yticks([])
            else:
                ax.hist2d(
                    draws[:, j].numpy(), draws[:, i].numpy(), bins=24, cmap="Blues",
                    range=[[low[j], high[j]], [low[i], high[i]]],
                )  # fmt: skip
                ax.axhline(0, color=GREY, lw=0.6)
                ax.set_ylim(low[i], high[i])
            ax.axvline(0, color=GREY, lw=0.6)
            ax.set_xlim(low[j], high[j])
            if marks is not None:
                ax.axvline(marks[j], color=ORANGE, lw=1.2)
                if i != j:
                    ax.axhline(marks[i], color=ORANGE, lw=1.2)
            if dots is not None:
                heights = dots[:, i] if i != j else np.full(len(dots), 0.04 * ax.get_ylim()[1])
                ax.plot(dots[:, j], heights, "o", color=ORANGE, ms=4, mfc="none", mew=1.0)
                ax.plot(dots[0, j], heights[0], "o", color=ORANGE, ms=5)
            ax.tick_params(labelsize=7, labelbottom=i == n - 1, labelleft=j == 0 and i > 0)
            if i == n - 1:
                ax.set_xlabel(names[j])
            if j == 0 and i > 0:
                ax.set_ylabel(names[i])
    handles = [_patch(BLUE, "posterior"), _patch(GREY, "prior")] + (
        [_patch(ORANGE, "truth")] if marks is not None else []
    )
    if dots is not None:
        handles.append(_dot(ORANGE, "optimised (best filled)"))
    fig.legend(handles=handles, loc="upper right", frameon=False, fontsize=9)
    fig.suptitle("Posterior and prior, natural units", x=0.01, ha="left", fontsize=10)
    return fig


def _logged(values: Tensor, logs: Sequence[bool]) -> Tensor:
    """Columns of time constants as logarithms."""
    return torch.where(torch.tensor(list(logs)), values.clamp(min=1e-12).log10(), values)


def _patch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=color, label=label)


def _dot(color: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker="o", ls="", label=label)


def marginal_figure(posterior: Posterior) -> Figure:
    """Mean, 50 % and 95 % interval of every coefficient; the prior's 95 % interval in grey."""
    draws, prior = posterior.draws.double(), _prior_draws(posterior).double()
    groups = [
        ([i for i, n in enumerate(posterior.names) if n not in TIME_CONSTANTS], "coefficient (natural units)", False),
        *(([i], axis_label(n), True) for i, n in enumerate(posterior.names) if n in TIME_CONSTANTS),
    ]
    groups = [g for g in groups if g[0]]
    heights = [0.24 * len(g[0]) + 0.5 for g in groups]
    fig = _new(6.4, sum(heights) + 0.7)
    axes = fig.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (rows, label, log) in zip(axes, groups, strict=True):
        for y, i in enumerate(rows):
            p = torch.quantile(prior[:, i], torch.tensor([0.025, 0.975], dtype=torch.float64))
            q = torch.quantile(draws[:, i], torch.tensor([0.025, 0.25, 0.75, 0.975], dtype=torch.float64))
            ax.plot(p, [y, y], color=GREY, alpha=0.35, lw=7, solid_capstyle="butt")
            ax.plot(q[[0, 3]], [y, y], color=BLUE, lw=1.6)
            ax.plot(q[[1, 2]], [y, y], color=BLUE, lw=4.5, solid_capstyle="butt")
            ax.plot(draws[:, i].mean(), y, "o", color="white", mec=BLUE, ms=5)
        ax.set_yticks(range(len(rows)), [axis_label(posterior.names[i]) for i in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlabel(label)
        if log:
            ax.set_xscale("log")
        else:
            ax.axvline(0, color="black", lw=0.7)
        _open(ax)
    fig.legend(
        handles=[_patch(BLUE, "posterior: mean, 50 %, 95 %"), _patch("#cccccc", "prior: 95 %")],
        loc="outside upper right", ncols=2, frameon=False, fontsize=8,
    )  # fmt: skip
    return fig


def correlation_figure(posterior: Posterior) -> Figure:
    """Posterior correlations: which coefficients compensate for which."""
    names = [axis_label(n) for n in posterior.names]
    r = np.atleast_2d(np.corrcoef(posterior.draws.double().numpy().T))
    size = 2.2 + 0.3 * len(names)
    fig = _new(size + 0.6, size)
    ax = fig.subplots()
    ax.set_facecolor("#dddddd")  # the diagonal
    image = ax.imshow(np.ma.masked_where(np.eye(len(names)) > 0, r), cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0, labelsize=9)
    for i in range(len(names)):
        for j in range(len(names)):
            if i != j and abs(r[i, j]) >= 0.3:
                ink = "white" if abs(r[i, j]) > 0.6 else "black"
                ax.text(j, i, f"{r[i, j]:.1f}".replace("0.", "."), ha="center", va="center", fontsize=7, color=ink)
    fig.colorbar(image, ax=ax, label="posterior correlation", shrink=0.8)
    return fig


def _open(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _split(band: CurveBand) -> list[tuple[str, slice]]:
    """Trial type and span of its bins, from names like learning_curve[A,0]."""
    types = [name.split("[", 1)[1].rstrip("]").rsplit(",", 1)[0] for name in band.names]
    spans = []
    for label in dict.fromkeys(types):
        at = [i for i, t in enumerate(types) if t == label]
        spans.append((label, slice(at[0], at[-1] + 1)))
    return spans


def _top(band: CurveBand) -> float:
    tops = [band.high, band.median] + ([] if band.observed is None else [band.observed])
    return max(float(t[torch.isfinite(t)].max()) for t in tops)


def curve_figure(
    bands: Mapping[str, CurveBand], title: str, quantity: str = "mean error", trials: int | None = None
) -> Figure:
    """Learning curves per trial type as bands; the observed mean curve as points."""
    first = next(iter(bands.values()))
    spans = _split(first)
    fig = _new(3.3 * len(spans) + 0.4, 3.3)
    axes = fig.subplots(1, len(spans), sharey=True, squeeze=False)[0]
    colours = {"posterior": BLUE, "prior": GREY, "zero rule": ORANGE}
    for ax, (label, span) in zip(axes, spans, strict=True):
        bins = span.stop - span.start
        centre = (np.arange(bins) + 0.5) / bins * (trials or 1)
        for name, band in bands.items():
            colour = colours.get(name, GREEN)
            ax.fill_between(centre, band.low[span], band.high[span], color=colour, alpha=0.22, lw=0)
            ax.plot(centre, band.median[span], color=colour, lw=1.8, label=f"{name}: median, middle {band.mass:.0%}")
            if band.observed is not None:
                ax.plot(centre, band.observed[span], "ko", ms=4.5, label="observed, mean over learners")
        ax.set_title(f"trial type {label}", fontsize=10)
        ax.set_xlabel("trial" if trials else "part of the session")
        _open(ax)
    axes[0].set_ylim(0, 1.05 * max(_top(band) for band in bands.values()))
    axes[0].set_ylabel(quantity)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def success_figure(checked: ConstraintCheck) -> Figure:
    """Success on fresh networks: rates with standard errors, and their spread over posterior rules."""
    fig = _new(6.6, 2.9)
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.2])
    rates = {
        "posterior": (checked.posterior_success, BLUE),
        "prior": (checked.prior_success, GREY),
        "zero rule": (checked.zero_rule_success, ORANGE),
    }
    for i, (rate, colour) in enumerate(rates.values()):
        left.bar(i, rate.value, yerr=rate.se, color=colour, capsize=3, width=0.65)
        left.text(i, rate.value + rate.se + 0.02, f"{rate.value:.2f}", ha="center", fontsize=9)
        left.set_xticks(range(len(rates)), rates)
    left.set_ylim(0, 1.1)
    left.set_ylabel("share of fresh networks\nthat satisfy the constraints")
    n = checked.networks_per_rule
    edges = np.linspace(-0.5 / n, 1 + 0.5 / n, min(n + 1, 17) + 1)
    right.hist(checked.share.numpy(), edges, color=BLUE, alpha=0.85)
    right.set_xlabel(f"share of {n} networks, for one rule")
    right.set_ylabel("posterior rules")
    for ax in (left, right):
        _open(ax)
    return fig
