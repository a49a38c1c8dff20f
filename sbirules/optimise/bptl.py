"""BPTL, back-propagation through learning: the one rule that a gradient finds, beside the distribution.

Source: "Meta-learning local learning rules for structured credit assignment with sparse feedback"
(arXiv 2512.09366), whose own method is `gradient="reinforce"`.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sbirules.model.abilities import Configured, Differentiable, HasWarmUp, PredictsChoices, needed
from sbirules.model.rules import TIME_CONSTANTS, Coefficient
from sbirules.model.simulator import Simulator
from sbirules.model.tables import Trials
from sbirules.optimise.evolution import Search, evolve
from sbirules.optimise.likeliest import likeliest_rules
from sbirules.optimise.points import PointEstimate, success_of
from sbirules.priors import PriorLike
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Stream, generator
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BPTL"]

KINDS = ("reverse", "forward", "reinforce", "evolution")
PATIENCE = 5  # iterations in a row that most networks may diverge in before a restart is given up
AVERAGED = 0.2  # share of the iterations, the last ones, whose mean is the result
SMALL = 0.02  # size of a term, in natural units, that l1 weighs on in the polish
ROUNDING = 1e-6
FALL = 0.1  # share of the learning rate that is left in the end
NETWORKS = 64  # in which an end point is tried
# what choices, whose likelihood is known, have no use for
OF_SESSIONS = ("gradient", "episodes", "networks", "learning_rate", "polish", "clip", "step_sd")


@typed_class
class BPTL:
    """Gradient ascent over rules: on the mean reward of a session, or on the likelihood of animals' choices.

    **Of reward.** Every iteration draws fresh networks. All restarts are one batch. A network that diverges leaves the
    estimate; a restart most of whose networks diverge again and again is given up, and reported as such.

    **Of choices**, with a simulator that knows their likelihood, such as `PolicyNetwork`: `BPTL(simulator).fit(trials=...)`
    maximises log p(choices | theta) - l1 sum |terms| by proximal Newton steps (Lee, Sun & Saunders 2014), with the gradient
    through the whole table. It takes `restarts`, `iterations`, `l1` (in nats per unit of a coefficient), `start` and
    `start_sd`.

    Arguments:
        simulator: One that knows gradients, such as `RateRNN`, or the likelihood of choices, such as `PolicyNetwork`.
        gradient: `"reverse"` or `"forward"` (exact), or `"reinforce"` (the paper's estimate; see
            `RateRNN.value_and_grad`). Or `"evolution"`, the control without gradient: CMA-ES, by the package `cma`.
        episodes: Trials of a session in training, warm-up included.
        networks: Networks per restart and iteration.
        restarts: Starting points.
        iterations: Meta-iterations.
        learning_rate: Of Adam, in natural units (in the logarithm for `tau_e` and `tau_w`); it falls to a tenth along
            a cosine.
        l1: Weight of the sum of |theta|, by proximal steps, so that terms become exactly zero.
        polish: Iterations in the end in which terms that are zero stay so, and l1 weighs on small terms only (by
            0.02 / (0.02 + |theta|); Candes et al. 2008): before, it has shrunk what it keeps, too.
        clip: A network's gradient is cut to so many times the median length among those of its restart.
        start: Where to start, `(D,)` or `(restarts, D)`; None for zero coefficients and time constants of 1000, and of
            choices for rules of the prior from the second restart on.
        start_sd: S.d. of what is added to that, one draw per restart; of choices in units of the prior's s.d.
        step_sd: First s.d. of the search distribution of `"evolution"`.

    Examples:
        >>> point = BPTL(simulator, l1=1e-3).fit(seed=0)
        >>> print(point.describe())
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        gradient: str = "reverse",
        episodes: int = 100,
        networks: int = 16,
        restarts: int = 2,
        iterations: int = 60,
        learning_rate: float = 0.05,
        l1: float = 0.0,
        polish: int = 0,
        clip: float = 2.0,
        start: ArrayLike | None = None,
        start_sd: float = 0.05,
        step_sd: float = 0.2,
    ) -> None:
        if not isinstance(simulator, PredictsChoices):
            needed(simulator, Differentiable, "BPTL")
        arguments.known("gradient", gradient, KINDS)
        for name, value in (
            ("episodes", episodes),
            ("networks", networks),
            ("restarts", restarts),
            ("iterations", iterations),
        ):
            arguments.whole(name, value, 1)
        if arguments.whole("polish", polish, 0) >= iterations:
            raise ValueError(f"polish must be below iterations = {iterations}, got {polish}.")
        arguments.above("learning_rate", learning_rate, 0.0)
        arguments.above("clip", clip, 0.0, infinite=True)
        for name, size in (("l1", l1), ("start_sd", start_sd)):
            arguments.at_least(name, size, 0.0)
        self.simulator, self.gradient = simulator, gradient
        self.episodes, self.networks, self.restarts, self.iterations = episodes, networks, restarts, iterations
        self.learning_rate, self.l1, self.polish, self.clip = learning_rate, l1, polish, clip
        self.start_sd, self.step_sd = start_sd, arguments.above("step_sd", step_sd, 0.0)
        self.given_start = start
        if isinstance(simulator, PredictsChoices):  # what its columns are, a table says
            usual = inspect.signature(BPTL).parameters
            for name in OF_SESSIONS:
                if getattr(self, name) != usual[name].default:
                    raise ValueError(f"{name} belongs to the reward of sessions; leave it out for choices.")
            start = None
        names = simulator.names
        self.log = torch.tensor([name in TIME_CONSTANTS for name in names])
        if start is None:
            per_unit = torch.as_tensor(simulator.raw_per_unit).tolist()
            start = torch.tensor([_beginning(c, unit) for c, unit in zip(simulator.parameters, per_unit, strict=True)])
        start = arguments.theta_matrix(start, names, argument="start").double()
        if len(start) not in (1, restarts):
            raise ValueError(f"start must hold one rule or {restarts}, one per restart, got {len(start)}.")
        if (start[:, self.log] <= 0).any() or torch.isinf(start).any():
            raise ValueError("start must have finite time constants above 0: their logarithm is optimised.")
        self.start = start.expand(restarts, -1)
        low, high = (torch.where(self.log, v.exp(), v) for v in self.bounds())
        slack = ROUNDING * self.start.abs()  # single precision cannot say every bound
        outside = ((self.start < low - slack) | (self.start > high + slack)).nonzero()
        if len(outside):
            row, k = (int(i) for i in outside[0])
            legal = f"[{float(low[k]):g}, {float(high[k]):g}]"
            raise ValueError(
                f"start of {names[k]} must lie in {legal}, in natural units, got {float(self.start[row, k]):g}."
            )

    def fit(
        self,
        *,
        trials: str | Path | pd.DataFrame | Trials | None = None,
        prior: PriorLike | None = None,
        seed: int = 0,
        trial_types: ArrayLike | None = None,
        teacher: ArrayLike | None = None,
        draws: Mapping[str, ArrayLike] | None = None,
        evaluate: int | None = None,
        progress: bool = False,
    ) -> PointEstimate:
        """Optimises, and tries the end points on fresh networks.

        Arguments:
            trials: Choices of animals, of which the likelihood is maximised.
            prior: With them: coefficients stay within its bounds, and its s.d. is their scale. What it leaves out of the
                nuisances has its usual prior, as in the posterior beside which the point shall stand.
            seed: Of starts and networks.
            trial_types: `(trials,)`; None for the task's own sequence of `episodes` trials.
            teacher: Weights after each trial, `(trials, N, N)`, to come close to instead of earning reward.
            draws: Random draws to fix, as in `RateRNN.run`, e.g. the teacher's initial weights and kicks.
            evaluate: Fresh networks in which each end point is tried, over the simulator's own session, 64 by default; 0 for
                none.
            progress: Whether to show a progress bar.

        Raises:
            ValueError: If all restarts diverged, or `trials` are given to a simulator that does not predict choices.
        """
        of_sessions: dict[str, object] = {
            "trial_types": trial_types,
            "teacher": teacher,
            "draws": draws,
            "evaluate": evaluate,
        }
        of_choices: dict[str, object] = {"trials": trials, "prior": prior}
        choosing = isinstance(self.simulator, PredictsChoices)
        alien = of_sessions if choosing else of_choices
        given = [name for name, value in alien.items() if value is not None]
        if given and choosing:
            raise ValueError(f"{given[0]} belongs to the reward of sessions; leave it out for choices.")
        if given:
            raise ValueError(
                f"{given[0]} belongs to choices, which {type(self.simulator).__name__} does not predict; use PolicyNetwork."
            )
        if choosing:
            return self._of_choices(trials, prior, seed, progress)
        evaluate = NETWORKS if evaluate is None else arguments.whole("evaluate", evaluate, 0, arguments.MANY)
        types = self.simulator.sequence(self.episodes) if trial_types is None else trial_types
        if self.gradient == "evolution":
            if teacher is not None or draws:
                raise ValueError("gradient='evolution' follows reward in fresh networks; leave teacher and draws out.")
            search = Search(
                self.simulator,
                self.starts(seed),
                self.bounds(),
                self.log,
                self.networks,
                self.iterations,
                self.step_sd,
                self.l1,
                self._warm_up(),
            )
            trace = evolve(search, seed, types, progress)
            gone = torch.zeros(self.restarts, dtype=torch.bool)
        else:
            trace, gone = self._ascend(seed, {"trial_types": types, "teacher": teacher, **(draws or {})}, progress)
        if gone.all():
            raise ValueError(
                f"all {self.restarts} restarts diverged, the last after {len(trace['value'])} iterations: most "
                f"networks blew up. Lower learning_rate ({self.learning_rate:g}) or start_sd ({self.start_sd:g})."
            )
        if gone.any():
            warnings.warn(f"{int(gone.sum())} of {self.restarts} restarts diverged and were given up.")
        last = trace["theta"][-max(1, int(AVERAGED * (self.polish or self.iterations))) :]
        theta = torch.where(last[-1] == 0, 0.0, last.mean(dim=0))
        success = success_of(self.simulator, theta, evaluate, seed=seed) if evaluate else None
        return PointEstimate(
            family=self.simulator.family,
            theta=theta,
            diverged=gone,
            success=success,
            trace=trace,
            raw_per_unit=torch.as_tensor(self.simulator.raw_per_unit),
            settings=self.settings() | {"seed": seed},
        )

    def _of_choices(
        self, trials: str | Path | pd.DataFrame | Trials | None, prior: PriorLike | None, seed: int, progress: bool
    ) -> PointEstimate:
        if trials is None:
            raise ValueError(f"BPTL of {type(self.simulator).__name__} needs the choices: fit(trials=..., prior=...).")
        told = {name: getattr(self, name) for name in ("restarts", "iterations", "l1", "start_sd")}
        return likeliest_rules(
            self.simulator, Trials.read(trials, self.simulator.layout), prior, start=self.given_start, seed=seed,
            progress=progress, settings=told, **told,
        )  # fmt: skip

    def _warm_up(self) -> int:
        """Trials of a session before plasticity starts."""
        settings = self.simulator.settings if isinstance(self.simulator, Configured) else None
        return settings.warm_up if isinstance(settings, HasWarmUp) else 0

    def starts(self, seed: int) -> Tensor:
        """Where restarts begin, `(restarts, D)`, with time constants as logarithms."""
        stream = generator(arguments.whole("seed", seed, 0), Stream.STARTS)
        noise = self.start_sd * torch.randn(self.start.shape, generator=stream, dtype=torch.float64)
        low, high = self.bounds()
        free = torch.where(self.log, self.start.log(), self.start) + noise
        # what would begin beyond a bound begins as far on this side of it
        free = torch.where(free < low, 2 * low - free, free)
        return torch.where(free > high, 2 * high - free, free).clamp(low, high)

    def _ascend(
        self, seed: int, options: Mapping[str, ArrayLike | None], progress: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The way of all restarts, and which of them were given up."""
        from tqdm.auto import tqdm

        gradients = needed(self.simulator, Differentiable, "BPTL")
        free = self.starts(seed).requires_grad_()
        low, high = self.bounds()
        adam = torch.optim.Adam([free], lr=self.learning_rate, betas=(0.9, 0.99))
        shape = (self.restarts, self.networks)
        lost = torch.zeros(self.restarts, dtype=torch.long)
        gone = torch.zeros(self.restarts, dtype=torch.bool)
        zero = torch.zeros_like(free, dtype=torch.bool)
        trace: dict[str, list[Tensor]] = {"value": [], "theta": [], "gradient_norm": [], "alive": []}
        bar = tqdm(range(self.iterations), desc="BPTL", unit="iteration", disable=not progress)
        for k in bar:
            theta = torch.where(self.log, free.detach().exp(), free.detach())
            found = gradients.value_and_grad(
                theta.repeat_interleave(self.networks, dim=0),
                gradient=self.gradient,
                seed=(seed, Stream.ITERATION, k),
                **options,
            )
            ok = found.ok.reshape(shape)
            each = found.gradient.double().reshape(*shape, -1) * torch.where(self.log, theta, 1.0)[:, None]
            mean, norm = _robust_mean(each, ok, self.clip)
            value = torch.where(ok, found.value.double().reshape(shape), torch.nan).nanmean(dim=1)
            for name, now in (("value", value), ("theta", theta), ("gradient_norm", norm), ("alive", _share(ok))):
                trace[name].append(now.clone())
            bar.set_postfix(value=f"{float(value.nanmean()):.3f}")
            lost = torch.where(_share(ok) < 0.5, lost + 1, 0)
            gone |= lost >= PATIENCE
            if gone.all():
                break
            late = k >= self.iterations - self.polish
            if k == self.iterations - self.polish:
                zero = free.detach() == 0
            pace = FALL + (1 - FALL) * 0.5 * (1 + math.cos(math.pi * k / self.iterations))
            adam.param_groups[0]["lr"] = self.learning_rate * pace
            free.grad = -torch.where(gone[:, None] | (norm == 0)[:, None], 0.0, mean)
            adam.step()
            with torch.no_grad():
                if self.l1:
                    free.copy_(self._shrunk(free, adam, late))
                free.clamp_(low, high)
                free[zero] = 0.0
        return {name: torch.stack(values) for name, values in trace.items()}, gone

    def settings(self) -> dict[str, object]:
        """Everything but the simulator, in plain types."""
        names = ("gradient", "episodes", "networks", "restarts", "iterations", "learning_rate", "l1", "polish", "clip")
        more = {"start_sd": self.start_sd, "step_sd": self.step_sd, "start": self.start.tolist()}
        return {name: getattr(self, name) for name in names} | more

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Legal values of what is optimised, `(D,)` each: coefficients, and logarithms of time constants."""
        per_unit = torch.as_tensor(self.simulator.raw_per_unit).double()
        raw = torch.tensor([(p.low, p.high) for p in self.simulator.parameters], dtype=torch.float64)
        low, high = (raw / per_unit[:, None]).T
        low, high = (torch.where(self.log, v.clamp(min=1e-3).log(), v) for v in (low, high))
        return low, high

    def _shrunk(self, free: Tensor, adam: torch.optim.Adam, late: bool) -> Tensor:
        """The proximal step of l1 |theta| in the metric of Adam's step, not for time constants."""
        state = adam.state[free]
        group = adam.param_groups[0]
        scale = (state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))).sqrt() + group["eps"]
        weight = SMALL / (SMALL + free.abs()) if late else 1.0
        step = group["lr"] * self.l1 * weight / scale
        return torch.where(self.log, free, free.sign() * (free.abs() - step).clamp(min=0))


def _beginning(coefficient: Coefficient, unit: float) -> float:
    """Where a coefficient begins: without its term where that is legal, else at its default; in natural units."""
    if coefficient.name in TIME_CONSTANTS:
        return 1000.0
    return 0.0 if coefficient.may_vanish else coefficient.default / unit


def _share(ok: Tensor) -> Tensor:
    return ok.double().mean(dim=1)


def _robust_mean(each: Tensor, ok: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Mean gradient `(S, D)` of the networks `(S, M, D)` that are ok, long ones cut, and its length."""
    each = torch.where(ok[..., None], each, 0.0)
    size = each.norm(dim=2)
    median = torch.where(ok, size, torch.nan).nanmedian(dim=1, keepdim=True).values
    cut = (clip * median / size.clamp(min=1e-300)).clamp(max=1.0)
    mean = (each * torch.where(ok, cut, 0.0)[..., None]).sum(dim=1) / ok.sum(dim=1, keepdim=True).clamp(min=1)
    return mean, mean.norm(dim=1)
