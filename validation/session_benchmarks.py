"""The benchmarks of STEER: Lorenz with drifting parameters, BCM's rule, a ring attractor; and speed."""

from __future__ import annotations

import math
import time
import warnings

import torch
from result_rows import Row, row
from session_laws import NOISE, SETTINGS
from torch import Tensor
from torch.distributions import Uniform

import sbirules as sr
from sbirules.inference.questions.controls import drawn_rules
from sbirules.priors import IndependentPrior
from sbirules.simulators import (
    FastSlowNetwork,
    FastSlowSettings,
    KnownSessions,
    SessionLaw,
    bcm_sessions,
    lorenz_sessions,
    ring_sessions,
)

FIRST = 0.6  # of the sessions train, as published


def split(known: KnownSessions) -> tuple[sr.Sessions, sr.Sessions, int]:
    n = round(FIRST * len(known.sessions))
    return known.sessions.subset(range(n)), known.sessions.subset(range(n, len(known.sessions))), n


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1])


def without_trend(x: Tensor) -> Tensor:
    """What a line in the number of the session leaves over."""
    t = torch.stack([torch.ones(len(x)), torch.arange(len(x))], dim=1).double()
    return x.double() - t @ torch.linalg.lstsq(t, x.double()[:, None]).solution[:, 0]


def forecast(scales: sr.SessionScales, whole: sr.SessionScales, given: int, seed: int) -> Tensor:
    """Scales of the later sessions by a linear law fitted to the first ones, `(H, R)`: medians over its posterior."""
    r, b = len(scales.names), len(scales.channels)
    law = SessionLaw(sr.LatentLaw(r, b)).suited(scales)
    prior = IndependentPrior({n: Uniform(-1.5, 1.5) for n in law.family.names} | {"walk": NOISE})
    draws = drawn_rules(law, prior, scales, seed, SETTINGS).draws.flatten(0, 1)[:300].double()
    mean, _ = law.likelihood(whole).ahead(draws, given)
    return mean.nan_to_num(0.0, 1e6, -1e6).median(dim=0).values[0]


def dsa(a: list[Tensor], b: list[Tensor]) -> float:
    """Mean dynamical similarity of pairs of trajectories: 10 delays, rank 15, angular distance of DSA's defaults."""
    from DSA import DSA

    scores = [
        DSA(x.numpy(), y.numpy(), n_delays=10, rank=15, verbose=False, device="cpu").fit_score()
        for x, y in zip(a, b, strict=True)
    ]
    return float(torch.tensor(scores).mean())


def lorenz_rows(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    out, every, forecasts, ratios = [], [], [], []
    settings = FastSlowSettings(
        rank=3, units=128, tau=0.3, horizon=20, learning_rate=1e-2, law=None, restarts=2 if quick else 3,
        iterations=600 if quick else 3000,
    )  # fmt: skip
    seeds = range(1 if quick else 3)
    for seed in seeds:
        known = lorenz_sessions(30, 500, seed=seed)
        train, test, n = split(known)
        network = FastSlowNetwork.fit(train, settings, seed=seed)
        first, second = test.halves()
        every.append(network.explained(second, network.scales(first).scales[0], horizon=10))
        a, b = network.scales(train), network.scales(known.sessions)
        ahead = forecast(a, b, n, seed)
        forecasts.append(network.explained(test, ahead, horizon=10))
        other = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        mixed = network_order(a, other)
        wrong = forecast(mixed, shuffled_whole(b, other, n), n, seed)
        try:
            ratios.append(similarity(network, test, ahead, wrong, seed))
        except ImportError:
            ratios = []
    value = torch.tensor(every)
    text = f"{float(value.mean()):.4f}, smallest {float(value.min()):.4f} of {len(every)} seeds"
    goal = "Lorenz, rank 3: explained variance of second halves of unseen systems, 10 samples (.2 time units) ahead, no noise"
    out.append(row(goal, ">= .97 (published .961, .974)", text, float(value.mean()) >= 0.97))
    value = torch.tensor(forecasts)
    text = f"{float(value.mean()):.3f}, smallest {float(value.min()):.3f}"
    out.append(row("the same with scales that the law forecasts, no sample of the system seen", "", text, None))
    if ratios:
        true, wrong, floor, other = (torch.tensor([r[i] for r in ratios]) for i in range(4))
        ratio = float((true - floor).mean() / (wrong - floor).mean())
        text = (
            f"{float(true.mean()):.4f} in order, {float(wrong.mean()):.4f} shuffled, floor {float(floor.mean()):.4f}: "
            f"{ratio:.2f}; true systems of other sessions {float(other.mean()):.4f}"
        )
        goal = f"DSA of free runs with forecast scales, {len(ratios)} seeds: (true - floor) / (shuffled - floor)"
        out.append(row(goal, "at most .5 (published .169 / .302)", text, ratio <= 0.5))
    return out


def network_order(scales: sr.SessionScales, order: Tensor) -> sr.SessionScales:
    """The sessions in another order."""
    return sr.SessionScales.of(scales.scales[:, order], scales.covariance[:, order])


def shuffled_whole(scales: sr.SessionScales, order: Tensor, n: int) -> sr.SessionScales:
    whole = torch.cat([order, torch.arange(n, scales.scales.shape[1])])
    return network_order(scales, whole)


def similarity(
    network: FastSlowNetwork, test: sr.Sessions, ahead: Tensor, wrong: Tensor, seed: int
) -> tuple[float, float, float, float]:
    """DSA to the true systems, each by half a session: of free runs with forecast scales, with those of a law of shuffled
    sessions, of the other half of the true session (the floor), and of true sessions with other parameters.
    """
    samples = len(test.observations[0]) // 2
    before, truth = [y[:samples] for y in test.observations], [y[samples : 2 * samples] for y in test.observations]

    def free(scales: Tensor) -> list[Tensor]:
        runs = []
        for y, c in zip(truth, scales, strict=True):
            run = network.simulate(c, y[:1], torch.zeros(samples, 0))
            bound = 10 * y.abs().max()
            runs.append(run.nan_to_num(0.0, 0.0, 0.0).clamp(-bound, bound) + 1e-6 * torch.randn_like(run))
        return runs

    others = truth[len(truth) // 2 :] + truth[: len(truth) // 2]
    return dsa(truth, free(ahead)), dsa(truth, free(wrong)), dsa(before, truth), dsa(before, others)


def told(values: list[float], sessions: int) -> tuple[float, float, str]:
    """Mean over seeds of a correlation over so many sessions, its error, at least Fisher's, and both in words."""
    v = torch.tensor(values)
    between = float(v.std()) / math.sqrt(len(v)) if len(v) > 1 else 0.0
    se = max(between, 1 / math.sqrt((sessions - 3) * len(v)))
    return float(v.mean()), se, f"{float(v.mean()):.3f} ± {se:.3f}"


def bcm_rows(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    out = []
    settings = FastSlowSettings(
        rank=1, units=64, history=5, horizon=10, law=None, restarts=2 if quick else 8, iterations=500 if quick else 1500
    )
    for kind in ("alternating", "rest_and_reversal"):
        raw, number, trendless, explained, ahead, null = [], [], [], [], [], []
        seeds = range(1 if quick else 5)
        for seed in seeds:
            known = bcm_sessions(40, 400, schedule=kind, seed=seed)
            train, test, n = split(known)
            network = FastSlowNetwork.fit(train, settings, seed=seed)
            whole, norm = network.scales(known.sessions), known.slow[:, 0]
            a = network.scales(train)
            z = whole.scales[0, :, 0]
            sign = math.copysign(1.0, correlation(z[:n], norm[:n]))
            later, count = slice(n, len(norm)), torch.arange(len(norm)).double()
            raw.append(sign * correlation(z[later], norm[later]))
            number.append(correlation(count[later], norm[later]) * math.copysign(1.0, correlation(count[:n], norm[:n])))
            trendless.append(sign * correlation(without_trend(z[later]), without_trend(norm[later])))
            first, second = test.halves()
            explained.append(network.explained(second, network.scales(first).scales[0]))
            ahead.append(sign * correlation(forecast(a, whole, n, seed)[:, 0], norm[later]))
            order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
            stim = torch.cat([order, torch.arange(n, len(norm))])
            mixed = sr.SessionScales.of(a.scales[:, order], a.covariance[:, order], stimulation=a.stimulation[:, order])
            both = sr.SessionScales.of(
                whole.scales[:, stim], whole.covariance[:, stim], stimulation=whole.stimulation[:, stim]
            )
            null.append(sign * correlation(forecast(mixed, both, n, seed)[:, 0], norm[later]))
        later_sessions = len(norm) - n
        band = 1.96 / math.sqrt((later_sessions - 3) * len(raw))

        (m, _, text), (_, _, of_number) = told(raw, later_sessions), told(number, later_sessions)
        text = f"{text}; the session number {of_number}"
        out.append(row(f"BCM, {kind}: alignment of held-out sessions", ">= .95 (published .961)", text, m >= 0.95))
        m, se, text = told(trendless, later_sessions)
        wanted = "above 0, where session number and random walk are, by 2 s.e."
        out.append(row(f"BCM, {kind}: alignment without a linear trend", wanted, text, m > 2 * se))
        _, _, text = told(explained, later_sessions)
        goal = f"BCM, {kind}: explained variance of second halves of held-out sessions"
        out.append(row(goal, "published .940", text, None))
        _, _, text = told(ahead, later_sessions)
        out.append(row(f"BCM, {kind}: alignment of scales that a linear law forecasts", "", text, None))
        m, _, text = told(null, later_sessions)
        wanted = f"within ± {band:.2f} (published -.0025)"
        out.append(row(f"BCM, {kind}: the same, sessions shuffled", wanted, text, abs(m) <= band + 1e-9))
    return out


def ring_rows(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    settings = FastSlowSettings(
        rank=7, units=96, horizon=10, law=None, restarts=1 if quick else 4, iterations=400 if quick else 1500
    )
    errors = []
    for seed in range(1 if quick else 3):
        known = ring_sessions(30, 400, seed=seed)
        train, test, _ = split(known)
        network = FastSlowNetwork.fit(train, settings, seed=seed)
        angle = 2 * math.pi * torch.arange(48).double() / 48
        ways = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
        gaps = []
        for y, truth in network.predict(test, network.scales(test).scales[0]):
            a, b = (torch.atan2((v[:, -1] @ ways)[:, 1], (v[:, -1] @ ways)[:, 0]) for v in (y, truth))
            gaps.append(torch.atan2(torch.sin(a - b), torch.cos(a - b)).abs())
        errors.append(math.degrees(float(torch.cat(gaps).mean())))
    value = torch.tensor(errors)
    text = f"{float(value.mean()):.1f} degrees, largest {float(value.max()):.1f} of {len(errors)} seeds; chance 90"
    return [
        row(
            "ring attractor, rank 7: error of the angle 10 samples ahead, held-out sessions",
            "below chance (published: shown)",
            text,
            float(value.max()) < 45,
        )
    ]


def speed_rows(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    settings = FastSlowSettings(
        rank=3, units=128, tau=0.3, horizon=10, law=None, restarts=8, iterations=200 if quick else 2000
    )
    train, _, _ = split(lorenz_sessions(30, 500))
    start = time.perf_counter()
    FastSlowNetwork.fit(train, settings)
    seconds = time.perf_counter() - start
    text = f"{seconds:.0f} s on one core, {settings.iterations} steps"
    out = [row("Lorenz, 8 restarts", "under 300 s on two cores", text, None if quick else seconds < 300)]
    small = FastSlowSettings(rank=3, units=64, tau=0.3, horizon=10, law=None, restarts=1, iterations=50)
    network = FastSlowNetwork.fit(train, small)
    took = {}
    for sessions, samples in ((10, 400), (40, 400), (10, 1600)):
        data = lorenz_sessions(sessions, samples).sessions
        network.scales(data)
        start = time.perf_counter()
        network.scales(data)
        took[sessions, samples] = time.perf_counter() - start
    ratios = [took[40, 400] / took[10, 400], took[10, 1600] / took[10, 400]]
    text = f"scales of four times the sessions {ratios[0]:.1f} times as long, of four times the samples {ratios[1]:.1f}"
    out.append(row("cost over sessions and samples", "linear: at most 4.8 times", text, max(ratios) <= 4.8))
    prior = IndependentPrior({n: Uniform(-1.0, 1.0) for n in sr.LatentLaw(3).names} | {"walk": NOISE})
    lengths = {}
    for sessions in (24, 96):
        like = sr.SessionScales.of(torch.randn(1, sessions, 3), 0.1)
        law = SessionLaw(sr.LatentLaw(3)).suited(like)
        likelihood, theta = law.likelihood(like), prior.sample((4096,))
        likelihood.log_prob(theta)
        start = time.perf_counter()
        likelihood.log_prob(theta)
        lengths[sessions] = time.perf_counter() - start
    text = f"{1e6 * lengths[24] / 4096:.0f} microseconds a law at 24 sessions, {lengths[96] / lengths[24]:.1f} times that at 96"
    goal, ratio = "likelihood of linear laws, 3 scales", lengths[96] / lengths[24]
    return [*out, row(goal, "linear: at most 4.8 times", text, ratio <= 4.8)]
