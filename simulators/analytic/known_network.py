"""`KnownNetwork`: several episodes of one known network, whose likelihood is exact and differentiable.

A reference to hold an estimator against where the weight change is no longer linear in theta: the activity of each
episode depends on the weights that those before it left. NUTS on the exact likelihood gives posterior draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.rules import PolynomialRule, RuleFamily
from sbirules.model.runs import Trajectory
from sbirules.model.tasks import DelayedDiscrimination
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.borrowed import torch_as_found
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.scale import unconstrained
from sbirules.support.streams import Key, Stream, global_seed, lasting, lastingly, seeded
from sbirules.support.typed import typed_class

from ..rate import RateRNN
from ._projections import NETWORK, PROJECTIONS, Projections

__all__ = ["KnownNetwork"]

STEPS = 20  # of an episode
LEAST = 12  # units: 1, 10 and 11 are clamped
RULES = 256  # rules whose weight changes set the projections


class _Known(TypedDict):
    """What `RateRNN.run` is given beside the rules."""

    weights: Tensor
    input_weights: Tensor
    initial_states: Tensor
    kicks: Tensor
    expectation: Tensor


@typed_class
class KnownNetwork(Projections):
    r"""Noisy projections of the weights after several episodes.

        x = P (W(theta) - W(0)) + sigma n

    W(0), W_in, x(0), kicks and Rbar are drawn once and known; only theta and the noise n are random. P are random
    directions among those in which the weights of rules of theta within [-scale, scale] differ most, scaled to unit
    variance over these rules.

    Arguments:
        family: The rule family; degree 2 by default.
        num_units: N, at least 12.
        episodes: Number of trials, all with plasticity.
        projections: S.
        noise: sigma.
        scale: Size of the coefficients, in natural units, that the projections are made for.
        seed: Names the network and the projections.
    """

    def __init__(
        self,
        family: RuleFamily | None = None,
        *,
        num_units: int = 16,
        episodes: int = 3,
        projections: int = 16,
        noise: float = 0.25,
        scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        family = PolynomialRule(degree=2) if family is None else family
        self.projections = self.checked(projections, num_units)
        self.noise, self.scale = arguments.above("noise", noise, 0.0), arguments.above("scale", scale, 0.0)
        self.seed = arguments.whole("seed", seed, 0)
        self.episodes = arguments.whole("episodes", episodes, 1)
        step = 16 * STEPS * num_units
        refuse_beyond("episodes", episodes, lambda n: n * step, free_memory(), "memory", "their kicks")
        arguments.whole("num_units", num_units, LEAST)
        super().__init__(family, projections)
        task = DelayedDiscrimination(stimulus=40, delay=20, response=40)
        self.network = RateRNN(
            family,
            task,
            num_units=num_units,
            num_trials=episodes,
            warm_up=0,
            dtype=torch.float64,
            backend="torch",
            summaries=["final_error"],
        )
        self._draws = self._known()
        self.matrix, self.offset = self._projections()

    @property
    def raw_per_unit(self) -> Tensor:
        return self.network.raw_per_unit

    def config(self) -> dict[str, object]:
        settings = {"projections": self.projections, "noise": self.noise, "scale": self.scale, "seed": self.seed}
        return {"simulator": "known_network", **settings, "network": self.network.config()}

    def _known(self) -> _Known:
        """Everything about the network that is not the rule."""
        n = self.network.settings.num_units
        steps, channels = self.network.task.tensors(self.network.settings.dt).inputs.shape[1:]
        stream = lasting(self.seed, NETWORK)
        draw = partial(torch.rand, generator=stream, dtype=torch.float64)
        kicked = draw(self.episodes, steps, n) < 0.015
        return {
            "weights": 1.5 / math.sqrt(n) * torch.randn(n, n, generator=stream, dtype=torch.float64),
            "input_weights": 2 * draw(n, channels) - 1,
            "initial_states": 0.2 * draw(self.episodes, n) - 0.1,
            "kicks": kicked * (2 * draw(self.episodes, steps, n) - 1),
            # one that no reward comes near, so that every episode changes the weights
            "expectation": torch.full((self.network.task.num_types,), -2.0, dtype=torch.float64),
        }

    def weight_change(self, theta: Tensor) -> Tensor:
        """Weight change `(batch, N, N)` over all episodes under rules `(batch, D)`; differentiable in theta."""
        theta = arguments.theta_matrix(theta, self.names)
        types = (torch.arange(self.episodes) % self.network.task.num_types).expand(len(theta), -1)
        run = self.network.run(theta, trial_types=types, keep_weights=True, **self._draws)
        return torch.as_tensor(run.final_weights) - self._draws["weights"]

    def _projections(self) -> tuple[Tensor, Tensor]:
        """P `(S, N^2)`, and the mean over rules that is taken off, `(S,)`."""
        with lastingly(self.seed, PROJECTIONS):
            theta = self.scale * (2 * torch.rand(RULES, self.family.dim, dtype=torch.float64) - 1)
            with torch.no_grad():
                change = self.weight_change(theta).flatten(1)
            change = change[torch.isfinite(change).all(dim=1)]
            _, spread, directions = torch.linalg.svd(change - change.mean(dim=0), full_matrices=False)
            # directions of the largest variance, whitened, so that weak ones are not lost in the noise
            d = min(self.family.dim, len(spread))
            mix = torch.linalg.qr(torch.randn(max(self.projections, d), d, dtype=torch.float64))[0][: self.projections]
        matrix = mix @ torch.diag(math.sqrt(len(change)) / spread[:d]) @ directions[:d]
        return matrix, matrix @ change.mean(dim=0)

    def mean(self, theta: Tensor) -> Tensor:
        """x without noise, `(batch, S)`; differentiable in theta `(batch, D)`."""
        return self.weight_change(theta.double()).flatten(1) @ self.matrix.T - self.offset

    def log_likelihood(self, theta: Tensor, x_o: ArrayLike) -> Tensor:
        """Exact log p(x_o | theta) `(batch,)`, differentiable in theta `(batch, D)`."""
        x_o = torch.as_tensor(x_o, dtype=torch.float64).reshape(-1)
        if len(x_o) != self.projections:
            raise ValueError(f"x_o must hold {self.projections} projections, got {len(x_o)}.")
        z = (x_o - self.mean(theta)) / self.noise
        return -0.5 * (z**2).sum(dim=1) - len(x_o) * math.log(self.noise * math.sqrt(2 * math.pi))

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        theta = arguments.theta_matrix(theta, self.names).double()
        self.sequence_matrix(trial_types, len(theta))
        with torch.no_grad():
            mean = self.mean(theta)
        x = (mean + self.noise * self.normal(len(theta), global_seed() if seed is None else seed)).float()
        return self.reported(x)

    def nuts(
        self,
        x_o: ArrayLike,
        prior: Distribution,
        num_samples: int = 1000,
        *,
        warmup: int = 300,
        seed: int = 0,
        progress: bool = False,
    ) -> Tensor:
        """Draws of the exact posterior `(num_samples, D)` by Pyro's No-U-Turn sampler (Hoffman & Gelman 2014).

        Arguments:
            x_o: What was observed, `(S,)`.
            prior: Any with a differentiable log-density; its support is never left.
            num_samples: Draws.
            warmup: Steps of adaptation before them.
            seed: Makes the draws repeatable.
            progress: Whether to show a progress bar.
        """
        with torch_as_found():
            from pyro.infer import MCMC, NUTS

        arguments.whole("num_samples", num_samples, 1)
        arguments.whole("warmup", warmup, 0)

        nuts: Callable[..., object] = NUTS  # Pyro's classes have no types
        mcmc: Callable[..., Any] = MCMC
        transform = unconstrained(prior)

        def energy(sites: dict[str, Tensor]) -> Tensor:
            free = sites["theta"][None]
            theta = transform.inv(free)
            value = prior.log_prob(theta) - transform.log_abs_det_jacobian(theta, free)
            return -(value + self.log_likelihood(theta, x_o)).sum()

        with seeded(seed, Stream.SAMPLING):
            start = transform(prior.sample((200,)).float())
            with torch.no_grad():
                start = start[torch.stack([-energy({"theta": row}) for row in start]).argmax()]
            chain = mcmc(
                nuts(potential_fn=energy, full_mass=True, max_tree_depth=6),
                num_samples=num_samples,
                warmup_steps=warmup,
                initial_params={"theta": start},
                disable_progbar=not progress,
            )
            chain.run()
            return transform.inv(chain.get_samples()["theta"]).detach()
