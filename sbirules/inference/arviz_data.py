"""Posteriors as ArviZ InferenceData: the one place that knows ArviZ's containers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.inference.questions import Predictive, Question, Resimulation
from sbirules.inference.record import FitRecord
from sbirules.model.rules import RESERVED, own_unit
from sbirules.samplers.chains import Chains
from sbirules.support.borrowed import without_notice
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

    A coefficient with the name of a dimension, such as `draw`, gets a `_` at its end, with a warning; the attribute
    `coefficient` of a variable keeps the name.

    Variables are in natural units and carry `raw_per_unit`: raw = natural x raw_per_unit. The question, such as
    constraints, is in attributes of the posterior group, as JSON.
    """
    with without_notice():
        import arviz

    draws = posterior.chains.draws
    with seeded(seed, Stream.PRIOR_SPREAD):
        prior = posterior.prior.sample(Size((NUM_PRIOR,)))[None]
    question = posterior.question
    shown = Predictive() if question is None else question.predictive(checked)
    dimensions = [name for names in shown.dims.values() for name in names]
    names = _free_names(posterior.names, {*RESERVED, *shown.dims, *shown.coords, *dimensions})
    groups: dict[str, Any] = {
        "posterior": {n: draws[:, :, i].double().numpy() for i, n in enumerate(names)},
        "prior": {n: prior[:, :, i].double().numpy() for i, n in enumerate(names)},
    }
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
    usual = Question.units if question is None else question.units
    for group in (data["posterior"], data["prior"]):
        for name, column, per_unit in zip(names, posterior.names, raw.tolist(), strict=True):
            unit = own_unit(column) or usual
            group[name].attrs.update(raw_per_unit=per_unit, units=unit, coefficient=column)
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


def _free_names(names: Sequence[str], taken: Collection[str]) -> tuple[str, ...]:
    """Names of variables, none of which is that of a dimension."""
    used, out = {*taken, *names}, []
    for name in names:
        new = name
        while new in taken or (new != name and new in used):
            new += "_"
        used.add(new)
        out.append(new)
        if new != name:
            warnings.warn(f"the coefficient {name!r} is called {new!r} here: ArviZ has a dimension of that name.")
    return tuple(out)
