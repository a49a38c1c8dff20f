"""Sensitivity analysis: which coefficients, and which combinations of them, matter."""

from sbirules.sensitivity.effects import Directions, Effects
from sbirules.sensitivity.experiments import elasticities, knock_outs
from sbirules.sensitivity.geometry import active_subspace, compensation, stiff_and_sloppy
from sbirules.sensitivity.outcome import LearnedOutcome, learn_outcome
from sbirules.sensitivity.overview import Sensitivity, sensitivity
from sbirules.sensitivity.variance import Sobol, shapley, sobol

__all__ = [
    "Directions",
    "Effects",
    "LearnedOutcome",
    "Sensitivity",
    "Sobol",
    "active_subspace",
    "compensation",
    "elasticities",
    "knock_outs",
    "learn_outcome",
    "sensitivity",
    "shapley",
    "sobol",
    "stiff_and_sloppy",
]
