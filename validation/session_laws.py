"""Planted laws, scales observed with known errors: coverage, families, forecasts, and through a fitted network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from joblib import Parallel, delayed
from result_rows import Row, row
from torch import Tensor
from torch.distributions import LogNormal, Uniform

import sbirules as sr
from sbirules.checks.recovery import Recovery
from sbirules.inference.questions.controls import drawn_rules
from sbirules.model.law_responses import invariants_of
from sbirules.priors import IndependentPrior
from sbirules.simulators import FastSlowNetwork, FastSlowSettings, SessionLaw
from sbirules.simulators.sessions._dynamics import Parts, Windows, predicted
from sbirules.support.streams import Stream, seeded

SEED = 20261127
ERROR, SESSIONS = 0.05, 24
# of laws that are not linear, whose likelihood takes longer
FEWER = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=6, max_doublings=0)
SETTINGS = sr.SamplerSettings(num_runs=2, num_particles=512, num_moves=6, max_doublings=0)
NOISE = LogNormal(-2.5, 1.0)
CIRCUIT = sr.MotifCircuit(
    torch.tensor([[0.2, 0.1], [0.0, 0.2]]),
    torch.tensor([[1.0, 0.2], [0.2, 1.0]]),
    torch.tensor([[0.6, 0.1], [0.1, 0.6]]),
)
AS_THEY_ARE: dict[str, float] = {"centre": 0.0, "scale": 1.0, "strength": 1.0}


def schedule(sessions: int, channels: int, seed: int) -> Tensor:
    """Blocks of one channel, of rest and of the other, of lengths that differ."""
    gen, out = torch.Generator().manual_seed(seed), []
    while len(out) < sessions:
        channel = int(torch.randint(-1, channels, (1,), generator=gen))
        for _ in range(int(torch.randint(1, 4, (1,), generator=gen))):
            out.append([float(channel == k) * float(0.5 + torch.rand(1, generator=gen)) for k in range(channels)])
    return torch.tensor(out[:sessions], dtype=torch.float64)


def linear(channels: int = 2) -> tuple[SessionLaw, IndependentPrior]:
    law = sr.LatentLaw(2, channels)
    own = {n: Uniform(-1.0, 0.0) if n in ("w_1_1", "w_2_2") else Uniform(-0.5, 0.5) for n in law.names}
    return SessionLaw(law, initial=1.0, **AS_THEY_ARE), IndependentPrior({**own, "walk": NOISE})


def bcm() -> tuple[SessionLaw, IndependentPrior]:
    own = {
        "hebb": Uniform(0.0, 0.8),
        "decay": Uniform(0.0, 0.3),
        "threshold": Uniform(0.0, 1.5),
        "tau": Uniform(1.0, 10.0),
    }
    return SessionLaw(sr.BCMLaw(CIRCUIT), initial=1.0, **AS_THEY_ARE), IndependentPrior({**own, "walk": NOISE})


def oja() -> tuple[SessionLaw, IndependentPrior]:
    own = {"hebb": Uniform(0.0, 0.8), "decay": Uniform(0.0, 0.8)}
    return SessionLaw(sr.OjaLaw(CIRCUIT), initial=1.0, **AS_THEY_ARE), IndependentPrior({**own, "walk": NOISE})


def hebbian() -> tuple[SessionLaw, IndependentPrior]:
    own = {"hebb": Uniform(0.0, 0.5), "homeostasis": Uniform(0.0, 0.3), "target": Uniform(0.2, 1.5)}
    return SessionLaw(sr.HebbianLaw(CIRCUIT), initial=1.0, **AS_THEY_ARE), IndependentPrior({**own, "walk": NOISE})


def drift() -> tuple[SessionLaw, IndependentPrior]:
    law = sr.DriftLaw(2)
    return SessionLaw(law, initial=1.0, **AS_THEY_ARE), IndependentPrior(
        {n: Uniform(-0.3, 0.3) for n in law.names} | {"walk": NOISE}
    )


FAMILIES = {"latent": linear, "drift": drift, "bcm": bcm, "oja": oja, "hebbian": hebbian}
PLANTED_NOISE = 0.05  # largest noise of the law where families are told apart


def planted(
    simulator: SessionLaw, prior: IndependentPrior, seed: int, sessions: int, moved: bool = False
) -> tuple[Tensor, sr.SessionScales]:
    """A law of the prior and what it makes; with `moved` drawn until changes are three times their errors.

    Then the noise of the law is small as well, so that it is the law that moves the scales.
    """
    u = schedule(sessions, 2, seed)
    like = sr.SessionScales.of(torch.zeros(1, sessions, 2), ERROR, stimulation=u[None])
    for attempt in range(500):
        with seeded(seed, Stream.PRIOR, attempt):
            theta = prior.sample((1,))[0].double()
        if moved:
            theta[-1] = min(float(theta[-1]), PLANTED_NOISE)
        made = simulator.measured(theta, like, seed=seed)
        values = made.scales[0]
        if not bool(torch.isfinite(values).all()) or float(values.abs().max()) > 1e3:
            continue
        if not moved or float(values.diff(dim=0).square().mean().sqrt()) >= 3 * ERROR * math.sqrt(2):
            return theta, made
    raise RuntimeError("no law of the prior moves the scales enough")


def told(law: Any, theta: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """What of laws does not depend on coordinates, `(n,)` each; infinite and absent values at a far end."""
    columns = {n: theta[:, k].double() for k, n in enumerate(names)}
    found = invariants_of(law, columns, torch.zeros(law.stimulations)).columns()
    kept = {n: v for n, v in found.items() if n.startswith(("largest", "response"))}
    return {n: v.nan_to_num(1e6, 1e6, -1e6) for n, v in kept.items()}


def one_law(kind: str, k: int) -> tuple[Tensor, Tensor, dict[str, tuple[float, Tensor]]]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    simulator, prior = FAMILIES[kind]()
    theta, made = planted(simulator, prior, SEED + 1000 * (kind == "bcm") + k, SESSIONS)
    draws = drawn_rules(simulator.suited(made), prior, made, k, SETTINGS if kind == "latent" else FEWER).draws.flatten(
        0, 1
    )[:400]
    own, truth = told(simulator.law, draws, simulator.names), told(simulator.law, theta[None], simulator.names)
    return theta, draws, {n: (float(truth[n]), own[n]) for n in own}


def inside(truth: Tensor, draws: Tensor, level: float) -> Tensor:
    """Whether truths `(n,)` lie in central intervals of draws `(n, draws)`."""
    half = level / 2
    low, high = torch.quantile(draws, 0.5 - half, dim=1), torch.quantile(draws, 0.5 + half, dim=1)
    return ((truth >= low) & (truth <= high)).double()


def law_rows(quick: bool, jobs: int) -> list[Row]:
    out, p_values, n = [], [], 20 if quick else 200
    for kind in ("latent", "bcm"):
        count = n if kind == "latent" or not quick else 8
        found = Parallel(n_jobs=jobs)(delayed(one_law)(kind, k) for k in range(count))
        simulator, prior = FAMILIES[kind]()
        truth, draws = torch.stack([f[0] for f in found]).float(), torch.stack([f[1] for f in found]).float()
        with seeded(SEED, Stream.PRIOR_SPREAD):
            sd = prior.sample((4000,)).std(dim=0)
        recovery = Recovery(simulator.names, truth, draws, 1, sd, None)  # type: ignore[arg-type]
        p_values.append((kind, recovery.tarp[1]))
        for what in ("coefficients", "invariants"):
            cells = []
            for level in (0.95, 0.5):
                if what == "coefficients":
                    pairs = [(truth[:, j], draws[:, :, j]) for j in range(truth.shape[1])]
                else:
                    own = [{m: f[2][m] for m in f[2]} for f in found]
                    pairs = [
                        (torch.tensor([o[m][0] for o in own]).double(), torch.stack([o[m][1] for o in own]).double())
                        for m in own[0]
                    ]
                each = torch.stack([inside(*pair, level) for pair in pairs], dim=1)
                by_law = each.mean(dim=1)
                cells.append((level, float(by_law.mean()), float(by_law.std()) / math.sqrt(count)))
            text = " / ".join(f"{c:.3f} ± {se:.3f}" for _, c, se in cells)
            good = all(abs(c - level) <= 2.5 * max(se, 1e-3) for level, c, se in cells)
            out.append(
                row(f"coverage of {what}, {count} planted {kind} laws, 95 / 50 %", "within 2.5 s.e.", text, good)
            )
    least = min(1.0, min(p for _, p in p_values) * len(p_values))
    text = ", ".join(f"{kind} p = {p:.2g}" for kind, p in p_values)
    return [
        *out,
        row("TARP of both, after Holm", "above .05", f"{text}; smallest after Holm {least:.2g}", least > 0.05),
    ]


def one_family(kind: str, k: int, sessions: int) -> tuple[str, dict[str, float], dict[str, float]]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    simulator, prior = FAMILIES[kind]()
    number = list(FAMILIES).index(kind)
    _, made = planted(simulator, prior, SEED + 10_000 * number + 100 * sessions + k, sessions, moved=True)
    families: Mapping[str, Any] = {name: make() for name, make in FAMILIES.items()}
    found = sr.compare_families(families, sessions=made, sampler=FEWER, seed=k)
    evidence = dict(zip(found.names, found.log_evidence.tolist(), strict=True))
    return kind, evidence, dict(zip(found.names, found.score.tolist(), strict=True))


def family_rows(quick: bool, jobs: int) -> list[Row]:
    import pandas as pd
    from scipy.stats import beta

    out = []
    for sessions in (24,) if quick else (24, 12, 48):
        each = 1 if quick else 8 if sessions == 24 else 4
        found = Parallel(n_jobs=jobs)(delayed(one_family)(kind, k, sessions) for kind in FAMILIES for k in range(each))
        truth = [kind for kind, _, _ in found]
        for what, index in (("evidence", 1), ("held-out score", 2)):
            best = [max(f[index], key=lambda name, own=f[index]: own[name]) for f in found]  # type: ignore[misc]
            right, n = sum(a == b for a, b in zip(truth, best, strict=True)), len(found)
            low = float(beta.ppf(0.1, right, n - right + 1)) if right else 0.0  # one-sided 90 %, Clopper and Pearson
            table = pd.crosstab(pd.Series(truth, name="true"), pd.Series(best, name="found"))
            print(f"{what}, {sessions} sessions\n{table.to_string()}\n", flush=True)
            asked = what == "evidence" and sessions == 24
            text = f"{right} of {n}, lower 90 % bound {low:.2f}; confused: " + (
                ", ".join(f"{a} for {b} {c}" for (a, b), c in _confused(truth, best).items()) or "none"
            )
            goal, wanted = f"five families by {what}, {sessions} sessions", "lower 90 % bound above .8" if asked else ""
            out.append(row(goal, wanted, text, low > 0.8 if asked else None))
    return out


def _confused(truth: list[str], best: list[str]) -> dict[tuple[str, str], int]:
    pairs = [(b, a) for a, b in zip(truth, best, strict=True) if a != b]
    return {pair: pairs.count(pair) for pair in dict.fromkeys(pairs)}


def one_forecast(kind: str, k: int) -> float:
    """Share of true scales in their 95 % bands, 8 sessions under a schedule that was not tried."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    simulator, prior = FAMILIES[kind]()
    ahead, given = 8, SESSIONS
    _, whole = planted(simulator, prior, SEED + 5000 + 1000 * (kind == "bcm") + k, given + ahead)
    seen = whole.first(given)
    chains = drawn_rules(simulator.suited(seen), prior, seen, k, SETTINGS if kind == "latent" else FEWER)
    draws = chains.draws.flatten(0, 1)[:400].double()
    likelihood = simulator.suited(whole).likelihood(whole)
    mean, cov = likelihood.ahead(draws, given)
    noise = cov.diagonal(dim1=-2, dim2=-1) + ERROR**2
    with seeded(k, Stream.CHECK):
        drawn = mean + noise.clamp(min=0).sqrt() * torch.randn_like(mean)
    low, high = torch.quantile(drawn, 0.025, dim=0), torch.quantile(drawn, 0.975, dim=0)
    value = whole.scales[:, given:]
    return float(((value >= low) & (value <= high)).double().mean())


def forecast_rows(quick: bool, jobs: int) -> list[Row]:
    out = []
    for kind, n in (("latent", 20 if quick else 200), ("bcm", 6 if quick else 60)):
        share = torch.tensor(Parallel(n_jobs=jobs)(delayed(one_forecast)(kind, k) for k in range(n)))
        c, se = float(share.mean()), float(share.std()) / math.sqrt(n)
        text = f"{c:.3f} ± {se:.3f} of measurements in 8 sessions to come, {n} laws"
        out.append(row(f"unseen schedule, 95 % bands, {kind}", "within 2.5 s.e.", text, abs(c - 0.95) <= 2.5 * se))
    return out


def one_end(k: int) -> dict[str, tuple[float, Tensor]]:
    """A linear law in a network whose activity is observed, found again through a network that is fitted to it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    gen = torch.Generator().manual_seed(SEED + k)
    n, sessions, samples, channels = 24, 24, 300, 12
    left = torch.linalg.qr(torch.randn(n, 2, generator=gen))[0]
    right = torch.linalg.qr(torch.randn(n, 2, generator=gen))[0]
    into = 0.8 * torch.randn(n, 2, generator=gen)
    readout = torch.randn(channels, n, generator=gen) / math.sqrt(n)
    simulator, prior = linear()
    theta, made = planted(simulator, prior, SEED + 9000 + k, sessions, moved=True)
    scales = 4.0 + 2.0 * made.scales[0]  # strong enough to be seen in the activity
    zero = torch.zeros
    parts = Parts(
        left, right, into, zero(n), readout, zero(channels), torch.eye(n, channels), zero(n), torch.eye(2), zero(2),
        zero(sessions, 2), torch.eye(2), zero(2, 2), zero(2), zero(()),
    )  # fmt: skip
    ys, us = [], []
    for s in range(sessions):
        u = made.stimulation[0, s].float() + 0.7 * torch.randn(samples // 10, 2, generator=gen).repeat_interleave(
            10, dim=0
        )
        w = Windows(0.5 * torch.randn(1, channels, generator=gen), u[None], torch.empty(0))
        y = predicted(parts, scales[s].float()[None], w, 0.2)[0]
        ys.append(y + 0.03 * torch.randn(y.shape, generator=gen))
        us.append(u)
    recorded = sr.Sessions.of(ys, us, dt=0.2)
    settings = FastSlowSettings(rank=2, units=48, horizon=8, history=3, restarts=3, iterations=800, law=None)
    network = FastSlowNetwork.fit(recorded, settings, seed=k)
    found = network.scales(recorded)
    # the law saw the stimulation of its own schedule; what the activity was driven with beside that is not of the law
    seen = sr.SessionScales.of(found.scales, found.covariance, stimulation=made.stimulation)
    law = SessionLaw(sr.LatentLaw(2, 2), errors="scaled")
    wide = IndependentPrior({n: Uniform(-1.5, 1.5) for n in law.family.names} | dict(law.nuisances))
    suited = law.suited(seen)
    draws = drawn_rules(suited, wide, seen, k, SETTINGS).draws.flatten(0, 1)[:400]
    own, truth = told(law.law, draws, law.names), told(simulator.law, theta[None], simulator.names)
    name = "largest eigenvalue"
    return {name: (float(truth[name]), own[name])}


def end_to_end_rows(quick: bool, jobs: int) -> list[Row]:
    n = 4 if quick else 20
    found = Parallel(n_jobs=jobs)(delayed(one_end)(k) for k in range(n))
    out = []
    for name in found[0]:
        truth = torch.tensor([f[name][0] for f in found]).double()
        draws = torch.stack([f[name][1] for f in found]).double()
        hits = {level: float(inside(truth, draws, level).mean()) for level in (0.95, 0.5)}
        middle = draws.median(dim=1).values
        r = float(torch.corrcoef(torch.stack([truth, middle]))[0, 1])
        good = all(abs(c - level) <= 2.5 * math.sqrt(level * (1 - level) / n) for level, c in hits.items())
        text = f"{hits[0.95]:.2f} / {hits[0.5]:.2f} of {n}; r of truth and median {r:.2f}"
        out.append(
            row(
                f"end to end through a fitted network: coverage of the {name}, 95 / 50 %", "within 2.5 s.e.", text, good
            )
        )
    return out
