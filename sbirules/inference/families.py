"""Between families of rules: which one predicts learners best, and how probable is each?

One contrastive ratio is learned from the simulations of all families together, so that its unknown constant c(x) is
the same for every family (see `sbirules.inference.estimators.ratio`) and drops out of their comparison. Scores and
evidences are therefore given against the pooled simulations: log p(x | family, ...) - log p(x | any of the families) up to a
constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.estimators.ratio import LearnerRatio, fit_ratio
from sbirules.inference.questions.reach import beyond_reach
from sbirules.inference.questions.sessions import rows_like_learners, summaries_of
from sbirules.inference.reach import looked_at
from sbirules.model.prior import log_scale_of, names_of
from sbirules.model.runs import Trajectory
from sbirules.model.summaries import (
    Summary,
    SummaryLike,
    default_summaries,
    of_recordings,
    resolve,
    summary_names,
)
from sbirules.model.tables import Trials
from sbirules.neural_nets.classifiers import fit_event_probability
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.priors import as_prior
from sbirules.samplers.bridge import evidence_of
from sbirules.samplers.chains import agreement, tell
from sbirules.samplers.smc import Particles, SamplerSettings, run_smc
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FamilyComparison", "FamilyRatio", "Stores", "compare_simulated", "first_store"]

Stores = SimulationStore | Sequence[SimulationStore]


@typed_class
@dataclass(frozen=True)
class FamilyComparison(Shown):
    """How well families of rules predict learners; made by `compare_families`.

    Arguments:
        names: The families.
        scores: Log p(learner | the other learners, family) of each family and learner, `(F, L)`, in nats, up to a
            constant of the learner.
        log_evidence: Log p(all learners | family), `(F,)`, up to one constant.
        evidence_se: Standard errors: of the sampler and of the ensemble, `(F,)`.
    """

    names: tuple[str, ...]
    scores: Tensor
    log_evidence: Tensor
    evidence_se: Tensor

    @property
    def probability(self) -> dict[str, float]:
        """Posterior probability of each family, if all were as probable before."""
        return dict(zip(self.names, torch.softmax(self.log_evidence, dim=0).tolist(), strict=True))

    def table(self) -> pd.DataFrame:
        """One row per family, the best first.

        `score`: held-out log predictive score, the sum over learners; `behind`: by how much it is below the best,
        with the standard error `behind_se` over learners; `log_evidence`, against the best evidence; `evidence_se`;
        `probability`.
        """
        import pandas as pd

        total = self.scores.sum(dim=1)
        order = total.argsort(descending=True).tolist()
        below = self.scores[order[0]] - self.scores
        learners = self.scores.shape[1]
        columns = {
            "score": total,
            "behind": below.sum(dim=1),
            "behind_se": below.std(dim=1) * math.sqrt(learners) if learners > 1 else math.nan * total,
            "log_evidence": self.log_evidence - self.log_evidence.max(),
            "evidence_se": self.evidence_se,
            "probability": torch.tensor(list(self.probability.values())),
        }
        frame = pd.DataFrame({name: v.numpy() for name, v in columns.items()}, index=list(self.names))
        return frame.iloc[order]

    def _card(self) -> Card:
        return Card(
            "Families by how well they predict each learner from the others", table=self.table().rename_axis("family")
        )

    def __str__(self) -> str:
        return str(self.table().round(3).to_string())


class FamilyRatio:
    """log p(x | theta, family) of one learner up to c(x), the same c(x) for all families.

    Rules of all families are rows of one matrix: the union of their coefficients by name, absent ones at their mean,
    and a mark for the family.

    Arguments:
        stores: Simulations of each family's prior, with the same task.
        priors: The priors.
        table: Learners, whose sessions the simulations are cut to.
        summaries: What of a learner enters; None for the default.
        settings: Of the ensemble.
        classifier: Settings of the classifier of failures.
        seed: Makes the fit repeatable.
    """

    def __init__(
        self,
        stores: Mapping[str, Stores],
        priors: Mapping[str, Distribution],
        table: Trials,
        *,
        summaries: Sequence[SummaryLike] | None = None,
        settings: EnsembleSettings | None = None,
        classifier: EnsembleSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.priors = dict(priors)
        self.names = tuple(self.priors)
        groups = {name: [s] if isinstance(s, SimulationStore) else list(s) for name, s in stores.items()}
        best = next(iter(groups.values()))[0].layout.performance
        shown = table.trajectory
        chosen = (
            (*_of_behaviour(shown, None if best is None else best.name), *of_recordings(shown))
            if summaries is None
            else tuple(resolve(s) for s in summaries)
        )
        self.summaries: tuple[Summary, ...] = chosen
        beyond_reach(table, Trajectory.cat([s.trajectory for group in groups.values() for s in group]), chosen)
        self.columns = {name: group[0].names for name, group in groups.items()}
        self.union = tuple(dict.fromkeys(c for columns in self.columns.values() for c in columns))
        parts = {
            name: rows_like_learners(
                torch.cat([s.theta for s in group]), Trajectory.cat([s.trajectory for s in group]), table, chosen, seed
            )
            for name, group in groups.items()
        }
        # of each coefficient over the families that have it
        self.fill = torch.stack(
            [
                torch.cat([parts[f][0][:, cols.index(c)] for f, cols in self.columns.items() if c in cols]).mean()
                for c in self.union
            ]
        )
        theta = torch.cat([self.widen(name, part[0]) for name, part in parts.items()])
        x, length, ok = (torch.cat([part[k] for part in parts.values()]) for k in (1, 2, 3))
        x_o = summaries_of(table, chosen).to(x.dtype)
        ok, _, _ = looked_at(x, ok, x_o, summary_names(chosen, table.trajectory.type_names), table.learners)
        standardiser = Standardiser.of(theta, self._logs())
        valid = fit_event_probability(theta, ok, standardiser, settings=classifier, seed=seed)
        self.ratio: LearnerRatio = fit_ratio(
            theta[ok], x[ok], length[ok], valid, standardiser, settings=settings, seed=seed
        )

    def _logs(self) -> list[bool]:
        """Columns of `widen` that are best seen on a log scale."""
        logs = {
            column
            for name, columns in self.columns.items()
            for column, log in zip(columns, log_scale_of(self.priors[name]) or (), strict=False)
            if log
        }
        return [c in logs for c in self.union] + [False] * len(self.names)

    def widen(self, name: str, theta: Tensor) -> Tensor:
        """Rules `(n, D)` of a family as rows of the common matrix."""
        wide = self.fill.repeat(len(theta), 1)
        wide[:, [self.union.index(c) for c in self.columns[name]]] = theta
        mark = torch.zeros(len(theta), len(self.names))
        mark[:, self.names.index(name)] = 1.0
        return torch.cat([wide, mark], dim=1)

    def statistics(self, table: Trials) -> Tensor:
        """What the ratio needs of each learner, `(M, L, K)`."""
        x = summaries_of(table, self.summaries)
        each = [self.ratio.statistics(x[k : k + 1], table.num_trials[k : k + 1]) for k in range(len(x))]
        return torch.stack(each, dim=1)

    def members(self, name: str, theta: Tensor, totals: Tensor, counts: Tensor) -> Tensor:
        """Log-likelihood by each member of the ensemble, `(M, B, n)`; see `LearnerRatio.log_prob_many`."""
        rows = self.widen(name, theta.flatten(0, 1)).reshape(*theta.shape[:2], -1)
        return self.ratio.log_prob_members(rows, totals, counts)

    def evidence(
        self, name: str, totals: Tensor, count: int, draws: Tensor, by_steps: Tensor, *, seed: int
    ) -> tuple[float, float]:
        """Log-evidence of a family, and its error, from draws by run for so many learners, whose statistics are `(M, 1, K)`."""

        def log_likelihood(theta: Tensor) -> Tensor:
            return self.members(name, theta[None], totals, torch.tensor([count])).mean(dim=0)[0]

        _, ess = agreement(draws, {})
        own = child(seed, Stream.BRIDGE)
        return evidence_of(log_likelihood, self.priors[name], draws, by_steps, ess=ess, seed=own)

    def draws(
        self, name: str, totals: Tensor, counts: Tensor, sampler: SamplerSettings, *, seed: int, progress: bool
    ) -> Particles:
        """Draws and log-evidence under a family for each group of learners, given by statistics `(M, B, K)`."""

        def log_likelihood(theta: Tensor, which: Tensor) -> Tensor:
            return self.members(name, theta, totals[:, which], counts[which]).mean(dim=0)

        out = run_smc(log_likelihood, self.priors[name], totals.shape[1], sampler, seed=seed, progress=progress)
        tell(out, sampler, "group of learners")
        return out


def compare_simulated(
    families: Mapping[str, Any],
    trials: str | Path | pd.DataFrame | Trials,
    *,
    summaries: Sequence[SummaryLike] | None,
    settings: EnsembleSettings | None,
    classifier: EnsembleSettings | None,
    sampler: SamplerSettings | None,
    seed: int,
    progress: bool,
) -> FamilyComparison:
    """Families by their simulations; arguments as for `compare_families`."""
    stores, priors = _checked(families)
    first = _first_store(next(iter(stores.values())))
    table = Trials.read(trials, first.layout)
    ratio = FamilyRatio(stores, priors, table, summaries=summaries, settings=settings, classifier=classifier, seed=seed)
    s = sampler or SamplerSettings()
    each = ratio.statistics(table)
    n = len(table)
    whole = each.sum(dim=1, keepdim=True)
    # the whole table in several independent runs, then the table without each of its learners
    totals = torch.cat([whole.expand(-1, s.num_runs, -1), whole - each], dim=1)
    counts = torch.cat([torch.full((s.num_runs,), n), torch.full((n,), n - 1)])
    scores, evidence, sampler_se, offsets = [], [], [], []
    for name in ratio.names:
        out = ratio.draws(name, totals, counts, s, seed=seed, progress=progress)
        with torch.no_grad():
            left_out = ratio.members(name, out.theta[s.num_runs :], each, torch.ones(n)).mean(dim=0)
            theta = out.theta[: s.num_runs].flatten(0, 1)[None]
            of_members = ratio.members(name, theta, whole, torch.tensor([n]))[:, 0]
        scores.append(torch.logsumexp(left_out, dim=1) - math.log(left_out.shape[1]))
        if bool((out.power < 1 - 1e-6).any()):
            raise ValueError(
                f"the sampler's time_limit of {s.time_limit:g} s is too short to compare families: not all posteriors "
                f"were reached; raise it."
            )
        runs, steps = out.theta[: s.num_runs], out.log_evidence[: s.num_runs]
        value, error = ratio.evidence(name, whole, n, runs, steps, seed=seed)
        evidence.append(value)
        sampler_se.append(error)
        # log-evidence by each member alone, against that by their mean
        tilt = of_members - of_members.mean(dim=0)
        offsets.append(torch.logsumexp(tilt, dim=1) - math.log(tilt.shape[1]))
    log_evidence, offset = torch.tensor(evidence, dtype=torch.float64), torch.stack(offsets)
    # only what members say of a family against the best one counts
    relative = offset - offset[int(log_evidence.argmax())]
    spread = relative.std(dim=1) / math.sqrt(offset.shape[1])
    se = torch.sqrt(torch.tensor(sampler_se) ** 2 + spread**2)
    return FamilyComparison(ratio.names, torch.stack(scores).float(), log_evidence.float(), se.float())


def _of_behaviour(shown: Trajectory, best: str | None) -> tuple[Summary, ...]:
    return default_summaries(tuple(shown.per_trial), best, sessions=shown) if shown.per_trial else ()


def _first_store(stores: Stores) -> SimulationStore:
    return stores if isinstance(stores, SimulationStore) else stores[0]


def first_store(families: Mapping[str, Any]) -> SimulationStore:
    """Of the first family, whose layout all share."""
    return _first_store(next(iter(_checked(families)[0].values())))


def _checked(
    families: Mapping[str, Any],
) -> tuple[dict[str, Stores], dict[str, Distribution]]:
    if len(families) < 2:
        raise ValueError(f"compare_families needs at least two families, got {len(families)}.")
    priors: dict[str, Distribution] = {}
    for name, pair in families.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"family {name!r} must be (store, prior), got {pair!r}.")
        own = _first_store(pair[0]).names
        priors[name] = as_prior(pair[1], own, f"the prior of family {name!r}")
        names = names_of(priors[name])
        if names and names != own:
            raise ValueError(
                f"the prior of family {name!r} is over {arguments.listed(names)}, its store holds {arguments.listed(own)}."
            )
    return {k: v[0] for k, v in families.items()}, priors
