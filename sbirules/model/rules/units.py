"""Units that names of coefficients imply."""

from __future__ import annotations

from sbirules.model.rules.coefficient import TIME_CONSTANTS
from sbirules.model.rules.spike import SYNAPSES, TIMES

__all__ = ["SPIKE_TIMES", "own_unit"]

SPIKE_TIMES = frozenset(f"{time}_{synapse}" for time in TIMES for synapse in SYNAPSES)


def own_unit(name: str) -> str:
    """Of a time constant, whatever other coefficients are measured in; empty for those."""
    if name in TIME_CONSTANTS:
        return TIME_CONSTANTS[name].unit
    return "ms" if name in SPIKE_TIMES else ""
