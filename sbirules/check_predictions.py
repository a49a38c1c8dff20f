"""Verdicts on predictions: posterior rules in fresh networks, and in variants that inference never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor

from sbirules import _check, figures
from sbirules.constraints import Constraints
from sbirules.figures.diagnostics import grouped
from sbirules.posterior import Posterior
from sbirules.resimulation import (
    FRESH,
    ConstraintCheck,
    ObservationCheck,
    Resimulation,
    TrialsCheck,
    check_table,
)
from sbirules.sampling import spread_out
from sbirules.simulate import simulate
from sbirules.simulator import Simulator
from sbirules.streams import seeded
from sbirules.trials import Trials
from sbirules.verdicts import Verdict, by_p_value

__all__ = ["held_out_verdicts", "prediction_verdicts"]

FEW = 10  # networks that must succeed, and fail, before predicted and observed success can be told apart
NETWORKS = 8  # fresh networks per rule in a variant, at most


def prediction_verdicts(again: Resimulation, posterior: Posterior, simulator: Simulator) -> list[Verdict]:
    """What re-simulation says."""
    if isinstance(again, ConstraintCheck):
        return _success(again, simulator, posterior)
    return [_curve(again, simulator) if isinstance(again, TrialsCheck) else _summaries(again)]


def _success(c: ConstraintCheck, simulator: Simulator, posterior: Posterior) -> list[Verdict]:
    s, p, z = c.posterior_success, c.prior_success, c.zero_rule_success
    clear = s.value > p.value + 2 * math.hypot(s.se, p.se)
    cautions = list(posterior.facts.get("cautions", ()))
    loose = p.value > 0.9 and s.value > 0.9
    level = "fail" if not (clear or loose) else "caution" if cautions or loose or s.value < 0.5 else "pass"
    small = "" if c.networks_per_rule >= 32 else "; fewer than the 32 networks that a study should use"
    finding = (
        f"On fresh networks, posterior rules satisfy the constraints in {s.value:.0%} ± {s.se:.1%} of networks, prior rules "
        f"in {p.value:.0%} ± {p.se:.1%}, no plasticity at all in {z.value:.1%} ± {z.se:.1%} ({c.rules} rules, "
        f"{c.networks_per_rule} networks each{small})."
    )
    advice = " ".join(cautions)
    if loose:
        advice = "Prior rules satisfy the constraints nearly always, so that these tell little: ask for more."
    elif not clear:
        advice = "Posterior rules do not succeed clearly more often than prior rules: do not rely on this fit; simulate more."
    elif level == "caution" and not cautions:
        advice = "Less than half of the networks succeed: ask for more networks (all_of_networks), or add rounds."
    numbers = {
        "posterior_success": s.value, "prior_success": p.value, "zero_rule_success": z.value,
        "posterior_reliable": c.posterior_reliable.value,
    }  # fmt: skip

    def draw() -> Any:
        left, right = figures.style.panels(None, 1, 2, 6.8, 2.9, width_ratios=[1, 1.2])[0]
        figures.success_rates(c, left)
        figures.success_spread(c, right)
        return left

    caption = (
        f"Success on fresh networks: posterior {s.value:.2f}, prior {p.value:.2f}, no plasticity {z.value:.2f} (bars: "
        f"standard error between {c.rules} rules); right, how it varies over posterior rules."
    )
    out = [Verdict("success", level, finding, advice, numbers, draw, caption)]
    if c.predicted is not None:
        out.append(_reliability(c))
    return out


def _reliability(c: ConstraintCheck) -> Verdict:
    """Does the classifier behind the posterior predict what happens?"""
    predicted, observed, se, _ = grouped(c)
    z = ((predicted - observed) / se).abs()
    worst = int(z.argmax())
    gap = float((predicted - observed).abs()[worst])
    groups = len(z)
    p = min(1.0, groups * 2 * (1 - 0.5 * (1 + math.erf(float(z[worst]) / math.sqrt(2)))))
    # a gap that no one would act on is no failure, however clear
    level = by_p_value(p) if gap > 0.05 else "pass"
    seen = round(float(c.share.sum()) * c.networks_per_rule)
    few = min(seen, c.rules * c.networks_per_rule - seen) < FEW
    finding = (
        f"Predicted and observed success of {groups} groups of rules differ by at most {float(z[worst]):.1f} standard errors "
        f"(predicted {float(predicted[worst]):.2f}, observed {float(observed[worst]):.2f}); over all rules "
        f"{c.predicted_success:.2f} and {c.posterior_success.value:.2f}."
    )
    advice = (
        ""
        if level == "pass"
        else "Rules were picked where the classifier errs upwards: add rounds of simulation (refine)."
    )
    if few and level == "pass":
        level, advice = "caution", "Too few networks succeeded, or failed, to tell: try more rules and networks."
    numbers = {
        "predicted": c.predicted_success,
        "observed": c.posterior_success.value,
        "largest_z": float(z[worst]),
        "p": p,
    }
    caption = (
        "Success of groups of posterior rules as the classifier predicted it, and in fresh networks (± standard error)."
    )
    return Verdict("predicted success", level, finding, advice, numbers, lambda: figures.reliability(c), caption)


def _curve(c: TrialsCheck, simulator: Simulator, name: str = "learning curve") -> Verdict:
    """Is the learners' mean curve one that posterior rules make?"""
    p = curve_p_value(c)
    inside = c.curve.coverage
    # bins are not independent: how many are outside is no test, how far the worst of them is, is one
    level = "caution" if p < 0.05 else "pass"
    if not p > 1.5 / c.rules or math.isnan(inside):
        level = "fail"
    finding = (
        f"{inside:.0%} of the bins of the learners' mean curve lie in the 95 % band of {c.rules} posterior rules in "
        f"{c.networks_per_rule} fresh networks each; as far off as the worst bin are {p:.0%} of the rules' own curves."
    )
    advice = "" if level == "pass" else (
        "The rules do not reproduce the learners: add rounds (refine), look at the bins outside, or let the family be larger."
    )  # fmt: skip
    caption = (
        f"Mean learning curve of the learners (points) and of as many fresh networks under each of {c.rules} posterior "
        f"rules (median and 95 % band); {inside:.0%} of the bins inside."
    )

    def draw() -> Any:
        return figures.learning_curves({"posterior": c.curve}, quantity=c.quantity, trials=simulator.num_trials)

    return Verdict(name, level, finding, advice, {"coverage": inside, "p": p}, draw, caption)


def curve_p_value(c: TrialsCheck) -> float:
    """Share of the rules' own mean curves whose worst bin is as far from the others' mean as the learners' is."""
    if c.curve.observed is None:
        return math.nan
    # in short sessions some bins hold no trial of a type
    bins = torch.isfinite(c.curve.observed) & torch.isfinite(c.mean_curves).any(dim=0)
    curves, observed = c.mean_curves[:, bins].double(), c.curve.observed[bins].double()
    curves = curves[torch.isfinite(curves).all(dim=1)]
    if len(curves) < 3 or not len(observed):
        return math.nan
    mean, sd = curves.mean(dim=0), curves.std(dim=0).clamp(min=1e-9)
    own = float(((observed - mean) / sd).abs().max())
    n = len(curves)
    # each rule's curve against the mean and s.d. of the others
    left = (n * mean - curves) / (n - 1)
    spread = ((n - 1) * sd**2 - (curves - mean) ** 2 * n / (n - 1)).clamp(min=1e-18) / (n - 2)
    each = ((curves - left) / spread.sqrt()).abs().max(dim=1).values
    return (1 + int((each >= own).sum())) / (1 + n)


def _summaries(c: ObservationCheck) -> Verdict:
    """Are the observed summaries such as posterior rules make?"""
    p = c.p_values
    if not p:
        finding = f"All of {len(c.x)} fresh networks under posterior rules failed: nothing can be predicted."
        return Verdict("summaries", "fail", finding, "Narrow the prior, or lower the step dt of the simulator.")
    worst = min(p, key=lambda name: p[name])
    level = by_p_value(p[worst], len(p))
    finding = (
        f"Posterior predictive p-values of {len(p)} summaries: smallest {p[worst]:.2g} ({worst}), {c.rules} rules in "
        f"{c.networks_per_rule} fresh network(s) each."
    )
    advice = (
        "" if level == "pass" else f"Posterior rules do not make such a {worst}: check the simulator, or simulate more."
    )
    caption = "Posterior predictive of each observed summary (50 % and 95 %), the observation in orange."
    return Verdict("summaries", level, finding, advice, p, lambda: figures.summaries(c), caption)


def held_out_verdicts(
    posterior: Posterior, simulator: Simulator, asked: Mapping[str, Any], variants: Mapping[str, Any], rules: int,
    networks: int | None, folder: Path | None, keep: Mapping[str, Any],
) -> list[Verdict]:  # fmt: skip
    """Posterior rules where inference never looked: other tasks, other networks, other trials."""
    raw = simulator.to_raw(spread_out(posterior, rules, seed=int(keep["seed"])).double())
    constraints = asked.get("constraints")
    out: list[Verdict] = []
    rates: dict[str, Any] = {}
    for k, (name, variant) in enumerate(variants.items()):
        place = None if folder is None else folder / f"held-out-{k}"
        other, data = variant if isinstance(variant, tuple) else (variant, None)
        if not isinstance(other, Simulator) or other.names != simulator.names:
            raise ValueError(f"held_out[{name!r}] must be a simulator of the same rules, got {other!r}.")
        theta = other.to_natural(raw).float()
        if data is not None:
            table = Trials.read(data, other.task.type_names, other.criterion)
            found = check_table(theta, other, table, None, place, int(keep["seed"]) + k + 1, _only(keep))
            out.append(_curve(found, other, f"held out: {name}"))
        elif constraints is not None:
            rates[name] = _rates(
                theta, other, simulator, posterior, constraints, min(networks or NETWORKS, NETWORKS), place, k, keep
            )
        else:
            raise ValueError(
                f"held_out[{name!r}] needs the trials observed there: pass (simulator, trials), or leave it out."
            )
    if rates:
        out.append(_generalisation(rates, rules))
    return out


def _only(keep: Mapping[str, Any]) -> dict[str, Any]:
    return {name: keep[name] for name in ("num_workers", "progress")}


def _rates(
    theta: Tensor, other: Simulator, simulator: Simulator, posterior: Posterior, constraints: Constraints, networks: int,
    folder: Path | None, k: int, keep: Mapping[str, Any],
) -> tuple[tuple[float, float], tuple[float, float]]:  # fmt: skip
    """Success of posterior rules and of prior rules in a variant, each with its standard error."""
    seed = int(keep["seed"])
    with seeded(seed, 3, k):
        prior = posterior.prior.sample(Size((len(theta),))).double()
    pairs = []
    for label, rows in (("posterior", theta), ("prior", other.to_natural(simulator.to_raw(prior)).float())):
        place = None if folder is None else folder / label
        store = simulate(
            other, rows.repeat_interleave(networks, dim=0), store=place, seed=seed + FRESH + 100 * (k + 1),
            label=f"held out {label}", **_only(keep),
        )  # fmt: skip
        share = constraints.satisfied(store.x, store.summary_names).double().reshape(len(rows), networks).mean(dim=1)
        pairs.append((float(share.mean()), float(share.std()) / math.sqrt(len(share))))
    return pairs[0], pairs[1]


def _generalisation(rates: Mapping[str, Any], rules: int) -> Verdict:
    """Do rules that work here work there?"""
    weak = [n for n, ((a, a_se), (b, b_se)) in rates.items() if a <= b + 2 * math.hypot(a_se, b_se)]
    level = "caution" if weak else "pass"
    finding = "Success in variants that inference never saw, posterior and prior rules: " + "; ".join(
        f"{name} {a:.0%} ± {a_se:.0%}, {b:.0%} ± {b_se:.0%}" for name, ((a, a_se), (b, b_se)) in rates.items()
    )
    advice = "" if not weak else f"Rules found here are no better than the prior's in: {_check.listed(weak)}."
    numbers = {
        f"{kind} in {name}": pair[k][0] for name, pair in rates.items() for k, kind in enumerate(("posterior", "prior"))
    }
    quantity = "share of networks\nthat satisfy the constraints"
    caption = (
        f"{rules} posterior and prior rules in variants that inference never saw (bars: standard error over rules)."
    )
    return Verdict(
        "held out", level, finding + ".", advice, numbers, lambda: figures.held_out(rates, quantity), caption
    )
