"""Simulators whose posterior or likelihood is known, to hold estimators against."""

from .known_network import KnownNetwork
from .linear_gaussian import LinearGaussian, TruncatedGaussian

__all__ = ["KnownNetwork", "LinearGaussian", "TruncatedGaussian"]
