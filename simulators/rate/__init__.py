"""Recurrent networks of rate units."""

from ._settings import Settings
from .miconi import MICONI_THETA_33, miconi2017
from .rate_rnn import RateRNN

__all__ = ["MICONI_THETA_33", "SETTINGS", "RateRNN", "miconi2017"]

SETTINGS = tuple(Settings.__dataclass_fields__)
