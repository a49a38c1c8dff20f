"""`LinearGaussian`: one episode seen through noisy projections of its weight change, with the posterior in closed form.

A reference to hold an estimator against: the weight change is linear in theta (Eq. 4 and 5), so that under a
Gaussian prior the posterior is Gaussian, and under a uniform one a Gaussian cut off at the prior's edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal, Uniform, constraints

from sbirules.model.prior import Factorised
from sbirules.model.rules import PolynomialRule, RuleFamily
from sbirules.model.runs import Trajectory
from sbirules.model.tasks import DelayedDiscrimination
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Key, global_seed, lasting
from sbirules.support.typed import typed_class

from ..rate import RateRNN
from ._projections import NETWORK, PROJECTIONS, Projections

__all__ = ["LinearGaussian", "TruncatedGaussian"]

SPREAD = 4.0  # largest over smallest singular value of the design


@typed_class
class LinearGaussian(Projections):
    r"""Projections of the weight change of one episode, with Gaussian noise.

        x = A theta + sigma n,    A = P dW/dtheta

    W, W_in, x(0), kicks and Rbar are drawn once and known; only theta and the noise n are random. The engine is
    run once for each coefficient, which gives dW/dtheta; P are fixed projections under which the design A has
    singular values from 1 to 4 in random directions, so that coefficients are correlated a posteriori. Under
    uniform(-1, 1) and the default noise a posteriori s.d. are .14 to .5 of the prior's.

    Arguments:
        family: The rule family, linear in all its coefficients; degree 2 by default.
        num_units: N.
        projections: S, at least as many as coefficients.
        noise: sigma.
        seed: Names the network and the projections.

    Examples:
        >>> simulator = LinearGaussian()
        >>> exact = simulator.posterior(x_o, prior)  # a torch distribution
    """

    def __init__(
        self,
        family: RuleFamily | None = None,
        *,
        num_units: int = 16,
        projections: int = 20,
        noise: float = 1 / 3,
        seed: int = 0,
    ) -> None:
        family = PolynomialRule(degree=2) if family is None else family
        self.projections = self.checked(projections, num_units)
        self.noise = arguments.above("noise", noise, 0.0)
        self.seed = arguments.whole("seed", seed, 0)
        super().__init__(family, projections)
        if not all(p.linear for p in family.parameters):
            raise ValueError("family must be linear in all its coefficients, and infer no time constant.")
        if projections < family.dim:
            raise ValueError(
                f"projections must be at least the number of coefficients, {family.dim}, got {projections}."
            )
        self.network = RateRNN(
            family,
            DelayedDiscrimination(),
            num_units=num_units,
            num_trials=1,
            warm_up=0,
            dtype=torch.float64,
            summaries=["final_error"],
        )
        self.design, self.matrix = self._design()

    @property
    def raw_per_unit(self) -> Tensor:
        return self.network.raw_per_unit

    def config(self) -> dict[str, object]:
        settings = {"projections": self.projections, "noise": self.noise, "seed": self.seed}
        return {"simulator": "linear_gaussian", **settings, "network": self.network.config()}

    def weight_change(self, theta: Tensor) -> Tensor:
        """Weight change `(batch, N, N)` of the episode under rules `(batch, D)` in natural units, by the engine."""
        n = self.network.settings.num_units
        steps, channels = self.network.task.tensors(self.network.settings.dt).inputs.shape[1:]
        stream = lasting(self.seed, NETWORK)
        draw = partial(torch.rand, generator=stream, dtype=torch.float64)
        weights = 1.5 / math.sqrt(n) * torch.randn(n, n, generator=stream, dtype=torch.float64)
        kicked = draw(1, steps, n) < 0.015
        run = self.network.run(
            theta,
            trial_types=torch.zeros(1, dtype=torch.long),
            keep_weights=True,
            weights=weights,
            input_weights=2 * draw(n, channels) - 1,
            initial_states=0.2 * draw(1, n) - 0.1,
            kicks=kicked * (2 * draw(1, steps, n) - 1),
            expectation=torch.zeros(self.network.task.num_types),
        )
        return torch.as_tensor(run.final_weights) - weights

    def _design(self) -> tuple[Tensor, Tensor]:
        """A `(S, D)`, and the projections P `(S, N^2)` that make it."""
        d = self.family.dim
        change = self.weight_change(torch.eye(d)).reshape(d, -1)  # dW/dtheta, (D, N^2)
        stream = lasting(self.seed, PROJECTIONS)
        left, _ = torch.linalg.qr(torch.randn(self.projections, d, generator=stream, dtype=torch.float64))
        right, _ = torch.linalg.qr(torch.randn(d, d, generator=stream, dtype=torch.float64))
        values = torch.as_tensor(np.geomspace(1.0, SPREAD, d))
        design = left @ torch.diag(values) @ right.T
        return design, design @ torch.linalg.pinv(change.T)

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        theta = arguments.theta_matrix(theta, self.names).double()
        self.sequence_matrix(trial_types, len(theta))
        noise = self.normal(len(theta), global_seed() if seed is None else seed)
        x = (theta @ self.design.T + self.noise * noise).float()
        return self.reported(x)

    def posterior(self, x_o: ArrayLike, prior: Distribution) -> Distribution:
        """The exact posterior of theta `(D,)` given x_o `(S,)`, as a torch distribution.

        Arguments:
            x_o: What was observed.
            prior: Independent normal or independent uniform coefficients.

        Raises:
            ValueError: If the prior is neither, or x_o has another shape.
        """
        x_o = torch.as_tensor(x_o, dtype=torch.float64).reshape(-1)
        if len(x_o) != self.projections:
            raise ValueError(f"x_o must hold {self.projections} projections, got {len(x_o)}.")
        parts = list(prior.components.values()) if isinstance(prior, Factorised) else []
        precision = self.design.T @ self.design / self.noise**2
        pull = self.design.T @ x_o / self.noise**2
        if parts and all(isinstance(p, Normal) for p in parts):
            mean, sd = (torch.stack([getattr(p, k) for p in parts]).double() for k in ("loc", "scale"))
            precision = precision + torch.diag(sd**-2)
            pull = pull + mean / sd**2
            return MultivariateNormal(torch.linalg.solve(precision, pull), precision_matrix=precision)
        if parts and all(isinstance(p, Uniform) for p in parts):
            low, high = (torch.stack([getattr(p, k) for p in parts]).double() for k in ("low", "high"))
            free = MultivariateNormal(torch.linalg.solve(precision, pull), precision_matrix=precision)
            return TruncatedGaussian(free, low, high)
        raise ValueError("prior must have independent normal or independent uniform components.")


class TruncatedGaussian(Distribution):
    """A Gaussian within a box.

    Arguments:
        free: The Gaussian without the box.
        low: Lower corner, `(D,)`.
        high: Upper corner, `(D,)`.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch's own idiom

    def __init__(self, free: MultivariateNormal, low: Tensor, high: Tensor) -> None:
        self.free: Distribution = free
        self.low, self.high = low, high
        super().__init__(event_shape=free.event_shape, validate_args=False)

    def sample(self, sample_shape: Size | Sequence[int] = ()) -> Tensor:
        """Exact draws: Gaussian ones that fall in the box."""
        wanted = Size(sample_shape).numel()
        kept: list[Tensor] = []
        tried = 0
        while sum(map(len, kept)) < wanted:
            draws = self.free.sample(Size((max(4 * wanted, 10_000),)))
            tried += len(draws)
            kept.append(draws[self._inside(draws)])
            if tried > 5e7 and sum(map(len, kept)) < wanted:
                raise ValueError(
                    f"only {sum(map(len, kept))} of {tried} Gaussian draws fell in the box: "
                    f"the observation lies far outside what the prior allows."
                )
        return torch.cat(kept)[:wanted].reshape(*Size(sample_shape), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Up to the logarithm of the mass in the box."""
        return torch.where(self._inside(value), self.free.log_prob(value), -math.inf)

    def _inside(self, value: Tensor) -> Tensor:
        return ((value >= self.low) & (value <= self.high)).all(dim=-1)
