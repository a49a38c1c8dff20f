"""What the rules of a store are drawn from: a table of them, or a distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.prior import written
from sbirules.model.simulator import Simulator
from sbirules.priors import PriorLike, as_prior
from sbirules.stores.shards import checksum
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import lastingly

__all__ = ["proposal_config", "table_or_prior"]


def table_or_prior(given: PriorLike | ArrayLike, names: Sequence[str]) -> tuple[Tensor | None, Distribution | None]:
    """Rules as a table, or the distribution that they are drawn from."""
    listed = (
        isinstance(given, (list, tuple)) and len(given) > 0 and not any(isinstance(one, Distribution) for one in given)
    )
    if listed or isinstance(given, (Tensor, np.ndarray, Mapping)) or type(given).__name__ == "DataFrame":
        table: Any = given
        return arguments.theta_matrix(table, names).detach().cpu().float(), None
    prior: Any = given
    return None, as_prior(prior, names)


def proposal_config(prior: Distribution | None, table: Tensor | None, simulator: Simulator) -> dict[str, object]:
    """What identifies a proposal: its own `config()`, a few of its draws, or the digest of a table."""
    if table is not None or prior is None:
        return {"table": checksum(torch.empty(0) if table is None else table)}
    plain = written(prior)
    if plain is not None:
        return {"prior": plain}
    with lastingly(0):
        draws = prior.sample(torch.Size((8,)))
    arguments.theta_matrix(draws, simulator.names, argument="a draw of the prior")
    return {"prior": type(prior).__name__, "draws": checksum(draws)}
