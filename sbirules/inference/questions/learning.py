"""Learners' mean curves held against those of fresh networks, and what that says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sbirules import figures
from sbirules.inference.questions.fresh import Fresh, failures_of
from sbirules.inference.questions.recorded_activity import RecordedActivity, recorded_activity
from sbirules.inference.questions.variety import Variety, beyond, statistics_of, unlikely
from sbirules.model.curves import CurveBand
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import learning_curve, summarise, summary_names
from sbirules.model.tables import Trials
from sbirules.model.verdicts import Verdict
from sbirules.support.distances import rank_of
from sbirules.support.typed import typed_class

__all__ = ["TrialsCheck", "curve_p_value", "curve_verdict", "shown_field", "try_learners"]

BINS = 10


@typed_class
@dataclass(frozen=True)
class TrialsCheck:
    """Whether posterior rules reproduce the learners' mean learning curve.

    Arguments:
        rules: Posterior rules tried.
        networks_per_rule: Fresh networks for each, one per learner with its sequence of trials.
        curve: Band of the mean learning curve over rules, and the observed one.
        mean_curves: Mean learning curve of each rule's networks, `(rules, bins)`.
        theta: The posterior rules, `(rules, D)`.
        failures: Failed networks by status.
        quantity: What the curve shows.
        variety: How learners vary, and how networks do, or None.
        activity: What was recorded of them, held against the rules' networks and against untrained ones; None without recordings.
    """

    rules: int
    networks_per_rule: int
    curve: CurveBand
    mean_curves: Tensor
    theta: Tensor
    failures: Mapping[str, int]
    quantity: str = "mean error"
    variety: Variety | None = None
    activity: RecordedActivity | None = None


def shown_field(table: Trials, simulator: Simulator) -> str:
    """The field whose curve is shown: the measure of performance, else whether answers were correct, else the first."""
    have, best = tuple(table.trajectory.per_trial), simulator.layout.performance
    if best is not None and (best.name in have or not have):  # of recordings alone, what networks would show
        return best.name
    return "correct" if "correct" in have else have[0]


def try_learners(theta: Tensor, simulator: Simulator, table: Trials, fresh: Fresh) -> TrialsCheck:
    """Rules `(n, D)` in as many fresh networks as there are learners, with the learners' sequences of trials."""
    learners = len(table)
    of = shown_field(table, simulator)
    curve = learning_curve(BINS, of=of)
    boolean = simulator.layout[of].dtype == "bool"
    quantity = f"share {of}" if boolean else f"mean {of}"
    store = fresh.simulate(theta, learners, simulator, "posterior", trial_types=table.trial_types)
    runs = store.trajectory
    means = summarise(runs, [curve]).reshape(len(theta), learners, -1).nanmean(dim=1)
    shown = of in table.trajectory.per_trial
    observed = summarise(table.trajectory, [curve]).nanmean(dim=0) if shown else None
    band = CurveBand.of(summary_names([learning_curve(BINS)], runs.type_names), means, mass=0.95, observed=observed)
    names, made = statistics_of(runs, of, len(theta))
    variety = Variety(names, made, statistics_of(table.trajectory, of, 1)[1][0]) if shown else None
    activity = recorded_activity(theta, simulator, table, runs, fresh)
    return TrialsCheck(len(theta), learners, band, means, theta, failures_of(store), quantity, variety, activity)


def curve_verdict(c: TrialsCheck, simulator: Simulator, name: str = "learning curve") -> Verdict:
    """Is the learners' mean curve one that posterior rules make?

    By how far out its worst bin is, and by how many bins lie outside: bins are not independent, so both are held against
    what the rules' own curves do. A curve that is nowhere in its band never passes.
    """
    (worst, each), (out, others) = _worst_bin(c), _bins_outside(c)
    p, p_out = rank_of(worst, each), rank_of(out, others)
    inside = c.curve.coverage
    none = not inside > 0
    level = "caution" if unlikely(p, c.rules) or unlikely(p_out, c.rules) or none else "pass"
    lost = math.isnan(p) or math.isnan(inside)
    if lost or beyond(worst, each) or (beyond(out, others) and none):
        level = "fail"
    finding = (
        f"{inside:.0%} of the bins of the learners' mean curve lie in the 95 % band of {c.rules} posterior rules in "
        f"{c.networks_per_rule} fresh networks each; as far off as the worst bin are {p:.0%} of the rules' own curves, as "
        f"much outside {p_out:.0%}."
    )
    advice = (
        ""
        if level == "pass"
        else (
            "The rules do not reproduce the learners: add rounds (refine), look at the bins outside, or let the family be larger."
        )
    )
    caption = (
        f"Mean learning curve of the learners (points) and of as many fresh networks under each of {c.rules} posterior "
        f"rules (median and 95 % band); {inside:.0%} of the bins inside."
    )

    def draw() -> Any:
        return figures.learning_curves({"posterior": c.curve}, quantity=c.quantity, trials=simulator.num_trials)

    return Verdict(name, level, finding, advice, {"coverage": inside, "p": p, "p_outside": p_out}, draw, caption)


def curve_p_value(c: TrialsCheck) -> float:
    """Share of the rules' own mean curves whose worst bin is as far from the others' mean as the learners' is."""
    return rank_of(*_worst_bin(c))


def _curves(c: TrialsCheck) -> tuple[Tensor, Tensor]:
    """The rules' mean curves and the learners', in bins that both have, `(rules, bins)` and `(bins,)`."""
    if c.curve.observed is None:
        return torch.empty(0, 0), torch.empty(0)
    # in short sessions some bins hold no trial of a type
    bins = torch.isfinite(c.curve.observed) & torch.isfinite(c.mean_curves).any(dim=0)
    curves, observed = c.mean_curves[:, bins].double(), c.curve.observed[bins].double()
    return curves[torch.isfinite(curves).all(dim=1)], observed


def _worst_bin(c: TrialsCheck) -> tuple[float, Tensor]:
    """How many s.d. from the rules' mean the learners' worst bin is, and each rule's from that of the others."""
    curves, observed = _curves(c)
    if len(curves) < 3 or not len(observed):
        return math.nan, torch.empty(0)
    size = curves.abs().mean().clamp(min=1e-300)  # bins in which all are the same differ by rounding
    mean, sd = curves.mean(dim=0), torch.maximum(curves.std(dim=0), 1e-9 * size)
    own = float(((observed - mean) / sd).abs().max())
    n = len(curves)
    # each rule's curve against the mean and s.d. of the others
    left = (n * mean - curves) / (n - 1)
    spread = ((n - 1) * sd**2 - (curves - mean) ** 2 * n / (n - 1)).clamp(min=float(1e-9 * size) ** 2) / (n - 2)
    return own, ((curves - left) / spread.sqrt()).abs().max(dim=1).values


def _bins_outside(c: TrialsCheck) -> tuple[float, Tensor]:
    """Share of bins in which the learners' curve is among the outermost 5 % of rules, and that of each rule's own."""
    curves, observed = _curves(c)
    if len(curves) < 3 or not len(observed):
        return math.nan, torch.empty(0)
    n = len(curves)
    below = (curves < observed).double().mean(dim=0)
    order = curves.argsort(dim=0).argsort(dim=0).double() / (n - 1)  # share of the others that are below
    out, each = ((v < 0.025) | (v > 0.975) for v in (below, order))
    return float(out.double().mean()), each.double().mean(dim=1)
