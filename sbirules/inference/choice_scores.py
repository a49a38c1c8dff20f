"""How well choices that were held out are predicted: later sessions of each animal, animals left out; and paired tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.baselines import Baseline
from sbirules.inference.exact import ChoicePotential, PooledPotential, probabilities_in_parts
from sbirules.inference.exact_fitting import fit_exactly
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import ChoicesQuestion
from sbirules.model.abilities import LikelihoodOfChoices, PredictsChoices
from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.priors import PriorLike, completed
from sbirules.samplers.smc import SamplerSettings
from sbirules.support.streams import Stream, child

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "RuleScores",
    "Scored",
    "answered",
    "before",
    "bridge",
    "held_out_part",
    "holm",
    "later_of_baseline",
    "least_p",
    "left_out_of_baseline",
    "paired_tests",
    "wilcoxon_p",
]

DRAWS = 400  # rules over which predictions are averaged
OF_LEFT_OUT = 1000  # rules of the others, by which an animal left out is scored
ITERATIONS = 1000  # of the bridge at most; it takes some ten


@dataclass(frozen=True)
class Scored:
    """What a rule says of choices.

    Arguments:
        score: Log-probability of what was held out, by animal, `(animals,)`.
        error: Its Monte Carlo error, `(animals,)`.
        evidence: Log-evidence of the choices that were fitted, and its standard error.
    """

    score: Tensor
    error: Tensor
    evidence: tuple[float, float]


# What is held out -------------------------------------------------------------------------------------


def answered(trials: Trials) -> Tensor:
    """Which decisions have an answer, `(animals, decisions)` boolean."""
    return (trials.trial_types >= 0) & ~torch.isnan(trials.trajectory.per_trial["choice"])


def held_out_part(trials: Trials) -> Tensor:
    """Decisions of each animal's last sessions, `(animals, decisions)` boolean.

    A fifth of its sessions, at least one; of a single session its last third of the trials.

    Raises:
        ValueError: If an animal has no answer before them, or none among them.
    """
    there = trials.trial_types >= 0
    session, trial = (trials.trajectory.per_trial[name].nan_to_num(-1.0) for name in ("session", "trial"))
    out = torch.zeros_like(there)
    given = answered(trials)
    for k, name in enumerate(trials.learners):
        counted = session if len(torch.unique(session[k][there[k]])) > 1 else trial
        units = torch.unique(counted[k][there[k]])
        last = max(1, len(units) // (5 if counted is session else 3))
        first = units[-last] if len(units) else 0
        out[k] = there[k] & (counted[k] >= first)
        if not (given[k] & out[k]).any() or not (given[k] & ~out[k]).any():
            raise ValueError(
                f"animal {name!r} has too few sessions to hold out the last ones: it needs answers both among them and before; "
                f'leave it out with trials.subset, or take held_out="animals".'
            )
    return out


def before(trials: Trials, held_out: Tensor) -> Trials:
    """The same table without what is held out, which is the end of each animal's."""
    kept = (trials.trial_types >= 0) & ~held_out
    longest = int(kept.sum(dim=1).max())
    kept = kept[:, :longest]
    types = torch.where(kept, trials.trial_types[:, :longest], -1)
    fields = {
        name: torch.where(kept, value[:, :longest], math.nan) for name, value in trials.trajectory.per_trial.items()
    }
    return Trials(trials.learners, Trajectory(trials.trajectory.status, types, fields), None, trials.meaning)


# Rules ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleScores:
    """Fits a rule to parts of a table and scores the others.

    Arguments:
        simulator: Suited to the whole table.
        prior: Over all its coefficients, the same for all parts.
        trials: The table.
        sampler: Settings of the sampler; None for the usual ones.
        seed: Makes it repeatable.
        progress: Whether to show progress bars.
    """

    simulator: Simulator
    prior: Distribution
    trials: Trials
    sampler: SamplerSettings | None
    seed: int
    progress: bool

    @staticmethod
    def of(
        name: str,
        simulator: Any,
        prior: PriorLike,
        trials: Trials,
        sampler: SamplerSettings | None,
        seed: int,
        progress: bool,
    ) -> RuleScores:
        """Those of a family, with one prior over all coefficients, whatever is held out."""
        suited = simulator.suited(trials)
        whole = completed(prior, suited.names, suited.nuisances, f"the prior of family {name!r}")
        return RuleScores(suited, whole, trials, sampler, seed, progress)

    def fitted(self, trials: Trials, animals: str, seed: int) -> Posterior:
        """The posterior given some of the choices."""
        return fit_exactly(
            self.simulator,
            self.prior,
            ChoicesQuestion(trials, animals),
            varies=None,
            spread=1.0,
            sampler=self.sampler,
            seed=seed,
            progress=self.progress,
        )

    def later(self, held_out: Tensor, animals: str) -> Scored:
        """Each animal's last sessions, predicted choice by choice with rules fitted to all before.

        Arguments:
            held_out: As from `held_out_part`.
            animals: `"shared"` or `"own"`.
        """
        posterior = self.fitted(before(self.trials, held_out), animals, self.seed)
        if posterior.of_animals is None:
            posterior = posterior.with_draws(posterior.draw(DRAWS, seed=self.seed))
        rules = posterior.rules_of_animals(DRAWS, len(self.trials))
        score = _one_ahead(_model_of(posterior).likelihood(self.trials), rules, self.trials, held_out)
        return Scored(score, torch.full_like(score, math.nan), posterior.chains.log_evidence)

    def left_out(self) -> Scored:
        """All choices of each animal at once, by the shared rule of the others.

        log p(choices of a | the others) is the ratio of two evidences. It is bridged (Meng & Wong 1996) between draws given the
        others and draws given all animals, since a plain mean of likelihoods over the former fails for thousands of choices.
        """
        animals = len(self.trials)
        whole = self.fitted(self.trials, "shared", self.seed)
        all_of_them = whole.draw(OF_LEFT_OUT, seed=self.seed)
        theta, size = all_of_them.draws.flatten(0, 1), all_of_them.ess
        model, scores = _model_of(whole), torch.full((2, animals), math.nan, dtype=torch.float64)
        for a in range(animals):
            seed = child(self.seed, Stream.HELD_OUT, a)
            others = self.fitted(self.trials.subset([k for k in range(animals) if k != a]), "shared", seed)
            chains = others.draw(OF_LEFT_OUT, seed=seed)
            likelihood = model.likelihood(self.trials.subset([a]))
            value = [likelihood.log_prob(v.double())[:, 0] for v in (chains.draws.flatten(0, 1), theta)]
            scores[:, a] = torch.tensor(bridge(value[0], value[1], chains.ess, size))
        return Scored(scores[0], scores[1], all_of_them.log_evidence)


def _model_of(posterior: Posterior) -> PredictsChoices:
    """The simulator whose likelihood a posterior has."""
    net: Any = posterior.potential_net
    inner = net.inner if isinstance(net, PooledPotential) else net
    if not isinstance(inner, ChoicePotential) or inner.simulator is None:
        raise ValueError("the posterior must be one of choices, made by fit(simulator, prior, trials=...).")
    simulator: PredictsChoices = inner.simulator
    return simulator


def _one_ahead(likelihood: LikelihoodOfChoices, rules: Tensor, trials: Trials, held_out: Tensor) -> Tensor:
    """Log-probability of each animal's held-out choices `(animals,)`; of each the mean over rules before the logarithm.

    Arguments:
        likelihood: Of the whole table, so that all an animal did before is its past.
        rules: Of each animal, `(n, animals, D)`.
        trials: The table.
        held_out: `(animals, decisions)` boolean.
    """
    there = trials.trial_types >= 0
    wanted = (held_out & answered(trials))[there].nonzero()[:, 0]
    choice = trials.trajectory.per_trial["choice"][there].nan_to_num(0.0).long()[wanted]
    animal = torch.repeat_interleave(torch.arange(len(trials)), there.sum(dim=1))[wanted]
    answers = 2 if trials.meaning is None else len(trials.meaning.options)
    total = torch.zeros(len(wanted), dtype=torch.float64)
    for every in probabilities_in_parts(likelihood, rules, int(there.sum()), answers):
        prob = every[:, wanted]
        total += prob.gather(2, choice[None, :, None].expand(len(prob), -1, 1))[:, :, 0].nan_to_num(0.0).sum(dim=0)
    log_prob = (total / len(rules)).clamp(min=1e-300).log()
    return torch.zeros(len(trials), dtype=torch.float64).index_add_(0, animal, log_prob)


def bridge(
    without: Tensor, given: Tensor, size_without: float = math.nan, size_given: float = math.nan
) -> tuple[float, float]:
    """Log of the mean of a likelihood L over a density q, and its standard error, from draws of q and of q L.

    Optimal bridge sampling (Meng & Wong 1996, Statistica Sinica 6, eq. 4.1); the error is that of Fruehwirth-Schnatter (2004,
    Econometrics J. 7, section 3).

    Arguments:
        without: log L of draws of q, `(n,)`.
        given: log L of draws of q L, `(m,)`.
        size_without: How many independent draws of q they are worth; n if not known.
        size_given: The same of q L.
    """
    n, m = (
        min(size, len(v)) if math.isfinite(size) else float(len(v))
        for size, v in ((size_without, without), (size_given, given))
    )
    share_q, share_l = math.log(n / (n + m)), math.log(m / (n + m))
    if not torch.isfinite(without).any() or not torch.isfinite(given).any():
        return -math.inf, math.nan
    value = _log_mean(without)
    upper, lower = without, given
    for _ in range(ITERATIONS):
        middle = share_q + value.clone()
        upper = without - torch.logaddexp(share_l + without, middle)
        lower = -torch.logaddexp(share_l + given, middle)
        new = _log_mean(upper) - _log_mean(lower)
        done = float((new - value).abs()) < 1e-9
        value = new
        if done:
            break
    variance = sum(float(v.exp().var() / v.exp().mean() ** 2) / k for v, k in ((upper, n), (lower - lower.max(), m)))
    return float(value), math.sqrt(variance)


def _log_mean(value: Tensor) -> Tensor:
    return torch.logsumexp(value, dim=0) - math.log(len(value))


# Baselines --------------------------------------------------------------------------------------------


def later_of_baseline(baseline: Baseline, trials: Trials, held_out: Tensor) -> Tensor:
    """Log-probability `(animals,)` of each animal's last sessions, parameters being its own, from before."""
    value = baseline.log_prob(trials, (trials.trial_types >= 0) & ~held_out)
    return torch.where(held_out, value, 0.0).nan_to_num(0.0).sum(dim=1)


def left_out_of_baseline(baseline: Baseline, trials: Trials) -> Tensor:
    """Log-probability `(animals,)` of all choices of each animal, by the parameters that the others share."""
    out = torch.zeros(len(trials), dtype=torch.float64)
    there = trials.trial_types >= 0
    for a in range(len(trials)):
        seen = there.clone()
        seen[a] = False
        out[a] = baseline.log_prob(trials, seen, shared=True)[a].nan_to_num(0.0).sum()
    return out


# Tests ------------------------------------------------------------------------------------------------


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p-value of paired differences; 1 where all are 0, NaN where they are not known."""
    from scipy.stats import wilcoxon

    if not np.isfinite(difference).all():
        return math.nan
    moved = difference[difference != 0]
    return float(wilcoxon(moved).pvalue) if len(moved) else 1.0


def paired_tests(one: str, differences: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Wilcoxon's test of each family against one: a row each with `against`, `difference`, `ahead`, `p` and `p_holm`.

    Arguments:
        one: The family.
        differences: By how much the scores of others are above its, by animal.
    """
    import pandas as pd

    p = [wilcoxon_p(d) for d in differences.values()]
    columns = {
        "against": [one] * len(differences),
        "difference": [float(np.median(d)) for d in differences.values()],
        "ahead": [int((d > 0).sum()) for d in differences.values()],
        "p": p,
        "p_holm": holm(p),
    }
    return pd.DataFrame(columns, index=list(differences))


def least_p(difference: np.ndarray) -> float:
    """The smallest p-value that so many differences can have."""
    return float(2.0 ** (1 - min(len(difference), 60)))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979, Scand. J. Stat. 6); NaN stay, and do not count."""
    out = [math.nan] * len(p)
    order = sorted((k for k in range(len(p)) if not math.isnan(p[k])), key=lambda k: p[k])
    largest = 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[k]))
        out[k] = largest
    return out
