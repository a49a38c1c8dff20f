"""Catalogue of simulators, installed as `sbirules.simulators`: the names, and the table that study files,
`sbirules list` and documentation read."""

from __future__ import annotations

if __name__ != "sbirules.simulators":  # found as a folder of the repository: a second copy of every class
    raise ImportError("simulators/ is installed as sbirules.simulators: import from there.")

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from sbirules.model.simulator import Simulator
from sbirules.support.typed import typed

from .analytic import KnownNetwork, LinearGaussian
from .feedforward import FEEDFORWARD_SETTINGS, FeedforwardNetwork
from .mushroom import SETTINGS as OF_MUSHROOM
from .mushroom import MushroomBody
from .policy import PolicyNetwork, PolicySettings
from .rate import MICONI_THETA_33, SETTINGS, RateRNN, miconi2017
from .sessions import (
    SESSION_SETTINGS,
    FastSlowNetwork,
    FastSlowSettings,
    KnownSessions,
    SessionLaw,
    bcm_sessions,
    compare_networks,
    lorenz_sessions,
    ring_sessions,
    stimulation_sessions,
)
from .spiking import SPIKING_SETTINGS, SpikingNetwork
from .zebrafish import CircuitActivity, CircuitModel, CircuitPosterior, OptomotorCircuit, circuit_posterior

__all__ = [
    "FEEDFORWARD_SETTINGS",
    "MICONI_THETA_33",
    "SIMULATORS",
    "SPIKING_SETTINGS",
    "CircuitActivity",
    "CircuitModel",
    "CircuitPosterior",
    "FastSlowNetwork",
    "FastSlowSettings",
    "FeedforwardNetwork",
    "KnownNetwork",
    "KnownSessions",
    "LinearGaussian",
    "MushroomBody",
    "OptomotorCircuit",
    "PolicyNetwork",
    "PolicySettings",
    "RateRNN",
    "SessionLaw",
    "SpikingNetwork",
    "bcm_sessions",
    "circuit_posterior",
    "compare_networks",
    "lorenz_sessions",
    "miconi2017",
    "rebuilt",
    "ring_sessions",
    "stimulation_sessions",
]

# by the name in study files: what makes it, and what it can be made with
SIMULATORS: dict[str, tuple[Callable[..., Simulator], tuple[str, ...]]] = {
    "rate_rnn": (RateRNN, ("summaries", *SETTINGS)),
    "miconi2017": (miconi2017, ("summaries", *SETTINGS)),
    "mushroom_body": (MushroomBody, OF_MUSHROOM),
    "feedforward": (FeedforwardNetwork, ("summaries", *FEEDFORWARD_SETTINGS)),
    "session_law": (SessionLaw, SESSION_SETTINGS),
    "spiking": (SpikingNetwork, ("summaries", *SPIKING_SETTINGS)),
    "policy_network": (PolicyNetwork, ("summaries", *(f.name for f in fields(PolicySettings)))),
}


@typed
def rebuilt(config: Mapping[str, Any]) -> Simulator | None:
    """The simulator that gave this `config()`; None where files do not bring it back, as code of one's own."""
    makers: dict[str, Any] = {
        "policy_network": PolicyNetwork,
        "mushroom_body": MushroomBody,
        "session_law": SessionLaw,
    }
    found = makers.get(str(config.get("simulator")))
    made: Simulator | None = None if found is None else found.from_config(config)
    return made
