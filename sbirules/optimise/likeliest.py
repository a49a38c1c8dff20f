"""The likeliest rules given a table of choices, whose likelihood is known exactly: proximal Newton steps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor

from sbirules.model.abilities import TableLikelihood
from sbirules.model.prior import bounds_of, prior_draws
from sbirules.model.tables import Trials
from sbirules.optimise.points import PointEstimate
from sbirules.priors import PriorLike, completed
from sbirules.support import arguments
from sbirules.support.curvature import STEP, curvature
from sbirules.support.streams import Stream, generator, seeded

__all__ = ["Ascent", "likeliest", "likeliest_rules"]

SHARES = 2.0 ** -torch.arange(16.0, dtype=torch.float64)  # of a step that are tried at once
GAIN = 1e-4  # of what the slope promises that a step must bring (Armijo)
DONE = 1e-9  # gain, in nats, that is still worth a step
SWEEPS = 200  # over the coefficients, for a step under l1 and between bounds
FLATTEST = 1e-8  # curvature below which a direction has none, relative to the strongest


@dataclass(frozen=True)
class Ascent:
    """What is maximised: log p(choices | theta) - sum over coefficients of l1 |theta|.

    Arguments:
        likelihood: Of the table.
        low: Of each coefficient, `(D,)`.
        high: `(D,)`.
        scale: Unit of each in which steps are taken, `(D,)`.
        l1: Weight of each, `(D,)`.
    """

    likelihood: TableLikelihood
    low: Tensor
    high: Tensor
    scale: Tensor
    l1: Tensor

    def value(self, theta: Tensor) -> Tensor:
        """What is maximised, `(n,)` of theta `(n, D)`; -inf where impossible."""
        with torch.no_grad():
            return self.likelihood.log_prob(theta).sum(dim=1) - (self.l1 * theta.abs()).sum(dim=1)

    def slope(self, theta: Tensor) -> Tensor:
        """Gradient of the log-likelihood alone, `(..., D)` of theta `(..., D)`."""
        rows = self.likelihood.value_and_slope(theta.reshape(-1, theta.shape[-1]))[1].sum(dim=1)
        return rows.reshape(theta.shape)

    def steepest(self, theta: Tensor, slope: Tensor) -> Tensor:
        """Direction of steepest ascent with l1 and between bounds, `(n, D)`; 0 where nothing is to be gained."""
        at_zero = slope.sign() * (slope.abs() - self.l1).clamp(min=0)
        out = torch.where(theta == 0, at_zero, slope - self.l1 * theta.sign())
        return torch.where((theta <= self.low) & (out < 0) | (theta >= self.high) & (out > 0), 0.0, out)

    def step(self, theta: Tensor, slope: Tensor) -> Tensor:
        """Where the maximum would be if the log-likelihood were a parabola, `(n, D)`.

        Its curvature is found by differences of gradients; directions in which it curves upwards count as curving down as
        much, so that every step leads uphill. Coordinate descent, each coefficient by its soft threshold (Lee, Sun & Saunders
        2014, SIAM J. Optim. 24), makes those exactly zero whose slope is below l1.
        """
        unit = self.scale
        inside = torch.minimum(torch.maximum(theta / unit, self.low / unit + STEP), self.high / unit - STEP)
        values, vectors = curvature(lambda u: self.slope(u * unit) * unit, inside)
        size = values.abs()
        size = torch.maximum(size, FLATTEST * size.max(dim=1, keepdim=True).values).clamp(min=FLATTEST)
        metric = (vectors * size[:, None]) @ vectors.transpose(1, 2)
        at, g, weight = theta / unit, slope * unit, self.l1 * unit
        low, high = self.low / unit, self.high / unit
        new = at.clone()
        pull = g.clone()  # slope of the parabola where `new` is
        for _ in range(SWEEPS):
            largest = 0.0
            for k in range(theta.shape[1]):
                steep = metric[:, k, k]
                wanted = new[:, k] * steep + pull[:, k]
                there = wanted.sign() * (wanted.abs() - weight[k]).clamp(min=0) / steep
                moved = there.clamp(float(low[k]), float(high[k])) - new[:, k]
                pull -= metric[:, :, k] * moved[:, None]
                new[:, k] += moved
                largest = max(largest, float((moved.abs() * steep.sqrt()).max()))
            if largest < 1e-7:
                break
        return torch.where(new == at, theta, new * unit)  # what stays is not rounded


def likeliest(ascent: Ascent, starts: Tensor, iterations: int, progress: bool) -> dict[str, Tensor]:
    """The way uphill from each start `(restarts, D)`, all as one batch.

    Returns:
        By iteration what is maximised (`"value"`) and the length of its steepest ascent (`"gradient_norm"`), `(iterations,
        restarts)`, and `"theta"` `(iterations, restarts, D)`. The first is the start, the last the end.
    """
    from tqdm.auto import tqdm

    theta = starts.double().clone()
    value = ascent.value(theta)
    trace: dict[str, list[Tensor]] = {"value": [], "gradient_norm": [], "theta": []}
    bar = tqdm(range(iterations), desc="BPTL", unit="iteration", disable=not progress)
    for k in bar:
        slope = ascent.slope(theta)
        up = ascent.steepest(theta, slope)
        for name, now in (("value", value), ("gradient_norm", up.norm(dim=1)), ("theta", theta)):
            trace[name].append(now.clone())
        bar.set_postfix(value=f"{float(value.max()):.3f}")
        way = ascent.step(theta, slope) - theta
        less = (ascent.l1 * ((theta + way).abs() - theta.abs())).sum(dim=1)
        promised = (slope * way).sum(dim=1) - less
        if k == iterations - 1 or not bool((promised > DONE).any()):
            break
        tried = theta[:, None] + SHARES[:, None] * way[:, None]
        tried[:, 0] = theta + way
        found = ascent.value(tried.flatten(0, 1)).reshape(len(theta), -1)
        better = found > value[:, None] + GAIN * SHARES * promised[:, None]
        first = better.double().argmax(dim=1)  # the largest share that does
        moves = better.any(dim=1) & (promised > DONE)
        row = torch.arange(len(theta))
        theta = torch.where(moves[:, None], tried[row, first], theta)
        value = torch.where(moves, found[row, first], value)
        if not bool(moves.any()):
            break
    return {name: torch.stack(values) for name, values in trace.items()}


def likeliest_rules(
    simulator: Any,
    trials: Trials,
    prior: PriorLike | None,
    *,
    l1: float,
    restarts: int,
    iterations: int,
    start: Any,
    start_sd: float,
    seed: int,
    progress: bool,
    settings: dict[str, object],
) -> PointEstimate:
    """End points of all restarts; arguments as for `BPTL` and its `fit`."""
    suited = simulator.suited(trials)
    names, terms = suited.names, torch.tensor([p.linear for p in suited.parameters])
    ends = [(p.low, p.high) for p in suited.parameters]
    scale = torch.ones(len(names), dtype=torch.float64)
    first = torch.zeros(1, len(names), dtype=torch.float64)
    stream = generator(arguments.whole("seed", seed, 0), Stream.STARTS)
    noise = start_sd * torch.randn(restarts, len(names), generator=stream, dtype=torch.float64)
    if prior is not None:
        whole = completed(prior, names, suited.nuisances)
        inside = bounds_of(whole, names)
        ends = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(ends, inside, strict=True)]
        spread = prior_draws(whole, 4000).double().std(dim=0)
        scale = torch.where(torch.isfinite(spread) & (spread > 0), spread, 1.0)
        with seeded(seed, Stream.STARTS, 1):
            more = whole.sample(Size((restarts - 1,))).double()
        first = torch.cat([first, more.reshape(restarts - 1, -1)])
    if start is not None:
        first = arguments.theta_matrix(start, names, argument="start").double()
        if len(first) not in (1, restarts):
            raise ValueError(f"start must hold one rule or {restarts}, one per restart, got {len(first)}.")
    low, high = torch.tensor(ends, dtype=torch.float64).T
    starts = torch.minimum(torch.maximum(first + noise * scale, low), high)
    ascent = Ascent(suited.likelihood(trials), low, high, scale, torch.where(terms, l1, 0.0).double())
    trace = likeliest(ascent, starts, iterations, progress)
    gone = ~torch.isfinite(trace["value"][-1])
    if gone.all():
        raise ValueError(
            f"choices are impossible under all {restarts} starts; give others with start, or lower start_sd ({start_sd:g})."
        )
    if gone.any():
        warnings.warn(f"choices are impossible under {int(gone.sum())} of {restarts} starts, which were given up.")
    theta = trace["theta"][-1]
    trace["alive"] = torch.isfinite(trace["value"]).double()
    with torch.no_grad():
        value = ascent.likelihood.log_prob(theta).sum(dim=1)
    return PointEstimate(
        family=suited.family,
        theta=theta,
        diverged=gone,
        success=None,
        trace=trace,
        raw_per_unit=torch.as_tensor(suited.raw_per_unit),
        settings=settings | {"seed": seed},
        nuisances=tuple(suited.names[len(suited.family.names) :]),
        log_likelihood=value,
    )
