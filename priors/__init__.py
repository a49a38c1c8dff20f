"""Catalogue of priors, installed as `sbirules.priors`."""

from .correlated import CorrelatedNormal, PyroPrior, correlated_normal, from_pyro
from .independent import IndependentPrior, LogUniform, log_uniform, normal, uniform
from .sparse import Horseshoe, SpikeAndSlab, TwoSided, horseshoe, spike_and_slab, two_sided

__all__ = [
    "CorrelatedNormal",
    "Horseshoe",
    "IndependentPrior",
    "LogUniform",
    "PyroPrior",
    "SpikeAndSlab",
    "TwoSided",
    "correlated_normal",
    "from_pyro",
    "horseshoe",
    "log_uniform",
    "normal",
    "spike_and_slab",
    "two_sided",
    "uniform",
]
