"""Figures of sessions: scales over sessions and what laws predict, and what of laws does not depend on coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sbirules.figures.style import bare, palette, panels
from sbirules.model.session_scales import SessionScales
from sbirules.support.typed import typed

if TYPE_CHECKING:
    from sbirules.figures.style import Grid, GridLike

__all__ = ["invariants", "session_forecast", "session_scales"]

IN_A_ROW = 3


def _grid(axes: GridLike | None, count: int, **options: bool) -> tuple[Grid, list[Any]]:
    across = min(count, IN_A_ROW)
    down = -(-count // across)
    axes = panels(axes, down, across, 3.4 * across + 0.4, 2.5 * down, **options)
    flat = list(np.asarray(axes).flatten())
    for ax in flat[count:]:
        ax.set_visible(False)
    return axes, flat


@typed
def session_forecast(
    scales: Tensor,
    given: int,
    mean: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    names: Sequence[str] = (),
    axes: GridLike | None = None,
) -> Grid:
    """Scales of one animal over sessions, and what is predicted after the first ones.

    Arguments:
        scales: Measured, `(K, R)`.
        given: Sessions that predictions were given.
        mean: Predicted, `(K - given, R)`.
        low: Where bands begin.
        high: Where bands end.
        names: Of the scales.
        axes: One for each scale.
    """
    p, count = palette(), scales.shape[1]
    axes, flat = _grid(axes, count, sharex=True)
    later = np.arange(given + 1, given + 1 + len(mean))
    for k in range(count):
        ax = flat[k]
        ax.fill_between(later, low[:, k], high[:, k], color=p.posterior, alpha=0.25, lw=0, label="laws, 95 %")
        ax.plot(later, mean[:, k], color=p.posterior, lw=1.6, label="median")
        ax.plot(np.arange(1, len(scales) + 1), scales[:, k], "o", color=p.ink, ms=3.5, label="measured")
        ax.axvline(given + 0.5, color=p.soft, lw=0.8, ls="--")
        ax.set_title(names[k] if names else f"scale {k + 1}", fontsize=10)
        ends = _ends(scales[:, k], torch.cat([low[:, k], high[:, k]]))
        ax.set_ylim(*ends)
        bare(ax)
    for ax in flat[max(0, count - IN_A_ROW) : count]:
        ax.set_xlabel("session")
    handles, labels = flat[0].get_legend_handles_labels()
    flat[0].figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return axes


def _ends(value: Tensor, band: Tensor) -> tuple[float, float]:
    """What is shown of an axis: all measurements, and of bands what is at most four times as far."""
    known, middle = value[torch.isfinite(value)], float(value.nanmean())
    spread = float((known - middle).abs().max()) + 1e-9
    every = torch.cat([known, band[torch.isfinite(band)]]).clamp(middle - 4 * spread, middle + 4 * spread)
    return float(every.min()) - 0.1 * spread, float(every.max()) + 0.1 * spread


@typed
def session_scales(sessions: SessionScales, *, axes: GridLike | None = None) -> Grid:
    """Scales of all animals over sessions with their standard errors, a panel for each scale and channel of stimulation.

    Arguments:
        sessions: The session scales.
        axes: One for each scale, then each channel.
    """
    p, r = palette(), len(sessions.names)
    axes, flat = _grid(axes, r + len(sessions.channels), sharex=True)
    sd = sessions.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    alpha = 1.0 if len(sessions) == 1 else 0.6
    for a, count in enumerate(sessions.num_sessions.tolist()):
        at = np.arange(1, count + 1)
        for k in range(r):
            style = {"fmt": "o-", "ms": 3, "lw": 0.8, "color": p.posterior, "alpha": alpha}
            flat[k].errorbar(at, sessions.scales[a, :count, k], sd[a, :count, k], **style)
        for k in range(len(sessions.channels)):
            flat[r + k].step(at, sessions.stimulation[a, :count, k], where="mid", color=p.ink, lw=0.9, alpha=alpha)
    for ax, name in zip(flat, (*sessions.names, *sessions.channels), strict=False):
        ax.set_title(name, fontsize=10)
        bare(ax)
    for ax in flat[max(0, r + len(sessions.channels) - IN_A_ROW) : r + len(sessions.channels)]:
        ax.set_xlabel("session")
    return axes


@typed
def invariants(own: Mapping[str, Tensor], prior: Mapping[str, Tensor], *, axes: GridLike | None = None) -> Grid:
    """Distributions of numbers of laws, of the posterior beside the prior.

    Arguments:
        own: Draws by name.
        prior: The same of the prior.
        axes: One for each.
    """
    p = palette()
    axes, flat = _grid(axes, len(own))
    for ax, (name, value) in zip(flat, own.items(), strict=False):
        drawn, before = (v[torch.isfinite(v)].double() for v in (value, prior[name]))
        if not len(drawn):
            ax.text(0.5, 0.5, "infinite in all draws", ha="center", va="center", transform=ax.transAxes, fontsize=8)
            bare(ax)
            ax.set_title(name, fontsize=9)
            continue
        low, high = torch.quantile(drawn, torch.tensor([0.005, 0.995], dtype=torch.float64)).tolist()
        room = 1.5 * (high - low) + 1e-9  # the prior may reach far, what was learned is to be seen
        low, high = max(low - room, min(low, float(before.min()))) if len(before) else low, high + room
        whole = bool((drawn == drawn.round()).all()) and high - low < 20
        bins = (
            np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
            if whole
            else np.linspace(low, max(high, low + 1e-6), 40)
        )
        for values, label, color, alpha in ((before, "prior", p.prior, 0.4), (drawn, "posterior", p.posterior, 0.8)):
            if len(values):  # a density of all draws, those outside the axes too
                each = np.full(len(values), 1 / (len(values) * (bins[1] - bins[0])))
                ax.hist(values.numpy(), bins, weights=each, color=color, alpha=alpha, label=label)
        share = 1 - len(drawn) / len(value)
        ax.set_title(name + (f" ({share:.0%} infinite)" if share > 0 else ""), fontsize=9)
        ax.set_yticks([])
        bare(ax)
    handles, labels = flat[0].get_legend_handles_labels()
    flat[0].figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return axes
