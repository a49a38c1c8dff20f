"""Circuits whose connectivity changes over sessions of stimulation, by a law."""

from .session_law import SESSION_SETTINGS, SessionLaw

__all__ = ["SESSION_SETTINGS", "SessionLaw"]
