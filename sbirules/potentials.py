"""What a posterior multiplies its prior with: the log-likelihood of what was asked or observed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sbirules.amortised import AmortisedPosterior
from sbirules.classifier import EventProbability
from sbirules.likelihood import LearnerLikelihood
from sbirules.ratio import LearnerRatio
from sbirules.summaries import Summary

__all__ = ["KINDS", "SuccessPotential", "TrialsPotential", "training_curves"]


class SuccessPotential(nn.Module):
    """Constraints hold in n of n networks: n log P(A | theta); or P(A | theta) >= reliability: 0 or -inf.

    Arguments:
        success: P(A | theta).
        all_of_networks: n, or None.
        reliability: Demanded probability, or None.
    """

    kind = "constraints"

    def __init__(self, success: EventProbability, all_of_networks: int | None, reliability: float | None) -> None:
        super().__init__()
        self.success, self.all_of_networks, self.reliability = success, all_of_networks, reliability

    def forward(self, theta: Tensor) -> Tensor:
        log_p = self.success.log_prob(theta)
        if self.reliability is not None:
            return torch.where(log_p >= math.log(self.reliability), 0.0, -math.inf)
        return (self.all_of_networks or 1) * log_p

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return {
            "success": self.success.config(),
            "all_of_networks": self.all_of_networks,
            "reliability": self.reliability,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SuccessPotential:
        """One of that shape, to load tensors into."""
        success = EventProbability.from_config(config["success"])
        return cls(success, config["all_of_networks"], config["reliability"])


class TrialsPotential(nn.Module):
    """Trials of several learners that share a rule: the sum of their log-likelihoods, up to a constant.

    Arguments:
        likelihood: Of one learner, or its ratio.
        x: Their summaries, `(L, S)`.
        length: Their numbers of trials, `(L,)`.
    """

    kind = "trials"
    x: Tensor
    length: Tensor

    def __init__(self, likelihood: LearnerLikelihood | LearnerRatio, x: Tensor, length: Tensor) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.summaries: Sequence[Summary] | None = None  # those of the fit; None after loading
        self.register_buffer("x", x)
        self.register_buffer("length", length)

    def forward(self, theta: Tensor) -> Tensor:
        return self.likelihood.log_prob(theta, self.x, self.length)

    def given(self, x: Tensor, length: Tensor | None = None) -> TrialsPotential:
        """The same for other learners' summaries `(L, S)` and numbers of trials `(L,)`."""
        length = self.length[:1].expand(len(x)).clone() if length is None else length
        return TrialsPotential(self.likelihood, x, length).eval()

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return {
            "estimator": "ratio" if isinstance(self.likelihood, LearnerRatio) else "likelihood",
            "likelihood": self.likelihood.config(),
            "shape": list(self.x.shape),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TrialsPotential:
        """One of that shape, to load tensors into."""
        learners, columns = config["shape"]
        kinds: dict[str, Any] = {"ratio": LearnerRatio, "likelihood": LearnerLikelihood}
        likelihood = kinds[config["estimator"]].from_config(config["likelihood"])
        return cls(likelihood, torch.zeros(learners, columns), torch.zeros(learners, dtype=torch.long))


KINDS: dict[str, type[SuccessPotential] | type[TrialsPotential] | type[AmortisedPosterior]] = {
    "constraints": SuccessPotential,
    "trials": TrialsPotential,
    "observation": AmortisedPosterior,
}


def training_curves(potential: nn.Module) -> dict[str, list[float]]:
    """Held-out loss by epoch of each network that a fit trained, by name; empty for one that was loaded."""
    out: dict[str, list[float]] = {}
    for name, part in potential.named_modules():
        history = getattr(part, "history", {})
        label = {"success": "success", "valid": "failures"}.get(name.rsplit(".", 1)[-1], "ratio")
        if "held_out_loss" in history:
            out[label] = list(history["held_out_loss"])
        for k, losses in enumerate(history.get("losses", ())):
            out[f"flow {k + 1}"] = list(losses["validation"])
    return {name: [round(float(v), 6) for v in curve] for name, curve in out.items()}
