"""What a model of a circuit gets right: the next step, its connections, its answer to a push, and its behaviour."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.support import arguments
from sbirules.support.typed import typed

from .circuit import CircuitActivity, OptomotorCircuit
from .models import ActivityModel

__all__ = [
    "TrueModel",
    "closed_loop",
    "connection_signs",
    "impulse_responses",
    "jacobian",
    "one_step_error",
    "sign_accuracy",
]

WARM = 10  # steps of a trial that a model sees before it is asked


class TrueModel(ActivityModel):
    """The circuit itself, given the activity as observed.

    Arguments:
        circuit: The circuit.
        drive: Whether it knows the sensory drive; else it takes the mean of the trials fitted.
    """

    name = "the circuit itself"

    @typed
    def __init__(self, circuit: OptomotorCircuit, *, drive: bool = True) -> None:
        self.circuit, self.driven = circuit, drive

    def fit(self, data: CircuitActivity) -> TrueModel:
        self.mean = data.drive.mean(dim=(0, 1))
        return self

    def predict(self, activity: Tensor, drive: Tensor) -> Tensor:
        u = drive[:, :-1] if self.driven else self.fitted("mean").expand_as(drive[:, :-1])
        return self.circuit.step(activity[:, :-1], u)


@typed
def one_step_error(model: ActivityModel, data: CircuitActivity) -> Tensor:
    """Mean squared error of the next step by trial, `(trials,)`; the first 10 steps do not count."""
    with torch.no_grad():
        error = (model.predict(data.activity, data.drive) - data.activity[:, 1:]).square()
    return error[:, min(WARM, error.shape[1] - 1) :].mean(dim=(1, 2))


@typed
def jacobian(model: ActivityModel, data: CircuitActivity, *, points: int = 50, seed: int = 0) -> Tensor:
    """Mean derivative of the next activity with respect to this one, `(post, pre)`, at random points of the trials."""
    arguments.whole("points", points, 1, 100_000)
    gen = torch.Generator().manual_seed(arguments.whole("seed", seed, 0))
    rows = torch.randint(len(data), (points,), generator=gen)
    at = min(WARM, data.activity.shape[1] - 1)
    units = data.activity.shape[2]
    total = torch.zeros(units, units, dtype=torch.float64)
    ends = torch.randint(at, data.activity.shape[1], (points,), generator=gen)
    for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
        past, drive = data.activity[row : row + 1, :end], data.drive[row : row + 1, :end]

        def following(now: Tensor, past: Tensor = past, drive: Tensor = drive) -> Tensor:
            return model.step(torch.cat([past[:, :-1], now[None, None]], dim=1), drive)[0]

        with torch.enable_grad():
            slope = torch.autograd.functional.jacobian(following, past[0, -1])  # type: ignore[no-untyped-call]
        total += torch.as_tensor(slope)
    return total / points


@typed
def connection_signs(jacobian: Tensor) -> Tensor:
    """Signs of the connections that a Jacobian says, `(post, pre)`, 0 on its diagonal."""
    if jacobian.ndim != 2 or jacobian.shape[0] != jacobian.shape[1]:
        raise ValueError(f"jacobian must be a square matrix (post, pre), got shape {tuple(jacobian.shape)}.")
    out = torch.sign(jacobian)
    out.fill_diagonal_(0.0)
    return out


@typed
def sign_accuracy(jacobian: Tensor, signs: Tensor) -> float:
    """Balanced accuracy of a Jacobian's signs over the connections there are: the mean of that of excitatory and inhibitory ones.

    Arguments:
        jacobian: `(post, pre)`.
        signs: Of the circuit, -1, 0 or 1.
    """
    if jacobian.shape != signs.shape or jacobian.ndim != 2:
        raise ValueError(f"signs must have the shape of jacobian, {tuple(jacobian.shape)}, got {tuple(signs.shape)}.")
    parts = [(torch.sign(jacobian[signs == s]) == s).double() for s in (1, -1) if bool((signs == s).any())]
    if not parts:
        raise ValueError("signs must have a connection.")
    return float(torch.stack([p.mean() for p in parts]).mean())


@typed
def impulse_responses(
    model: ActivityModel, data: CircuitActivity, *, size: float = 0.1, steps: int = 10, trials: int = 8
) -> Tensor:
    """What a push of one unit does to all of them in the steps after it, `(pushed, steps, units)`, a mean over trials.

    Arguments:
        model: Of the circuit.
        data: Trials, in whose tenth step the push comes.
        size: Of the push.
        steps: Followed.
        trials: Used, the first ones.
    """
    arguments.above("size", size, 0.0)
    arguments.whole("steps", steps, 1, 10_000)
    used = data.trials(range(min(arguments.whole("trials", trials, 1), len(data))))
    start = min(WARM, used.activity.shape[1] - 1)
    if start + steps > used.drive.shape[1]:
        raise ValueError(
            f"steps must be at most {used.drive.shape[1] - start} in trials of {used.drive.shape[1]}, got {steps}."
        )
    units = used.activity.shape[2]
    past = used.activity[:, :start].repeat(units + 1, 1, 1)
    drive = used.drive.repeat(units + 1, 1, 1)
    for unit in range(units):
        past[(unit + 1) * len(used) : (unit + 2) * len(used), -1, unit] += size
    rolled = _rolled(model, past, drive, steps).reshape(units + 1, len(used), steps, units)
    return (rolled[1:] - rolled[:1]).mean(dim=1) / size


@typed
def closed_loop(model: ActivityModel, data: CircuitActivity) -> Tensor:
    """Activity that a model makes of its own predictions and the drive, from the first 10 steps on, as `data.activity`."""
    start = min(WARM, data.activity.shape[1] - 1)
    rolled = _rolled(model, data.activity[:, :start], data.drive, data.activity.shape[1] - start)
    return torch.cat([data.activity[:, :start], rolled], dim=1)


def _rolled(model: ActivityModel, past: Tensor, drive: Tensor, steps: int) -> Tensor:
    """Steps `(trials, steps, units)` that follow a past, each predicted from those before."""
    start = past.shape[1]
    with torch.no_grad():
        for k in range(steps):
            new = model.step(past, drive[:, : start + k]).clamp(-10.0, 10.0)
            past = torch.cat([past, new[:, None]], dim=1)
    return past[:, start:]
