"""Rule families, and the table that study files, `sbirules list` and documentation read."""

from collections.abc import Callable

from sbirules.model.rules.bcm import BCM
from sbirules.model.rules.coefficient import RESERVED, TIME_CONSTANTS, Coefficient
from sbirules.model.rules.covariance import Covariance
from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.laws import DriftLaw, LatentLaw, Law
from sbirules.model.rules.layer_rules import (
    Backpropagation,
    FeedbackAlignment,
    HebbianLayer,
    NodePerturbation,
    OjaLayer,
)
from sbirules.model.rules.layered import LAYER_SIGHTS, READOUT_RATE, LayeredRule
from sbirules.model.rules.local import SIGHTS, LocalRule
from sbirules.model.rules.mlp import MLPRule
from sbirules.model.rules.motif_laws import BCMLaw, HebbianLaw, MotifCircuit, OjaLaw
from sbirules.model.rules.oja import Oja
from sbirules.model.rules.policy import VARIABLES, PolicyRule
from sbirules.model.rules.polynomial import PolynomialRule
from sbirules.model.rules.spike import SYNAPSES, SpikePairRule, SpikeRule, Traces, TripletRule, vogels2011
from sbirules.model.rules.taylor import TaylorRule
from sbirules.model.rules.text import RuleText
from sbirules.model.rules.three_factor import ThreeFactorRule
from sbirules.model.rules.units import SPIKE_TIMES, own_unit

__all__ = [
    "BCM",
    "FAMILIES",
    "LAYER_SIGHTS",
    "READOUT_RATE",
    "RESERVED",
    "SIGHTS",
    "SPIKE_TIMES",
    "SYNAPSES",
    "TIME_CONSTANTS",
    "VARIABLES",
    "BCMLaw",
    "Backpropagation",
    "Coefficient",
    "Covariance",
    "DriftLaw",
    "FeedbackAlignment",
    "HebbianLaw",
    "HebbianLayer",
    "LatentLaw",
    "Law",
    "LayeredRule",
    "LocalRule",
    "MLPRule",
    "MotifCircuit",
    "NodePerturbation",
    "Oja",
    "OjaLaw",
    "OjaLayer",
    "PolicyRule",
    "PolynomialRule",
    "RuleFamily",
    "RuleText",
    "SpikePairRule",
    "SpikeRule",
    "TaylorRule",
    "ThreeFactorRule",
    "Traces",
    "TripletRule",
    "own_unit",
    "vogels2011",
]

FAMILIES: dict[str, Callable[..., RuleFamily]] = {
    "polynomial": PolynomialRule,
    "bcm": BCM,
    "covariance": Covariance,
    "mlp": MLPRule,
    "oja": Oja,
    "taylor": TaylorRule,
    "latent_law": LatentLaw,
    "drift_law": DriftLaw,
    "hebbian_layer": HebbianLayer,
    "oja_layer": OjaLayer,
    "node_perturbation": NodePerturbation,
    "backpropagation": Backpropagation,
    "feedback_alignment": FeedbackAlignment,
    "spike_pair": SpikePairRule,
    "triplet": TripletRule,
}
