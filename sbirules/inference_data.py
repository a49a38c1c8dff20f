"""Posteriors as ArviZ InferenceData: the one place that knows ArviZ's containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Size

from sbirules.files import plain
from sbirules.resimulation import ConstraintCheck, ObservationCheck, Resimulation, TrialsCheck
from sbirules.rules import TIME_CONSTANTS
from sbirules.streams import seeded
from sbirules.trials import Trials

if TYPE_CHECKING:
    import arviz

    from sbirules.posterior import Posterior

__all__ = ["inference_data"]

NUM_PRIOR = 2000


def inference_data(
    posterior: Posterior,
    *,
    checked: Resimulation | None = None,
    trials: Trials | None = None,
    seed: int = 0,
) -> arviz.InferenceData:
    """Groups prior and posterior, one scalar variable per coefficient; predictions and data where known.

    Variables are in natural units and carry `raw_per_unit`: raw = natural x raw_per_unit. Constraints are
    attributes of the posterior group, as JSON.
    """
    import json

    import arviz

    if posterior.chains is None:
        raise ValueError("there are no draws yet; call posterior.sample first.")
    draws = posterior.chains.draws
    with seeded(seed, 7):
        prior = posterior.prior.sample(Size((NUM_PRIOR,)))[None]
    groups: dict[str, Any] = {
        "posterior": {n: draws[:, :, i].double().numpy() for i, n in enumerate(posterior.names)},
        "prior": {n: prior[:, :, i].double().numpy() for i, n in enumerate(posterior.names)},
    }
    if isinstance(checked, ConstraintCheck):
        groups["posterior_predictive"] = {"success": checked.share.double().numpy()[None]}
    if isinstance(checked, TrialsCheck):
        groups["posterior_predictive"] = {"learning_curve": checked.mean_curves.double().numpy()[None]}
        if checked.curve.observed is not None:
            groups["observed_data"] = {"learning_curve": checked.curve.observed.double().numpy()}
    if isinstance(checked, ObservationCheck):
        groups["posterior_predictive"] = {"summaries": checked.x.double().numpy()[None]}
        groups["observed_data"] = {"summaries": checked.x_o.double().numpy()}
    if trials is not None:
        have = [n for n in ("error", "correct") if n in trials.trajectory.available]
        groups.setdefault("observed_data", {}).update({n: getattr(trials.trajectory, n).double().numpy() for n in have})
        groups["observed_data"]["trial_type"] = trials.trial_types.numpy()
    dims = {
        "learning_curve": ["bin"],
        "summaries": ["summary"],
        **{n: ["learner", "trial"] for n in ("error", "correct", "trial_type")},
    }
    coords: dict[str, Any] = {} if trials is None else {"learner": list(trials.learners)}
    if isinstance(checked, TrialsCheck):
        coords["bin"] = list(checked.curve.names)
    if isinstance(checked, ObservationCheck):
        coords["summary"] = list(checked.names)
    data = arviz.from_dict(**groups, dims=dims, coords=coords)
    raw = posterior.raw_per_unit if posterior.raw_per_unit is not None else torch.ones(len(posterior.names))
    for group in (data["posterior"], data["prior"]):
        for name, per_unit in zip(posterior.names, raw.tolist(), strict=True):
            unit = TIME_CONSTANTS[name].unit if name in TIME_CONSTANTS else "natural units"
            group[name].attrs.update(raw_per_unit=per_unit, units=unit)
    data["posterior"].attrs.update(
        {
            k: v if isinstance(v, (int, float, str)) else json.dumps(plain(v))
            for k, v in posterior.facts.items()
            if k != "training"
        }
    )
    data["posterior"].attrs.update(r_hat=posterior.chains.r_hat, ess=posterior.chains.ess)
    _finite_attributes(data)
    return data


def _finite_attributes(data: arviz.InferenceData) -> None:
    """NetCDF has no None, and NaN in an attribute surprises readers."""
    attrs = data["posterior"].attrs
    for key in [k for k, v in attrs.items() if v is None or (isinstance(v, float) and np.isnan(v))]:
        del attrs[key]
