"""Rules in fresh networks: how they are tried, what comes of it, and data that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from sbirules.model.simulator import Simulator
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support.streams import Stream, child

__all__ = ["Fresh", "FreshData", "Resimulation", "failures_of"]


class Resimulation(Protocol):
    """Posterior rules in fresh networks: what every kind of question knows of them."""

    @property
    def rules(self) -> int: ...

    @property
    def networks_per_rule(self) -> int: ...

    @property
    def theta(self) -> Tensor: ...

    @property
    def failures(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Fresh:
    """How rules are tried on fresh networks.

    Arguments:
        rules: Posterior rules.
        networks: Networks for each, or None for what the question takes.
        folder: Where their stores go, or None.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
    """

    rules: int = 128
    networks: int | None = None
    folder: Path | None = None
    seed: int = 0
    num_workers: int | None = None
    progress: bool = False

    def simulate(
        self,
        theta: Tensor,
        networks: int,
        simulator: Simulator,
        name: str,
        *,
        part: int = 0,
        trial_types: Tensor | None = None,
    ) -> SimulationStore:
        """So many fresh networks of each rule `(n, D)`, one rule after another."""
        store = None if self.folder is None else self.folder / name
        return simulate(
            simulator,
            theta.repeat_interleave(networks, dim=0),
            store=store,
            seed=child(self.seed, Stream.CHECK, part),
            trial_types=trial_types,
            label=f"check {name}",
            num_workers=self.num_workers,
            progress=self.progress,
        )


@dataclass(frozen=True)
class FreshData:
    """Rules of the prior, and data of the question's kind that each made.

    Arguments:
        truth: The rules, `(rules, D)`.
        observations: What `Posterior.given` takes, one for each rule.
        features: Summaries of each, `(rules, S)`.
    """

    truth: Tensor
    observations: Sequence[Any]
    features: Tensor


def failures_of(store: SimulationStore) -> dict[str, int]:
    """Failed networks by status."""
    return {name: n for name, n in store.status_counts().items() if n and name != "OK"}
