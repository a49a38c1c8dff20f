"""A learning run: trials, rewards, reward expectations and the weight update (Eq. 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sbirules.model.fields import Layout, task_fields
from sbirules.model.rules import RuleFamily
from sbirules.model.runs import Recording, Status, Trajectory

from ._activity import ActivityMeter
from ._backends import TorchBackend, plasticity
from ._local import LocalPlasticity
from ._stability import measure
from ._trial import Networks, Noise, Stage, State

__all__ = ["LAST", "learn"]

LAST = 50  # trials at the end of a session over which activity is measured


def learn(
    stage: Stage,
    backend: TorchBackend,
    family: RuleFamily,
    net: Networks,
    raw: Tensor,
    trial_types: Tensor,
    noise: Noise,
    *,
    record: Sequence[int] = (),
    keep_weights: bool = False,
    stability: Sequence[str] = (),
) -> Trajectory:
    """Learning runs of a batch of networks, one rule `raw` `(batch, D)` each; `stability` names measures of the final weights."""
    s, task = stage.settings, stage.task
    rule = plasticity(s, family, raw, net.mask)
    state = State.before_learning(net)
    meter = ActivityMeter(s, trial_types, LAST)
    there, types = trial_types >= 0, trial_types.clamp(min=0)
    errors, outputs, lives = [], [], []
    recorder: dict[str, list[Tensor]] = {"x": [], "rate": [], "weights": [], "trace": []}
    units = net.recorded is not None
    responses: list[Tensor] = []

    for k in range(trial_types.shape[1]):
        lives.append(there[:, k] & ~state.dead)
        # networks past the end of their session run on with type 0; nothing of it is kept
        drive, x0 = stage.draw(net, types[:, k], k, noise)
        recorded = k in record
        kernel, mean = state.kernel, state.mean
        if recorded:  # copies, since a backend may write over them
            kernel, mean = kernel.clone(), x0 if s.reset_xbar else mean.clone()
        trial, state = backend.trial(
            stage,
            net,
            rule,
            state,
            drive,
            x0,
            types[:, k],
            there[:, k],
            plastic=k >= s.warm_up,
            watched=recorded or units or k >= meter.from_trial,
        )
        errors.append(trial.error)
        outputs.append(trial.output)
        if trial.rate is not None:
            meter.add(k, trial.rate[:, 1:])
            if units:
                responses.append(stage.responses(trial.rate.detach(), net, noise))
        if recorded and trial.x is not None and trial.rate is not None:
            recorder["x"].append(trial.x[:, 1:].clone())
            recorder["rate"].append(trial.rate[:, 1:].clone())
            recorder["weights"].append(kernel.mT)
            if k < s.warm_up:
                trace = torch.zeros_like(kernel)
            elif isinstance(rule, LocalPlasticity):  # no trace: what it did to the weights
                trace = (state.kernel - kernel).mT
            else:
                trace = rule.trace(kernel, trial.x, trial.rate, mean)
            recorder["trace"].append(trace)

    kernel, dead = state.kernel, state.dead
    kept = torch.stack(lives, dim=1)
    error, output = (torch.where(kept, torch.stack(v, dim=1), torch.nan) for v in (errors, outputs))
    activity, silent = meter.result(net.weights, kernel.mT, s.connectivity.initial_sd, net.mask)
    activity |= measure(kernel.mT, dead, s, stability)
    status = torch.where(dead, int(Status.DIVERGED), torch.where(silent, int(Status.SILENT), int(Status.OK)))
    extras: dict[str, object] = {}
    if keep_weights:
        readout = net.readout if isinstance(stage.settings.readout, str) else None
        extras = {
            "final_weights": kernel.mT,
            "initial_weights": net.weights,
            "input_weights": net.input_weights,
            "readout": readout,
        }
    if len(record):
        stacked = {name: torch.stack(values, dim=1) for name, values in recorder.items()}
        extras["recording"] = Recording(trials=torch.tensor(sorted(record)), **stacked)
    fields = task_fields(s.criterion)
    return Trajectory(
        status.to(torch.int8),
        trial_types,
        Layout(fields).completed({"error": error, "output": output}, "trial"),
        {n: torch.where(dead, torch.nan, v) for n, v in activity.items()},
        per_unit={"responses": torch.where(kept[:, :, None], torch.stack(responses, dim=1), torch.nan)}
        if units
        else {},
        type_names=task.type_names,
        extras=extras,
    )
