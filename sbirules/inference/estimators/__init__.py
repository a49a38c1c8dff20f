"""How a potential is learned from simulations, and the table of estimators by the name that `fit(estimator=...)` takes."""

from sbirules.inference.estimators.base import Estimator, Job, Learned, ProductPotential, Rows
from sbirules.inference.estimators.likelihood import LIKELIHOOD, LikelihoodPotential, LikelihoodSettings
from sbirules.inference.estimators.npe import AmortisedPosterior, NPESettings
from sbirules.inference.estimators.ratio import RATIO, LearnerRatio, RatioPotential, fit_ratio
from sbirules.inference.estimators.sets import NPE
from sbirules.inference.estimators.success import SuccessPotential
from sbirules.inference.potentials import Potential

__all__ = [
    "ESTIMATORS",
    "POTENTIALS",
    "AmortisedPosterior",
    "Estimator",
    "Job",
    "Learned",
    "LearnerRatio",
    "LikelihoodPotential",
    "LikelihoodSettings",
    "NPESettings",
    "ProductPotential",
    "RatioPotential",
    "Rows",
    "SuccessPotential",
    "fit_ratio",
]

ESTIMATORS: dict[str, Estimator] = {"ratio": RATIO, "likelihood": LIKELIHOOD, "npe": NPE}
# potentials that files can hold, by their name there
POTENTIALS: dict[str, type[Potential]] = {
    kind.kind: kind for kind in (SuccessPotential, RatioPotential, LikelihoodPotential, AmortisedPosterior)
}
