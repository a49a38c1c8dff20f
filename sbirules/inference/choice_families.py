"""Between rules and baselines of choice: which predicts best what animals do later, or what other animals do?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sbirules import figures
from sbirules.inference.baselines import Baseline
from sbirules.inference.choice_scores import (
    RuleScores,
    answered,
    held_out_part,
    holm,
    later_of_baseline,
    least_p,
    left_out_of_baseline,
    paired_tests,
    wilcoxon_p,
)
from sbirules.model.abilities import PredictsChoices
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.priors import PriorLike
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["HELD_OUT", "ChoiceComparison", "compare_choices", "parted", "sharing"]

HELD_OUT = ("sessions", "animals", "both")
SHARED = ("shared", "own")
MANY = 1000  # decisions of an animal that tell a rule of its own
STATIC = ("coin", "fixed", "logistic")  # baselines whose policy does not change


@typed_class
@dataclass(frozen=True)
class ChoiceComparison(Shown):
    """How well rules and baselines predict choices that were held out; made by `compare_families`. A animals, F families.

    Scores are log-probabilities in nats: of each choice of the last sessions given all that the animal did before, the mean over
    draws before the logarithm; or of all choices of an animal at once, given the other animals.

    Arguments:
        names: The families.
        kinds: `"rule"`, or the name of the baseline that a family is.
        learners: Names of the animals.
        sessions: Score of each animal's last sessions, `(F, A)`; NaN where they were not held out.
        left_out: Score of each animal left out, `(F, A)`; NaN where none was, and where each animal has a rule of its own.
        left_out_error: Monte Carlo error of that, `(F, A)`; 0 of baselines.
        held_out_choices: Number of choices in each animal's last sessions, `(A,)`.
        choices: Number of all its choices, `(A,)`.
        log_evidence: Of rules: log-evidence of all choices where animals were left out, else of those before the last sessions,
            `(F,)`; NaN of baselines.
        evidence_se: Its standard error, `(F,)`.
        answers: Number of possible answers.
        animals: `"shared"` or `"own"` rules.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    learners: tuple[str, ...]
    sessions: Tensor
    left_out: Tensor
    left_out_error: Tensor
    held_out_choices: Tensor
    choices: Tensor
    log_evidence: Tensor
    evidence_se: Tensor
    answers: int = 2
    animals: str = "shared"

    # Scores ---------------------------------------------------------------------------------------

    def _of(self, held_out: str | None) -> tuple[str, Tensor, Tensor]:
        """Which score, itself and the number of its choices by animal."""
        every = {"sessions": (self.sessions, self.held_out_choices), "animals": (self.left_out, self.choices)}
        there = [name for name, (score, _) in every.items() if bool(torch.isfinite(score).any())]
        if not there:
            raise ValueError(
                "this comparison has no scores, since none of them is finite; see its table for what was tried."
            )
        name = there[0] if held_out is None else held_out
        arguments.known("held_out", name, there)
        return name, *every[name]

    def deviance_explained(self, held_out: str | None = None) -> Tensor:
        """1 - log p / log p of a coin, by family and animal, `(F, A)`.

        Arguments:
            held_out: `"sessions"` or `"animals"`; the first that there is by default.
        """
        _, score, count = self._of(held_out)
        return 1.0 + score / (count.double() * math.log(self.answers))

    @property
    def best(self) -> str:
        """The family with the highest score: of later sessions, or of animals left out where only these were held out."""
        return self.names[_highest(self._of(None)[1].sum(dim=1))]

    def table(self) -> pd.DataFrame:
        """One row per family, the best first.

        For later sessions: `score`, the sum over animals; by how much it is `behind` the best and the standard error `behind_se`
        of that over animals; share of a coin's deviance that is explained, pooled (`deviance`) and as median over animals
        (`deviance_median`), with the standard error over animals of its mean difference to the best, `deviance_se`. For animals
        left out the same, after `animals_`, and the Monte Carlo error of their score, `animals_error`. Then `log_evidence` and
        its error `evidence_se`.
        """
        import pandas as pd

        columns: dict[str, Any] = {"kind": list(self.kinds)}
        for held_out, ahead in (("sessions", ""), ("animals", "animals_")):
            score = self.sessions if held_out == "sessions" else self.left_out
            if not bool(torch.isfinite(score).any()):
                continue
            each, (_, _, count) = self.deviance_explained(held_out), self._of(held_out)
            total, first = score.sum(dim=1), _highest(score.sum(dim=1))
            columns[f"{ahead}score"] = total.numpy()
            columns[f"{ahead}behind"] = (total[first] - total).numpy()
            columns[f"{ahead}behind_se"] = (_error(score[first] - score) * score.shape[1]).numpy()
            columns[f"{ahead}deviance"] = (1.0 + total / (float(count.sum()) * math.log(self.answers))).numpy()
            columns[f"{ahead}deviance_median"] = np.median(each.numpy(), axis=1)
            columns[f"{ahead}deviance_se"] = _error(each[first] - each).numpy()
            if held_out == "animals":
                columns["animals_error"] = self.left_out_error.square().sum(dim=1).sqrt().numpy()
        columns |= {"log_evidence": self.log_evidence.numpy(), "evidence_se": self.evidence_se.numpy()}
        frame = pd.DataFrame(columns, index=list(self.names))
        order = self._of(None)[1].sum(dim=1).nan_to_num(-math.inf).argsort(descending=True, stable=True)
        return frame.iloc[order.tolist()]

    # Tests ----------------------------------------------------------------------------------------

    def tests(self, against: str | None = None, held_out: str | None = None) -> pd.DataFrame:
        """Wilcoxon's signed-rank test over animals of each family against one: on scores per choice, two-sided.

        A row for each other family: the median over animals of the `difference` in nats per choice, above 0 where the other is
        better; in how many animals it is `ahead`; `p`; and `p_holm`, corrected for all rows (Holm 1979). Against the best, which
        the same data chose, p-values are a little too small.

        Arguments:
            against: The family; the best by default.
            held_out: `"sessions"` or `"animals"`; the first that there is by default.
        """
        name, score, _ = self._of(held_out)
        one = self.names[_highest(score.sum(dim=1))] if against is None else against
        arguments.known("against", one, self.names)
        return paired_tests(one, {n: self._difference(n, one, name) for n in self.names if n != one})

    def _difference(self, name: str, other: str, held_out: str) -> np.ndarray:
        """By how much one family's score per choice is above another's, by animal."""
        _, score, count = self._of(held_out)
        difference = score[self.names.index(name)] - score[self.names.index(other)]
        return (difference / count.double()).numpy()

    @property
    def plasticity(self) -> str:
        """Whether a rule is needed: whether the best one predicts better than weights that merely drift."""
        held_out, score, _ = self._of(None)
        total = score.sum(dim=1)
        finite = [k for k in range(len(self.names)) if math.isfinite(float(total[k]))]
        rules = [k for k in finite if self.kinds[k] == "rule"]
        if not rules:
            return "Whether plasticity is needed cannot be said: no rule was compared."
        best = max(rules, key=lambda k: float(total[k]))
        rule = self.names[best]
        beside = {kind: [k for k in finite if self.kinds[k] == kind][:1] for kind in ("random_walk", "q_learning")}
        rivals = [kind for kind, found in beside.items() if found]
        each = {kind: self._difference(rule, self.names[beside[kind][0]], held_out) for kind in rivals}
        p = dict(zip(rivals, holm([wilcoxon_p(d) for d in each.values()]), strict=True))
        above = {kind: float(total[best] - total[beside[kind][0]]) for kind in rivals}
        better = {kind: p[kind] < 0.05 and above[kind] > 0 and float(np.median(each[kind])) > 0 for kind in rivals}
        of = "the last sessions" if held_out == "sessions" else "animals left out"
        said = {kind: f"{above[kind]:+.1f} nats in all, Holm p = {p[kind]:.2g}" for kind in rivals}
        static = [k for k in finite if self.kinds[k] in STATIC]
        moving = [k for k in finite if self.kinds[k] not in STATIC]
        still = static and max(float(total[k]) for k in static) >= max(float(total[k]) for k in moving)
        if "random_walk" not in rivals:
            text = 'Whether plasticity is needed cannot be said: "random_walk", weights that drift, is not among the families.'
        elif better["random_walk"]:
            text = (
                f"Plasticity is needed: {rule} predicts {of} better than weights that drift as a random walk "
                f"({said['random_walk']})."
            )
        elif still:
            text = (
                f"No change of the policy is shown: {self.best}, which does not change, predicts {of} best "
                f"({rule} against the random walk: {said['random_walk']})."
            )
        else:
            text = (
                f"The policy changes, not shown to be by this rule: {rule} is not shown to predict {of} better than weights that "
                f"drift as a random walk ({said['random_walk']})."
            )
        if "q_learning" in rivals:
            verb = "predicts them better than" if better["q_learning"] else "is not shown to predict them better than"
            text += f" Beside it, {rule} {verb} Q-learning, the classical one ({said['q_learning']})."
        whose = "one rule of its own for each animal" if self.animals == "own" else "one rule for all animals"
        text += f" Fitted was {whose}."
        if rivals and min(least_p(d) for d in each.values()) * len(rivals) >= 0.05:
            text += f" With {len(self.learners)} animals no test can tell."
        return text

    def _card(self) -> Card:
        return Card(
            "Rules and baselines on held-out choices", text=self.plasticity, table=self.table().rename_axis("rule")
        )

    def __str__(self) -> str:
        return f"{self.table().round(3).to_string()}\n{self.plasticity}"

    def figure(self, held_out: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Share of a coin's deviance that each family explains, by animal; see `figures.held_out_scores`."""
        name, score, _ = self._of(held_out)
        order = score.sum(dim=1).nan_to_num(-math.inf).argsort(descending=True, stable=True).tolist()
        order = [k for k in order if bool(torch.isfinite(score[k]).all())]
        of = "later sessions" if name == "sessions" else "animals left out"
        values = self.deviance_explained(name)[order]
        return figures.held_out_scores([self.names[k] for k in order], values, f"deviance explained, {of}", ax=ax)


def _highest(total: Tensor) -> int:
    return int(total.nan_to_num(-math.inf).argmax())


def _error(value: Tensor) -> Tensor:
    """Standard error of the mean over animals, of `(F, A)`."""
    animals = value.shape[1]
    return value.std(dim=1) / math.sqrt(animals) if animals > 1 else torch.full_like(value[:, 0], math.nan)


# Comparing --------------------------------------------------------------------------------------------


def compare_choices(
    families: Mapping[str, tuple[Simulator, PriorLike] | str | Baseline],
    trials: str | Path | pd.DataFrame | Trials,
    *,
    animals: str | None = None,
    held_out: str = "sessions",
    sampler: SamplerSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ChoiceComparison:
    """Rules and baselines on choices; arguments as for `compare_families`."""
    arguments.known("held_out", held_out, HELD_OUT)
    if len(families) < 2:
        raise ValueError(f"compare_families needs at least two families, got {len(families)}.")
    baselines, rules = parted(families)
    layouts = [simulator.layout for simulator, _ in rules.values()]
    table = Trials.read(trials, layouts[0] if layouts else None)
    if table.meaning is None:
        raise ValueError("trials must be a table of choices; see Trials.read, columns={'choice': ...}.")
    how = sharing(table, held_out) if animals is None else animals
    arguments.known("animals", how, SHARED)
    if held_out == "animals" and how == "own":
        raise ValueError(
            'animals="own" has no score of animals left out, whose rules the others do not tell; take animals="shared" or '
            'held_out="sessions".'
        )
    if held_out != "sessions" and len(table) < 2:
        raise ValueError(f'held_out={held_out!r} needs at least two animals, got {len(table)}; take "sessions".')
    given = answered(table)
    silent = [name for name, row in zip(table.learners, given, strict=True) if not row.any()]
    if silent:
        raise ValueError(f"animal {silent[0]!r} gave no answer; leave it out with trials.subset.")
    part = held_out_part(table) if held_out != "animals" else torch.zeros_like(given)
    ready = {name: RuleScores.of(name, *pair, table, sampler, seed, progress) for name, pair in rules.items()}
    f, a = len(families), len(table)
    later, left, error = (torch.full((f, a), math.nan, dtype=torch.float64) for _ in range(3))
    evidence = torch.full((f, 2), math.nan, dtype=torch.float64)
    for k, name in enumerate(families):
        if held_out != "animals":
            if name in baselines:
                later[k] = later_of_baseline(baselines[name], table, part)
            else:
                found = ready[name].later(part, how)
                later[k], evidence[k] = found.score, torch.tensor(found.evidence, dtype=torch.float64)
        if held_out != "sessions":
            if name in baselines:
                left[k], error[k] = left_out_of_baseline(baselines[name], table), 0.0
            elif how == "shared":
                found = ready[name].left_out()
                left[k], error[k] = found.score, found.error
                evidence[k] = torch.tensor(found.evidence, dtype=torch.float64)
    return ChoiceComparison(
        tuple(families),
        tuple(baselines[name].name if name in baselines else "rule" for name in families),
        table.learners,
        later,
        left,
        error,
        (given & part).sum(dim=1),
        given.sum(dim=1),
        evidence[:, 0],
        evidence[:, 1],
        len(table.meaning.options),
        how,
    )


def parted(families: Mapping[str, Any]) -> tuple[dict[str, Baseline], dict[str, tuple[Simulator, PriorLike]]]:
    """Baselines and rules."""
    from sbirules.inference.baselines.catalogue import BASELINES

    baselines: dict[str, Baseline] = {}
    rules: dict[str, tuple[Simulator, PriorLike]] = {}
    for name, value in families.items():
        if isinstance(value, str):
            arguments.known(f"family {name!r}", value, tuple(BASELINES))
            baselines[name] = BASELINES[value]
        elif isinstance(value, Baseline):
            baselines[name] = value
        elif isinstance(value[0], PredictsChoices):
            rules[name] = value
        else:
            raise ValueError(
                f"family {name!r} must predict choices, as PolicyNetwork does, got {type(value[0]).__name__}; simulate it first "
                f"and give (store, prior)."
            )
    return baselines, rules


def sharing(trials: Trials, held_out: str) -> str:
    """Whether animals have rules of their own, where that was not said."""
    sessions = trials.trajectory.per_trial["session"].nan_to_num(0.0).max() > 0
    many = float(trials.num_trials.double().mean()) > MANY
    return "own" if held_out != "animals" and (bool(sessions) or many) else "shared"
