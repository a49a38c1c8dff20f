"""A policy's rule as a function of what a synapse of the chosen option sees, for posteriors whose coefficients mean little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.rules import PolicyRule
from sbirules.support.own_code import called

__all__ = ["Updates", "updates_of"]

POINTS = 41
WEIGHTS = (-1.0, 0.0, 1.0)
AXES = {"reward above its expectation": "rd", "stimulus x": "x", "weight w": "w"}


@dataclass(frozen=True)
class Updates:
    """Changes of a weight of the chosen option; see `figures.updates`.

    Arguments:
        along: By axis its values, `(K,)`.
        lines: What tells lines apart.
        changes: By axis `(rules, lines, K)`.
    """

    along: dict[str, Tensor]
    lines: tuple[str, ...]
    changes: dict[str, Tensor]


def updates_of(family: PolicyRule, theta: Tensor) -> Updates:
    """That of rules `(rules, D)`: x = 1, r - E[r] = 1 and w at three values, unless it is what an axis goes along.

    Rewards are those above an expectation of 0, y is w x, and the policy's error that of one option against another at logit y.
    Where w is the axis, lines are rewards above their expectation.
    """
    raw = family.columns(theta.double())
    ends = {"rd": (-1.0, 1.0), "x": (-1.0, 1.0), "w": (-2.0, 2.0)}
    along, changes = {}, {}
    for axis, name in AXES.items():
        values = torch.linspace(*ends[name], POINTS, dtype=torch.float64)
        rows = []
        for line in WEIGHTS:
            seen = {"x": torch.ones(POINTS), "rd": torch.ones(POINTS), "w": torch.full((POINTS,), line)}
            if name == "w":
                seen["rd"] = torch.full((POINTS,), line)
            seen[name] = values
            # points stand in the place of features
            x, rd, w = (v.double()[None, None] for v in (seen["x"], seen["rd"], seen["w"]))
            y = w * x
            dw = called(family.update, raw, x=x, c=torch.ones(1, 1, 1), d=1 - torch.sigmoid(y), y=y, w=w, r=rd, rd=rd)
            rows.append(torch.broadcast_to(dw, (len(theta), 1, POINTS))[:, 0])
        along[axis], changes[axis] = values, torch.stack(rows, dim=1)
    return Updates(along, tuple(f"{v:g}" for v in WEIGHTS), changes)
