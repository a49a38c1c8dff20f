"""Recovery of families: could such learners tell which family their rule is from?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.checks.choice_family_recovery import scores_of_choices
from sbirules.inference.baselines import Baseline
from sbirules.inference.families import FamilyRatio
from sbirules.inference.questions.sessions import learners_of
from sbirules.model.abilities import PredictsChoices
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

LEARNERS, SIMULATIONS = 24, 8192


@typed_class
@dataclass(frozen=True)
class FamilyRecovery:
    """What families are found for learners whose family is known; made by `recover_families`.

    Arguments:
        names: The families.
        probability: Posterior probability of each family for each rule of each, `(F, rules, F)`: true family first. From choices
            softmax of `score`.
        learners: Learners of each rule.
        score: From choices: log-probability in nats of what was held out, as in `compare_families`, `(F, rules, F)`; else None.
    """

    names: tuple[str, ...]
    probability: Tensor
    learners: int
    score: Tensor | None = None

    def confusion(self) -> pd.DataFrame:
        """Share of each true family's rules (rows) for which each family (columns) was the most probable."""
        import pandas as pd

        chosen = torch.nn.functional.one_hot(self.probability.argmax(dim=2), len(self.names)).float().mean(dim=1)
        return pd.DataFrame(chosen.numpy(), index=list(self.names), columns=list(self.names))

    def __str__(self) -> str:
        rules = self.probability.shape[1]
        how = "found by evidence" if self.score is None else "found by score of later choices"
        head = f"{rules} rules of each family, {self.learners} learners each; rows: true, columns: {how}"
        return f"{head}\n{self.confusion().round(3).to_string()}"


@typed
def recover_families(
    families: Mapping[str, tuple[Simulator, PriorLike] | str | Baseline],
    *,
    trials: str | Path | pd.DataFrame | Trials | None = None,
    num_trials: int | None = None,
    num_animals: int | None = None,
    learners: int | None = None,
    rules: int = 50,
    num_simulations: int | None = None,
    summaries: Sequence[SummaryLike] | None = None,
    settings: EnsembleSettings | None = None,
    sampler: SamplerSettings | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> FamilyRecovery:
    """Could these learners tell the families apart? Rules drawn from each, simulated, and their evidence compared.

    **From choices of animals**, with `trials`: families are simulators with priors beside baselines by name, as for
    `compare_families`. Simulated animals of each see what those of the table saw, with rewards of the first simulator's
    `ChoiceTask`; rules are drawn from their prior, a baseline has the parameters that fit the animals of the table. All
    families are scored by the later choices of each such table, as `compare_families` does, and the highest score is found.

    Arguments:
        families: A simulator and a prior by a name for the family, all with the same task and trials.
        trials: A table of choices, whose stimuli and sessions simulated animals see.
        num_trials: Decisions of each animal, and
        num_animals: animals of a table, as for `recover`; None for as many as there are.
        learners: Learners of each rule, each in a network of its own; 24 by default.
        rules: Of each family; tables of simulated animals, from choices.
        num_simulations: Simulations of each family to learn from; 8192 by default.
        summaries: What of a learner enters; None for the default.
        settings: Of the contrastive ratio's ensemble.
        sampler: Settings of the sampler.
        folder: Where simulations go, so that an interrupted study resumes; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If there are fewer than two families, animals of the table cannot be simulated, or an argument belongs to
            the other kind.
    """
    arguments.whole("rules", rules, 2, arguments.MANY)
    if len(families) < 2:
        raise ValueError(f"recover_families needs at least two families, got {len(families)}.")
    of_simulations: dict[str, object] = {
        "learners": learners,
        "num_simulations": num_simulations,
        "summaries": summaries,
        "settings": settings,
        "folder": folder,
        "num_workers": num_workers,
    }
    of_choices: dict[str, object] = {"num_trials": num_trials, "num_animals": num_animals}
    for name, value in (of_choices if trials is None else of_simulations).items():
        if value is not None:
            kind = "choices, with trials=..." if trials is None else "families of simulations, not of choices"
            raise ValueError(f"{name} belongs to {kind}; leave it out.")
    if trials is not None:
        score, animals = scores_of_choices(
            families, trials, num_trials, num_animals, rules=rules, sampler=sampler, seed=seed, progress=progress
        )
        return FamilyRecovery(tuple(families), torch.softmax(score, dim=2).float(), animals, score)
    simulated = _of_simulations(families)
    learners = LEARNERS if learners is None else arguments.whole("learners", learners, 1, arguments.MANY)
    keep: dict[str, Any] = {"num_workers": num_workers, "progress": progress}
    stores: dict[str, SimulationStore] = {}
    tables: list[Trials] = []
    priors = {
        name: as_prior(prior, simulator.names, f"the prior of family {name!r}")
        for name, (simulator, prior) in simulated.items()
    }
    for k, (name, (simulator, _)) in enumerate(simulated.items()):
        prior = priors[name]
        place = None if folder is None else Path(folder) / f"family-{k + 1}"
        where = None if place is None else place / "store"
        stores[name] = simulate(
            simulator, prior, num_simulations or SIMULATIONS, store=where, seed=child(seed, Stream.FAMILY, k), **keep
        )
        tables += learners_of(
            simulator, prior, rules, learners, folder=place, seed=child(seed, Stream.LEARNERS, k), **keep
        )[1]
    ratio = FamilyRatio(stores, priors, tables[0], summaries=summaries, settings=settings, seed=seed)
    totals = torch.cat([ratio.statistics(t).sum(dim=1, keepdim=True) for t in tables], dim=1)
    counts = torch.full((len(tables),), learners)
    s = sampler or SamplerSettings()
    evidence = []
    for name in ratio.names:
        out = ratio.draws(name, totals, counts, s, seed=seed, progress=progress)
        evidence.append(
            torch.tensor(
                [
                    ratio.evidence(
                        name, totals[:, k : k + 1], learners, out.theta[k][None], out.log_evidence[k][None], seed=seed
                    )[0]
                    for k in range(len(tables))
                ]
            )
        )
    probability = torch.softmax(torch.stack(evidence, dim=1), dim=1).float()
    return FamilyRecovery(ratio.names, probability.reshape(len(families), rules, -1), learners)


def _of_simulations(families: Mapping[str, Any]) -> dict[str, tuple[Simulator, PriorLike]]:
    """Families of which none is on choices."""
    for name, value in families.items():
        if isinstance(value, (str, Baseline)) or isinstance(value[0], PredictsChoices):
            raise ValueError(f"family {name!r} is one of choices; give trials, the table whose animals are simulated.")
    return dict(families)
