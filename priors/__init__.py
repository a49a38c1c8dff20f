"""Catalogue of priors, installed as `sbirules.priors`."""
__all__ = []
