"""What tells the simulations of a store from others: simulator, where rules come from, trial types, size of shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.simulator import Simulator
from sbirules.priors import PriorLike
from sbirules.stores.manifest import NAME, read_manifest, refuse_other, refuse_other_facts
from sbirules.stores.proposal import proposal_config, table_or_prior
from sbirules.stores.shards import checksum
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike

__all__ = ["Configuration", "configuration", "refuse_others"]

SHARD_SIZE = 256


@dataclass(frozen=True)
class Configuration:
    """Of the simulations of a store; what the simulator has to measure for it is measured when it is asked for.

    Arguments:
        simulator: The simulator.
        proposal: Where rules come from; None where they are of a table.
        table: The rules, `(n, D)`, or None.
        count: Number of networks.
        sequences: Trial types that networks get in turn, `(sequences, trials)`.
        shard_size: Networks per shard.
        keep_trials: Whether fields of every trial are kept.
    """

    simulator: Simulator
    proposal: Distribution | None
    table: Tensor | None
    count: int
    sequences: Tensor
    shard_size: int
    keep_trials: bool

    def content(self) -> dict[str, Any]:
        """Plain types, whose hash stands in the manifest."""
        return {
            "simulator": self.simulator.config(),
            "proposal": proposal_config(self.proposal, self.table, self.simulator),
            "trial_types": checksum(self.sequences),
            "shard_size": self.shard_size,
            "keep_trials": self.keep_trials,
        }

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the columns."""
        return {
            "names": list(self.simulator.names),
            "summary_names": list(self.simulator.summary_names),
            "layout": self.simulator.layout.config(),
            "raw_per_unit": torch.as_tensor(self.simulator.raw_per_unit).tolist(),
            "rows": None if self.table is None else self.count,
        }


def configuration(
    simulator: Simulator,
    proposal: Distribution | None,
    table: Tensor | None,
    count: int,
    *,
    store: str | Path | None,
    shard_size: int | None,
    trial_types: ArrayLike | None,
    keep_trials: bool,
) -> Configuration:
    """Of `count` networks with rules from a proposal, or of a table; other arguments as for `simulate`."""
    if shard_size is None:
        known = store is not None and (Path(store) / NAME).is_file()
        usual = min(max(SHARD_SIZE, simulator.batch), count)
        shard_size = int(read_manifest(Path(str(store)))["config"]["shard_size"]) if known else usual
    arguments.whole("shard_size", shard_size, 1)
    sequences = simulator.sequence() if trial_types is None else torch.as_tensor(trial_types)
    sequences = sequences[None] if sequences.ndim == 1 else sequences
    if sequences.ndim != 2 or not len(sequences):
        raise ValueError(
            f"trial_types must be whole numbers of shape (trials,) or (sequences, trials), got {tuple(sequences.shape)}."
        )
    sequences = simulator.sequence_matrix(sequences, len(sequences))
    return Configuration(simulator, proposal, table, count, sequences, shard_size, keep_trials)


def refuse_others(
    store: str | Path,
    simulator: Simulator,
    prior: PriorLike,
    num_simulations: int,
    *,
    seed: int,
    shard_size: int | None = None,
    trial_types: ArrayLike | None = None,
) -> None:
    """Refuses what `simulate` would refuse of a folder, and makes nothing; arguments as there.

    Raises:
        ValueError: If the folder holds simulations of another configuration; names what differs.
    """
    place = Path(store)
    if not (place / NAME).is_file():
        return
    table, proposal = table_or_prior(prior, simulator.names)
    now = configuration(
        simulator,
        proposal,
        table,
        num_simulations,
        store=place,
        shard_size=shard_size,
        trial_types=trial_types,
        keep_trials=True,
    )
    manifest = read_manifest(place)
    refuse_other(place, manifest, now.content(), seed)
    refuse_other_facts(place, manifest, now.facts())
