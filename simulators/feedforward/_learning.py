"""A learning run: trials, errors, expectations of reward, and the weights they change."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.model.fields import Layout, task_fields
from sbirules.model.rules import LayeredRule
from sbirules.model.runs import Status, Trajectory
from sbirules.model.tasks import LabelledStimuli

from ._draws import Networks, Noise
from ._settings import Settings
from ._trial import changes, respond

__all__ = ["learn"]


def learn(
    s: Settings,
    task: LabelledStimuli,
    family: LayeredRule,
    net: Networks,
    raw: Tensor,
    trial_types: Tensor,
    noise: Noise,
    *,
    keep_weights: bool = False,
) -> Trajectory:
    """Learning runs of a batch of networks, one rule `raw` `(batch, D)` each."""
    theta = family.columns(raw)
    weights, readout = net.weights, net.readout
    limits = [s.divergence * sd for sd in s.initial_sd(task.channels)]
    rows, targets = torch.arange(len(raw), device=raw.device), task.targets.to(raw)
    expectation = raw.new_full((len(raw), task.num_types), torch.nan)
    dead = torch.zeros(len(raw), dtype=torch.bool, device=raw.device)
    there, types = trial_types >= 0, trial_types.clamp(min=0)
    errors, outputs, responses, lives = [], [], [], []

    for k in range(trial_types.shape[1]):
        live, shown = there[:, k] & ~dead, types[:, k]
        # networks past the end of their session run on; nothing of it is kept
        x = net.stimuli[rows, shown] + noise.of_input()
        trial = respond(s.nonlinearity, weights, readout, x, noise.of_units())
        delta = targets[shown] - trial.output
        error = delta.abs()
        errors.append(error)
        outputs.append(trial.output)
        if s.num_recorded:
            seen = trial.post[:, :, 0].gather(1, net.recorded)
            responses.append(seen + noise.of_recordings() if s.recording_noise else seen)
        before = expectation[rows, shown]
        broken = ~torch.isfinite(error)
        if k >= s.warm_up:
            # a stimulus seen for the first time has no expectation yet, so nothing to learn from
            surprise = torch.nan_to_num(-error - before)
            into, out = changes(family, theta, s.nonlinearity, trial, weights, readout, net.feedback, delta, surprise)
            new, new_out = weights + into, readout + out
            broken |= ~((new.abs().amax(dim=(1, 2)) <= limits[0]) & (new_out.abs().amax(dim=1) <= limits[1]))
            learns = live & ~broken
            weights = torch.where(learns[:, None, None], new, weights)
            readout = torch.where(learns[:, None], new_out, readout)
        share = s.expectation_share
        updated = torch.where(torch.isnan(before), -error, (1.0 - share) * before - share * error)
        expectation[rows, shown] = torch.where(live, updated, before)
        lives.append(live & torch.isfinite(error))
        dead = dead | (live & broken)

    kept = torch.stack(lives, dim=1)
    told = {name: torch.stack(v, dim=1) for name, v in (("error", errors), ("output", outputs))}
    units = {"responses": torch.stack(responses, dim=1)} if s.num_recorded else {}
    change = (weights - net.weights).square().mean(dim=(1, 2)).sqrt() / s.initial_sd(task.channels)[0]
    extras: dict[str, object] = {}
    if keep_weights:
        extras = {
            "initial_weights": net.weights,
            "final_weights": weights,
            "initial_readout": net.readout,
            "final_readout": readout,
            "feedback": net.feedback,
            "stimuli": net.stimuli,
            "recorded_units": net.recorded,
        }
    return Trajectory(
        torch.where(dead, int(Status.DIVERGED), int(Status.OK)).to(torch.int8),
        trial_types,
        Layout(task_fields(s.criterion)).completed(
            {name: torch.where(kept, v, torch.nan) for name, v in told.items()}, "trial"
        ),
        {"weight_change": torch.where(dead, torch.nan, change)},
        per_unit={name: torch.where(kept[:, :, None], v, torch.nan) for name, v in units.items()},
        type_names=task.type_names,
        extras=extras,
    )
