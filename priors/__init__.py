"""Catalogue of priors, installed as `sbirules.priors`."""

from .independent import IndependentPrior, LogUniform, log_uniform, normal, uniform

__all__ = ["IndependentPrior", "LogUniform", "log_uniform", "normal", "uniform"]
