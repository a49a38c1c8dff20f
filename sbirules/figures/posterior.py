"""Figures of a distribution over rules. Each takes axes and returns them; nothing is shown or saved here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sbirules.figures.drawable import RuleDistribution
from sbirules.figures.style import axis_label, bare, beside, breadth, fade, labels, palette, panel, panels, patch
from sbirules.model.prior import prior_draws
from sbirules.model.rules import SPIKE_TIMES, TIME_CONSTANTS
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from sbirules.figures.style import Grid, GridLike

__all__ = ["NOT_RULE", "correlations", "inclusion", "marginals", "most_informed", "pairs", "rule_matrix"]

PRIOR_DRAWS = 4000
MAX_PAIR = 5  # coefficients in a pair plot; more cannot be read
NATURAL = "natural units"
UNITS = f"coefficient ({NATURAL})"
NOT_RULE = "not the rule"


@typed
def most_informed(posterior: RuleDistribution, count: int = MAX_PAIR) -> list[int]:
    """Columns whose posterior differs most from the prior: in width, or in place."""
    draws, prior = posterior.draws, prior_draws(posterior.prior, PRIOR_DRAWS)
    shrink = 1 - draws.std(dim=0) / prior.std(dim=0)
    shift = (draws.mean(dim=0) - prior.mean(dim=0)).abs() / prior.std(dim=0)
    order = torch.argsort(shrink + shift, descending=True)[:count]
    return sorted(order.tolist())


def units_in(posterior: RuleDistribution) -> str:
    """What coefficients are measured in: as the posterior's question says, where there is one."""
    return str(getattr(getattr(posterior, "question", None), "units", NATURAL))


@typed
def pairs(
    posterior: RuleDistribution,
    columns: Sequence[int] | None = None,
    *,
    truth: ArrayLike | None = None,
    points: Tensor | None = None,
    units: str | None = None,
    axes: GridLike | None = None,
) -> Grid:
    """Marginals and pairs of the coefficients that were learned most about, the prior in grey.

    Arguments:
        posterior: With draws.
        columns: Coefficients to show; None for those that the data tell most about.
        truth: A rule to mark, `(D,)`.
        points: Optimised rules to mark, `(n, D)`, the best first.
        units: Of coefficients, for the title; None for those of the posterior's question.
        axes: n x n axes for n coefficients.
    """
    p, units = palette(), units or units_in(posterior)
    d = len(posterior.names)
    if columns is None:
        columns = most_informed(posterior, beside(MAX_PAIR, MAX_PAIR, 3))
    columns = [arguments.position("columns", i, d) for i in columns]
    if not columns:
        raise ValueError("columns must hold at least one position.")
    if truth is not None:
        truth = arguments.theta_matrix(truth, posterior.names, argument="truth")[0]
    if points is not None:
        points = arguments.theta_matrix(points, posterior.names, argument="points")
    logs = [posterior.names[i] in TIME_CONSTANTS for i in columns]
    draws, prior = (_logged(t[:, columns], logs) for t in (posterior.draws, prior_draws(posterior.prior, PRIOR_DRAWS)))
    names = [("log10 " if log else "") + axis_label(posterior.names[i]) for i, log in zip(columns, logs, strict=True)]
    n = len(columns)
    width = breadth(1.5 * n + 1)
    axes = panels(axes, n, n, width, width - 0.4)
    low = torch.minimum(draws.min(0).values, prior.min(0).values).numpy()
    high = torch.maximum(draws.max(0).values, prior.max(0).values).numpy()
    marks = None if truth is None else _logged(torch.as_tensor(truth).flatten()[None, columns], logs)[0].numpy()
    dots = None if points is None else _logged(points.float()[:, columns], logs).numpy()
    for more in (None if marks is None else marks[None], dots):  # a point may lie outside the prior
        if more is not None:
            low, high = np.minimum(low, more.min(axis=0)), np.maximum(high, more.max(axis=0))
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
                ax.hist(prior[:, i].numpy(), bins, density=True, color=p.prior, alpha=0.35)
                ax.hist(draws[:, i].numpy(), bins, density=True, color=p.posterior, alpha=0.8)
                ax.set_yticks([])
                ax.set_title(names[i], fontsize=9)
            else:
                ax.hist2d(
                    draws[:, j].numpy(),
                    draws[:, i].numpy(),
                    bins=24,
                    cmap=fade(p.posterior),
                    range=[[low[j], high[j]], [low[i], high[i]]],
                )
                ax.axhline(0, color=p.prior, lw=0.6)
                ax.set_ylim(low[i], high[i])
            ax.axvline(0, color=p.prior, lw=0.6)
            ax.set_xlim(low[j], high[j])
            if marks is not None:
                ax.axvline(marks[j], color=p.contrast, lw=1.2)
                if i != j:
                    ax.axhline(marks[i], color=p.contrast, lw=1.2)
            if dots is not None:
                heights = dots[:, i] if i != j else np.full(len(dots), 0.04 * ax.get_ylim()[1])
                ax.plot(dots[:, j], heights, "o", color=p.contrast, ms=4, mfc="none", mew=1.0)
                ax.plot(dots[0, j], heights[0], "o", color=p.contrast, ms=5)
            ax.tick_params(labelsize=7, labelbottom=i == n - 1, labelleft=j == 0 and i > 0)
            if i == n - 1:
                ax.set_xlabel(names[j])
            if j == 0 and i > 0:
                ax.set_ylabel(names[i])
    handles: list[Artist] = [patch(p.posterior, "posterior"), patch(p.prior, "prior", alpha=0.5)]
    if marks is not None:
        handles.append(patch(p.contrast, "truth"))
    if dots is not None:
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], color=p.contrast, marker="o", ls="", label="optimised (best filled)"))
    figure = axes[0, 0].figure
    figure.legend(handles=handles, loc="upper right", frameon=False, fontsize=9)
    figure.suptitle(f"Posterior and prior, {units}", x=0.01, ha="left", fontsize=10)
    return axes


def _logged(values: Tensor, logs: Sequence[bool]) -> Tensor:
    """Columns of time constants as logarithms."""
    return torch.where(torch.tensor(list(logs)), values.clamp(min=1e-12).log10(), values)


@typed
def marginals(
    posterior: RuleDistribution,
    axes: GridLike | None = None,
    *,
    apart: Sequence[str] = (),
    units: str | None = None,
    as_shares: bool = False,
) -> Grid:
    """Mean, 50 % and 95 % interval of every coefficient; the prior's 95 % interval in grey.

    Time constants get panels of their own, and so does what is not of the rule: as many axes as there are groups.

    Arguments:
        posterior: With draws.
        axes: One for each group.
        apart: Coefficients of policy, circuit or measurement, not of the rule.
        units: Of coefficients, for the axis; None for those of the posterior's question.
        as_shares: Whether those apart are shown by the share of the prior that lies below, since they have different units.
    """
    p, units = palette(), units or units_in(posterior)
    draws, prior = posterior.draws.double(), prior_draws(posterior.prior, PRIOR_DRAWS).double()
    for name in apart:
        arguments.known("apart", name, posterior.names)
    label = f"coefficient ({units})"
    of_others = f"{NOT_RULE} ({units})"
    if as_shares and apart:
        columns = [posterior.names.index(name) for name in apart]
        of_others = f"{NOT_RULE}: share of the prior below"
        below = [_share_below(prior[:, i], v[:, i]) for v in (draws, prior) for i in columns]
        draws, prior = draws.clone(), prior.clone()
        draws[:, columns], prior[:, columns] = (
            torch.stack(v, dim=1) for v in (below[: len(columns)], below[len(columns) :])
        )
    groups = [
        ([i for i, n in enumerate(posterior.names) if n not in {*TIME_CONSTANTS, *SPIKE_TIMES, *apart}], label, False),
        ([i for i, n in enumerate(posterior.names) if n in apart], of_others, False),
        ([i for i, n in enumerate(posterior.names) if n in SPIKE_TIMES], "time constant (ms)", False),
        *(([i], axis_label(n), True) for i, n in enumerate(posterior.names) if n in TIME_CONSTANTS),
    ]
    groups = [g for g in groups if g[0]]
    heights = [0.24 * len(g[0]) + 0.5 for g in groups]
    axes = panels(axes, len(groups), 1, breadth(6.4), sum(heights) + 0.7, height_ratios=heights)
    for ax, (rows, label, log) in zip(axes[:, 0], groups, strict=True):
        for y, i in enumerate(rows):
            ends = torch.quantile(prior[:, i], torch.tensor([0.025, 0.975], dtype=torch.float64))
            q = torch.quantile(draws[:, i], torch.tensor([0.025, 0.25, 0.75, 0.975], dtype=torch.float64))
            ax.plot(ends, [y, y], color=p.prior, alpha=0.35, lw=7, solid_capstyle="butt")
            ax.plot(q[[0, 3]], [y, y], color=p.posterior, lw=1.6)
            ax.plot(q[[1, 2]], [y, y], color=p.posterior, lw=4.5, solid_capstyle="butt")
            ax.plot(draws[:, i].mean(), y, "o", color=p.paper, mec=p.posterior, ms=5)
        ax.set_yticks(range(len(rows)), labels([posterior.names[i] for i in rows]))
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlabel(label)
        if log:
            ax.set_xscale("log")
        else:
            ax.axvline(0, color=p.ink, lw=0.7)
        bare(ax)
    axes[0, 0].figure.legend(
        handles=[patch(p.posterior, "posterior: mean, 50 %, 95 %"), patch(p.prior, "prior: 95 %", alpha=0.35)],
        loc="outside upper right",
        ncols=beside(2, 2, 1),
        frameon=False,
        fontsize=8,
    )
    return axes


def _share_below(of: Tensor, values: Tensor) -> Tensor:
    """Share of draws that lie below each value."""
    return torch.searchsorted(of.sort().values, values.contiguous()).double() / len(of)


@typed
def correlations(posterior: RuleDistribution, ax: Axes | None = None) -> Axes:
    """Posterior correlations: which coefficients compensate for which."""
    names = labels(posterior.names)
    r = np.atleast_2d(np.corrcoef(posterior.draws.double().numpy().T))
    size = 2.2 + 0.3 * len(names)
    more = 0.09 * max(0, max(map(len, posterior.names)) - 8)  # long names stand below and beside
    ax = panel(ax, size + 0.6 + more, size + more)
    ax.set_facecolor(palette().soft)  # the diagonal
    image = ax.imshow(np.ma.masked_where(np.eye(len(names)) > 0, r), cmap=palette().diverging, vmin=-1, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0, labelsize=9)
    for i in range(len(names)):
        for j in range(len(names)):
            if i != j and abs(r[i, j]) >= 0.3:
                ink = "white" if abs(r[i, j]) > 0.6 else "black"
                ax.text(j, i, f"{r[i, j]:.1f}".replace("0.", "."), ha="center", va="center", fontsize=7, color=ink)
    ax.figure.colorbar(image, ax=ax, label="posterior correlation", shrink=0.8)
    return ax


@typed
def rule_matrix(posterior: RuleDistribution, ax: Axes | None = None) -> Axes:
    """The coefficients theta_kl of a polynomial family as a matrix: power k of r_j down, power l of the deviation across.

    Each cell shows the posterior mean and the 95 % interval; cells whose interval excludes zero are outlined.

    Raises:
        ValueError: If the coefficients are not called theta_kl.
    """
    p = palette()
    at = {
        n: (int(n[6]), int(n[7])) for n in posterior.names if n.startswith("theta_") and n[6:].isdigit() and len(n) == 8
    }
    if not at:
        raise ValueError(f"rule_matrix needs coefficients theta_kl, got {', '.join(posterior.names)}.")
    size = 1 + max(max(place) for place in at.values())
    draws = posterior.draws.double()
    mean = np.full((size, size), np.nan)
    ax = panel(ax, 1.25 * size + 1.4, 0.9 * size + 1.0)
    largest = max(float(draws[:, posterior.names.index(n)].mean().abs()) for n in at) or 1.0
    for name, (k, m) in at.items():
        column = draws[:, posterior.names.index(name)]
        mean[k, m] = column.mean()
        low, high = (float(torch.quantile(column, q)) for q in (0.025, 0.975))
        ink = "white" if abs(mean[k, m]) > 0.62 * largest else "black"
        ax.text(m, k - 0.12, f"{mean[k, m]:.2f}", ha="center", va="center", fontsize=10, color=ink)
        ax.text(m, k + 0.2, f"[{low:.2f}, {high:.2f}]", ha="center", va="center", fontsize=6.5, color=ink)
        if low > 0 or high < 0:
            from matplotlib.patches import Rectangle

            ax.add_patch(Rectangle((m - 0.48, k - 0.48), 0.96, 0.96, fill=False, ec=p.ink, lw=1.8))
    ax.set_facecolor(p.paper)
    image = ax.imshow(mean, cmap=p.diverging, vmin=-largest, vmax=largest)
    ax.set_xticks(range(size), [f"$({{\\bar x}}_i - x_i)^{m}$" for m in range(size)])
    ax.set_yticks(range(size), [f"$r_j^{k}$" for k in range(size)])
    ax.tick_params(length=0)
    ax.set_title("posterior mean [95 %]; outlined: excludes 0", fontsize=9)
    ax.figure.colorbar(image, ax=ax, label=UNITS, shrink=0.85)
    return ax


@typed
def inclusion(posterior: RuleDistribution, ax: Axes | None = None) -> Axes:
    """Probability that each term is present, the prior's beside it; for spike-and-slab priors."""
    p = palette()
    found = posterior.inclusion_probabilities()
    before = (prior_draws(posterior.prior, PRIOR_DRAWS) != 0).double().mean(dim=0)
    ax = panel(ax, 1.6 + 0.42 * len(found), 3.0)
    place = np.arange(len(found))
    ax.bar(place, list(found.values()), color=p.posterior, width=0.7, label="posterior")
    ax.hlines(before, place - 0.42, place + 0.42, color=p.contrast, lw=2, label="prior")
    ax.set_xticks(place, labels(list(found)), rotation=90 if len(found) > 9 else 0)
    ax.set_ylim(0, 1)
    ax.set_ylabel("probability that the term is present")
    ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return ax
