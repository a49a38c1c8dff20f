"""Whether the prior that a saved posterior is loaded with is the one that it was saved with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.prior import names_of, prior_draws
from sbirules.priors import written_down
from sbirules.support import arguments
from sbirules.support.files import Plain, differences, plain

__all__ = ["check_same", "points_of"]

POINTS = 64  # draws of the prior at which a file keeps its log-density
CLOSE = 1e-3  # by which log-densities at the same point may differ, from one machine to another


def points_of(prior: Distribution) -> dict[str, Tensor]:
    """Draws of a prior, and its log-density there: what tells it from another where neither has a plain form."""
    theta = prior_draws(prior, POINTS).float()
    return {"prior.theta": theta, "prior.log_prob": prior.log_prob(theta).detach().float()}


def check_same(given: Distribution, content: Plain | None, points: Mapping[str, Tensor], folder: Path) -> None:
    """Raises ValueError unless a prior is that of a file: by their plain forms, or else by log-densities at stored points.

    Arguments:
        given: The prior that a posterior is to be loaded with.
        content: What `written_down` gave for that of the file, or None.
        points: What `points_of` gave for that of the file.
        folder: Where the file is.
    """
    now = plain(written_down(given))
    if now is not None and content is not None and now["class"] == content["class"]:
        for key, was, given_one in differences(_listed(content["config"]), _listed(now["config"])):
            raise ValueError(
                f"{folder} was fitted under another prior: {key} was {was}, of the one given it is {given_one}; load it "
                f"without a prior, or with that of the fit."
            )
        return
    if "prior.theta" not in points:
        raise ValueError(f"{folder} does not tell which prior it was fitted under; fit again.")
    theta, then_there = points["prior.theta"], points["prior.log_prob"]
    with torch.no_grad():
        there = given.log_prob(theta).float()
    apart = (there - then_there).abs()
    apart = torch.where(torch.isfinite(there), apart, math.inf)
    worst = int(apart.argmax())
    if not float(apart[worst]) < CLOSE * max(1.0, abs(float(then_there[worst]))):
        names = names_of(given, [f"theta_{k + 1}" for k in range(theta.shape[1])])
        where = arguments.listed(f"{n} = {v:.4g}" for n, v in zip(names, theta[worst].tolist(), strict=True))
        raise ValueError(
            f"{folder} was fitted under another prior: at {where} its log-density was {float(then_there[worst]):.4g}, of the "
            f"one given it is {float(there[worst]):.4g}; load it with the prior of the fit."
        )


def _listed(content: object) -> object:
    """With lists as mappings by number, so that components are named one by one."""
    if isinstance(content, (list, tuple)):
        return {str(k + 1): _listed(v) for k, v in enumerate(content)}
    return {k: _listed(v) for k, v in content.items()} if isinstance(content, Mapping) else content
