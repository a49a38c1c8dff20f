"""Whether laws predict the next session, and the later ones, better than scales that wander; and whether their order matters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.questions.base import Asked
from sbirules.inference.questions.controls import drawn_rules, prior_without_rule
from sbirules.inference.questions.fresh import Fresh
from sbirules.model.law_responses import Invariants, invariants_of
from sbirules.model.session_scales import SessionScales
from sbirules.model.simulator import Simulator
from sbirules.samplers.chains import Chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support.streams import Stream, child, generator, seeded
from sbirules.support.typed import typed_class

__all__ = [
    "LAST",
    "ORDERS",
    "SETTINGS",
    "SHUFFLED",
    "WANDERING",
    "SessionsCheck",
    "held_out_from",
    "order_matters",
    "predicted_sessions",
]

LAST = 0.4  # share of an animal's sessions that are held out, as in STEER
SETTINGS = SamplerSettings(num_runs=2, num_particles=512, num_moves=6, max_doublings=0)
ORDERS = 999  # permutations of the sessions
RIDGE = 1e-3  # of the regression from one session to the next, in units of the variance of what it sees
WANDERING, SHUFFLED = "scales that wander", "sessions in another order"


@dataclass(frozen=True)
class Later:
    """Held-out sessions of one animal: median and 95 % band `(H, R)` each, and whether each measurement lies inside."""

    mean: Tensor
    low: Tensor
    high: Tensor
    inside: Tensor


@typed_class
@dataclass(frozen=True)
class SessionsCheck:
    """Session scales held against laws of the posterior; A animals, K sessions, R scales, H held out.

    Arguments:
        rules: Laws.
        networks_per_rule: Animals.
        theta: The laws, `(rules, D)`.
        surprise: Of each session given those before, in standard deviations of its prediction, whitened, `(rules, n)`.
        scales: The animals' scales, `(A, K, R)`.
        given: Sessions of each animal from which the held-out ones are predicted, the first 60 %.
        later: Of each animal the held-out sessions, predicted by laws fitted to the sessions before.
        inside: Share of held-out scales in their bands; NaN where none was measured.
        measurements: How many these are.
        explained: Share of the held-out scales' variance that is explained, by what predicts: the law, `"persistence"` (the last
            session's scales), the law fitted to sessions in another order.
        score: Log-probability of the held-out sessions given the first ones, by what predicts, with its Monte Carlo error.
        evidence: Log-evidence of all sessions of the law above scales that wander, and its error; likewise of the sessions' order
            above another.
        order: P-value of their order, see `order_matters`.
        invariants: What of the laws does not depend on coordinates.
        prior_invariants: The same of laws of the prior.
        names: Of the scales.
        learners: Of the animals.
        failures: None.
    """

    rules: int
    networks_per_rule: int
    theta: Tensor
    surprise: Tensor
    scales: Tensor
    given: tuple[int, ...]
    later: tuple[Later, ...]
    inside: float
    measurements: int
    explained: Mapping[str, float]
    score: Mapping[str, tuple[float, float]]
    evidence: Mapping[str, tuple[float, float]]
    order: float
    invariants: Invariants
    prior_invariants: Invariants
    names: tuple[str, ...]
    learners: tuple[str, ...]
    failures: Mapping[str, int] = field(default_factory=dict)

    def quantiles(self) -> dict[str, tuple[float, float, float]]:
        """Median and 95 % interval of each invariant."""
        out = {}
        for name, value in self.invariants.columns().items():
            low, middle, high = torch.quantile(
                value.clamp(max=1e6), torch.tensor([0.025, 0.5, 0.975]).double()
            ).tolist()
            out[name] = (middle, low, high)
        return out


def order_matters(sessions: SessionScales, seed: int = 0) -> float:
    """P-value of the order of sessions: how often a regression from each session to the next does as well in another order.

    What is regressed are the scales of the next session, on those of this one and on its stimulation; whole sessions, with
    their stimulation, are put in another order within each animal. That leaves laws aside: scales that only wander have an order,
    too, which the evidence tells from a law. NaN where there are too few sessions for a regression.
    """
    r, b = len(sessions.names), len(sessions.channels)
    if int((sessions.measured.sum(dim=1) - 1).clamp(min=0).sum()) < r + b + 4:
        return math.nan
    scale = sessions.scales[sessions.measured].std(dim=0).clamp(min=1e-12)
    stream, values = generator(seed, Stream.PERMUTATIONS), [_left_over(sessions, None, scale)]
    for _ in range(ORDERS):
        order = [torch.randperm(int(n), generator=stream) for n in sessions.num_sessions]
        values.append(_left_over(sessions, order, scale))
    own = values[0]
    return (1 + sum(v <= own for v in values[1:])) / (ORDERS + 1)


def _left_over(sessions: SessionScales, orders: list[Tensor] | None, scale: Tensor) -> float:
    """What a regression from session to session leaves over, in a given order of each animal's sessions."""
    seen, after = [], []
    for a, n in enumerate(sessions.num_sessions.tolist()):
        order = torch.arange(n) if orders is None else orders[a]
        value, u = sessions.scales[a, order] / scale, sessions.stimulation[a, order]
        both = torch.isfinite(value[1:]).all(dim=1) & torch.isfinite(value[:-1]).all(dim=1)
        seen.append(torch.cat([value[:-1], u[:-1]], dim=1)[both])
        after.append(value[1:][both])
    x, y = torch.cat(seen), torch.cat(after)
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-12)
    y = y - y.mean(dim=0)
    ridge = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    rest = y - x @ torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    return float(rest.square().sum())


def predicted_sessions(posterior: Asked, simulator: Simulator, sessions: SessionScales, fresh: Fresh) -> SessionsCheck:
    """Laws of the posterior held against the sessions, and laws of the first sessions against the last."""
    model: Any = simulator
    theta = posterior.rules_of_animals(fresh.rules, len(sessions)).double()
    likelihood = model.likelihood(sessions)
    each = likelihood.filtered(theta)
    surprise = _whitened(each.predicted, each.covariance, likelihood, theta)
    seed = fresh.seed
    given = held_out_from(sessions)
    first = sessions.first(given)
    learns = getattr(model, "plastic", True)
    still, prior = model.without_plasticity(), posterior.prior
    fixed = prior_without_rule(prior, model) if learns else prior
    other = sessions.shuffled(child(seed, Stream.PERMUTATIONS) % 2**31)
    cases: dict[str, tuple[Any, Distribution, SessionScales]] = {
        "law": (model, prior, sessions),
        "law, first": (model, prior, first),
        WANDERING: (still, fixed, sessions),
        f"{WANDERING}, first": (still, fixed, first),
        SHUFFLED: (model, prior, other),
        f"{SHUFFLED}, first": (model, prior, first.shuffled(child(seed, Stream.PERMUTATIONS, 1) % 2**31)),
    }
    found = {
        name: drawn_rules(*case, child(seed, Stream.REFERENCES, k), SETTINGS)
        for k, (name, case) in enumerate(cases.items())
    }
    z = {name: chains.log_evidence for name, chains in found.items()}

    def gain(one: str, than: str) -> tuple[float, float]:
        return z[one][0] - z[than][0], math.hypot(z[one][1], z[than][1])

    ahead = [_forecast(model, found["law, first"], sessions, given, a, seed) for a in range(len(sessions))]
    wrong = [_forecast(model, found[f"{SHUFFLED}, first"], sessions, given, a, seed) for a in range(len(sessions))]
    stays = [_stays(sessions.subset([a]), given[a]) for a in range(len(sessions))]
    explained = {
        "persistence": _explained(sessions, given, stays),
        "the law": _explained(sessions, given, [f.mean for f in ahead]),
        SHUFFLED: _explained(sessions, given, [f.mean for f in wrong]),
    }
    within = torch.cat([f.inside for f in ahead])
    score = {"the law": gain("law", "law, first"), WANDERING: gain(WANDERING, f"{WANDERING}, first")}
    evidence = {WANDERING: gain("law", WANDERING), SHUFFLED: gain("law", SHUFFLED)} if learns else {}
    own = posterior.spread_out(fresh.rules).double()
    with seeded(seed, Stream.PRIOR):
        of_prior = prior.sample(torch.Size((fresh.rules,))).double()
    return SessionsCheck(
        fresh.rules,
        len(sessions),
        own,
        surprise,
        sessions.scales,
        given,
        tuple(ahead),
        float(within.double().mean()) if len(within) else math.nan,
        len(within),
        explained,
        score,
        evidence,
        order_matters(sessions, seed),
        _invariants(model, own, sessions, likelihood.strength),
        _invariants(model, of_prior, sessions, likelihood.strength),
        sessions.names,
        sessions.learners,
    )


def _whitened(mean: Tensor, cov: Tensor, likelihood: Any, theta: Tensor) -> Tensor:
    """Measurements less what was predicted, in standard deviations of both, `(rules, n)`; the first sessions are left out."""
    counts = likelihood.there.clone()
    counts[:, 0] = False
    root = torch.linalg.cholesky((cov + likelihood.errors(theta))[:, counts])
    away = (likelihood.value[counts] - mean[:, counts])[..., None]
    white: Tensor = torch.linalg.solve_triangular(root, away, upper=False)[..., 0]
    return white.flatten(1)


def held_out_from(sessions: SessionScales) -> tuple[int, ...]:
    """How many first sessions of each animal the others are predicted from."""
    return tuple(max(2, round((1 - LAST) * int(n))) for n in sessions.num_sessions)


def _stays(one: SessionScales, given: int) -> Tensor:
    """The last scales that were measured of an animal's first sessions, for all later ones, `(H, R)`."""
    known = one.measured[0, :given].nonzero()[:, 0]
    later = one.scales[0, given:]
    return one.scales[0, int(known[-1])].expand_as(later) if len(known) else torch.full_like(later, torch.nan)


def _explained(sessions: SessionScales, given: tuple[int, ...], means: list[Tensor]) -> float:
    """Share of the variance of later scales around each animal's mean over all its sessions that predictions explain."""
    rest = whole = 0.0
    for a, mean in enumerate(means):
        n = int(sessions.num_sessions[a])
        every, value = sessions.scales[a, :n], sessions.scales[a, given[a] : n]
        there = torch.isfinite(value) & torch.isfinite(mean[: n - given[a]])
        rest += float((value - mean[: n - given[a]])[there].square().sum())
        whole += float((value - every.nanmean(dim=0))[there].square().sum())
    return 1 - rest / whole if whole > 0 else math.nan


def _forecast(
    model: Any, chains: Chains, sessions: SessionScales, given: tuple[int, ...], animal: int, seed: int
) -> Later:
    """The later sessions of an animal as laws of all animals' first ones predict them."""
    one, n = sessions.subset([animal]), given[animal]
    theta = chains.draws.flatten(0, 1)[:512].double()
    with torch.no_grad():
        likelihood = model.likelihood(one)
        mean, cov = likelihood.ahead(theta, n)
    value = one.scales[0, n:]
    error = likelihood.scale**2 * likelihood.errors(theta)[..., 0, n:, :, :]
    sd = (cov[:, 0] + error).diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt()
    with seeded(seed, Stream.CHECK, animal):
        drawn = (mean[:, 0] + sd * torch.randn_like(sd)).nan_to_num(0.0, 1e30, -1e30)
    if not drawn.shape[1]:
        return Later(value, value, value, torch.empty(0, dtype=torch.bool))
    low, middle, high = (torch.quantile(drawn, q, dim=0) for q in (0.025, 0.5, 0.975))
    return Later(middle, low, high, ((value >= low) & (value <= high))[torch.isfinite(value)])


def _invariants(simulator: Any, theta: Tensor, sessions: SessionScales, strength: float) -> Invariants:
    law = simulator.law
    columns = {name: theta[:, k] for k, name in enumerate(simulator.names)}
    u = sessions.stimulation[sessions.there].mean(dim=0) / strength
    spread = 1.0 if law.relative else float(sessions.scales[sessions.measured].square().mean().sqrt())
    return invariants_of(law, columns, u, spread)
