"""Verdicts on laws of change: the next session, the later ones, the law against none, and the order of sessions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from sbirules import figures
from sbirules.inference.questions.base import FigureOf
from sbirules.inference.questions.controls import DECISIVE
from sbirules.inference.questions.session_checks import ORDERS, SHUFFLED, WANDERING, SessionsCheck
from sbirules.model.verdicts import Verdict, by_p_value
from sbirules.support.streams import Stream, seeded

__all__ = ["session_figures", "session_verdicts"]


def session_verdicts(c: SessionsCheck) -> list[Verdict]:
    """The next session, the later ones, the order, and the law against none."""
    return [_surprises(c), _later(c), *_law(c), _order(c)]


def _surprises(c: SessionsCheck) -> Verdict:
    z = c.surprise
    with seeded(0, Stream.CHECK):
        made = torch.randn_like(z)
    p = {}
    for name, of in STATISTICS.items():
        own, other = of(z), of(made)
        above = float((other >= own).double().mean())
        p[name] = min(1.0, 2 * min(above, 1 - above) + 1 / (len(z) + 1))
    least = min(p, key=lambda name: p[name])
    own, other = STATISTICS[least](z), STATISTICS[least](made)
    inside = float((z.abs() < 1.96).double().mean())
    finding = (
        f"{inside:.0%} of measurements lie in the 95 % band predicted from the sessions before; least alike is the {least} of "
        f"what is left over, {float(own.median()):.3g}, where laws make {float(other.mean()):.3g} ± {float(other.std()):.2g} "
        f"(p = {p[least]:.2g}, the smallest of {len(p)})."
    )
    level = by_p_value(p[least], len(p))
    advice = (
        "" if level == "pass" else "The law, its noise or the errors of measurement are otherwise: try another family."
    )
    return Verdict("next session", level, finding, advice, {**{f"p {k}": v for k, v in p.items()}, "inside": inside})


def _succession(z: Tensor) -> Tensor:
    a, b = z[:, 1:], z[:, :-1]
    return (a * b).mean(dim=1)


STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "size": lambda z: z.square().mean(dim=1),
    "largest": lambda z: z.abs().max(dim=1).values,
    "succession": _succession,
    "mean": lambda z: z.mean(dim=1),
}


def _later(c: SessionsCheck) -> Verdict:
    (law, a), (none, b) = c.score["the law"], c.score[WANDERING]
    if not c.measurements:
        finding = "No later session was measured: what laws predict of them cannot be held against anything."
        return Verdict("later sessions", "caution", finding, "More sessions would tell.")
    told = ", ".join(f"{name} {value:.2f}" for name, value in c.explained.items())
    least, most = min(c.given), max(c.given)
    finding = (
        f"Of the sessions after the first {least}{'' if least == most else f' to {most}'}, predicted from those alone, "
        f"{c.inside:.0%} of "
        f"{c.measurements} measurements lie in their 95 % bands; variance explained: {told}; log score {law - none:+.1f} ± "
        f"{math.hypot(a, b):.1f} nats above scales that wander."
    )
    # bands of one fit go wrong together: their number is no count of independent trials, so only a gross miss fails
    level = "pass" if c.inside >= 0.85 else "caution" if c.inside >= 0.6 else "fail"
    ahead = law - none > -DECISIVE - 2 * math.hypot(a, b)
    advice = ""
    if level != "pass":
        advice = "Later sessions go otherwise than the first ones led to expect: the law changed, or it is another."
    elif not ahead:
        level, advice = "caution", "Scales that wander predict later sessions better: do not use this law to predict."
    numbers = {"inside": c.inside, "score": law - none, **{f"explained by {k}": v for k, v in c.explained.items()}}
    caption = (
        f"Measured scales (points) and what laws fitted to the first {c.given[0]} sessions predict for the others (median "
        f"and 95 % "
        f"band), of the first animal."
    )
    f = c.later[0]
    draw = partial(figures.session_forecast, c.scales[0], c.given[0], f.mean, f.low, f.high, names=c.names)
    return Verdict("later sessions", level, finding, advice, numbers, cast(Any, draw), caption)


def _law(c: SessionsCheck) -> list[Verdict]:
    if not c.evidence:
        return []
    (gain, se), (order, of_order) = c.evidence[WANDERING], c.evidence[SHUFFLED]
    finding = (
        f"Evidence of the law above scales that wander {gain:+.1f} ± {se:.1f} nats; of the sessions in their order above another "
        f"order {order:+.1f} ± {of_order:.1f}."
    )
    level, advice = "pass", ""
    if not gain > DECISIVE + 2 * se:
        verb = "explain the sessions better than" if gain < -DECISIVE else "explain the sessions as well as"
        level, finding = "caution", f"Scales that wander {verb} this law. {finding}"
        advice = (
            "Do not read its coefficients as a law of plasticity; of other laws compare_families(sessions=...) tells."
        )
    elif not order > DECISIVE:
        level, finding = "caution", f"The law fits sessions in another order as well. {finding}"
        advice = "What it explains is not how one session leads to the next."
    numbers = {f"nats above {name}": value for name, (value, _) in c.evidence.items()}
    return [Verdict("law", level, finding, advice, numbers)]


def _order(c: SessionsCheck) -> Verdict:
    if math.isnan(c.order):
        return Verdict("order of sessions", "caution", "Whether their order matters cannot be said of so few sessions.")
    matters = c.order < 0.05
    finding = (
        f"The order of sessions {'matters' if matters else 'is not shown to matter'}: a regression from each session to the next "
        f"does as well in a share of {c.order:.2g} of {ORDERS} other orders (p)."
    )
    advice = "" if matters else "Nothing here tells one law from another: more sessions, or smaller errors, would."
    return Verdict("order of sessions", "pass" if matters else "caution", finding, advice, {"p": c.order})


def session_figures(c: SessionsCheck) -> list[FigureOf]:
    """What of the laws does not depend on coordinates."""
    own, prior = c.invariants.columns(), c.prior_invariants.columns()
    caption = (
        "What of the laws does not depend on the coordinates of the scales, of the posterior and of the prior (grey). An "
        "eigenvalue below 1 forgets; responses are distances of the scales, one session and twelve sessions after one more "
        "unit of stimulation."
    )
    return [("invariants", cast(Any, partial(figures.invariants, own, prior)), caption)]
