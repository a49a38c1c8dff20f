"""A learning run: trials, rewards, reward expectations and the weight update (Eq. 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sbirules.rules import RuleFamily
from sbirules.task import Task, TrialTensors
from sbirules.trajectory import Recording, Status, Trajectory

from ._activity import ActivityMeter
from ._episode import NONLINEARITIES, Clamp, deviation_from_mean, episode
from ._network import draw_kicks, initial_state
from ._settings import Settings

__all__ = ["LAST", "Networks", "Noise", "learn", "run_trial"]

LAST = 50  # trials at the end of a session over which activity is measured


@dataclass(frozen=True)
class Networks:
    """A batch of networks before learning.

    Arguments:
        weights: W, `(batch, post, pre)`.
        input_weights: W_in, `(batch, N, I)`.
        readout: W_out, `(batch or 1, N)`, or None to read out one unit.
        mask: Existing synapses, `(batch or 1, post, pre)`, or None for all.
        expectation: Rbar before the first trial, `(batch, C)`, NaN for none yet.
    """

    weights: Tensor
    input_weights: Tensor
    readout: Tensor | None
    mask: Tensor | None
    expectation: Tensor


@dataclass(frozen=True)
class Noise:
    """Random streams of the trials, and what replaces them where a user passes draws of their own.

    Arguments:
        stream: Stream of initial states and kicks.
        inputs_stream: Stream of random task input.
        host: CPU stream.
        given: `"initial_states"` `(batch, trials, N)`, `"kicks"` and `"inputs"` `(batch, trials, T, ...)`.
    """

    stream: Generator
    inputs_stream: Generator
    host: Generator
    given: Mapping[str, Tensor]


@dataclass(frozen=True)
class Trial:
    """Activity of one trial in each network: states, rates, read-out and error."""

    x: Tensor  # (batch, T + 1, N)
    rate: Tensor  # (batch, T + 1, N)
    error: Tensor  # (batch,)
    output: Tensor  # (batch,)


def run_trial(
    s: Settings, task: Task, tensors: TrialTensors, net: Networks, kernel: Tensor, types: Tensor, k: int, noise: Noise
) -> Trial:
    """One episode with weights `kernel` `(batch, pre, post)` and trial types `(batch,)`."""
    batch, dtype, device = len(kernel), kernel.dtype, kernel.device
    leak = s.dt / s.tau
    given = noise.given
    # networks past the end of their session run on with type 0; nothing of it is kept
    types = types.clamp(min=0)
    inputs = given["inputs"][:, k] if "inputs" in given else task.draw_inputs(tensors, types, noise.inputs_stream)
    drive = torch.bmm(inputs, net.input_weights.mT * leak)
    if "kicks" in given:
        drive = drive + given["kicks"][:, k]
    else:
        probability = s.kick_rate * s.dt / 1000.0
        draw_kicks(drive, probability, s.kick_size, s.kick_start, noise.stream, noise.host)
    if "initial_states" in given:
        x0 = given["initial_states"][:, k]
    else:
        x0 = initial_state(batch, s.num_units, noise.stream, dtype)
    clamp = Clamp.of(dict(s.clamped), s.num_units, device, dtype)
    x, rate = episode(kernel, drive, clamp(x0), leak, NONLINEARITIES[s.nonlinearity], clamp)
    judged = rate[:, 1:][:, tensors.response]
    unit = s.readout if isinstance(s.readout, int) else None
    z = judged[:, :, unit] if net.readout is None else (judged * net.readout[:, None, :]).sum(dim=2)
    error = (z - tensors.targets[types][:, None]).abs().mean(dim=1)
    return Trial(x, rate, error, z.mean(dim=1))


def learn(
    s: Settings,
    family: RuleFamily,
    task: Task,
    net: Networks,
    raw: Tensor,
    trial_types: Tensor,
    noise: Noise,
    *,
    record: Sequence[int] = (),
    keep_weights: bool = False,
) -> Trajectory:
    """Learning runs of a batch of networks, one rule `raw` `(batch, D)` each."""
    device, dtype = raw.device, raw.dtype
    tensors = task.tensors(s.dt).to(device, dtype)
    theta, tau_e, tau_w = family.split(raw)
    decay = None if bool(torch.isinf(tau_e).all()) else torch.exp(-s.dt / tau_e)
    keep = None if bool(torch.isinf(tau_w).all()) else (1.0 - 1.0 / tau_w)[:, None, None]
    network = s.connectivity
    limit = s.divergence * network.initial_sd
    signs = network.signs(device, dtype)
    mask = None if net.mask is None else net.mask.mT.to(dtype)

    kernel = net.weights.mT.contiguous()
    start = kernel
    expectation = net.expectation
    dead = torch.zeros(len(raw), dtype=torch.bool, device=device)
    mean_x: Tensor | None = None
    meter = ActivityMeter(s, trial_types, LAST)
    errors, outputs = [], []
    recorder: dict[str, list[Tensor]] = {"x": [], "rate": [], "weights": [], "trace": []}

    for k in range(trial_types.shape[1]):
        types = trial_types[:, k]
        live = (types >= 0) & ~dead
        trial = run_trial(s, task, tensors, net, kernel, types, k, noise)
        x0 = trial.x[:, 0]
        if mean_x is None:
            mean_x = x0 if s.reset_xbar else torch.zeros_like(x0)
        deviation, last_mean = deviation_from_mean(trial.x, x0 if s.reset_xbar else mean_x, s.xbar_factor)
        mean_x = last_mean
        errors.append(torch.where(live, trial.error, torch.nan))
        outputs.append(torch.where(live, trial.output, torch.nan))
        meter.add(k, trial.rate[:, 1:])

        index = types.clamp(min=0)[:, None]
        before = expectation.gather(1, index)[:, 0]
        reward = -trial.error
        trace = None
        used = kernel
        if k >= s.warm_up:
            rates = trial.rate[:, s.trace_start : -1]
            trace = family.trace(theta, rates, deviation[:, s.trace_start :], kernel.mT, s.dt, decay)
            # a type seen for the first time has no expectation yet, so nothing to learn from
            surprise = torch.nan_to_num(reward - before)
            if s.error_factor:
                surprise = surprise * torch.nan_to_num(-before)
            change = trace.mT * torch.where(live, surprise, 0.0)[:, None, None]
            if math.isfinite(s.max_weight_change):
                change = change.clamp(-s.max_weight_change, s.max_weight_change)
            if mask is not None:
                change = change * mask
            old = kernel if keep is None else kernel * torch.where(live[:, None, None], keep, 1.0)
            kernel = old + change
            if signs is not None:
                kernel = (kernel * signs[:, None]).clamp(min=0.0) * signs[:, None]
            size = torch.linalg.vector_norm(kernel.detach(), ord=math.inf, dim=(1, 2))
            dead = dead | ~(size <= limit)
        dead = dead | (live & ~torch.isfinite(trial.error.detach()))
        # a GPU replaces always rather than wait to be asked whether it must
        if k >= s.warm_up and (device.type != "cpu" or bool(dead.any())):
            kernel = torch.where(dead[:, None, None], 0.0, kernel)

        share = s.expectation_share
        updated = torch.where(torch.isnan(before), reward, (1.0 - share) * before + share * reward)
        updated = torch.where(live, updated, before)
        expectation = expectation.scatter(1, index, updated[:, None])
        if k in record:
            recorder["x"].append(trial.x[:, 1:])
            recorder["rate"].append(trial.rate[:, 1:])
            recorder["weights"].append(used.mT)
            recorder["trace"].append(torch.zeros_like(used) if trace is None else trace)

    activity, silent = meter.result(start, kernel, network.initial_sd, mask)
    status = torch.where(dead, int(Status.DIVERGED), torch.where(silent, int(Status.SILENT), int(Status.OK)))
    error, output = torch.stack(errors, dim=1), torch.stack(outputs, dim=1)
    recording = None
    if len(record):
        stacked = {name: torch.stack(values, dim=1) for name, values in recorder.items()}
        recording = Recording(trials=torch.tensor(sorted(record)), **stacked)
    return Trajectory(
        status=status.to(torch.int8),
        trial_types=trial_types,
        error=error,
        output=output,
        reward=-error,
        correct=torch.where(torch.isnan(error), torch.nan, (error < s.criterion).to(dtype)),
        activity={n: torch.where(dead, torch.nan, v) for n, v in activity.items()},
        num_types=task.num_types,
        type_names=tuple(task.type_names),
        final_weights=kernel.mT if keep_weights else None,
        recording=recording,
    )
