"""Posterior predictive checks by re-simulation: fresh networks, never those that trained an estimator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules import _check
from sbirules.constraints import Constraints
from sbirules.posterior import Posterior
from sbirules.simulate import simulate
from sbirules.simulator import Simulator
from sbirules.store import SimulationStore
from sbirules.streams import seeded
from sbirules.summaries import learning_curve, summarise, summary_names
from sbirules.trials import Trials

__all__ = ["ConstraintCheck", "CurveBand", "Rate", "TrialsCheck", "check", "zero_rule"]

CURVE = learning_curve(10)
RELIABLE = 0.9  # a rule is reliable when it satisfies the constraints in at least this share of networks
NETWORKS = 32  # fresh networks per rule
ZERO_NETWORKS = 512
FRESH = 1_000_003  # added to the seed, so that checks never reuse the networks of the fit


@dataclass(frozen=True)
class Rate:
    """A share measured on fresh networks, with its standard error."""

    value: float
    se: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.se:.3f}"


@dataclass(frozen=True)
class CurveBand:
    """Learning curves: a central band and the median, each `(bins,)`, over rules or networks.

    Arguments:
        names: Names of the bins.
        low: Lower end.
        median: Median.
        high: Upper end.
        mass: Share of the rules or networks inside the band.
        observed: The observed mean curve, if there is one.
    """

    names: tuple[str, ...]
    low: Tensor
    median: Tensor
    high: Tensor
    mass: float
    observed: Tensor | None = None

    @property
    def coverage(self) -> float:
        """Share of observed bins inside the band."""
        if self.observed is None:
            raise ValueError("nothing was observed.")
        inside = (self.observed >= self.low) & (self.observed <= self.high)
        return float(inside.float().mean())


@dataclass(frozen=True)
class ConstraintCheck:
    """How often constraints hold in fresh networks.

    Arguments:
        rules: Posterior rules (and prior rules) tried.
        networks_per_rule: Fresh networks for each.
        posterior_success: Mean share of networks of a posterior rule that satisfy the constraints.
        prior_success: The same for prior rules.
        zero_rule_success: The same without plasticity.
        posterior_reliable: Share of posterior rules that satisfy them in at least 90 % of networks.
        predicted_success: What the classifier predicted for the posterior rules.
        theta: The posterior rules, `(rules, D)`.
        share: Share of networks of each that satisfied the constraints, `(rules,)`.
        curves: Learning curves over all networks, by "posterior", "prior" and "zero rule".
        failures: Failed networks among the posterior rules', by status.
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
    """

    rules: int
    networks_per_rule: int
    curve: CurveBand
    mean_curves: Tensor
    theta: Tensor
    failures: Mapping[str, int]


def zero_rule(simulator: Simulator, prior: Distribution) -> Tensor:
    """The rule without terms, `(D,)`: linear coefficients zero where that is legal, no decay of the weights."""
    with seeded(0):
        middle = prior.sample(Size((1000,))).median(dim=0).values
    theta = middle.clone()
    for i, p in enumerate(simulator.family.parameters):
        if p.linear and p.low <= 0 <= p.high:
            theta[i] = 0.0
        elif p.name == "tau_w":
            theta[i] = 1e9
    return theta


def check(
    posterior: Posterior,
    simulator: Simulator,
    *,
    constraints: Mapping[str, Any] | Constraints | None = None,
    trials: Any = None,
    rules: int = 128,
    networks_per_rule: int | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> ConstraintCheck | TrialsCheck:
    """Re-simulates posterior rules on fresh networks.

    Arguments:
        posterior: With draws, or some are made.
        simulator: The simulator of the fit.
        constraints: What was asked of the rules; by default what `fit` was asked.
        trials: Or the learners that were observed.
        rules: Rules drawn from the posterior, and from the prior.
        networks_per_rule: Fresh networks per rule; 32, or one per learner.
        folder: Where to keep the simulations, so that a rerun resumes; None for a temporary one.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
    """
    _check.whole("rules", rules, 2)
    if constraints is None and trials is None:
        constraints = posterior.facts.get("constraints")
    if (constraints is None) == (trials is None):
        if trials is None and posterior.facts.get("kind") == "trials":
            raise ValueError(
                "check needs the table that fit was given, trials=...: a posterior keeps its summaries only."
            )
        if trials is None and posterior.facts.get("kind") == "observation":
            raise ValueError(
                "check re-simulates for constraints or trials, not for x_o; give constraints={...} around what was "
                "observed."
            )
        raise ValueError("check needs exactly one of constraints and trials.")
    if posterior.chains is None or len(posterior.draws) < rules:
        posterior.sample((max(2000, rules),), seed=seed)
    theta = _spread_out(posterior.draws, rules)
    keep = {"num_workers": num_workers, "progress": progress}
    if trials is not None:
        table = Trials.read(trials, simulator.task.type_names, simulator.criterion)
        return _check_trials(theta, simulator, table, networks_per_rule, folder, seed, keep)
    return _check_constraints(
        posterior,
        theta,
        simulator,
        Constraints.of(constraints or {}),
        networks_per_rule or NETWORKS,
        folder,
        seed,
        keep,
    )


def _spread_out(draws: Tensor, n: int) -> Tensor:
    """n of the draws, evenly spaced over all chains."""
    return draws[torch.linspace(0, len(draws) - 1, n).round().long()]


def _fresh(
    theta: Tensor, networks: int, simulator: Simulator, folder: str | Path | None, name: str, seed: int,
    keep: Mapping[str, Any], trial_types: Tensor | None = None,
) -> SimulationStore:  # fmt: skip
    store = None if folder is None else Path(folder) / name
    return simulate(
        simulator, theta.repeat_interleave(networks, dim=0), store=store, seed=seed + FRESH, trial_types=trial_types,
        label=f"check {name}", **keep,
    )  # fmt: skip


def _check_constraints(
    posterior: Posterior, theta: Tensor, simulator: Simulator, constraints: Constraints, networks: int,
    folder: str | Path | None, seed: int, keep: Mapping[str, Any],
) -> ConstraintCheck:  # fmt: skip
    _check.whole("networks_per_rule", networks, 1)
    constraints.check(simulator.summary_names)
    rules = len(theta)
    with seeded(seed, 3):
        from_prior = posterior.prior.sample(Size((rules,))).float()
    zero = zero_rule(simulator, posterior.prior)[None]
    sets = {"posterior": (theta, networks), "prior": (from_prior, networks), "zero rule": (zero, ZERO_NETWORKS)}
    shares, curves, failures = {}, {}, {}
    for offset, (name, (rows, n)) in enumerate(sets.items()):
        # weights may decay under a rule without terms, so the networks themselves are kept from changing
        runner = simulator.without_plasticity() if name == "zero rule" else simulator
        store = _fresh(rows, n, runner, folder, name.replace(" ", "-"), seed + offset, keep)
        happened = constraints.satisfied(store.x, store.summary_names)
        shares[name] = happened.float().reshape(len(rows), n).mean(dim=1)
        # single networks mostly answer right or wrong: their 95 % band would span all errors
        curves[name] = _band(store.trajectory.type_names, summarise(store.trajectory, [CURVE]), mass=0.5)
        if name == "posterior":
            failures = {k: v for k, v in store.status_counts().items() if k != "OK"}
    reliable = shares["posterior"] >= RELIABLE - 1e-6
    success = getattr(posterior.potential_net, "success", None)
    with torch.no_grad():
        predicted = math.nan if success is None else float(success.log_prob(theta).exp().mean())
    zero_rate = float(shares["zero rule"].mean())
    return ConstraintCheck(
        rules=rules,
        networks_per_rule=networks,
        posterior_success=_mean_rate(shares["posterior"]),
        prior_success=_mean_rate(shares["prior"]),
        zero_rule_success=Rate(zero_rate, _binomial_se(zero_rate, ZERO_NETWORKS)),
        posterior_reliable=Rate(float(reliable.float().mean()), _binomial_se(float(reliable.float().mean()), rules)),
        predicted_success=predicted,
        theta=theta,
        share=shares["posterior"],
        curves=curves,
        failures=failures,
    )


def _mean_rate(share: Tensor) -> Rate:
    """Mean over rules; its error is that between rules, whose networks are not independent."""
    return Rate(float(share.mean()), float(share.std()) / math.sqrt(len(share)))


def _binomial_se(p: float, n: int) -> float:
    """Standard error of a share; Laplace's estimate keeps it above zero at 0 and 1."""
    q = (p * n + 1) / (n + 2)
    return math.sqrt(q * (1 - q) / n)


def _band(type_names: tuple[str, ...], values: Tensor, mass: float, observed: Tensor | None = None) -> CurveBand:
    """Central band of curves `(n, bins)`, failed networks left out."""
    ends = ((1 - mass) / 2, 0.5, (1 + mass) / 2)
    low, median, high = (torch.nanquantile(values, q, dim=0) for q in ends)
    return CurveBand(summary_names([CURVE], type_names), low, median, high, mass, observed)


def _check_trials(
    theta: Tensor, simulator: Simulator, table: Trials, networks: int | None, folder: str | Path | None, seed: int,
    keep: Mapping[str, Any],
) -> TrialsCheck:  # fmt: skip
    learners = len(table)
    if networks not in (None, learners):
        raise ValueError(f"networks_per_rule must be the number of learners ({learners}), or left out; got {networks}.")
    of = "error" if "error" in table.trajectory.available else "correct"
    curve = CURVE if of == "error" else learning_curve(10, of=of)
    store = _fresh(theta, learners, simulator, folder, "posterior", seed, keep, table.trial_types)
    runs = store.trajectory
    means = summarise(runs, [curve]).reshape(len(theta), learners, -1).nanmean(dim=1)
    observed = summarise(table.trajectory, [curve]).nanmean(dim=0)
    band = _band(runs.type_names, means, mass=0.95, observed=observed)
    failures = {k: v for k, v in store.status_counts().items() if k != "OK"}
    return TrialsCheck(len(theta), learners, band, means, theta, failures)
