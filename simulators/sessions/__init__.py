"""Circuits whose connectivity changes over sessions of stimulation, by a law."""

from ._settings import FastSlowSettings
from .benchmarks import KnownSessions, bcm_sessions, lorenz_sessions, ring_sessions, stimulation_sessions
from .comparing import compare_networks
from .fast_slow import FastSlowNetwork
from .session_law import SESSION_SETTINGS, SessionLaw

__all__ = [
    "SESSION_SETTINGS",
    "FastSlowNetwork",
    "FastSlowSettings",
    "KnownSessions",
    "SessionLaw",
    "bcm_sessions",
    "compare_networks",
    "lorenz_sessions",
    "ring_sessions",
    "stimulation_sessions",
]
