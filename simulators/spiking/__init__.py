"""Networks of spiking neurons under rules of spikes."""

from ._measures import coefficient_of_variation, correlation, fano_factor
from .spiking_network import SPIKING_SETTINGS, SpikingNetwork

__all__ = ["SPIKING_SETTINGS", "SpikingNetwork", "coefficient_of_variation", "correlation", "fano_factor"]
