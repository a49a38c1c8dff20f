"""Models that predict a circuit's activity one step ahead: with and without the sensory drive, and its connections."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sbirules.support import arguments
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed

from .circuit import CircuitActivity

__all__ = [
    "ActivityModel",
    "CircuitModel",
    "LinearAutoregression",
    "MeanActivity",
    "NLinear",
    "Persistence",
    "RecurrentModel",
]

RIDGE = 1e-6
FIRST = 300  # steps of Adam before L-BFGS


class ActivityModel(ABC):
    """Predicts the activity of the next step from that of the steps before and, if it knows it, the sensory drive."""

    name = "model"

    @abstractmethod
    def fit(self, data: CircuitActivity) -> ActivityModel:
        """Fits to trials and returns itself."""

    def fitted(self, name: str) -> Tensor:
        """What a fit has found.

        Raises:
            ValueError: If nothing was fitted.
        """
        if not hasattr(self, name):
            raise ValueError(f"{type(self).__name__} is not fitted yet: call fit(data) first.")
        return torch.as_tensor(getattr(self, name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    @abstractmethod
    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        """Predictions `(trials, steps - 1, units)` of steps 1 and on, each from all that came before it."""

    def step(self, past: Tensor, drive: Tensor) -> Tensor:
        """The next activity `(trials, units)` of pasts `(trials, steps, units)`, with the drive of those steps."""
        padded = torch.cat([past, past[:, -1:]], dim=1)
        return self.predict(padded, torch.cat([drive, drive[:, -1:]], dim=1))[:, -1]


# Baselines --------------------------------------------------------------------------------------------


class Persistence(ActivityModel):
    """The next activity is this one."""

    name = "persistence"

    def fit(self, data: CircuitActivity) -> Persistence:
        return self

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        return activity[:, :-1]


class MeanActivity(ActivityModel):
    """The next activity is the mean of the trials fitted."""

    name = "mean"

    def fit(self, data: CircuitActivity) -> MeanActivity:
        self.mean = data.activity.mean(dim=(0, 1))
        return self

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        return self.fitted("mean").expand_as(activity[:, 1:])


class LinearAutoregression(ActivityModel):
    """The next activity is linear in that of the last steps.

    Arguments:
        lags: Steps.
    """

    name = "linear autoregression"

    @typed
    def __init__(self, lags: int = 3) -> None:
        self.lags = arguments.whole("lags", lags, 1, 1000)

    def _seen(self, activity: Tensor) -> Tensor:
        """Steps before each of 1 and on, the first repeated where there is none, with a 1, `(trials, steps - 1, features)`."""
        first = activity[:, :1].expand(-1, self.lags - 1, -1)
        padded = torch.cat([first, activity], dim=1)
        steps = activity.shape[1] - 1
        parts = [padded[:, self.lags - 1 - k : self.lags - 1 - k + steps] for k in range(self.lags)]
        return torch.cat([*parts, torch.ones_like(parts[0][..., :1])], dim=-1)

    def fit(self, data: CircuitActivity) -> LinearAutoregression:
        seen = self._seen(data.activity).flatten(0, 1)
        self.weights = _least_squares(seen, data.activity[:, 1:].flatten(0, 1))
        return self

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        return self._seen(activity) @ self.fitted("weights")


class NLinear(LinearAutoregression):
    """Each unit's change is linear in its own last steps, less the last of them (Zeng et al. 2023), with shared weights.

    Arguments:
        lags: Steps.
    """

    name = "NLinear"

    @typed
    def __init__(self, lags: int = 8) -> None:
        self.lags = arguments.whole("lags", lags, 2, 1000)

    def _changes(self, activity: Tensor) -> Tensor:
        steps, units = activity.shape[1] - 1, activity.shape[2]
        seen = self._seen(activity)[..., :-1].reshape(len(activity), steps, self.lags, units)
        return (seen[:, :, 1:] - seen[:, :, :1]).transpose(2, 3)

    def fit(self, data: CircuitActivity) -> NLinear:
        target = (data.activity[:, 1:] - data.activity[:, :-1]).flatten()[:, None]
        self.weights = _least_squares(self._changes(data.activity).flatten(0, 2), target)
        return self

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        return activity[:, :-1] + (self._changes(activity) @ self.fitted("weights"))[..., 0]


def _least_squares(x: Tensor, y: Tensor) -> Tensor:
    gram = x.T @ x
    out: Tensor = torch.linalg.solve(gram + RIDGE * len(x) * torch.eye(len(gram), dtype=x.dtype), x.T @ y)
    return out


# Circuits ---------------------------------------------------------------------------------------------


class CircuitModel(ActivityModel):
    r"""The circuit's own equation with weights that are fitted: x + leak (sigmoid(W x + V u + b) - x).

    Arguments:
        mask: Which connections there are, `(post, pre)` boolean; None for all but those of a unit with itself.
        input_mask: Which unit sees which channel, `(units, channels)` boolean; None for all.
        drive: Whether it knows the sensory drive.
        steps: Of the fit at most: of L-BFGS, after a few of Adam.
        seed: Of first weights and of batches.
    """

    @typed
    def __init__(
        self,
        mask: Tensor | None = None,
        input_mask: Tensor | None = None,
        *,
        drive: bool = True,
        steps: int = 1000,
        seed: int = 0,
    ) -> None:
        for argument, value in (("mask", mask), ("input_mask", input_mask)):
            if value is not None and (value.ndim != 2 or value.dtype != torch.bool):
                raise ValueError(
                    f"{argument} must be a boolean matrix, got {value.dtype} of shape {tuple(value.shape)}."
                )
        self.mask, self.input_mask, self.driven = mask, input_mask, drive
        self.steps = arguments.whole("steps", steps, 1, 1_000_000)
        self.seed = arguments.whole("seed", seed, 0)
        self.name = "circuit with its connections" if mask is not None else "circuit without its connections"

    def fit(self, data: CircuitActivity) -> CircuitModel:
        units, channels = data.activity.shape[2], data.drive.shape[2]
        free = ~torch.eye(units, dtype=torch.bool)
        mask = free if self.mask is None else self.mask
        inputs = torch.ones(units, channels, dtype=torch.bool) if self.input_mask is None else self.input_mask
        for argument, value, wanted in (("mask", mask, (units, units)), ("input_mask", inputs, (units, channels))):
            if value.shape != wanted:
                raise ValueError(f"{argument} must have shape {wanted} for these trials, got {tuple(value.shape)}.")
        self._mask, self._inputs = mask.double(), inputs.double() * float(self.driven)
        gen = torch.Generator().manual_seed(child(self.seed, Stream.TRAINING) % 2**63)
        self.weights = 0.1 * torch.randn(units, units, generator=gen, dtype=torch.float64)
        self.inputs = 0.1 * torch.randn(units, channels, generator=gen, dtype=torch.float64)
        mean = data.activity.mean(dim=(0, 1)).clamp(0.02, 0.98)
        self.bias, self.raw_leak = torch.logit(mean), torch.full((units,), -1.0, dtype=torch.float64)
        parts = [self.weights, self.inputs, self.bias, self.raw_leak]
        now, drive, following = data.activity[:, :-1], data.drive[:, :-1], data.activity[:, 1:]

        def loss(rows: Tensor, at: Tensor) -> Tensor:
            return (self._next(now[rows, at], drive[rows, at]) - following[rows, at]).square().mean()

        # Adam leads to where a second-order method is at ease; alone it is far from done where units saturate
        _train(parts, loss, data, 1, FIRST, 0.05, gen)
        _polish(parts, lambda: (self._next(now, drive) - following).square().mean(), self.steps)
        return self

    def parameters(self) -> Tensor:
        """Weights, input weights, bias and leak of each unit, `(units, units + channels + 2)`."""
        leak = torch.sigmoid(self.fitted("raw_leak"))
        return torch.cat(
            [self.weights * self._mask, self.inputs * self._inputs, self.bias[:, None], leak[:, None]], dim=1
        )

    def _next(self, x: Tensor, u: Tensor) -> Tensor:
        target = torch.sigmoid(x @ (self.weights * self._mask).T + u @ (self.inputs * self._inputs).T + self.bias)
        return x + torch.sigmoid(self.raw_leak) * (target - x)

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        self.fitted("weights")
        return self._next(activity[:, :-1], drive[:, :-1])


class RecurrentModel(ActivityModel):
    """A recurrent network (GRU) that is told activity and drive, and nothing of the circuit.

    Arguments:
        drive: Whether it knows the sensory drive.
        hidden: Hidden units.
        steps: Of the fit.
        seed: Of first weights and of batches.
    """

    @typed
    def __init__(self, *, drive: bool = True, hidden: int = 64, steps: int = 800, seed: int = 0) -> None:
        self.driven, self.seed = drive, arguments.whole("seed", seed, 0)
        self.hidden = arguments.whole("hidden", hidden, 1, 10_000)
        self.steps = arguments.whole("steps", steps, 1, 1_000_000)
        self.name = "recurrent network" + ("" if drive else " without drive")

    def fit(self, data: CircuitActivity) -> RecurrentModel:
        units, channels = data.activity.shape[2], data.drive.shape[2]
        gen = torch.Generator().manual_seed(child(self.seed, Stream.TRAINING) % 2**63)
        self.mean, self.scale = data.activity.mean(dim=(0, 1)), data.activity.std(dim=(0, 1)).clamp(min=1e-6)
        self.change = (data.activity[:, 1:] - data.activity[:, :-1]).std(dim=(0, 1)).clamp(min=1e-9)
        with torch.random.fork_rng(devices=[]):  # first weights are drawn below, from a stream of their own
            self.net = nn.GRU(units + channels * self.driven, self.hidden, batch_first=True).double()
            self.out = nn.Linear(self.hidden, units).double()
        with torch.no_grad():
            for p in [*self.net.parameters(), *self.out.parameters()]:
                p.copy_((2 * torch.rand(p.shape, generator=gen, dtype=p.dtype) - 1) / math.sqrt(self.hidden))
        parts: list[Tensor] = [*self.net.parameters(), *self.out.parameters()]
        window = min(50, data.activity.shape[1] - 1)

        def loss(rows: Tensor, at: Tensor) -> Tensor:
            index = at[:, None] + torch.arange(window + 1)
            activity, drive = data.activity[rows[:, None], index], data.drive[rows[:, None], index]
            error = (self.predict(activity, drive) - activity[:, 1:]) / self.change
            return error.square().mean()

        _train(parts, loss, data, window, self.steps, 0.005, gen, batch=32)
        return self

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        seen = (activity[:, :-1] - self.fitted("mean")) / self.scale
        if self.driven:
            seen = torch.cat([seen, drive[:, :-1]], dim=-1)
        hidden, _ = self.net(seen)
        return torch.as_tensor(activity[:, :-1] + self.change * self.out(hidden))


def _polish(parts: list[Tensor], loss: Callable[[], Tensor], steps: int) -> None:
    """L-BFGS on all trials."""
    for p in parts:
        p.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        parts,
        max_iter=steps,
        history_size=30,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-15,
        tolerance_grad=1e-12,
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = 1e4 * loss()  # as large as the steps it is made for
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    for p in parts:
        p.requires_grad_(False)


def _train(
    parts: list[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    data: CircuitActivity,
    length: int,
    steps: int,
    rate: float,
    gen: torch.Generator,
    batch: int = 256,
) -> None:
    """Adam on stretches of trials, with a rate that falls to 0."""
    for p in parts:
        p.requires_grad_(True)
    optimiser = torch.optim.Adam(parts, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.enable_grad():
        for _ in range(steps):
            rows = torch.randint(len(data), (batch,), generator=gen)
            at = torch.randint(data.activity.shape[1] - length, (batch,), generator=gen)
            optimiser.zero_grad()
            loss(rows, at).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    for p in parts:
        p.requires_grad_(False)
