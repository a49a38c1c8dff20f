"""The potential of constraints: how probably a network of a rule satisfies them, learned from single networks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sbirules.inference.potentials import Potential, Replicates
from sbirules.neural_nets.classifiers import EventProbability
from sbirules.support.files import Plain

__all__ = ["SuccessPotential"]


class SuccessPotential(Potential):
    """Constraints hold in n of n networks: n log P(A | theta); or P(A | theta) >= reliability: 0 or -inf.

    Arguments:
        success: P(A | theta).
        all_of_networks: n, or None.
        reliability: Demanded probability, or None.
    """

    kind = "success"

    def __init__(self, success: EventProbability, all_of_networks: int | None, reliability: float | None) -> None:
        super().__init__()
        self.success, self.all_of_networks, self.reliability = success, all_of_networks, reliability

    def log_likelihood(self, theta: Tensor) -> Tensor:
        log_p = self.success.log_prob(theta)
        if self.reliability is not None:
            return torch.where(log_p >= math.log(self.reliability), 0.0, -math.inf)
        return (self.all_of_networks or 1) * log_p

    def replicates(self, theta: Tensor) -> list[Replicates]:
        """The members, each without one fold."""
        each = self.success.log_prob_members(theta)
        if self.reliability is not None:
            return []  # draws of the one region do not tell how large another is
        return [Replicates((self.all_of_networks or 1) * each, len(each) - 1)]

    def predicted_success(self, theta: Tensor) -> Tensor:
        with torch.no_grad():
            return self.success.log_prob(theta).exp()

    def config(self) -> dict[str, Any]:
        return {
            "success": self.success.config(),
            "all_of_networks": self.all_of_networks,
            "reliability": self.reliability,
        }

    @classmethod
    def from_config(cls, config: Plain) -> SuccessPotential:
        success = EventProbability.from_config(config["success"])
        return cls(success, config["all_of_networks"], config["reliability"])
