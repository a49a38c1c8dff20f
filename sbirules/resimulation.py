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
from sbirules.sampling import spread_out
from sbirules.simulate import simulate
from sbirules.simulator import Simulator
from sbirules.store import SimulationStore
from sbirules.streams import seeded
from sbirules.summaries import learning_curve, summarise, summary_names
from sbirules.trials import Trials

__all__ = [
    "ConstraintCheck", "CurveBand", "ObservationCheck", "Rate", "Resimulation", "TrialsCheck", "check_table",
    "resimulate", "zero_rule",
]  # fmt: skip

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
        there = torch.isfinite(self.observed) & torch.isfinite(self.low)  # bins that hold trials in both
        inside = (self.observed >= self.low) & (self.observed <= self.high)
        return float(inside[there].float().mean())


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
        predicted: What the classifier predicted for each of them, `(rules,)`, or None.
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
    """

    rules: int
    networks_per_rule: int
    curve: CurveBand
    mean_curves: Tensor
    theta: Tensor
    failures: Mapping[str, int]
    quantity: str = "mean error"


@dataclass(frozen=True)
class ObservationCheck:
    """Whether posterior rules reproduce the observed summaries of one network.

    Arguments:
        rules: Posterior rules tried, each in `networks_per_rule` fresh networks.
        networks_per_rule: Networks for each.
        names: Names of the observed summaries.
        x_o: Their observed values, `(S,)`.
        x: Those of the fresh networks, `(rules * networks, S)`; NaN where one failed.
        theta: The posterior rules, `(rules, D)`.
        failures: Failed networks by status.
    """

    rules: int
    networks_per_rule: int
    names: tuple[str, ...]
    x_o: Tensor
    x: Tensor
    theta: Tensor
    failures: Mapping[str, int]

    @property
    def p_values(self) -> dict[str, float]:
        """Two-sided posterior predictive p-value of each summary: small where the observation lies in a tail."""
        x = self.x[torch.isfinite(self.x).all(dim=1)].double()
        if not len(x):  # all networks failed
            return {}
        own = self.x_o.double()
        below = ((x < own).double().mean(dim=0) + 0.5 * (x == own).double().mean(dim=0)).clamp(0, 1)
        two_sided = 2 * torch.minimum(below, 1 - below)
        return dict(zip(self.names, torch.maximum(two_sided, torch.tensor(1.0 / max(len(x), 1))).tolist(), strict=True))


Resimulation = ConstraintCheck | TrialsCheck | ObservationCheck


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


def resimulate(
    posterior: Posterior,
    simulator: Simulator,
    *,
    constraints: Constraints | None = None,
    trials: Trials | None = None,
    x_o: Mapping[str, float] | None = None,
    rules: int = 128,
    networks_per_rule: int | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Resimulation:
    """Re-simulates posterior rules on fresh networks; exactly one of constraints, trials and x_o says what is held
    against them. Other arguments as in `check`."""
    theta = spread_out(posterior, _check.whole("rules", rules, 2), seed=seed)
    keep = {"num_workers": num_workers, "progress": progress}
    if trials is not None:
        return check_table(theta, simulator, trials, networks_per_rule, folder, seed, keep)
    if constraints is not None:
        networks = networks_per_rule or NETWORKS
        return _check_constraints(posterior, theta, simulator, constraints, networks, folder, seed, keep)
    if x_o is None:
        raise ValueError("resimulate needs one of constraints, trials and x_o.")
    return _check_observation(theta, simulator, x_o, networks_per_rule or 1, folder, seed, keep)


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
            failures = {k: v for k, v in store.status_counts().items() if v and k != "OK"}
    reliable = shares["posterior"] >= RELIABLE - 1e-6
    success = getattr(posterior.potential_net, "success", None)
    with torch.no_grad():
        predicted = None if success is None else success.log_prob(theta).exp()
    zero_rate = float(shares["zero rule"].mean())
    return ConstraintCheck(
        rules=rules,
        networks_per_rule=networks,
        posterior_success=_mean_rate(shares["posterior"]),
        prior_success=_mean_rate(shares["prior"]),
        zero_rule_success=Rate(zero_rate, _binomial_se(zero_rate, ZERO_NETWORKS)),
        posterior_reliable=Rate(float(reliable.float().mean()), _binomial_se(float(reliable.float().mean()), rules)),
        predicted_success=math.nan if predicted is None else float(predicted.mean()),
        predicted=predicted,
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


def check_table(
    theta: Tensor, simulator: Simulator, table: Trials, networks: int | None, folder: str | Path | None, seed: int,
    keep: Mapping[str, Any],
) -> TrialsCheck:  # fmt: skip
    learners = len(table)
    if networks not in (None, learners):
        raise ValueError(f"networks_per_rule must be the number of learners ({learners}), or left out; got {networks}.")
    of = "error" if "error" in table.trajectory.available else "correct"
    curve = CURVE if of == "error" else learning_curve(10, of=of)
    quantity = "mean error" if of == "error" else "share correct"
    store = _fresh(theta, learners, simulator, folder, "posterior", seed, keep, table.trial_types)
    runs = store.trajectory
    means = summarise(runs, [curve]).reshape(len(theta), learners, -1).nanmean(dim=1)
    observed = summarise(table.trajectory, [curve]).nanmean(dim=0)
    band = _band(runs.type_names, means, mass=0.95, observed=observed)
    failures = {k: v for k, v in store.status_counts().items() if v and k != "OK"}
    return TrialsCheck(len(theta), learners, band, means, theta, failures, quantity)


def _check_observation(
    theta: Tensor, simulator: Simulator, x_o: Mapping[str, float], networks: int, folder: str | Path | None, seed: int,
    keep: Mapping[str, Any],
) -> ObservationCheck:  # fmt: skip
    for name in x_o:
        _check.known("x_o", name, simulator.summary_names)
    store = _fresh(theta, networks, simulator, folder, "posterior", seed, keep)
    columns = [store.summary_names.index(name) for name in x_o]
    failures = {k: v for k, v in store.status_counts().items() if v and k != "OK"}
    observed = torch.tensor(list(x_o.values()))
    return ObservationCheck(len(theta), networks, tuple(x_o), observed, store.x[:, columns], theta, failures)
