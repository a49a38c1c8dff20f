"""Posteriors as ArviZ InferenceData: the one place that knows ArviZ's containers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.inference.questions import Predictive, Question, Resimulation
from sbirules.inference.record import FitRecord
from sbirules.model.rules import TIME_CONSTANTS
from sbirules.samplers.chains import Chains
from sbirules.support.files import plain
from sbirules.support.streams import Stream, seeded

if TYPE_CHECKING:
    import arviz

__all__ = ["inference_data"]

NUM_PRIOR = 2000


class Described(Protocol):
    """What is written down of a posterior."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def prior(self) -> Distribution: ...

    @property
    def chains(self) -> Chains: ...

    @property
    def question(self) -> Question | None: ...

    @property
    def record(self) -> FitRecord: ...

    @property
    def raw_per_unit(self) -> Tensor | None: ...


def inference_data(posterior: Described, *, checked: Resimulation | None = None, seed: int = 0) -> arviz.InferenceData:
    """Groups prior and posterior, one scalar variable per coefficient; predictions and data where known.

    Variables are in natural units and carry `raw_per_unit`: raw = natural x raw_per_unit. The question, such as
    constraints, is in attributes of the posterior group, as JSON.
    """
    import arviz

    draws = posterior.chains.draws
    with seeded(seed, Stream.PRIOR_SPREAD):
        prior = posterior.prior.sample(Size((NUM_PRIOR,)))[None]
    groups: dict[str, Any] = {
        "posterior": {n: draws[:, :, i].double().numpy() for i, n in enumerate(posterior.names)},
        "prior": {n: prior[:, :, i].double().numpy() for i, n in enumerate(posterior.names)},
    }
    question = posterior.question
    shown = Predictive() if question is None else question.predictive(checked)
    if shown.posterior_predictive:
        predicted = {n: v.double().numpy()[None] for n, v in shown.posterior_predictive.items()}
        groups["posterior_predictive"] = predicted
    if shown.observed_data:
        groups["observed_data"] = {
            n: (v.double() if v.is_floating_point() else v).numpy() for n, v in shown.observed_data.items()
        }
    dims = {n: list(names) for n, names in shown.dims.items()}
    data: arviz.InferenceData = arviz.from_dict(**groups, dims=dims, coords=dict(shown.coords))
    raw = posterior.raw_per_unit if posterior.raw_per_unit is not None else torch.ones(len(posterior.names))
    for group in (data["posterior"], data["prior"]):
        for name, per_unit in zip(posterior.names, raw.tolist(), strict=True):
            unit = TIME_CONSTANTS[name].unit if name in TIME_CONSTANTS else "natural units"
            group[name].attrs.update(raw_per_unit=per_unit, units=unit)
    facts = posterior.record.config()
    facts.pop("training")
    if question is not None:
        facts |= {"kind": question.kind, **question.config()}
    attributes = {k: v if isinstance(v, (int, float, str)) else json.dumps(plain(v)) for k, v in facts.items()}
    attributes |= {"r_hat": posterior.chains.r_hat, "ess": posterior.chains.ess}
    # NaN in an attribute surprises readers
    data["posterior"].attrs.update(
        {k: v for k, v in attributes.items() if not (isinstance(v, float) and np.isnan(v)) and v != "null"}
    )
    return data
