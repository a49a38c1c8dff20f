"""Recovery of rules and baselines from choices: tables of each, scored by all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.checks.shown_again import grouped, laid_out, tables_of_rules
from sbirules.inference.baselines.simulating import choices_of
from sbirules.inference.choice_families import compare_choices, parted, sharing
from sbirules.model.abilities import ReplaysChoices
from sbirules.model.tables import Trials
from sbirules.priors import completed
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.streams import Stream, child

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["scores_of_choices"]


def scores_of_choices(
    families: Mapping[str, Any],
    trials: str | Path | pd.DataFrame | Trials,
    num_trials: int | None,
    num_animals: int | None,
    *,
    rules: int,
    sampler: SamplerSettings | None,
    seed: int,
    progress: bool,
) -> tuple[Tensor, int]:
    """Held-out score of each family (last) on tables of each (first), `(F, rules, F)`, and the animals of a table.

    Arguments as for `recover_families`. Animals of a table share a rule where `compare_families` would fit a shared one, else
    each draws its own.
    """
    from tqdm.auto import tqdm

    baselines, simulators = parted(families)
    if not simulators:
        raise ValueError(
            "recover_families needs a simulator among the families, whose ChoiceTask says what choices bring."
        )
    for name, (simulator, _) in simulators.items():
        if not isinstance(simulator, ReplaysChoices):
            raise ValueError(f"family {name!r} cannot simulate animals of a table, as PolicyNetwork does.")
    first: Any = next(iter(simulators.values()))[0]
    table = Trials.read(trials, first.layout)
    for name, value in (("num_trials", num_trials), ("num_animals", num_animals)):
        if value is not None:
            arguments.whole(name, value, 1 if name == "num_animals" else 4, arguments.MANY)
    layout = laid_out(table, num_animals, num_trials)
    task = first.replaying(layout).task
    shared = sharing(layout, "sessions") == "shared"
    out = torch.empty(len(families), rules, len(families), dtype=torch.float64)
    bar = tqdm(total=rules * len(families), desc="recovery", unit="table", disable=not progress)
    for k, name in enumerate(families):
        own = child(seed, Stream.FAMILY, k)
        if name in baselines:
            runs = choices_of(baselines[name], table, task, rules * len(layout), own)
            made = [one for one in grouped(runs, layout) if one is not None]
        else:
            policy: Any = simulators[name][0]
            suited, whose = policy.suited(table), f"the prior of family {name!r}"
            whole = completed(simulators[name][1], suited.names, suited.nuisances, whose)
            made = tables_of_rules(
                policy.replaying(layout), whole, rules, layout, shared=shared, seed=own, whose=whose
            )[1]
        for r, one in enumerate(made):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that is what the study is for
                found = compare_choices(families, one, sampler=sampler, seed=child(own, Stream.SAMPLING, r))
            out[k, r] = found.sessions.sum(dim=1)
            bar.update()
    bar.close()
    return out, len(layout)
