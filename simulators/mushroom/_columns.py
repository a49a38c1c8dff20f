"""Columns of theta of the mushroom body: the rule's coefficients, and beside them what belongs to circuit and measurement."""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributions import LogNormal, Normal, Uniform

from sbirules.model.observing import Observation
from sbirules.model.recorded import gain_coefficients
from sbirules.model.rules import Coefficient

__all__ = ["NUISANCE", "circuit_coefficients", "nuisance_coefficients"]

NUISANCE = ("drive", "overlap", "offset", "trace_time", "dopamine_gain")
OVERLAP = Coefficient(
    "overlap", low=0.0, high=1.0, linear=False, unit="shares", prior=Uniform(0.0, 0.6, validate_args=False)
)
TRACE = Coefficient(
    "trace_time",
    low=0.0,
    linear=False,
    unit="s",
    log=True,
    default=10.0,
    prior=LogNormal(2.0, 1.0, validate_args=False),
)
DOPAMINE = Coefficient(
    "dopamine_gain", low=0.0, linear=False, log=True, default=1.0, prior=LogNormal(0.0, 0.5, validate_args=False)
)


def circuit_coefficients(nuisance: Sequence[str], odours: Sequence[str]) -> tuple[Coefficient, ...]:
    """Those of the circuit: drive of each odour against the first, share of Kenyon cells in common, trace, dopamine."""
    normal = Normal(0.0, 0.5, validate_args=False)
    drives = tuple(Coefficient(f"drive_{_identifier(o)}", linear=False, prior=normal) for o in odours[1:])
    more = {"overlap": OVERLAP, "trace_time": TRACE, "dopamine_gain": DOPAMINE}
    return (*(drives if "drive" in nuisance else ()), *(c for name, c in more.items() if name in nuisance))


def nuisance_coefficients(
    nuisance: Sequence[str], odours: Sequence[str], gains: str, observation: Observation
) -> tuple[Coefficient, ...]:
    """All of them, in the order of theta's columns after the rule's."""
    measured = gain_coefficients(gains, "offset" in nuisance)
    return (*circuit_coefficients(nuisance, odours), *measured, *observation.coefficients)


def _identifier(name: str) -> str:
    return "".join(ch if ch.isalnum() and ch.isascii() else "_" for ch in name) or "_"
