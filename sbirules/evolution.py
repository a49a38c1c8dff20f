"""The gradient-free control for BPTL: CMA-ES (Hansen & Ostermeier 2001), by the package `cma`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from sbirules.bptl import BPTL

__all__ = ["evolve"]


def evolve(optimiser: BPTL, seed: int, trial_types: Any, progress: bool) -> dict[str, Tensor]:
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

    low, high = optimiser.bounds()
    searches = [
        cma.CMAEvolutionStrategy(
            row.numpy(), optimiser.step_sd,
            {"seed": seed * 1000 + k + 1, "verbose": -9, "bounds": [low.tolist(), high.tolist()]},
        )
        for k, row in enumerate(optimiser.starts(seed))
    ]  # fmt: skip
    simulator: Any = optimiser.simulator
    networks = optimiser.networks
    trace: dict[str, list[Tensor]] = {"value": [], "theta": [], "gradient_norm": [], "alive": []}
    for k in tqdm(range(optimiser.iterations), desc="CMA-ES", unit="iteration", disable=not progress):
        asked = [search.ask() for search in searches]
        free = torch.from_numpy(np.concatenate([np.stack(group) for group in asked]))
        theta = torch.where(optimiser.log, free.exp(), free)
        run = simulator.run(theta.repeat_interleave(networks, dim=0).float(), seed=(seed, k), trial_types=trial_types)
        reward = run.reward[:, simulator.settings.warm_up :].double()
        each = reward.mean(dim=1)
        fine = torch.isfinite(each)
        worst = float(each[fine].min()) if bool(fine.any()) else -2.0
        value = torch.where(fine, each, worst).reshape(len(theta), networks).mean(dim=1)
        value = value - optimiser.l1 * torch.where(optimiser.log, 0.0, theta.abs()).sum(dim=1)
        values = value.reshape(len(searches), -1)
        for search, group, found in zip(searches, asked, values, strict=True):
            search.tell(group, (-found).tolist())
        centre = torch.from_numpy(np.stack([search.result.xfavorite for search in searches]))
        trace["theta"].append(torch.where(optimiser.log, centre.exp(), centre))
        trace["value"].append(values.mean(dim=1))
        trace["alive"].append(fine.double().reshape(len(searches), -1).mean(dim=1))
        trace["gradient_norm"].append(torch.full((len(searches),), torch.nan, dtype=torch.float64))
    return {name: torch.stack(rows) for name, rows in trace.items()}
