"""Wrapped posteriors that leak: draws outside the prior, which sbi throws away for as long as it takes."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.support.streams import Stream, seeded

__all__ = ["ENOUGH", "can_leak", "capped", "inside_share"]

ENOUGH = 0.2  # share of draws inside the prior above which throwing away the others is fast
TIMES = 50  # draws for each one that is wanted, at most


def can_leak(posterior: Any) -> bool:
    """Whether it draws from a network that knows no prior, as sbi's `DirectPosterior` does."""
    try:
        return "reject_outside_prior" in inspect.signature(posterior.sample).parameters
    except (TypeError, ValueError):
        return False


def inside_share(posterior: Any, prior: Distribution, x: Tensor | None, draws: int) -> float:
    """Share of a posterior's own draws that lie inside the prior; always the same."""
    with seeded(0, Stream.REFERENCES):
        return float(_within(prior, _raw(posterior, x, draws)).double().mean())


def capped(posterior: Any, prior: Distribution, x: Tensor | None, n: int) -> tuple[Tensor, int]:
    """Up to n draws inside the prior, and how many draws that took, 50 n at most."""
    size, tried = max(n, 200), 0
    found: list[Tensor] = []
    while tried < TIMES * size and sum(len(part) for part in found) < n:
        raw = _raw(posterior, x, size)
        found.append(raw[_within(prior, raw)])
        tried += size
    return torch.cat(found)[:n], tried


def _raw(posterior: Any, x: Tensor | None, n: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sbi's, on draws outside the prior, which are counted here
        draws = posterior.sample(Size((n,)), x=x, reject_outside_prior=False, show_progress_bars=False)
    return torch.as_tensor(draws).detach().reshape(n, -1)  # a flow hands on its gradients


def _within(prior: Distribution, theta: Tensor) -> Tensor:
    from sbi.utils.sbiutils import within_support

    return torch.as_tensor(within_support(prior, theta))
