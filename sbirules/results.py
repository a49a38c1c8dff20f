"""summary.json: the numbers of a study, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sbirules.posterior import Posterior
from sbirules.resimulation import ConstraintCheck, TrialsCheck
from sbirules.sensitivity import Sensitivity
from sbirules.store import SimulationStore
from sbirules.trials import Trials
from sbirules.verdicts import Checks

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
    store: SimulationStore,
    posterior: Posterior,
    checked: Checks | None = None,
    trials: Trials | None = None,
    sensitivity: Sensitivity | None = None,
) -> dict[str, Any]:
    """The content of summary.json."""
    out: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "simulations": {
            "count": len(store),
            "status": {name: n for name, n in store.status_counts().items() if n},
            "seconds": store.seconds,
        },
        "parameters": parameter_table(posterior),
    }
    if posterior.chains is not None:
        out["sampling"] = {
            "draws": len(posterior.draws), "r_hat": posterior.chains.r_hat, "ess": posterior.chains.ess
        }  # fmt: skip
    again = None if checked is None else checked.resimulation
    if isinstance(again, ConstraintCheck):
        out["constraint"] = _constraint(posterior.facts, again)
    elif isinstance(again, TrialsCheck) and trials is not None:
        out["data"] = {
            "learners": len(trials),
            "trials": int(trials.num_trials.sum()),
            "predictive_coverage": again.curve.coverage,
        }
    if checked is not None:
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


def _constraint(facts: Mapping[str, Any], checked: ConstraintCheck) -> dict[str, Any]:
    out: dict[str, Any] = {
        "all_of_networks": facts.get("all_of_networks"),
        "reliability": facts.get("reliability"),
        "rules": checked.rules,
        "networks_per_rule": checked.networks_per_rule,
    }
    for name in ("prior_success", "posterior_success", "zero_rule_success", "posterior_reliable"):
        rate = getattr(checked, name)
        out[name], out[f"{name}_se"] = rate.value, rate.se
    out["predicted_success"] = checked.predicted_success
    return out
