"""Catalogue of priors, installed as `sbirules.priors`: the names, and the tables that study files, `sbirules list` and
files of posteriors read."""

from __future__ import annotations

if __name__ != "sbirules.priors":  # found as a folder of the repository: a second copy of every class
    raise ImportError("priors/ is installed as sbirules.priors: import from there.")

from collections.abc import Callable

from torch.distributions import Distribution, Normal

from sbirules.model.prior import Written
from sbirules.support.files import Plain, plain
from sbirules.support.typed import typed

from .brought import BroughtPrior, PriorLike, as_prior
from .completed import completed
from .correlated import CorrelatedNormal, PyroPrior, correlated_normal, from_pyro
from .independent import Component, IndependentPrior, LogUniform, log_uniform, normal, uniform
from .sparse import Horseshoe, SpikeAndSlab, TwoSided, horseshoe, spike_and_slab, two_sided

__all__ = [
    "COMPONENTS",
    "PRIORS",
    "BroughtPrior",
    "CorrelatedNormal",
    "Horseshoe",
    "IndependentPrior",
    "LogUniform",
    "PriorLike",
    "PyroPrior",
    "SpikeAndSlab",
    "TwoSided",
    "as_prior",
    "completed",
    "correlated_normal",
    "from_pyro",
    "from_written",
    "horseshoe",
    "log_uniform",
    "normal",
    "of_plain_form",
    "spike_and_slab",
    "two_sided",
    "uniform",
    "written_down",
]

# what [prior] of a study file can name
PRIORS: dict[str, Callable[..., Distribution]] = {"uniform": uniform, "normal": normal}
# what [prior.COEFFICIENT] can name, and the names of its numbers there
COMPONENTS: dict[str, tuple[Callable[..., Component], tuple[str, ...]]] = {
    "log_uniform": (log_uniform, ("low", "high")),
    "uniform": (lambda low, high: (low, high), ("low", "high")),
    "normal": (Normal, ("mean", "sd")),
}
# priors that files bring back, by the place of their class
WRITTEN: dict[str, Callable[[Plain], Distribution]] = {
    f"{kind.__module__}:{kind.__qualname__}": kind.from_config
    for kind in (IndependentPrior, SpikeAndSlab, CorrelatedNormal, BroughtPrior)
}


@typed
def written_down(prior: Distribution) -> dict[str, object] | None:
    """A prior of this catalogue in plain types; None for any other, and for one that its plain form would not bring back."""
    name = f"{type(prior).__module__}:{type(prior).__qualname__}"
    if name not in WRITTEN or not isinstance(prior, Written):
        return None
    content: dict[str, object] = {"class": name, "config": prior.config()}
    try:
        return None if from_written(content) is None else content
    except ValueError:
        return None


@typed
def from_written(content: Plain) -> Distribution | None:
    """The prior that was `written_down`; None if it is not one of this catalogue."""
    read = WRITTEN.get(str(content.get("class", "")))
    return None if read is None else read(content["config"])


def of_plain_form(config: Plain) -> Distribution | None:
    """The prior of this catalogue with that plain form (its `config()`); None if none has it."""
    for read in WRITTEN.values():
        try:
            prior = read(config)
            if isinstance(prior, Written) and plain(prior.config()) == plain(config):
                return prior
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # another class's form
            continue
    return None
