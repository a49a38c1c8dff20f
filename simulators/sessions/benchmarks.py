"""Sessions whose truth is known: benchmarks of slow laws, after STEER (arXiv 2603.00213)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.sessions import Sessions
from sbirules.support import arguments
from sbirules.support.streams import Stream, generator
from sbirules.support.typed import typed, typed_class

__all__ = ["KnownSessions", "bcm_sessions", "lorenz_sessions", "ring_sessions", "stimulation_sessions"]


TARGET = 0.3  # activity at which BCM's threshold holds a unit


@typed_class
@dataclass(frozen=True)
class KnownSessions:
    """Sessions and what made them.

    Arguments:
        sessions: What is observed.
        slow: What changes between sessions, `(K, n)`: parameters, or a norm of the weights.
        names: Of its columns.
        weights: Recurrent weights of each session, `(K, N, N)`; empty where there is no network.
        clean: Observations without noise.
    """

    sessions: Sessions
    slow: Tensor
    names: tuple[str, ...]
    weights: Tensor
    clean: tuple[Tensor, ...]


@typed
def lorenz_sessions(
    num_sessions: int = 30, samples: int = 500, *, dt: float = 0.02, noise: float = 0.0, seed: int = 0
) -> KnownSessions:
    """The Lorenz system with three parameters that drift from session to session.

    sigma, rho and beta go along smooth curves (a line and a sine of different period each), by up to 20 % of (10, 28, 8/3).

    Arguments:
        num_sessions: K.
        samples: T of each session.
        dt: Time between samples; steps of integration (Runge-Kutta) are a quarter of it.
        noise: S.d. of the observation noise, in units of each channel's s.d.
        seed: Of starts, phases and noise.
    """
    gen = generator(seed, Stream.RUN)
    k = torch.linspace(0, 1, arguments.whole("num_sessions", num_sessions, 2)).double()
    phase = 2 * math.pi * torch.rand(3, generator=gen, dtype=torch.float64)
    turns, lean = torch.tensor([1.0, 1.5, 2.0]).double(), torch.tensor([1.0, -1.0, 1.0]).double()
    course = 0.12 * torch.sin(2 * math.pi * turns * k[:, None] + phase) + 0.08 * lean * (2 * k[:, None] - 1)
    slow = torch.tensor([10.0, 28.0, 8 / 3]).double() * (1 + course)

    def flow(x: Tensor) -> Tensor:
        sigma, rho, beta = slow.unbind(dim=1)
        a, b, c = x.unbind(dim=1)
        return torch.stack([sigma * (b - a), a * (rho - c) - b, a * b - beta * c], dim=1)

    x = torch.randn(num_sessions, 3, generator=gen, dtype=torch.float64) + torch.tensor([0.0, 0.0, 25.0])
    h, out = dt / 4, []
    for i in range(4 * (samples + 200)):
        one = flow(x)
        two = flow(x + h / 2 * one)
        three = flow(x + h / 2 * two)
        x = x + h / 6 * (one + 2 * two + 2 * three + flow(x + h * three))
        if i >= 800 and i % 4 == 3:
            out.append(x)
    clean = torch.stack(out, dim=1)
    sd = clean.flatten(0, 1).std(dim=0)
    y = clean + noise * sd * torch.randn(clean.shape, generator=gen, dtype=torch.float64)
    sessions = Sessions.of(list(y), dt=dt, channels=("x", "y", "z"))
    return KnownSessions(sessions, slow, ("sigma", "rho", "beta"), torch.empty(0), tuple(clean))


def _run(
    weights: Tensor, into: Tensor, inputs: Tensor, start: Tensor, step: float, jitter: float, gen: torch.Generator
) -> Tensor:
    """States `(T, N)` of a rate network tau dh/dt = -h + W tanh(h) + W_in u + noise."""
    h, out = start, []
    noise = jitter * math.sqrt(step) * torch.randn(len(inputs), len(start), generator=gen, dtype=torch.float64)
    for t in range(len(inputs)):
        h = h + step * (weights @ torch.tanh(h) + into @ inputs[t] - h) + noise[t]
        out.append(h)
    return torch.stack(out)


def _pulses(samples: int, channel: int, channels: int, strength: float, gen: torch.Generator) -> Tensor:
    """Pulses of stimulation in one channel, none for -1, with a weak probe in all."""
    u = torch.zeros(samples, channels, dtype=torch.float64)
    length = 20
    for begin in range(0, samples, 2 * length):
        u[begin : begin + length] += 0.3 * torch.randn(channels, generator=gen, dtype=torch.float64)
        if channel >= 0:
            u[begin : begin + length, channel] += strength
    return u


@typed
def bcm_sessions(
    num_sessions: int = 40,
    samples: int = 400,
    *,
    schedule: str = "alternating",
    units: int = 20,
    observed: int = 20,
    rate: float = 0.3,
    noise: float = 0.05,
    seed: int = 0,
) -> KnownSessions:
    """A network of excitatory and inhibitory units that BCM's rule changes between sessions of stimulation.

    W <- Proj_EI(W + rate (h o (h - q)) h^T - .005 W), h the mean rectified activity of a session, q sliding towards h^2 over its
    target .3; two channels of stimulation.

    Arguments:
        num_sessions: K.
        samples: T.
        schedule: `"alternating"` channels as in the source; or `"rest_and_reversal"`: blocks of one channel, of rest and of the
            other, so that changes do not go with the number of the session.
        units: N, four fifths of them excitatory.
        observed: Units that are recorded.
        rate: Of plasticity.
        noise: Of observation, in units of each channel's s.d.
        seed: Of everything random.
    """
    arguments.known("schedule", schedule, ("alternating", "rest_and_reversal"))
    gen = generator(seed, Stream.RUN)
    sign = torch.where(torch.arange(units) < 0.8 * units, 1.0, -1.0).double()
    size = torch.rand(units, units, generator=gen, dtype=torch.float64)
    weights = sign * size * torch.where(sign > 0, 1.0, 4.0) * 0.9 / units
    into = torch.rand(units, 2, generator=gen, dtype=torch.float64)
    into[: units // 2, 1] *= 0.2
    into[units // 2 :, 0] *= 0.2
    q = 0.1 * torch.ones(units, dtype=torch.float64)
    read = torch.randperm(units, generator=gen)[:observed]
    block = (0, 0, 0, -1, -1, 1, 1, 1, -1, 1, 0, 0)
    ys, us, kept = [], [], []
    for k in range(num_sessions):
        channel = k % 2 if schedule == "alternating" else block[k % len(block)]
        u = _pulses(samples, channel, 2, 1.0, gen)
        h = _run(weights, into, u, torch.zeros(units, dtype=torch.float64), 0.2, 0.05, gen)
        kept.append(weights)
        ys.append(h[:, read])
        us.append(u)
        mean = torch.tanh(h).clamp(min=0.0).mean(dim=0)
        change = rate * torch.outer(mean * (mean - q), mean)
        changed = weights + change - 0.005 * weights
        q = q + 0.3 * (mean.square() / TARGET - q)
        weights = torch.where(sign > 0, changed.clamp(min=0.0), changed.clamp(max=0.0))
    sd = torch.cat(ys).std(dim=0)
    noisy = [y + noise * sd * torch.randn(y.shape, generator=gen, dtype=torch.float64) for y in ys]
    every = torch.stack(kept)
    norm = torch.linalg.matrix_norm(every, ord=2)[:, None]
    return KnownSessions(Sessions.of(noisy, us, dt=0.2), norm, ("norm of W",), every, tuple(ys))


@typed
def ring_sessions(
    num_sessions: int = 30, samples: int = 400, *, units: int = 48, noise: float = 0.1, seed: int = 0
) -> KnownSessions:
    """A random network that stimulation turns into a ring attractor, session by session.

    A bump of stimulation goes round the units, a different way in each session, and Hebbian change with decay towards what the
    ring asks for moves the weights from random to cos(angle between units): a target that stimulation is optimal for.

    Arguments:
        num_sessions: K.
        samples: T.
        units: N; all are recorded.
        noise: Of observation, in units of each channel's s.d.
        seed: Of everything random.
    """
    gen = generator(seed, Stream.RUN)
    angle = 2 * math.pi * torch.arange(units).double() / units
    ring = 1.6 * 2 / units * torch.cos(angle[:, None] - angle)
    start = 0.6 / math.sqrt(units) * torch.randn(units, units, generator=gen, dtype=torch.float64)
    into = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
    ys, us, kept = [], [], []
    for k in range(num_sessions):
        share = 1 - math.exp(-3 * k / num_sessions)
        weights = (1 - share) * start + share * ring
        where = 2 * math.pi * torch.rand(1, generator=gen).double() + 0.3 * torch.randn(
            samples, generator=gen
        ).double().cumsum(0)
        on = ((torch.arange(samples) // 20) % 2 == 0).double()
        u = on[:, None] * torch.stack([torch.cos(where), torch.sin(where)], dim=1)
        h = _run(weights, into, u, torch.zeros(units, dtype=torch.float64), 0.2, 0.02, gen)
        kept.append(weights)
        ys.append(h)
        us.append(u)
    sd = torch.cat(ys).std(dim=0)
    noisy = [y + noise * sd * torch.randn(y.shape, generator=gen, dtype=torch.float64) for y in ys]
    every = torch.stack(kept)
    course = torch.tensor([[1 - math.exp(-3 * k / num_sessions)] for k in range(num_sessions)]).double()
    return KnownSessions(Sessions.of(noisy, us, dt=0.2), course, ("share of the ring",), every, tuple(ys))


@typed
def stimulation_sessions(
    num_sessions: int = 24, samples: int = 600, *, channels: int = 4, noise: float = 0.3, seed: int = 0
) -> KnownSessions:
    """In the shape of deep-brain stimulation at two sites: theta bursts over days, local field potentials of few channels.

    Two oscillating populations drive each other; bursts at both sites strengthen, those at the first alone weaken their coupling,
    which keeps .85 of itself and of what it is at rest from day to day. On some days there is no stimulation.

    Arguments:
        num_sessions: K, a day each, with some days left out.
        samples: T at 100 Hz.
        channels: Field potentials, random mixtures of both populations.
        noise: Of observation, in units of each channel's s.d.
        seed: Of everything random.
    """
    gen = generator(seed, Stream.RUN)
    mix = torch.randn(channels, 4, generator=gen, dtype=torch.float64)
    coupling, ys, us, kept, slow = 0.3, [], [], [], []
    turn = 2 * math.pi * 6.0  # theta, 6 Hz
    own = torch.tensor([[0.0, -turn], [turn, 0.0]]).double() * 0.05 + 0.6 * torch.eye(2).double()
    day, days = 0.0, []
    for _ in range(num_sessions):
        drawn = float(torch.rand(1, generator=gen))
        first, second = float(drawn < 0.75), float(drawn < 0.4)
        weights = torch.zeros(4, 4, dtype=torch.float64)
        weights[:2, :2] = own
        weights[2:, 2:] = own
        weights[2:, :2] = coupling * torch.eye(2)
        weights[:2, 2:] = 0.5 * coupling * torch.eye(2)
        burst = ((torch.arange(samples) % 20) < 6).double() * ((torch.arange(samples) // 100) % 2 == 0).double()
        u = torch.stack([first * burst, second * burst], dim=1)
        into = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).double()
        h = _run(weights, into, u, torch.zeros(4, dtype=torch.float64), 0.2, 0.3, gen)
        kept.append(weights)
        slow.append([coupling])
        ys.append(h @ mix.T)
        us.append(u)
        days.append(day)
        day += 1.0 + float(torch.rand(1, generator=gen) < 0.2)
        coupling = coupling - 0.08 * first + 0.2 * second - 0.15 * (coupling - 0.3)
    sd = torch.cat(ys).std(dim=0)
    noisy = [y + noise * sd * torch.randn(y.shape, generator=gen, dtype=torch.float64) for y in ys]
    sessions = Sessions.of(noisy, us, dt=0.2, time=days, input_channels=("site 1", "site 2"))
    return KnownSessions(sessions, torch.tensor(slow).double(), ("coupling",), torch.stack(kept), tuple(ys))
