"""Recovery of families: could such learners tell which family their rule is from?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.inference.families import FamilyRatio
from sbirules.inference.questions.sessions import learners_of
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.model.tables import Trials
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.priors import PriorLike, as_prior
from sbirules.samplers.smc import SamplerSettings
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FamilyRecovery", "recover_families"]


@typed_class
@dataclass(frozen=True)
class FamilyRecovery:
    """What families are found for learners whose family is known; made by `recover_families`.

    Arguments:
        names: The families.
        probability: Posterior probability of each family for each rule of each, `(F, rules, F)`: true family first.
        learners: Learners of each rule.
    """

    names: tuple[str, ...]
    probability: Tensor
    learners: int

    def confusion(self) -> pd.DataFrame:
        """Share of each true family's rules (rows) for which each family (columns) was the most probable."""
        import pandas as pd

        chosen = torch.nn.functional.one_hot(self.probability.argmax(dim=2), len(self.names)).float().mean(dim=1)
        return pd.DataFrame(chosen.numpy(), index=list(self.names), columns=list(self.names))

    def __str__(self) -> str:
        rules = self.probability.shape[1]
        head = f"{rules} rules of each family, {self.learners} learners each; rows: true, columns: found"
        return f"{head}\n{self.confusion().round(3).to_string()}"


@typed
def recover_families(
    families: Mapping[str, tuple[Simulator, PriorLike]],
    *,
    learners: int = 24,
    rules: int = 50,
    num_simulations: int = 8192,
    summaries: Sequence[SummaryLike] | None = None,
    settings: EnsembleSettings | None = None,
    sampler: SamplerSettings | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> FamilyRecovery:
    """Could these learners tell the families apart? Rules drawn from each, simulated, and their evidence compared.

    Arguments:
        families: A simulator and a prior by a name for the family, all with the same task and trials.
        learners: Learners of each rule, each in a network of its own.
        rules: Of each family.
        num_simulations: Simulations of each family to learn from.
        summaries: What of a learner enters; None for the default.
        settings: Of the contrastive ratio's ensemble.
        sampler: Settings of the sampler.
        folder: Where simulations go, so that an interrupted study resumes; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
    """
    arguments.whole("learners", learners, 1, arguments.MANY)
    arguments.whole("rules", rules, 2, arguments.MANY)
    if len(families) < 2:
        raise ValueError(f"recover_families needs at least two families, got {len(families)}.")
    keep: dict[str, Any] = {"num_workers": num_workers, "progress": progress}
    stores: dict[str, SimulationStore] = {}
    tables: list[Trials] = []
    priors = {
        name: as_prior(prior, simulator.names, f"the prior of family {name!r}")
        for name, (simulator, prior) in families.items()
    }
    for k, (name, (simulator, _)) in enumerate(families.items()):
        prior = priors[name]
        place = None if folder is None else Path(folder) / f"family-{k + 1}"
        where = None if place is None else place / "store"
        stores[name] = simulate(
            simulator, prior, num_simulations, store=where, seed=child(seed, Stream.FAMILY, k), **keep
        )
        tables += learners_of(
            simulator, prior, rules, learners, folder=place, seed=child(seed, Stream.LEARNERS, k), **keep
        )[1]
    ratio = FamilyRatio(stores, priors, tables[0], summaries=summaries, settings=settings, seed=seed)
    totals = torch.cat([ratio.statistics(t).sum(dim=1, keepdim=True) for t in tables], dim=1)
    counts = torch.full((len(tables),), learners)
    s = sampler or SamplerSettings()
    evidence = [ratio.draws(name, totals, counts, s, seed=seed, progress=progress).log_evidence for name in ratio.names]
    probability = torch.softmax(torch.stack(evidence, dim=1), dim=1).float()
    return FamilyRecovery(ratio.names, probability.reshape(len(families), rules, -1), learners)
