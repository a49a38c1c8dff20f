"""The optomotor response of larval zebrafish as a rate circuit, models of its activity, and what they get right."""

from .circuit import CircuitActivity, OptomotorCircuit
from .measures import (
    TrueModel,
    closed_loop,
    connection_signs,
    impulse_responses,
    jacobian,
    one_step_error,
    sign_accuracy,
)
from .models import (
    ActivityModel,
    CircuitModel,
    LinearAutoregression,
    MeanActivity,
    NLinear,
    Persistence,
    RecurrentModel,
)
from .posterior import CircuitPosterior, circuit_posterior

__all__ = [
    "ActivityModel",
    "CircuitActivity",
    "CircuitModel",
    "CircuitPosterior",
    "LinearAutoregression",
    "MeanActivity",
    "NLinear",
    "OptomotorCircuit",
    "Persistence",
    "RecurrentModel",
    "TrueModel",
    "circuit_posterior",
    "closed_loop",
    "connection_signs",
    "impulse_responses",
    "jacobian",
    "one_step_error",
    "sign_accuracy",
]
