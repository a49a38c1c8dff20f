"""summary.json: the numbers of a study, for programs."""

from __future__ import annotations

from typing import Any

import torch

from sbirules.checks.collected import Checks
from sbirules.importance import Sensitivity
from sbirules.inference.posterior import Posterior
from sbirules.stores.store import SimulationStore

__all__ = ["SCHEMA_VERSION", "parameter_table", "summary"]

SCHEMA_VERSION = 1


def parameter_table(posterior: Posterior) -> dict[str, dict[str, float]]:
    """Mean, s.d. and 95 % interval of each coefficient, in natural units."""
    draws = posterior.draws.double()
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return {
        name: {
            "mean": float(draws[:, i].mean()),
            "sd": float(draws[:, i].std()),
            "q025": float(low[i]),
            "q975": float(high[i]),
        }
        for i, name in enumerate(posterior.names)
    }


def summary(
    store: SimulationStore | None,
    posterior: Posterior,
    checked: Checks | None = None,
    sensitivity: Sensitivity | None = None,
) -> dict[str, Any]:
    """The content of summary.json."""
    chains = posterior.chains
    out: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "simulations": {"count": 0, "status": {}, "seconds": 0.0}
        if store is None  # where the likelihood is known exactly
        else {
            "count": len(store),
            "status": {name: n for name, n in store.status_counts().items() if n},
            "seconds": store.seconds,
        },
        "parameters": parameter_table(posterior),
        "sampling": {"draws": len(posterior.draws), "r_hat": chains.r_hat, "ess": chains.ess},
    }
    if checked is not None:
        if checked.question is not None and checked.resimulation is not None:
            out |= checked.question.numbers(checked.resimulation)
        out["checks"] = checked.to_dict()
    if sensitivity is not None:
        out["sensitivity"] = _sensitivity(sensitivity)
    return out


def _sensitivity(found: Sensitivity) -> dict[str, Any]:
    """Each effect by coefficient, `[value, standard error]`."""
    effects = {
        name: {n: [v, s] for n, v, s in zip(e.names, e.value.tolist(), e.se.tolist(), strict=True)}
        for name, e in found.effects().items()
    }
    return {"outcome": found.outcome, **effects}
