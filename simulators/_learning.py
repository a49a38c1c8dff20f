"""A learning run: trials, rewards, reward expectations and the weight update (Eq. 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sbirules.rules import RuleFamily
from sbirules.trajectory import Recording, Status, Trajectory

from ._activity import ActivityMeter
from ._backends import Plasticity
from ._episode import deviation_from_mean
from ._trial import Networks, Noise, Stage

__all__ = ["LAST", "learn"]

LAST = 50  # trials at the end of a session over which activity is measured


def learn(
    stage: Stage,
    family: RuleFamily,
    net: Networks,
    raw: Tensor,
    trial_types: Tensor,
    noise: Noise,
    *,
    record: Sequence[int] = (),
    keep_weights: bool = False,
) -> Trajectory:
    """Learning runs of a batch of networks, one rule `raw` `(batch, D)` each."""
    s, task, backend = stage.settings, stage.task, stage.backend
    device, dtype = raw.device, raw.dtype
    rule = Plasticity.of(s, family, raw, net.mask)
    kernel = net.weights.mT.contiguous()
    expectation = net.expectation
    dead = torch.zeros(len(raw), dtype=torch.bool, device=device)
    mean: Tensor | None = None  # xbar
    meter = ActivityMeter(s, trial_types, LAST)
    there, types = trial_types >= 0, trial_types.clamp(min=0)
    errors, outputs, lives = [], [], []
    recorder: dict[str, list[Tensor]] = {"x": [], "rate": [], "weights": [], "trace": []}

    for k in range(trial_types.shape[1]):
        live = there[:, k] & ~dead
        # networks past the end of their session run on with type 0; nothing of it is kept
        trial = stage.run(net, kernel, types[:, k], k, noise)
        if s.reset_xbar or mean is None:
            mean = trial.x[:, 0] if s.reset_xbar else torch.zeros_like(trial.x[:, 0])
        errors.append(trial.error)
        outputs.append(trial.output)
        lives.append(live)
        meter.add(k, trial.rate[:, 1:])
        if k in record:
            # copies, since a backend may write the next trial over this one
            recorder["x"].append(trial.x[:, 1:].clone())
            recorder["rate"].append(trial.rate[:, 1:].clone())
            recorder["weights"].append(kernel.mT.clone())
            plastic = k >= s.warm_up
            trace = rule.trace(kernel, trial.x, trial.rate, mean) if plastic else torch.zeros_like(kernel)
            recorder["trace"].append(trace)

        index = types[:, k, None]
        before = expectation.gather(1, index)[:, 0]
        reward = -trial.error
        finite = torch.isfinite(reward.detach())
        broken = live & ~finite
        if k >= s.warm_up:
            # a type seen for the first time has no expectation yet, so nothing to learn from
            surprise = torch.nan_to_num(reward - before)
            if s.error_factor:
                surprise = surprise * torch.nan_to_num(-before)
            kernel, within = backend.update(kernel, trial.x, trial.rate, mean, rule, surprise, live & finite)
            broken = broken | ~within
        dead = dead | broken
        if not s.reset_xbar:
            mean = deviation_from_mean(trial.x, mean, s.xbar_factor)[1].clone()

        share = s.expectation_share
        updated = torch.where(torch.isnan(before), reward, (1.0 - share) * before + share * reward)
        updated = torch.where(live, updated, before)
        expectation = expectation.scatter(1, index, updated[:, None])

    activity, silent = meter.result(net.weights, kernel.mT, s.connectivity.initial_sd, net.mask)
    status = torch.where(dead, int(Status.DIVERGED), torch.where(silent, int(Status.SILENT), int(Status.OK)))
    kept = torch.stack(lives, dim=1)
    error, output = (torch.where(kept, torch.stack(v, dim=1), torch.nan) for v in (errors, outputs))
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
