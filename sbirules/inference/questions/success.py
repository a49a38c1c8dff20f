"""How often constraints hold in fresh networks, and what that says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules import figures
from sbirules.figures.diagnostics import grouped
from sbirules.inference.questions.base import Asked
from sbirules.inference.questions.fresh import Fresh, failures_of
from sbirules.model.abilities import without_plasticity
from sbirules.model.constraints import Constraints
from sbirules.model.curves import CurveBand
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import learning_curve, summarise, summary_names
from sbirules.model.verdicts import Verdict, by_p_value
from sbirules.stores.filling import simulate
from sbirules.support import arguments
from sbirules.support.rates import Rate, binomial_rate, mean_rate
from sbirules.support.streams import Stream, child, seeded
from sbirules.support.typed import typed_class

__all__ = [
    "NETWORKS",
    "ZERO_NETWORKS",
    "ConstraintCheck",
    "held_out_success",
    "reliable_words",
    "success_verdicts",
    "try_constraints",
    "zero_rule",
]

# it fails where the rate is below the one share of what was asked for, and fewer rules than the other share reach that
NEARLY, HARDLY = 0.8, 0.1
RELIABLE = 0.9  # a rule is reliable when it satisfies the constraints in at least this share of networks
NETWORKS = 32  # fresh networks per rule
ZERO_NETWORKS = 512
FEW = 10  # networks that must succeed, and fail, before predicted and observed success can be told apart
IN_VARIANTS = 8  # fresh networks per rule in a variant, at most


@typed_class
@dataclass(frozen=True)
class ConstraintCheck:
    """How often constraints hold in fresh networks.

    Arguments:
        rules: Posterior rules (and prior rules) tried.
        networks_per_rule: Fresh networks for each.
        posterior_success: Mean share of networks of a posterior rule that satisfy the constraints.
        prior_success: The same for prior rules.
        zero_rule_success: The same without plasticity.
        posterior_reliable: Share of posterior rules that satisfy them in at least the share `reliable` of networks.
        predicted_success: What the classifier predicted for the posterior rules.
        theta: The posterior rules, `(rules, D)`.
        share: Share of networks of each that satisfied the constraints, `(rules,)`.
        curves: Curves of the measure of performance over all networks, by "posterior", "prior" and "zero rule"; empty
            where there is no such measure.
        failures: Failed networks among the posterior rules', by status.
        predicted: What the classifier predicted for each of them, `(rules,)`, or None.
        reliable: From which share of networks a rule counts as reliable: what was asked, or 0.9.
    """

    rules: int
    networks_per_rule: int
    posterior_success: Rate
    prior_success: Rate
    zero_rule_success: Rate
    posterior_reliable: Rate
    predicted_success: float
    theta: Tensor
    share: Tensor
    curves: Mapping[str, CurveBand] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    predicted: Tensor | None = None
    reliable: float = RELIABLE


def zero_rule(simulator: Simulator, prior: Distribution) -> Tensor:
    """The rule without terms, `(D,)`: linear coefficients zero where that is legal, no decay of the weights."""
    with seeded(0, Stream.PRIOR_SPREAD):
        middle = prior.sample(Size((1000,))).median(dim=0).values
    theta = middle.clone()
    for i, p in enumerate(simulator.family.parameters):
        if p.may_vanish:
            theta[i] = 0.0
        elif p.name == "tau_w":
            theta[i] = 1e9
    return theta


def try_constraints(
    posterior: Asked, simulator: Simulator, constraints: Constraints, fresh: Fresh, reliable: float = RELIABLE
) -> ConstraintCheck:
    """Posterior rules, prior rules and no plasticity in fresh networks."""
    theta = posterior.spread_out(arguments.whole("rules", fresh.rules, 2))
    networks = arguments.whole("networks_per_rule", fresh.networks or NETWORKS, 1)
    constraints.check(simulator.summary_names)
    rules, best = len(theta), simulator.layout.performance
    with seeded(fresh.seed, Stream.PRIOR):
        from_prior = posterior.prior.sample(Size((rules,))).float()
    zero = zero_rule(simulator, posterior.prior)[None]
    sets = {"posterior": (theta, networks), "prior": (from_prior, networks), "zero rule": (zero, ZERO_NETWORKS)}
    shares: dict[str, Tensor] = {}
    curves: dict[str, CurveBand] = {}
    failures: dict[str, int] = {}
    for k, (name, (rows, n)) in enumerate(sets.items()):
        # weights may decay under a rule without terms, so the networks themselves are kept from changing
        runner = without_plasticity(simulator) if name == "zero rule" else simulator
        store = fresh.simulate(rows, n, runner, name.replace(" ", "-"), part=k)
        happened = constraints.satisfied(store.x, store.summary_names)
        shares[name] = happened.float().reshape(len(rows), n).mean(dim=1)
        if best is not None and best.per == "trial":
            # single networks mostly answer right or wrong: their 95 % band would span all errors
            shown = learning_curve(10, of=best.name)
            names = summary_names([shown], store.trajectory.type_names)
            curves[name] = CurveBand.of(names, summarise(store.trajectory, [shown]), mass=0.5)
        if name == "posterior":
            failures = failures_of(store)
    often = float((shares["posterior"] >= reliable - 1e-6).float().mean())
    predicted = posterior.predicted_success(theta)
    return ConstraintCheck(
        rules=rules,
        networks_per_rule=networks,
        posterior_success=mean_rate(shares["posterior"]),
        prior_success=mean_rate(shares["prior"]),
        zero_rule_success=binomial_rate(float(shares["zero rule"].mean()), ZERO_NETWORKS),
        posterior_reliable=binomial_rate(often, rules),
        predicted_success=math.nan if predicted is None else float(predicted.mean()),
        predicted=predicted,
        theta=theta,
        share=shares["posterior"],
        curves=curves,
        failures=failures,
        reliable=reliable,
    )


def success_verdicts(c: ConstraintCheck, cautions: tuple[str, ...], asked: str, target: float) -> list[Verdict]:
    """What the rates say, held against what was asked, with what the fit itself warned of.

    Arguments:
        c: The rates.
        cautions: Of the fit.
        asked: What was asked, in words that follow "satisfy the constraints".
        target: Mean share of networks that rules which do so reach.
    """
    s, p, z = c.posterior_success, c.prior_success, c.zero_rule_success
    clear = s.value > p.value + 2 * math.hypot(s.se, p.se)
    loose = p.value > 0.9 and s.value > 0.9
    short = s.value + 2 * s.se < target
    idle = z.value > s.value + 2 * math.hypot(s.se, z.se)
    done = float((c.share >= min(target, c.reliable) - 1e-6).float().mean())
    none = s.value + 2 * s.se < NEARLY * target and done < HARDLY
    level = "fail" if not (clear or loose) or none else "caution" if cautions or loose or short or idle else "pass"
    small = "" if c.networks_per_rule >= 32 else "; fewer than the 32 networks that a study should use"
    finding = (
        f"On fresh networks, posterior rules satisfy the constraints in {s.value:.0%} ± {s.se:.1%} of networks (asked for: "
        f"{asked}, which takes {target:.0%} of single ones), prior rules in {p.value:.0%} ± {p.se:.1%}, no plasticity at all in "
        f"{z.value:.1%} ± {z.se:.1%} ({c.rules} rules, "
        f"{c.networks_per_rule} networks each{small}). {reliable_words(c)}"
    )
    advice = " ".join(cautions)
    if idle:
        cautions = (
            *cautions,
            "Networks without plasticity satisfy the constraints more often than posterior rules do.",
        )
        advice = " ".join(cautions)
    if loose and not short:
        advice = "Prior rules satisfy the constraints nearly always, so that these tell little: ask for more."
    elif not clear:
        advice = "Posterior rules do not succeed clearly more often than prior rules: do not rely on this fit; simulate more."
    elif short:
        how_far = "Hardly any posterior rule does what was asked for" if none else "That is less than was asked for"
        advice = " ".join(
            (
                *cautions,
                f"{how_far}: add rounds (refine), simulate more or ask for more (all_of_networks, reliability); perhaps no rule "
                f"of this family and prior does it.",
            )
        )
    numbers = {
        "asked": target,
        "posterior_success": s.value,
        "prior_success": p.value,
        "zero_rule_success": z.value,
        "posterior_reliable": c.posterior_reliable.value,
        "posterior_always": float((c.share > 1 - 1e-6).float().mean()),
    }

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
    return out if c.predicted is None else [*out, _reliability(c)]


def reliable_words(c: ConstraintCheck) -> str:
    """A sentence on which share of the rules is reliable."""
    r, always = c.posterior_reliable, float((c.share > 1 - 1e-6).float().mean())
    each = f"all {c.networks_per_rule}" if c.networks_per_rule > 1 else "their one"
    return (
        f"{r.value:.0%} ± {r.se:.1%} of posterior rules are reliable (at least {c.reliable:.0%} of networks), "
        f"{always:.0%} succeeded in {each}."
    )


def _reliability(c: ConstraintCheck) -> Verdict:
    """Does the classifier behind the posterior predict what happens?"""
    predicted, observed, se, _ = grouped(c)
    z = ((predicted - observed) / se).abs()
    worst = int(z.argmax())
    groups = len(z)

    def level_of(which: Tensor) -> tuple[str, float]:
        """By the group that is farthest off, of some; a gap that no one would act on is no failure, however clear."""
        far = float(torch.where(which, z, 0.0).max())
        p = min(1.0, groups * 2 * (1 - 0.5 * (1 + math.erf(far / math.sqrt(2)))))
        return by_p_value(p), p

    wide = (predicted - observed).abs() > 0.05
    (upwards, _), (level, p) = level_of(wide & (predicted > observed)), level_of(wide)
    if upwards == "pass" and level == "fail":
        level = "caution"  # rules are better than was thought: the posterior is wider than it need be, not wrong
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
        if upwards != "pass"
        else "These rules do better than the classifier expects, so that the posterior is wider than it need be: simulate more."
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


def held_out_success(
    posterior: Asked, simulator: Simulator, constraints: Constraints, variants: Mapping[str, Any], fresh: Fresh
) -> list[Verdict]:
    """Do rules that work here work there?"""
    raw = simulator.to_raw(posterior.spread_out(fresh.rules).double())
    rates = {
        name: _in_variant(other, simulator, posterior, raw, constraints, fresh, k)
        for k, (name, other) in enumerate(variants.items())
    }
    weak = [n for n, (a, b) in rates.items() if a.value <= b.value + 2 * math.hypot(a.se, b.se)]
    level = "caution" if weak else "pass"
    finding = "Success in variants that inference never saw, posterior and prior rules: " + "; ".join(
        f"{name} {a.value:.0%} ± {a.se:.0%}, {b.value:.0%} ± {b.se:.0%}" for name, (a, b) in rates.items()
    )
    advice = "" if not weak else f"Rules found here are no better than the prior's in: {arguments.listed(weak)}."
    numbers = {
        f"{kind} in {name}": pair[k].value
        for name, pair in rates.items()
        for k, kind in enumerate(("posterior", "prior"))
    }
    caption = f"{fresh.rules} posterior and prior rules in variants that inference never saw (bars: standard error over rules)."
    quantity = "share of networks\nthat satisfy the constraints"
    return [
        Verdict("held out", level, finding + ".", advice, numbers, lambda: figures.held_out(rates, quantity), caption)
    ]


def _in_variant(
    other: Simulator,
    simulator: Simulator,
    posterior: Asked,
    raw: Tensor,
    constraints: Constraints,
    fresh: Fresh,
    k: int,
) -> tuple[Rate, Rate]:
    """Success of posterior rules and of prior rules in a variant; rules keep their raw coefficients."""
    networks = min(fresh.networks or IN_VARIANTS, IN_VARIANTS)
    place = None if fresh.folder is None else fresh.folder / f"held-out-{k}"
    with seeded(fresh.seed, Stream.PRIOR, k + 1):
        prior = posterior.prior.sample(Size((len(raw),))).double()
    pairs = []
    for label, rows in (("posterior", raw), ("prior", simulator.to_raw(prior))):
        store = simulate(
            other,
            other.to_natural(rows).float().repeat_interleave(networks, dim=0),
            store=None if place is None else place / label,
            seed=child(fresh.seed, Stream.HELD_OUT, k),
            label=f"held out {label}",
            num_workers=fresh.num_workers,
            progress=fresh.progress,
        )
        share = constraints.satisfied(store.x, store.summary_names).double().reshape(len(rows), networks).mean(dim=1)
        pairs.append(mean_rate(share))
    return pairs[0], pairs[1]
