"""Whether rules make choices that look like the animals' own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from scipy.stats import t as student
from torch import Tensor

from sbirules import figures
from sbirules.inference.exact import probabilities_in_parts
from sbirules.inference.questions.base import Asked, FigureOf
from sbirules.inference.questions.choice_information import Information, information_of
from sbirules.inference.questions.choice_replays import WeightsAlong, in_closed_loop, weights_along
from sbirules.inference.questions.choice_statistics import AROUND, REVERSALS, History, Statistic, statistics_of
from sbirules.inference.questions.choice_updates import Updates, updates_of
from sbirules.inference.questions.fresh import Fresh
from sbirules.model.abilities import PredictsChoices, ReplaysChoices, needed
from sbirules.model.rules import MLPRule
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.model.verdicts import Verdict
from sbirules.support import arguments
from sbirules.support.streams import Stream, generator
from sbirules.support.typed import typed_class

__all__ = ["ChoicesCheck", "choice_figures", "choice_verdicts", "predicted_choices"]

AHEAD = "one step ahead"
PARTS = 20  # of an animal's trials, in the figure of learning
ADVICE = {
    "repetition": 'Let perseveration be a coefficient (nuisance = [..., "perseveration"]), or pool animals only partially.',
    "win-stay, lose-shift": "The rule does not learn from rewards as the animals do: try other terms of reward.",
    "run lengths": "Runs of equal answers are longer or shorter than the rule makes them: try perseveration, or other terms.",
    REVERSALS: "Animals follow a reversal faster or slower than the rule does: try other terms of reward, or decay.",
    "learning curve": "The policy changes otherwise over trials: try other terms, or own rules for animals.",
    "spread between animals": 'Animals differ otherwise than these rules make them: animals = "partial", or more nuisances.',
}
OF_CURVES = "The stimulus moves choices otherwise: try lapses, initial weights, or other terms of x."


@typed_class
@dataclass(frozen=True)
class ChoicesCheck:
    """Choices that posterior rules predict, held against those of the animals.

    Arguments:
        rules: Posterior rules.
        networks_per_rule: Animals.
        how: `"in closed loop"`: statistics are those of animals simulated in the task; or `"one step ahead"`: of answers drawn
            given each animal's own past.
        observed: Statistics of the animals, one row each.
        predicted: The same under each rule.
        theta: The posterior rules, `(rules, D)`.
        log_prob: Log of the predicted probability of each choice, mean over rules before the logarithm, by animal, `(animals,)`.
        choices: Answers given by each animal, `(animals,)`.
        options: The possible answers.
        learners: Names of the animals.
        curves: Rate of the last answer of each animal by part of its trials, and the one predicted one step ahead, each
            `(animals, parts)`.
        weights: The policy's weights along the trials of a few animals, where they are known.
        failures: Rules with which simulated animals' weights diverge.
        information: What the table tells of the coefficients.
        updates: The rules as functions, where coefficients mean little one by one.
    """

    rules: int
    networks_per_rule: int
    how: str
    observed: tuple[Statistic, ...]
    predicted: tuple[Statistic, ...]
    theta: Tensor
    log_prob: Tensor
    choices: Tensor
    options: tuple[str, ...]
    learners: tuple[str, ...]
    curves: tuple[Tensor, Tensor]
    weights: WeightsAlong | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    information: Information | None = None
    updates: Updates | None = None

    @property
    def deviance_explained(self) -> float:
        """1 - logL / logL of a coin, all animals together; in sample."""
        return 1 + float(self.log_prob.sum()) / (float(self.choices.sum()) * math.log(len(self.options)))

    @property
    def deviance_by_animal(self) -> Tensor:
        """The same of each animal, `(animals,)`."""
        return 1 + self.log_prob / (self.choices * math.log(len(self.options)))

    @property
    def p_values(self) -> dict[str, Tensor]:
        """Two-sided posterior predictive p-values by group, one for each statistic, `(K,)`; NaN where it is not defined.

        2 (k + 1) / (n + 1), where k of n rules lie beyond the animals, on the side where fewer do: never smaller than that
        many rules can tell.
        """
        out: dict[str, Tensor] = {}
        for seen, made in zip(self.observed, self.predicted, strict=True):
            own, others = seen.values[0], made.values
            # equal up to rounding counts as half below, half above
            near = (others - own).abs() <= 1e-12
            below = ((others < own) & ~near).double() + 0.5 * near.double()
            n = torch.isfinite(others).sum(dim=0)
            beyond = torch.minimum(below.sum(dim=0), n - below.sum(dim=0))
            p = (2 * (beyond + 1) / (n + 1)).clamp(max=1.0)
            out[seen.group] = torch.where(torch.isfinite(own) & (2 * n > len(others)), p, torch.nan)
        return out

    @property
    def coverage(self) -> float:
        """Share of all statistics that lie within the 95 % interval of rules."""
        p = torch.cat(list(self.p_values.values()))
        p = p[torch.isfinite(p)]
        return float((p > 0.05).double().mean()) if len(p) else math.nan

    @property
    def findings(self) -> list[str]:
        """Sentences beside the verdicts."""
        each = self.deviance_by_animal
        told = [] if self.information is None else [self.information.sentence(self.theta.shape[1])]
        return [
            *told,
            f"The rules explain {self.deviance_explained:.1%} of the deviance of a coin in sample (median over animals "
            f"{float(each.median()):.1%}); held-out scores beside baselines come from compare_families.",
            "Statistics of choices are those of answers drawn one step ahead, given each animal's own past: the task's rewards "
            "are not known."
            if self.how == AHEAD
            else "Statistics of choices are those of animals simulated in closed loop: they see what the animals saw, in "
            "sessions as long, and get what the task gives for their own choices.",
        ]


def predicted_choices(posterior: Asked, simulator: Simulator, trials: Trials, fresh: Fresh) -> ChoicesCheck:
    """Posterior rules' predictions of each choice given the animal's own past, and answers drawn from them or in closed loop."""
    rules = arguments.whole("rules", fresh.rules, 2)
    model = needed(simulator, PredictsChoices, "a table of choices")
    likelihood, history = model.likelihood(trials), History.of(trials)
    of_animals = posterior.rules_of_animals(rules, len(trials))
    stream = generator(fresh.seed, Stream.CHECK)
    observed = statistics_of(history.choice[None], history)
    n, answers = len(history.choice), history.answers
    player = simulator.replaying(trials) if isinstance(simulator, ReplaysChoices) and simulator.knows_rewards else None
    made: list[list[Tensor]] = [[] for _ in observed]
    total = torch.zeros(n, answers, dtype=torch.float64)
    for prob in probabilities_in_parts(likelihood, of_animals, n, answers):
        total += prob.sum(dim=0)
        if player is not None:
            continue
        draw = torch.rand(len(prob), n, 1, generator=stream, dtype=torch.float64)
        now = (draw > prob.cumsum(dim=2)).sum(dim=2).clamp(max=answers - 1)
        for kept, statistic in zip(made, statistics_of(now, history), strict=True):
            kept.append(statistic.values)
    failures: Mapping[str, int] = {}
    if player is None:
        predicted = [Statistic(s.group, s.names, torch.cat(values)) for s, values in zip(observed, made, strict=True)]
    else:
        predicted, failures = in_closed_loop(player, trials, of_animals, observed, fresh)
    mean = total / rules
    answered = history.choice >= 0
    taken = mean.gather(1, history.choice.clamp(min=0)[:, None])[:, 0].clamp(min=1e-300).log()
    animals = len(trials)
    log_prob = torch.zeros(animals, dtype=torch.float64).index_add_(0, history.animal[answered], taken[answered])
    choices = torch.bincount(history.animal[answered], minlength=animals).double()
    family, shown = simulator.family, posterior.spread_out(rules)
    found = ChoicesCheck(
        rules,
        animals,
        AHEAD if player is None else "in closed loop",
        tuple(observed),
        tuple(predicted),
        shown,
        log_prob,
        choices,
        () if trials.meaning is None else trials.meaning.options,
        trials.learners,
        _curves(history, mean[:, -1], trials),
        failures=failures,
        information=information_of(likelihood, posterior, simulator.names),
        updates=updates_of(family, shown[:, : family.dim]) if isinstance(family, MLPRule) else None,
    )
    return replace(found, weights=weights_along(likelihood, trials, of_animals, found.deviance_by_animal))


def _curves(history: History, predicted: Tensor, trials: Trials) -> tuple[Tensor, Tensor]:
    """Rate of the last answer by part of each animal's trials, as it was and as it was predicted, `(animals, PARTS)`."""
    animals = len(trials)
    count = trials.num_trials
    cell = history.animal * PARTS + (history.place * PARTS // count[history.animal]).clamp(max=PARTS - 1)
    there = history.choice >= 0
    many = torch.bincount(cell[there], minlength=animals * PARTS).double()
    own = (history.choice == history.answers - 1).double()
    rates = [
        (torch.zeros(animals * PARTS, dtype=torch.float64).index_add_(0, cell[there], v[there]) / many).reshape(
            animals, PARTS
        )
        for v in (own, predicted)
    ]
    return rates[0], rates[1]


def choice_verdicts(c: ChoicesCheck) -> list[Verdict]:
    """One verdict for each group of statistics: fail below .05 / number of checks, caution below .05."""
    groups = [name for name, p in c.p_values.items() if bool(torch.isfinite(p).any())]
    out = []
    for seen, made in zip(c.observed, c.predicted, strict=True):
        if seen.group not in groups:
            continue
        p = c.p_values[seen.group]
        tests = int(torch.isfinite(p).sum())
        away = _away(seen, made)
        least = torch.nan_to_num(p, nan=2.0) <= float(torch.nan_to_num(p, nan=2.0).min()) + 1e-9
        worst = int(torch.where(least, away, -1.0).argmax())  # of equal p-values, the one farthest off
        # several statistics are one check (Bonferroni); beyond all rules p is a bound only
        n = int(torch.isfinite(made.values[:, worst]).sum())
        smallest = min(1.0, float(p[worst]) * tests)
        if float(p[worst]) <= 2.0 / (n + 1) + 1e-9:
            smallest = min(smallest, tests * float(2 * student.sf(float(away[worst]) / math.sqrt(1 + 1 / n), n - 1)))
        level = "fail" if smallest < 0.05 / len(groups) else "caution" if smallest < 0.05 else "pass"
        column = made.values[:, worst]
        column = column[torch.isfinite(column)]
        finding = (
            f"{'Least alike' if tests > 1 else 'It is'} {seen.names[worst]}: {float(seen.values[0, worst]):.3f} in the animals, "
            f"{float(column.mean()):.3f} ± {float(column.std()):.3f} under {c.rules} rules, {c.how} (p = {smallest:.2g}"
            f"{f', the smallest of {tests}, times {tests}' if tests > 1 else ''})."
        )
        advice = "" if level == "pass" else ADVICE.get(seen.group, OF_CURVES)
        caption = (
            f"{seen.group.capitalize()}: the animals (points), and under posterior rules {c.how} (median and 95 %)."
        )
        numbers = {f"p_{name}": float(v) for name, v in zip(seen.names, p.tolist(), strict=True)}
        draw = partial(figures.statistics, seen.names, seen.values[0], made.values, _quantity(seen.group, c.options))
        if seen.group == REVERSALS:
            middle = [(low + high) / 2 for low, high in AROUND]
            draw = partial(figures.reversals, torch.tensor(middle), seen.values[0], made.values)
            caption = (
                f"Choices around reversals of the better option: rate of the option that is better after the reversal, in the "
                f"animals (points) and under posterior rules {c.how} (median, 50 and 95 %)."
            )
        out.append(Verdict(seen.group, level, finding, advice, {"p": smallest, **numbers}, draw, caption))
    return out


def _away(seen: Statistic, made: Statistic) -> Tensor:
    """How far the animals are from the mean of rules, in s.d. of rules, `(K,)`; 0 where that is not known."""
    there = torch.isfinite(made.values)
    n, values = there.sum(dim=0), made.values.nan_to_num(0.0)
    mean = values.sum(dim=0) / n
    sd = (((values - mean).square() * there).sum(dim=0) / (n - 1)).sqrt().clamp(min=1e-12)
    return ((seen.values[0] - mean).abs() / sd).nan_to_num(0.0)


def _quantity(group: str, options: Sequence[str]) -> str:
    return {
        "repetition": "probability of the same answer",
        "win-stay, lose-shift": "probability",
        "run lengths": "probability of going on",
        "spread between animals": "s.d. over animals",
    }.get(group, f"rate of {options[-1]}")


def choice_figures(c: ChoicesCheck) -> list[FigureOf]:
    """Learning curves by animal, weights over trials, and what of its deviance is explained."""
    seen, made = c.curves
    rate = f"rate of {c.options[-1]}"
    out: list[FigureOf] = [
        (
            "animals",
            cast(Any, partial(figures.animals, c.learners, seen, made, rate)),
            f"R{rate[1:]} over each animal's trials (points), and as rules predict it one step ahead (line).",
        ),
        (
            "deviance",
            cast(Any, partial(figures.by_animal, c.learners, c.deviance_by_animal, "deviance explained")),
            "Share of a coin's deviance that the rules explain, by animal, in sample.",
        ),
    ]
    if c.updates is not None:
        u = c.updates
        caption = (
            "The rule as a function: change of a weight of the chosen option against each variable, the others at 1; lines are w "
            "of -1, 0 and 1, and rewards above their expectation of these where w is the axis; mean, 50 and 95 % over posterior "
            "rules."
        )
        out.insert(0, ("updates", cast(Any, partial(figures.updates, u.along, u.lines, u.changes)), caption))
    w = c.weights
    if w is not None:
        draw = partial(figures.weights_over_trials, w.learners, w.names, w.trial, w.draws, w.rate, rate)
        which = (
            "the animals" if len(w.learners) == len(c.learners) else f"{len(w.learners)} of {len(c.learners)} animals"
        )
        caption = (
            f"Weights of the policy over trials, in logit units, for {which}, from the one that the rules explain worst to the "
            f"one they explain best: mean, 50 and 95 % over posterior rules, given what the animal saw, did and got. Beneath: "
            f"{rate}, smoothed over trials."
        )
        out.insert(1, ("weights", cast(Any, draw), caption))
    return out
