"""Recovery from choices: how much data of animals does it take to find a rule, and to tell its terms apart?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules import figures
from sbirules.checks.recovery import Recovery
from sbirules.checks.shown_again import laid_out, tables_of_rules
from sbirules.inference.fitting import fit
from sbirules.model.abilities import ReplaysChoices
from sbirules.model.prior import Sparse, prior_draws
from sbirules.model.tables import Trials
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.streams import Stream, child, generator
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["ChoiceRecovery", "recover_from_choices"]

CLOSE = 0.9  # correlation beyond which two coefficients are not told apart
RESAMPLED = 200  # of the bootstrap over rules


@typed_class
@dataclass(frozen=True)
class ChoiceRecovery:
    """What simulated animals of a table tell of rules that are known; made by `recover(..., trials=...)`. S studies.

    Arguments:
        num_animals: Animals of each study, S.
        num_trials: Decisions of each of its animals.
        studies: True rules and the draws that their animals led to; `figures.calibration(study)` draws one.
        log_score: Log-density of each true rule under its posterior, less that under the prior, in nats, `(S, rules)`.
        optional: Which coefficients may be absent under the prior, `(D,)` boolean.
    """

    num_animals: tuple[int, ...]
    num_trials: tuple[int, ...]
    studies: tuple[Recovery, ...]
    log_score: Tensor
    optional: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return self.studies[0].names

    def coefficients(self) -> pd.DataFrame:
        """One row per study and coefficient.

        `coverage_50` and `coverage_95`: share of rules whose central interval holds the truth, with the standard error that
        a right posterior has; `bias`: mean of posterior mean - truth, with its standard error; `contraction`: 1 - (posterior
        s.d. / prior s.d.)^2; `auc`, of terms that may be absent: how well their inclusion probability tells rules that have
        them from others (1: always, .5: not at all).
        """
        import pandas as pd

        parts = []
        for animals, trials, study in self._each():
            mean, sd = study.draws.double().mean(dim=1), study.draws.double().std(dim=1)
            error, n = mean - study.truth, len(study.truth)
            columns: dict[str, Any] = {"animals": animals, "trials": trials, "coefficient": list(self.names)}
            for level in (0.5, 0.95):
                columns[f"coverage_{100 * level:.0f}"] = list(study.coverage(level).values())
                columns[f"coverage_{100 * level:.0f}_se"] = math.sqrt(level * (1 - level) / n)
            columns["bias"] = error.mean(dim=0).tolist()
            columns["bias_se"] = (error.std(dim=0) / math.sqrt(n)).tolist()
            columns["contraction"] = (1 - (sd / study.prior_sd).square().mean(dim=0)).tolist()
            if bool(self.optional.any()):
                there, chance = _presence(study)
                columns["auc"] = [
                    _auc(there[:, k], chance[:, k]) if may else math.nan for k, may in enumerate(self.optional)
                ]
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts).set_index(["animals", "trials", "coefficient"])

    def table(self) -> pd.DataFrame:
        """One row per study.

        `log_score`: mean over rules of log posterior - log prior density of the truth, in nats, with its standard error;
        `coverage_50`, `coverage_95`: mean over coefficients, with the standard error over rules; `contraction`: mean over
        coefficients; `auc`: of all terms that may be absent, with its standard error (bootstrap over rules); `close_pairs`:
        pairs of coefficients that are not told apart.
        """
        import pandas as pd

        rows = []
        close = self.close_pairs()
        every = self.coefficients()
        for k, (animals, trials, study) in enumerate(self._each()):
            score = self.log_score[k]
            row: dict[str, Any] = {"animals": animals, "trials": trials}
            row |= {"log_score": float(score.mean()), "log_score_se": float(score.std() / math.sqrt(len(score)))}
            for level in (0.5, 0.95):
                inside = study.inside(level).double().mean(dim=1)
                name = f"coverage_{100 * level:.0f}"
                row |= {name: float(inside.mean()), f"{name}_se": float(inside.std() / math.sqrt(len(inside)))}
            row["contraction"] = float(every.loc[(animals, trials), "contraction"].mean())
            if bool(self.optional.any()):
                row["auc"], row["auc_se"] = self._auc_of_all(study)
            row["close_pairs"] = int(((close["animals"] == animals) & (close["trials"] == trials)).sum())
            rows.append(row)
        return pd.DataFrame(rows).set_index(["animals", "trials"])

    def close_pairs(self) -> pd.DataFrame:
        """Pairs of coefficients that this much data does not tell apart, a row each.

        `correlation` is the median over rules of that of their posterior; a pair is there where it is beyond +-.9.
        """
        import pandas as pd

        rows = []
        for animals, trials, study in self._each():
            gap = study.draws.double() - study.draws.double().mean(dim=1, keepdim=True)
            sd = gap.square().mean(dim=1).sqrt()
            size = torch.where(sd > 0, sd, math.inf)  # what never varies goes along with nothing
            correlation = (gap.transpose(1, 2) @ gap / gap.shape[1]) / size[:, :, None] / size[:, None]
            median = correlation.median(dim=0).values
            for i, k in combinations(range(len(self.names)), 2):
                if abs(float(median[i, k])) > CLOSE:
                    rows.append((animals, trials, self.names[i], self.names[k], float(median[i, k])))
        return pd.DataFrame(rows, columns=["animals", "trials", "first", "second", "correlation"])

    def study(self, num_animals: int, num_trials: int) -> Recovery:
        """That of so many animals and trials."""
        there = list(zip(self.num_animals, self.num_trials, strict=True))
        if (num_animals, num_trials) not in there:
            raise ValueError(
                f"there is no study of {num_animals} animals with {num_trials} trials, only of {arguments.listed(there)}."
            )
        return self.studies[there.index((num_animals, num_trials))]

    def figure(self, *, ax: Axes | None = None) -> Axes:
        """How much each study narrows each coefficient; see `figures.by_amount`."""
        every = self.coefficients()["contraction"].unstack("coefficient")[list(self.names)]
        label = [f"{a} x {t}" for a, t in every.index]
        return figures.by_amount(label, self.names, torch.tensor(every.to_numpy()), ax=ax)

    def __str__(self) -> str:
        lines = [
            f"{len(self.studies[0].truth)} rules of the prior; animals x trials as the rows say",
            self.table().round(3).to_string(),
            self.coefficients().round(3).to_string(),
        ]
        lines += [
            f"{row.animals} animals x {row.trials} trials do not tell {row.first} from {row.second}: posterior correlation "
            f"{row.correlation:+.2f}."
            for row in self.close_pairs().itertuples()
        ]
        return "\n".join(lines)

    def _each(self) -> list[tuple[int, int, Recovery]]:
        return list(zip(self.num_animals, self.num_trials, self.studies, strict=True))

    def _auc_of_all(self, study: Recovery) -> tuple[float, float]:
        there, chance = (v[:, self.optional] for v in _presence(study))
        stream = generator(0, Stream.BOOTSTRAP)
        rows = torch.randint(len(there), (RESAMPLED, len(there)), generator=stream)
        again = torch.tensor([_auc(there[r].flatten(), chance[r].flatten()) for r in rows])
        return _auc(there.flatten(), chance.flatten()), float(again[torch.isfinite(again)].std())


def _presence(study: Recovery) -> tuple[Tensor, Tensor]:
    """Which terms each true rule has, and the posterior probability of each, `(rules, D)` both."""
    return study.truth != 0, (study.draws != 0).double().mean(dim=1)


def _auc(there: Tensor, chance: Tensor) -> float:
    """Probability that a term that is there has the higher chance of two, one there and one not; ties count half."""
    yes, no = chance[there], chance[~there]
    if not len(yes) or not len(no):
        return math.nan
    gap = yes[:, None] - no
    return float((gap > 0).double().mean() + 0.5 * (gap == 0).double().mean())


def recover_from_choices(
    simulator: ReplaysChoices,
    whole: Distribution,
    trials: Trials,
    num_trials: Sequence[int] | None,
    num_animals: Sequence[int] | None,
    *,
    rules: int,
    num_samples: int,
    sampler: SamplerSettings | None,
    seed: int,
    progress: bool,
) -> ChoiceRecovery:
    """The studies; arguments as for `recover`, `whole` being the prior over all coefficients."""
    from tqdm.auto import tqdm

    sizes = [(a, t) for a in num_animals or (None,) for t in num_trials or (None,)]
    prior_sd = prior_draws(whole, 10_000).double().std(dim=0).float()
    studies, scores, told = [], [], []
    bar = tqdm(total=rules * len(sizes), desc="recovery", unit="fit", disable=not progress)
    for animals, decisions in sizes:
        layout = laid_out(trials, animals, decisions)
        model: Any = simulator.replaying(layout)
        truth, tables = tables_of_rules(model, whole, rules, layout, shared=True, seed=seed, whose="the prior")
        draws, score = [], []
        posterior: Any = None
        for k, (rule, table) in enumerate(zip(truth, tables, strict=True)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that is what the study is for
                found = fit(model, whole, trials=table, sampler=sampler)
                chains = found.draw(num_samples, seed=child(seed, Stream.SAMPLING, k))
            posterior = posterior or found.with_draws(chains)
            draws.append(chains.draws.transpose(0, 1).flatten(0, 1)[:num_samples].float())
            score.append(float(found.potential_net.log_likelihood(rule[None])) - chains.log_evidence[0])
            bar.update()
        studies.append(Recovery(model.names, truth, torch.stack(draws), len(layout), prior_sd, posterior))
        scores.append(torch.tensor(score, dtype=torch.float64))
        told.append((len(layout), int(layout.num_trials.max())))
    bar.close()
    optional = whole.optional if isinstance(whole, Sparse) else torch.zeros(len(prior_sd), dtype=torch.bool)
    counts = tuple(zip(*told, strict=True))
    return ChoiceRecovery(counts[0], counts[1], tuple(studies), torch.stack(scores), optional)
