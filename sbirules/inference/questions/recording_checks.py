"""Whether rules make responses that look like those recorded, and whether they are needed for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from scipy.stats import t as student
from torch import Tensor

from sbirules import figures
from sbirules.inference.questions.base import Asked, FigureOf
from sbirules.inference.questions.choice_information import Information, information_of
from sbirules.inference.questions.controls import Controls, controls_of
from sbirules.inference.questions.fresh import Fresh
from sbirules.model.abilities import PredictsActivity, needed
from sbirules.model.recorded import RecordingLikelihood
from sbirules.model.recording_means import Cells, cells_of, reliability
from sbirules.model.recordings import Recordings
from sbirules.model.simulator import Simulator
from sbirules.model.verdicts import Verdict, by_p_value
from sbirules.support import arguments
from sbirules.support.distances import tail_p
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed_class

__all__ = ["RecordingsCheck", "predicted_recordings", "recording_figures", "recording_verdicts"]

THIRD = 3  # of the session: what changed from the first part to the last


@typed_class
@dataclass(frozen=True)
class RecordingsCheck:
    """Responses that posterior rules predict for the same animals, held against those recorded; M cells of trials.

    Arguments:
        rules: Posterior rules.
        networks_per_rule: Animals.
        names: Of the cells, `type, part`.
        cells: Which trials they are.
        observed: Mean response over animals in each cell, `(M,)`.
        error: Its standard error over animals, `(M,)`.
        predicted: The same of values drawn under each rule, with gains as the animals' own values tell them, `(rules, M)`.
        expected: Without noise, `(rules, M)`.
        statistics: Statistics of the animals, by name.
        made: The same under each rule, by name, `(rules,)`.
        theta: The posterior rules, `(rules, D)`.
        unit: Of responses.
        failures: None; as for other checks.
        controls: The circuit without plasticity, and trials in another order; None where these were not asked.
        explained: Share of the variance of mean responses over cells that the rules' mean explains.
        ceiling: What a perfect model could explain, by the reliability of the animals' mean; NaN for fewer than four.
        information: What the recordings tell of the coefficients.
    """

    rules: int
    networks_per_rule: int
    names: tuple[str, ...]
    cells: Cells
    observed: Tensor
    error: Tensor
    predicted: Tensor
    expected: Tensor
    statistics: Mapping[str, float]
    made: Mapping[str, Tensor]
    theta: Tensor
    unit: str = ""
    failures: Mapping[str, int] = field(default_factory=dict)
    controls: Controls | None = None
    explained: float = math.nan
    ceiling: float = math.nan
    information: Information | None = None

    @property
    def within(self) -> Tensor:
        """Which of the mean responses lie in the 95 % band of rules, `(M,)` boolean."""
        low, high = (torch.quantile(self.predicted, q, dim=0) for q in (0.025, 0.975))
        return (self.observed >= low) & (self.observed <= high)

    @property
    def inside(self) -> float:
        """Share of the mean responses that lie in the 95 % band of rules."""
        return float(self.within.double().mean())

    def p_value(self, name: str) -> float:
        """Two-sided posterior predictive p-value of a statistic: by rank, and by a t distribution where it lies beyond all "
        "rules."""
        arguments.known("statistic", name, tuple(self.statistics))
        return two_sided(self.statistics[name], self.made[name])

    @property
    def findings(self) -> list[str]:
        """Sentences beside the verdicts."""
        told = [] if self.information is None else [self.information.sentence(self.theta.shape[1])]
        reached = f"The rules explain {self.explained:.0%} of how mean responses differ between trials"
        if not math.isnan(self.ceiling):
            reached += (
                f"; {self.ceiling:.0%} is what a perfect model could explain, given how halves of the animals agree (split-half "
                f"reliability)"
            )
        return [*told, f"{reached}.", *([] if self.controls is None else [self.controls.sentence])]


def two_sided(own: float, made: Tensor) -> float:
    """Two-sided p-value of a number among draws; NaN where it is not defined."""
    known = made[torch.isfinite(made)]
    if math.isnan(own) or 2 * len(known) <= len(made):
        return math.nan
    below, n = float((known < own).double().sum() + 0.5 * (known == own).double().sum()), len(known)
    p = min(1.0, 2 * (min(below, n - below) + 1) / (n + 1))
    sd = float(known.std())
    if 0 < below < n or not sd > 0:
        return p
    # beyond all rules the rank is a bound only
    away = abs(own - float(known.mean())) / sd / math.sqrt(1 + 1 / n)
    return min(p, float(2 * student.sf(away, n - 1)))


def predicted_recordings(
    posterior: Asked, simulator: Simulator, recordings: Recordings, fresh: Fresh
) -> RecordingsCheck:
    """Posterior rules' predictions of each response, and statistics of values drawn around them."""
    rules = arguments.whole("rules", fresh.rules, 2)
    model = needed(simulator, PredictsActivity, "recordings")
    likelihood = model.likelihood(recordings)
    theta = posterior.rules_of_animals(rules, len(recordings)).double()
    with seeded(fresh.seed, Stream.CHECK):
        means = likelihood.means(theta, likelihood.gains(theta))
        drawn = likelihood.scattered(theta, means)
    cells, value = cells_of(recordings), recordings.values
    there = torch.isfinite(value)
    by_animal = cells.by_animal(value)
    observed = by_animal.nanmean(dim=0)
    spread = (by_animal - observed).square().nanmean(dim=0) * len(value) / max(1, len(value) - 1)
    expected = cells.by_animal(torch.where(there, means, torch.nan)).nanmean(dim=1)
    centre = expected.mean(dim=0)
    middle = means.mean(dim=0)
    explained = 1 - float((observed - centre).square().sum() / (observed - observed.mean()).square().sum())
    return RecordingsCheck(
        rules,
        len(recordings),
        cells.names,
        cells,
        observed,
        (spread / len(value)).sqrt(),
        cells.by_animal(drawn).nanmean(dim=1),
        expected,
        {n: float(v) for n, v in _statistics(value[None], middle, cells).items()},
        _statistics(drawn, middle, cells),
        posterior.spread_out(rules),
        recordings.unit,
        controls=controls_of(posterior, simulator, recordings, fresh),
        explained=explained,
        ceiling=reliability(by_animal) if _same_protocol(recordings) else math.nan,
        information=_information(likelihood, posterior, simulator),
    )


def _same_protocol(recordings: Recordings) -> bool:
    """Whether all animals were given the same, so that halves of them can be compared."""
    every = [recordings.trial_types, *recordings.events.values()]
    return all(bool((v.nan_to_num(-9.0) == v.nan_to_num(-9.0)[0]).all()) for v in (t.double() for t in every))


def _information(likelihood: RecordingLikelihood, posterior: Asked, simulator: Simulator) -> Information | None:
    return information_of(likelihood, posterior, simulator.names)


def _statistics(values: Tensor, middle: Tensor, cells: Cells) -> dict[str, Tensor]:
    """Statistics of responses `(n, A, T, K)` by name, `(n,)`; `middle` `(A, T, K)` is what rules expect on average."""
    by_animal = cells.by_animal(values)  # (n, A, M)
    mean = by_animal.nanmean(dim=1)
    out = {}
    for kind in dict.fromkeys(cells.types):
        at = [k for k, t in enumerate(cells.types) if t == kind]
        early, late = at[: max(1, len(at) // THIRD)], at[-max(1, len(at) // THIRD) :]
        if early != late:
            out[f"change of {kind}"] = mean[:, late].nanmean(dim=1) - mean[:, early].nanmean(dim=1)
    if values.shape[1] > 1:
        out["spread between animals"] = _sd(by_animal.nanmean(dim=2), 1)
    rest = values - middle
    there = torch.isfinite(rest)
    size = torch.where(there, rest.abs(), torch.nan).flatten(1)
    place = torch.where(there, middle.expand_as(rest), torch.nan).flatten(1)
    out["scatter"] = size.nanmean(dim=1)
    out["scatter at large responses"] = _correlation(size, place)
    out["succession of scatter"] = _correlation(rest[:, :, 1:].flatten(1), rest[:, :, :-1].flatten(1))
    return out


def _sd(values: Tensor, dim: int) -> Tensor:
    return (values - values.nanmean(dim=dim, keepdim=True)).square().nanmean(dim=dim).sqrt()


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of two rows each, NaN left out, `(n,)`; NaN where one of them does not vary."""
    both = torch.isfinite(a) & torch.isfinite(b)
    a, b = (torch.where(both, v, torch.nan) for v in (a, b))
    a, b = a - a.nanmean(dim=1, keepdim=True), b - b.nanmean(dim=1, keepdim=True)
    scale = (a.square().nanmean(dim=1) * b.square().nanmean(dim=1)).sqrt()
    return (a * b).nanmean(dim=1) / torch.where(scale > 0, scale, torch.nan)


ADVICE = {
    "change": "Responses change otherwise than the rule makes them: try other terms (x, x r, r, w), or overlap of Kenyon cells.",
    "spread": 'Animals differ otherwise: gains="own", or animals="partial".',
    "scatter": 'Noise is otherwise: try observation = "gaussian" (which grows with the response) or "constant_gaussian".',
    "succession": "What the model leaves over goes on from trial to trial: a term of w (recovery) or drift is missing.",
}


def recording_verdicts(c: RecordingsCheck) -> list[Verdict]:
    """Mean responses, statistics of change and noise, and the controls."""
    sd = c.predicted.std(dim=0).clamp(min=1e-12)
    mean, n = c.predicted.mean(dim=0), c.rules
    own = float(((c.observed - mean) / sd).abs().max())
    left = (n * mean - c.predicted) / (n - 1)
    each = ((c.predicted - left) / sd).abs().max(dim=1).values
    p, worst = tail_p(own, each), int(((c.observed - mean) / sd).abs().argmax())
    count = int(c.within.sum())
    # and how many lie outside, against how many of each rule's own do
    order = c.predicted.argsort(dim=0).argsort(dim=0).double() / max(n - 1, 1)
    outside = ((order < 0.025) | (order > 0.975)).double().sum(dim=1)
    p_outside = two_sided(float(len(c.names) - count), outside) if len(c.names) - count > float(outside.mean()) else 1.0
    level = by_p_value(min(p, p_outside), 2)
    finding = (
        f"{count} of {len(c.names)} mean responses lie in the 95 % band of {c.rules} posterior rules (p of so many outside "
        f"{p_outside:.2g}); the farthest, {c.names[worst]}, is {float(c.observed[worst]):.3g}, predicted "
        f"{float(mean[worst]):.3g} ± "
        f"{float(sd[worst]):.2g} (p = {p:.2g} of all together)."
    )
    advice = "" if level == "pass" else ADVICE["change"]
    caption = (
        "Mean response over animals (points, with standard errors) of each trial type over the session, and what posterior rules "
        "predict for the same animals (median, 50 and 95 %)."
    )
    draw = partial(
        figures.responses,
        c.cells.types,
        c.cells.trial,
        c.observed,
        c.error,
        predicted=c.predicted,
        quantity=_quantity(c.unit),
    )
    numbers = {"p": p, "p_outside": p_outside, "inside": c.inside, "explained": c.explained, "ceiling": c.ceiling}
    out = [Verdict("mean responses", level, finding, advice, numbers, cast(Any, draw), caption)]
    p_values = {name: c.p_value(name) for name in c.statistics}
    told = {name: p for name, p in p_values.items() if not math.isnan(p)}
    groups = {"change over learning": ("change",), "animals and noise": ("spread", "scatter", "succession")}
    for group, stems in groups.items():
        mine = {name: p for name, p in told.items() if name.startswith(stems)}
        if not mine:
            continue
        least = min(mine, key=lambda name: mine[name])
        level = by_p_value(mine[least], len(mine))
        made = c.made[least]
        finding = (
            f"Least alike is {least}: {c.statistics[least]:.3g} in the animals, {float(made.nanmean()):.3g} ± "
            f"{float(made[torch.isfinite(made)].std()):.2g} under {c.rules} rules (p = {mine[least]:.2g}, the smallest of "
            f"{len(mine)})."
        )
        said = "" if level == "pass" else ADVICE[next(k for k in ADVICE if least.startswith(k))]
        out.append(Verdict(group, level, finding, said, {f"p_{n}": v for n, v in mine.items()}))
    return out + ([] if c.controls is None else [c.controls.verdict()])


def _quantity(unit: str) -> str:
    return f"mean response{f' ({unit})' if unit else ''}"


def recording_figures(c: RecordingsCheck) -> list[FigureOf]:
    """The controls beside the rule."""
    if c.controls is None:
        return []
    caption = (
        "Log-evidence of the rule above that of the same circuit without plasticity: in the recordings, and where the values of "
        "trials of one type are put in another order, which leaves nothing of learning (above 0 speaks for the rule)."
    )
    return [("controls", cast(Any, partial(figures.controls, c.controls.gains)), caption)]
