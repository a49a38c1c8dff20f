r"""A posterior over circuits: which connections there are, and how strong, given activity and drive.

x_i(t+1) = x_i + leak_i (sigmoid(sum_j w_ij x_j + sum_k v_ik u_k + b_i) - x_i) + noise,    w_ij, v_ik ~ 0 or N(0, s^2)

Units are independent given the activity. For each, the equation is made linear about the most probable weights (again and again,
as in Gauss-Newton), and connections are switched on and off by Gibbs sampling with the weights integrated out (George & McCulloch
1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed, typed_class

from .circuit import CircuitActivity
from .models import CircuitModel

__all__ = ["CircuitPosterior", "circuit_posterior"]

ROUNDS = 4  # of making it linear
BURN = 50  # sweeps that do not count
ENOUGH = 5  # steps for each possible connection of a unit, from which a fit without a prior is a start
FEW = 1e-3  # weight of the prior of the noise, in steps: next to none
BIAS, LEAK = 3.0, 0.5  # s.d. of the prior of a bias, about -2; of the leak, about .2


@typed_class
@dataclass(frozen=True)
class CircuitPosterior:
    """Draws of circuits.

    Arguments:
        weights: `(draws, post, pre)`, 0 where there is no connection.
        inputs: The same of channels of the drive, `(draws, units, channels)`.
        bias: `(draws, units)`.
        leak: `(draws, units)`.
        units: Names.
    """

    weights: Tensor
    inputs: Tensor
    bias: Tensor
    leak: Tensor
    units: tuple[str, ...]

    def __repr__(self) -> str:
        likely = int((self.connected > 0.5).sum())
        return f"CircuitPosterior({len(self.weights)} draws, {len(self.units)} units, {likely} likely connections)"

    @property
    def connected(self) -> Tensor:
        """Probability that there is a connection, `(post, pre)`."""
        return (self.weights != 0).double().mean(dim=0)

    @property
    def excitatory(self) -> Tensor:
        """Probability that there is one and it excites, `(post, pre)`."""
        return (self.weights > 0).double().mean(dim=0)

    @property
    def inhibitory(self) -> Tensor:
        """Probability that there is one and it inhibits, `(post, pre)`."""
        return (self.weights < 0).double().mean(dim=0)

    @typed
    def next_step(self, x: Tensor, u: Tensor) -> Tensor:
        """The next activity under each draw, `(draws, n, units)`, of activity `(n, units)` and drive `(n, channels)`."""
        field = torch.einsum("tj,sij->sti", x, self.weights) + torch.einsum("tk,sik->sti", u, self.inputs)
        target = torch.sigmoid(field + self.bias[:, None])
        return x + self.leak[:, None] * (target - x)


@typed
def circuit_posterior(
    data: CircuitActivity,
    *,
    num_draws: int = 500,
    probability: float = 0.1,
    slab: float = 5.0,
    seed: int = 0,
) -> CircuitPosterior:
    """Circuits that explain activity, connections that may be absent among all pairs of units.

    Arguments:
        data: Activity with its drive.
        num_draws: Draws.
        probability: Prior probability of a connection.
        slab: Prior s.d. of the weight of a connection that is there.
        seed: Makes it repeatable.
    """
    arguments.whole("num_draws", num_draws, 1, 1_000_000)
    arguments.above("slab", slab, 0.0)
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability must be between 0 and 1, got {probability:g}.")
    low, high = float(data.activity.min()), float(data.activity.max())
    if low < -0.5 or high > 1.5:
        raise ValueError(
            f"activity must lie between 0 and 1, as rates of the model do, got {low:.3g} to {high:.3g}: divide it by its largest."
        )
    still = [u for u, s in zip(data.units, data.activity.flatten(0, 1).std(dim=0).tolist(), strict=True) if s < 1e-9]
    if still:
        raise ValueError(f"activity must vary, {arguments.listed(still)} never does; leave it out.")
    x = data.activity[:, :-1].flatten(0, 1).numpy()
    u = data.drive[:, :-1].flatten(0, 1).numpy()
    following = data.activity[:, 1:].flatten(0, 1).numpy()
    seen = np.concatenate([x, u], axis=1)
    units, columns = x.shape[1], seen.shape[1]
    out = np.zeros((num_draws, units, columns + 2))
    start = None  # the fit without a prior follows the noise of few data
    if len(seen) > ENOUGH * columns:
        start = CircuitModel(seed=seed, steps=300).fit(data).parameters().numpy()
    for unit in range(units):
        rng = np.random.default_rng([child(seed, Stream.SAMPLING) % 2**63, unit])
        out[:, unit] = _one_unit(unit, seen, following[:, unit], start, num_draws, probability, slab, rng)
    draws = torch.from_numpy(out)
    parts = draws[..., :units], draws[..., units:columns], draws[..., columns], draws[..., columns + 1]
    return CircuitPosterior(*parts, data.units)


def _one_unit(
    unit: int,
    seen: np.ndarray,
    following: np.ndarray,
    start: np.ndarray | None,
    num_draws: int,
    probability: float,
    slab: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws `(draws, D + 2)` of the weights of what a unit sees, its bias and its leak; from a fit of them to all units."""
    columns = seen.shape[1]
    own = seen[:, unit]
    centre = np.zeros(columns + 2)
    centre[-2:] = -2.0, 0.2
    precision = np.full(columns + 2, slab**-2)
    precision[-2:] = BIAS**-2, LEAK**-2
    free = np.array([j for j in range(columns) if j != unit])
    there = np.zeros(columns + 2, dtype=bool)
    there[-2:] = True
    spread = max(float(np.var(following - own)), 1e-12)  # of a guess that nothing changes: the noise is not above it
    theta = centre if start is None else start[unit]
    there[free] = np.abs(theta[free]) > 0.5  # to begin with
    noise = spread
    draws = np.zeros((num_draws, columns + 2))
    for k in range(ROUNDS):
        field = seen @ theta[:columns] + theta[-2]
        target = 1.0 / (1.0 + np.exp(-field))
        gain = theta[-1] * target * (1.0 - target)
        slope = np.concatenate([gain[:, None] * seen, gain[:, None], (target - own)[:, None]], axis=1)
        rest = following - own - theta[-1] * (target - own)
        gram = slope.T @ slope
        # of deviations from the centre of the prior
        target_of = rest + slope @ (theta - centre)
        moment, square = slope.T @ target_of, float(target_of @ target_of)
        kept = []
        for sweep in range(BURN + (num_draws if k == ROUNDS - 1 else BURN)):
            own_gram, own_moment = gram / noise, moment / noise
            _sweep(there, free, own_gram, own_moment, precision, probability, rng)
            away = _drawn(there, own_gram, own_moment, precision, rng)
            left = max(square - 2 * float(away @ moment) + float(away @ gram @ away), 0.0)
            noise = (left + 2 * FEW * spread) / rng.chisquare(len(seen) + 2 * FEW)
            if sweep >= BURN:
                kept.append(centre * there + away)
        draws = np.array(kept)
        theta = draws.mean(axis=0)
    return draws


def _log_evidence(there: np.ndarray, gram: np.ndarray, moment: np.ndarray, precision: np.ndarray) -> float:
    """Of the columns that are there, up to a constant."""
    index = np.flatnonzero(there)
    matrix = gram[np.ix_(index, index)] + np.diag(precision[index])
    chol = np.linalg.cholesky(matrix)
    z = np.linalg.solve(chol, moment[index])
    return float(0.5 * z @ z - np.log(np.diag(chol)).sum() + 0.5 * np.log(precision[index]).sum())


def _sweep(
    there: np.ndarray,
    free: np.ndarray,
    gram: np.ndarray,
    moment: np.ndarray,
    precision: np.ndarray,
    probability: float,
    rng: np.random.Generator,
) -> None:
    """Offers each connection once to be switched, and half as often one in exchange for another; in place."""
    odds = math.log(probability) - math.log(1.0 - probability)
    now = _log_evidence(there, gram, moment, precision)
    for j in rng.permutation(free):
        there[j] = ~there[j]
        new = _log_evidence(there, gram, moment, precision)
        if math.log(rng.random()) < new - now + (odds if there[j] else -odds):
            now = new
        else:
            there[j] = ~there[j]
    for _ in range(len(free) // 2):  # of two that move together either may be the one
        inside, outside = free[there[free]], free[~there[free]]
        if not len(inside) or not len(outside):
            break
        a, b = rng.choice(inside), rng.choice(outside)
        there[a], there[b] = False, True
        new = _log_evidence(there, gram, moment, precision)
        if math.log(rng.random()) < new - now:
            now = new
        else:
            there[a], there[b] = True, False


def _drawn(
    there: np.ndarray,
    gram: np.ndarray,
    moment: np.ndarray,
    precision: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Weights given which connections there are, less the centre of their prior."""
    index = np.flatnonzero(there)
    matrix = gram[np.ix_(index, index)] + np.diag(precision[index])
    chol = np.linalg.cholesky(matrix)
    mean = np.linalg.solve(matrix, moment[index])
    out = np.zeros(len(there))
    out[index] = mean + np.linalg.solve(chol.T, rng.standard_normal(len(index)))
    return out
