"""Catalogue of simulators, installed as `sbirules.simulators`."""

from .known_network import KnownNetwork
from .linear_gaussian import LinearGaussian
from .miconi import MICONI_THETA_33, miconi2017
from .rate_rnn import RateRNN

__all__ = ["MICONI_THETA_33", "KnownNetwork", "LinearGaussian", "RateRNN", "miconi2017"]
