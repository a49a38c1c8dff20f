"""Policies whose weights a rule moves: choices of animals."""

from ._likelihood import ChoiceLikelihood
from .policy_network import PolicyNetwork, PolicySettings

__all__ = ["ChoiceLikelihood", "PolicyNetwork", "PolicySettings"]
