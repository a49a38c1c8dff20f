"""Supports of priors: torch's constraints, which have no types of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.distributions import Distribution, constraints

__all__ = ["independent", "interval", "stack", "support_of", "within"]

interval: Callable[[Tensor, Tensor], constraints.Constraint] = constraints.interval
independent: Callable[[constraints.Constraint, int], constraints.Constraint] = constraints.independent
stack: Callable[[Sequence[constraints.Constraint], int], constraints.Constraint] = constraints.stack


def support_of(component: Distribution) -> constraints.Constraint:
    """A distribution's support, which all that are components here have."""
    if component.support is None:
        raise NotImplementedError(f"{type(component).__name__} has no support.")
    return component.support


def within(component: Distribution, values: Tensor) -> Tensor:
    """Which values lie in a distribution's support."""
    check: Callable[[Tensor], Tensor] = support_of(component).check
    return check(values)
