"""Sensitivity analysis: which coefficients, and which combinations of them, matter."""

from sbirules.importance.degeneracy import Degeneracy, Dependence, degeneracy, dependence
from sbirules.importance.effects import Directions, Effects
from sbirules.importance.experiments import elasticities, knock_outs
from sbirules.importance.geometry import active_subspace, compensation, stiff_and_sloppy
from sbirules.importance.outcome import LearnedOutcome, learn_outcome
from sbirules.importance.overview import Sensitivity, sensitivity
from sbirules.importance.variance import Sobol, shapley, sobol

__all__ = [
    "Degeneracy",
    "Dependence",
    "Directions",
    "Effects",
    "LearnedOutcome",
    "Sensitivity",
    "Sobol",
    "active_subspace",
    "compensation",
    "degeneracy",
    "dependence",
    "elasticities",
    "knock_outs",
    "learn_outcome",
    "sensitivity",
    "shapley",
    "sobol",
    "stiff_and_sloppy",
]
