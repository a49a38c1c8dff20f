"""The mushroom body: Kenyon cells onto an output neuron, taught by dopamine."""

from .mushroom_body import SETTINGS, MushroomBody

__all__ = ["SETTINGS", "MushroomBody"]
