"""What the interactive figure of a report knows: draws of the posterior, and what rules that were tried did."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from sbirules import figures
from sbirules.checks.collected import Checks
from sbirules.inference.posterior import Posterior
from sbirules.model.prior import prior_draws

__all__ = ["as_json", "explorer"]

DRAWS = 800  # posterior draws that are shown
FEWEST, VALUES = 100, 40_000  # draws at least, and numbers in all, so that a page stays small
ROWS = 48  # predicted values that are shown, of all kinds together


def explorer(posterior: Posterior, units: list[str], checked: Checks | None) -> dict[str, Any]:
    """The figure's data, as JSON, and what to do with it in words."""
    count = max(FEWEST, min(DRAWS, VALUES // len(posterior.names)))
    step = max(1, len(posterior.draws) // count)
    draws = posterior.draws[::step][:count]
    prior = prior_draws(posterior.prior, 4000).double()
    low, high = (torch.quantile(prior, q, dim=0).tolist() for q in (0.025, 0.975))
    two = figures.most_informed(posterior, 2)
    success = posterior.predicted_success(draws.float())
    tried = _tried(checked)
    data = {
        "names": list(posterior.names),
        "units": units,
        "draws": _rounded(draws),
        "low": low,
        "high": high,
        "start": [two[0], two[-1]],
        "success": None if success is None else [round(v, 3) for v in success.tolist()],
        "tried": tried,
    }
    words = (
        f"{len(draws)} draws of the posterior; the dashed rectangle holds 95 % of the prior along each coefficient. Choose two "
        "coefficients, point at a rule for its values, and drag across the plot (or type limits) to highlight the rules of a "
        "region: their other coefficients appear beside or below"
        + (f", and what {len(tried['theta'])} of the rules did when they were tried." if tried else ".")
    )
    return {"data": as_json(data), "words": words, "tried": bool(tried)}


def _tried(checked: Checks | None) -> dict[str, Any] | None:
    """Rules that were re-simulated, and what came of each: values by name, beside those observed."""
    if checked is None or checked.resimulation is None or checked.question is None:
        return None
    theta = checked.resimulation.theta
    told, left, groups = checked.question.predictive(checked.resimulation), ROWS, []
    for name, made in told.posterior_predictive.items():
        values = _by_rule(made, len(theta))
        if values is None or not left:
            continue
        dims = told.dims.get(name, [])
        labels = [str(v) for v in told.coords.get(dims[0], [])] if dims else [name.replace("_", " ")]
        if len(labels) != values.shape[1]:
            labels = [f"{name.replace('_', ' ')} {k + 1}" for k in range(values.shape[1])]
        if all(label.startswith(f"{name}[") for label in labels):  # the name stands above them
            labels = [label[len(name) + 1 : -1].replace(",", ", ") for label in labels]
        seen = told.observed_data.get(name)
        own = None if seen is None or seen.numel() != values.shape[1] else seen.flatten()[:left]
        groups.append(
            {
                "name": name.replace("_", " "),
                "labels": labels[:left],
                "values": _rounded(values[:, :left]),
                "observed": None if own is None else _rounded(own[None])[0],
            }
        )
        left -= min(left, values.shape[1])
    return {"theta": _rounded(theta), "groups": groups} if groups else None


def _by_rule(made: Tensor, rules: int) -> Tensor | None:
    """Values `(rules, K)`, the mean over each rule's networks; None where they are not by rule."""
    made = made.double()
    made = made[:, None] if made.ndim == 1 else made
    if made.ndim != 2 or not rules or len(made) % rules:
        return None
    return made.reshape(rules, len(made) // rules, -1).nanmean(dim=1)


def _rounded(values: Tensor) -> list[list[float | None]]:
    """To four digits; what is not finite is null, which JSON knows."""
    return [[float(f"{v:.4g}") if abs(v) < float("inf") else None for v in row] for row in values.double().tolist()]


def as_json(data: Any) -> Any:
    """JSON that cannot end its own script element, for a template."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
