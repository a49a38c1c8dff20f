"""Feedforward networks with one hidden layer."""

from ._settings import Settings
from .feedforward_network import FeedforwardNetwork

__all__ = ["FEEDFORWARD_SETTINGS", "FeedforwardNetwork"]

FEEDFORWARD_SETTINGS = tuple(Settings.__dataclass_fields__)
