"""Figures behind the verdicts: can this posterior be trusted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules.figures.drawable import CalibratedRules, ObservedSummaries, SuccessfulRules
from sbirules.figures.style import axis_label, bare, labels, palette, panel, patch
from sbirules.support import arguments
from sbirules.support.rates import Rate
from sbirules.support.robust import centre_and_spread
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "calibration",
    "coverage",
    "distance_to_prior_predictive",
    "failures",
    "held_out",
    "reliability",
    "summaries",
    "training",
]


@typed
def calibration(found: CalibratedRules, ax: Axes | None = None) -> Axes:
    """Ranks of the true coefficients among posterior draws: distribution less that of uniform ranks (Talts et al. 2018).

    Within the grey band (99 %, by simulation) the ranks of one coefficient are uniform.
    """
    p = palette()
    ax = panel(ax, 4.6, 3.2)
    rules, draws = len(found.truth), found.draws.shape[1]
    grid = np.linspace(0, 1, 101)
    u = (found.ranks.double() + 0.5) / (draws + 1)
    spread = np.random.default_rng(0).random((1000, rules))
    spread.sort(axis=1)
    null = np.stack([np.searchsorted(row, grid) / rules - grid for row in spread])
    low, high = np.quantile(null, [0.005, 0.995], axis=0)
    ax.fill_between(grid, low, high, color=p.prior, alpha=0.25, lw=0)
    for k in range(u.shape[1]):
        curve = np.searchsorted(u[:, k].sort().values.numpy(), grid) / rules - grid
        outside = bool(((curve < low - 1e-9) | (curve > high + 1e-9)).any())
        ax.plot(grid, curve, color=p.contrast if outside else p.posterior, lw=1.6 if outside else 0.9, alpha=0.9)
        if outside:
            at = int(np.abs(curve).argmax())
            ax.annotate(
                axis_label(found.names[k]), (grid[at], curve[at]), fontsize=8, xytext=(3, 3), textcoords="offset points"
            )
    ax.axhline(0, color=p.ink, lw=0.6)
    ax.set_xlabel("rank of the truth among posterior draws")
    ax.set_ylabel("share of rules below, less uniform")
    bare(ax)
    return ax


@typed
def coverage(found: CalibratedRules, ax: Axes | None = None) -> Axes:
    """Share of rules whose central interval holds the truth, against the interval's mass: mean over coefficients."""
    p = palette()
    ax = panel(ax, 3.6, 3.2)
    levels = np.linspace(0.05, 0.95, 19)
    each = np.array([list(found.coverage(float(level)).values()) for level in levels])
    ax.plot([0, 1], [0, 1], color=p.ink, lw=0.7)
    ax.fill_between(levels, each.min(axis=1), each.max(axis=1), color=p.posterior, alpha=0.2, lw=0)
    ax.plot(levels, each.mean(axis=1), color=p.posterior, lw=1.8)
    ax.set_xlabel("mass of the central interval")
    ax.set_ylabel("share that holds the truth")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.legend(
        handles=[patch(p.posterior, "mean over coefficients"), patch(p.posterior, "their range", alpha=0.2)],
        frameon=False,
        fontsize=8,
    )
    bare(ax)
    return ax


@typed
def reliability(checked: SuccessfulRules, bins: int = 5, ax: Axes | None = None) -> Axes:
    """Predicted and observed share of successful networks, posterior rules grouped by what was predicted."""
    p = palette()
    ax = panel(ax, 3.8, 3.4)
    predicted, observed, se, lowest = grouped(checked, bins)
    lowest = min(lowest, 0.95)
    ax.plot([lowest, 1], [lowest, 1], color=p.ink, lw=0.7)
    ax.errorbar(predicted, observed, se, fmt="o", color=p.posterior, ecolor=p.ink, elinewidth=0.9, capsize=2)
    ax.set_xlim(lowest, 1)
    ax.set_ylim(min(lowest, float((observed - se).min())), 1.02)
    ax.set_xlabel("predicted share of successful networks")
    ax.set_ylabel(f"observed share (fresh networks)\nof {len(predicted)} groups of rules")
    bare(ax)
    return ax


def grouped(checked: SuccessfulRules, bins: int = 5) -> tuple[Tensor, Tensor, Tensor, float]:
    """Mean prediction, mean observed share and its standard error of each group of rules, and an end for the axis."""
    if checked.predicted is None:
        raise ValueError(
            "checked must hold predicted success, as checks of a posterior of constraints do; this one holds none."
        )
    order = checked.predicted.argsort()
    bins = max(1, min(bins, len(order) // 2))
    groups = [g for g in torch.tensor_split(order, bins) if len(g) >= 2]
    predicted = torch.stack([checked.predicted[g].double().mean() for g in groups])
    observed = torch.stack([checked.share[g].double().mean() for g in groups])
    # between rules, but never below the binomial error of a share that is not quite 0 or 1
    between = torch.stack([checked.share[g].double().std() / len(g) ** 0.5 for g in groups])
    count = torch.tensor([float(len(g) * checked.networks_per_rule) for g in groups])
    q = (observed * count + 1) / (count + 2)
    se = torch.maximum(between, (q * (1 - q) / count).sqrt())
    lowest = float(torch.minimum(predicted, observed).min())
    return predicted, observed, se, max(0.0, lowest - 0.1)


@typed
def training(curves: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Held-out loss by epoch of each network that was trained."""
    p = palette()
    ax = panel(ax, 4.2, 2.9)
    for k, (name, curve) in enumerate(curves.items()):
        colour = (p.posterior, p.contrast, p.other, p.prior)[k % 4]
        ax.plot(np.arange(1, len(curve) + 1), curve, color=colour, lw=1.5, label=name)
        best = int(np.argmin(curve))
        ax.plot(best + 1, curve[best], "o", color=colour, ms=5)
    ax.set_xlabel("epoch (dot: best)")
    ax.set_ylabel("held-out loss")
    ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return ax


@typed
def failures(theta: Tensor, failed: Tensor, names: Sequence[str], bins: int = 10, ax: Axes | None = None) -> Axes:
    """Share of failed simulations over the coefficients that it depends on most."""
    n, d = theta.shape if theta.ndim == 2 else (0, 0)
    if not n or tuple(failed.shape) != (n,) or len(names) != d or failed.dtype != torch.bool:
        raise ValueError(
            f"theta must have shape (n, {len(names)}), one column per name, and failed (n,) be boolean, got {tuple(theta.shape)} "
            f"and {failed.dtype} of shape {tuple(failed.shape)}."
        )
    arguments.whole("bins", bins, 1, 10_000)
    p = palette()
    ax = panel(ax, 4.2, 2.9)
    for k, (column, colour) in enumerate(
        zip(most_failing(theta, failed, 3), (p.posterior, p.contrast, p.other), strict=False)
    ):
        values = theta[:, column].double()
        edges = torch.quantile(values, torch.linspace(0, 1, bins + 1, dtype=torch.float64))
        place = torch.bucketize(values, edges[1:-1])
        share = [float(failed[place == b].double().mean()) for b in range(bins)]
        middle = [float(values[place == b].mean()) for b in range(bins)]
        ax.plot(middle, share, color=colour, marker="os^"[k], ms=4, label=axis_label(names[column]))
    ax.set_ylim(0, None)
    ax.set_xlabel("coefficient (natural units)")
    ax.set_ylabel("share of networks that failed")
    ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return ax


def most_failing(theta: Tensor, failed: Tensor, count: int) -> list[int]:
    """Columns of theta along whose size or sign failures change most."""
    y = failed.double() - failed.double().mean()
    z = (theta.double() - theta.double().mean(dim=0)) / theta.double().std(dim=0).clamp(min=1e-300)
    strength = (y @ z).abs() + (y @ (z.square() - 1)).abs()
    return strength.argsort(descending=True)[: min(count, theta.shape[1])].tolist()


@typed
def distance_to_prior_predictive(baseline: Tensor, own: float, ax: Axes | None = None) -> Axes:
    """Distance (MMD) of the observation from the prior predictive, and that of data sets drawn from it."""
    if baseline.ndim != 1 or not baseline.is_floating_point() or not bool(baseline.isfinite().all()):
        raise ValueError(
            f"baseline must be finite numbers of shape (n,), got {baseline.dtype} {tuple(baseline.shape)}."
        )
    p = palette()
    ax = panel(ax, 4.2, 2.9)
    ax.hist(baseline.numpy(), 40, color=p.prior, alpha=0.6, label="drawn from the prior")
    ax.axvline(own, color=p.contrast, lw=2, label="observed")
    ax.set_xlabel("distance to the prior predictive (MMD)")
    ax.set_ylabel("data sets")
    ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return ax


@typed
def summaries(checked: ObservedSummaries, ax: Axes | None = None) -> Axes:
    """Posterior predictive of each observed summary, in its own s.d. around its median; the observation as points."""
    p = palette()
    x = checked.x[torch.isfinite(checked.x).all(dim=1)].double()
    ax = panel(ax, 4.6, 1.2 + 0.22 * len(checked.names))
    centre, spread = x.median(dim=0).values, centre_and_spread(x)[1]
    scale = torch.where(spread > 0, spread, 1.0)
    q = torch.quantile((x - centre) / scale, torch.tensor([0.025, 0.25, 0.75, 0.975], dtype=torch.float64), dim=0)
    place = np.arange(len(checked.names))
    ax.hlines(place, q[0], q[3], color=p.posterior, lw=1.5)
    ax.hlines(place, q[1], q[2], color=p.posterior, lw=5)
    ax.plot((checked.x_o.double() - centre) / scale, place, "o", color=p.contrast, ms=5)
    ax.set_yticks(place, labels(checked.names))
    ax.invert_yaxis()
    ax.set_xlabel("s.d. from the predictive median (bars: 50 %, 95 %)")
    bare(ax)
    return ax


@typed
def held_out(rates: Mapping[str, tuple[Rate, Rate]], quantity: str, ax: Axes | None = None) -> Axes:
    """Posterior and prior rules in variants that inference never saw.

    Arguments:
        rates: By variant: those of posterior rules, and of prior rules.
        quantity: What is shown.
        ax: Where to draw.
    """
    if not rates:
        raise ValueError("rates must hold at least one variant.")
    p = palette()
    ax = panel(ax, 1.8 + 1.3 * len(rates), 3.0)
    place = np.arange(len(rates))
    for k, (name, colour) in enumerate((("posterior rules", p.posterior), ("prior rules", p.prior))):
        values, errors = zip(*((pair[k].value, pair[k].se) for pair in rates.values()), strict=True)
        ax.bar(place + 0.4 * k - 0.2, values, 0.38, yerr=errors, color=colour, ecolor=p.ink, capsize=2, label=name)
    ax.set_xticks(place, [name.replace(" ", "\n", 1) for name in rates])
    ax.set_ylim(0, 1.1)
    ax.set_ylabel(quantity)
    ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return ax
