"""The gradient-free control for BPTL: CMA-ES (Hansen & Ostermeier 2001), by the package `cma`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sbirules.model.simulator import Simulator
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Stream, small

__all__ = ["Search", "evolve"]


@dataclass(frozen=True)
class Search:
    """What is searched.

    Arguments:
        simulator: The simulator.
        starts: Where restarts begin, `(restarts, D)`, on the free scale.
        bounds: Lowest and highest free values, `(D,)` each.
        log: Columns whose free value is the logarithm, `(D,)` boolean.
        networks: Fresh networks for each candidate.
        iterations: How many.
        step_sd: First s.d. of the search distribution.
        l1: Weight of the sum of |theta|.
        warm_up: First trials, whose reward does not count.
    """

    simulator: Simulator
    starts: Tensor
    bounds: tuple[Tensor, Tensor]
    log: Tensor
    networks: int
    iterations: int
    step_sd: float
    l1: float
    warm_up: int


def evolve(search: Search, seed: int, trial_types: ArrayLike, progress: bool) -> dict[str, Tensor]:
    """The way of each restart, as `PointEstimate.trace`: the mean of its search distribution, and how well it did.

    All candidates of all restarts run as one batch, each in `networks` fresh networks. A network that diverges counts
    as badly as the worst that did not.

    Raises:
        ImportError: If `cma` is not installed.
    """
    try:
        import cma
    except ImportError as error:
        raise ImportError("gradient='evolution' needs the package cma (pip install 'sbirules[evolution]').") from error
    from tqdm.auto import tqdm

    low, high = search.bounds
    searches = [
        cma.CMAEvolutionStrategy(
            row.numpy(),
            search.step_sd,
            {"seed": small(seed, Stream.STARTS, k), "verbose": -9, "bounds": [low.tolist(), high.tolist()]},
        )
        for k, row in enumerate(search.starts)
    ]
    simulator, networks = search.simulator, search.networks
    trace: dict[str, list[Tensor]] = {"value": [], "theta": [], "gradient_norm": [], "alive": []}
    for k in tqdm(range(search.iterations), desc="CMA-ES", unit="iteration", disable=not progress):
        asked = [one.ask() for one in searches]
        free = torch.from_numpy(np.concatenate([np.stack(group) for group in asked]))
        theta = torch.where(search.log, free.exp(), free)
        run = simulator.run(
            theta.repeat_interleave(networks, dim=0).float(), seed=(seed, Stream.ITERATION, k), trial_types=trial_types
        )
        reward = run.per_trial["reward"][:, search.warm_up :].double()
        each = reward.mean(dim=1)
        fine = torch.isfinite(each)
        worst = float(each[fine].min()) if bool(fine.any()) else -2.0
        value = torch.where(fine, each, worst).reshape(len(theta), networks).mean(dim=1)
        value = value - search.l1 * torch.where(search.log, 0.0, theta.abs()).sum(dim=1)
        values = value.reshape(len(searches), -1)
        for one, group, found in zip(searches, asked, values, strict=True):
            one.tell(group, (-found).tolist())
        centre = torch.from_numpy(np.stack([one.result.xfavorite for one in searches]))
        trace["theta"].append(torch.where(search.log, centre.exp(), centre))
        trace["value"].append(values.mean(dim=1))
        trace["alive"].append(fine.double().reshape(len(searches), -1).mean(dim=1))
        trace["gradient_norm"].append(torch.full((len(searches),), torch.nan, dtype=torch.float64))
    return {name: torch.stack(rows) for name, rows in trace.items()}
