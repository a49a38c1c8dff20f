"""Catalogue of priors, installed as `sbirules.priors`: the names, and the tables that study files, `sbirules list` and
files of posteriors read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.distributions import Distribution, Normal

from .correlated import CorrelatedNormal, PyroPrior, correlated_normal, from_pyro
from .independent import IndependentPrior, LogUniform, log_uniform, normal, uniform
from .sparse import Horseshoe, SpikeAndSlab, TwoSided, horseshoe, spike_and_slab, two_sided

__all__ = [
    "COMPONENTS",
    "PRIORS",
    "CorrelatedNormal",
    "Horseshoe",
    "IndependentPrior",
    "LogUniform",
    "PyroPrior",
    "SpikeAndSlab",
    "TwoSided",
    "correlated_normal",
    "from_pyro",
    "from_written",
    "horseshoe",
    "log_uniform",
    "normal",
    "spike_and_slab",
    "two_sided",
    "uniform",
    "written_down",
]

# what [prior] of a study file can name
PRIORS: dict[str, Callable[..., Distribution]] = {"uniform": uniform, "normal": normal}
# what [prior.COEFFICIENT] can name, and the names of its numbers there
COMPONENTS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "log_uniform": (log_uniform, ("low", "high")),
    "uniform": (lambda low, high: (low, high), ("low", "high")),
    "normal": (Normal, ("mean", "sd")),
}
# priors that files bring back, by the place of their class
WRITTEN: dict[str, Any] = {
    f"{kind.__module__}:{kind.__qualname__}": kind for kind in (IndependentPrior, SpikeAndSlab, CorrelatedNormal)
}


def written_down(prior: Distribution) -> dict[str, Any] | None:
    """A prior of this catalogue in plain types; None for any other, and for one that its plain form would not bring back."""
    name = f"{type(prior).__module__}:{type(prior).__qualname__}"
    if name not in WRITTEN:
        return None
    content = {"class": name, "config": prior.config()}  # type: ignore[attr-defined]  # all in the table have one
    try:
        return None if from_written(content) is None else content
    except ValueError:
        return None


def from_written(content: Mapping[str, Any]) -> Distribution | None:
    """The prior that was `written_down`; None if it is not one of this catalogue."""
    kind = WRITTEN.get(str(content.get("class", "")))
    prior: Distribution | None = None if kind is None else kind.from_config(content["config"])
    return prior
