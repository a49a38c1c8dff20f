"""What a user's own rule, task or summary computes, as a digest.

A manifest must tell two families of one name apart, and class names and settings do not: so each is run once
on fixed input, and the digest of what comes out, to single precision, is part of the configuration.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from sbirules.model.fields import Layout
from sbirules.model.rules import LayeredRule, LocalRule, RuleFamily, ThreeFactorRule
from sbirules.model.runs import Trajectory
from sbirules.model.summaries import Summary
from sbirules.model.tasks import LabelledStimuli
from sbirules.model.tasks.task import Task
from sbirules.support.own_code import called
from sbirules.support.streams import lasting

__all__ = ["family_probe", "labelled_probe", "summary_probe", "task_probe"]


def _digest(*tensors: Tensor) -> str:
    """Of values rounded to five digits, which differ by rounding between machines."""
    text = ",".join(f"{v:.5g}" for t in tensors for v in t.detach().double().flatten().tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def family_probe(family: RuleFamily) -> str:
    """What two rules do to the synapses of three units."""
    stream = lasting(0, 1)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=stream, dtype=torch.float64)

    low = torch.tensor([max(p.low, -1.0) for p in family.coefficients], dtype=torch.float64)
    high = torch.tensor([min(p.high, 2.0) for p in family.coefficients], dtype=torch.float64)
    coefficients = low + (high - low) * draw(2, len(low))
    names = [c.name for c in family.coefficients]
    theta = {name: column[:, None, None] for name, column in zip(names, coefficients.T, strict=True)}
    rate, deviation, weight = draw(2, 4, 3), draw(2, 4, 3) - 0.5, draw(2, 3, 3) - 0.5
    if isinstance(family, ThreeFactorRule):
        return _digest(called(family.trace, theta, rate, deviation, weight, 5.0, None))
    if isinstance(family, LocalRule):
        everything = {
            "pre": rate[:, 0, None, :],
            "post": rate[:, 1, :, None],
            "state": rate[:, 2, :, None],
            "deviation": deviation[:, 0, :, None],
            "weight": weight,
        }
        seen = {n: everything[n] for n in family.sees} | {n: rate[:, 3, :, None] for n in family.slow}
        return _digest(called(family.change, theta, **seen), *called(family.drift, theta, **seen).values())
    if isinstance(family, LayeredRule):
        pre, post, one = rate[:, 0, None, :], rate[:, :, :1], rate[:, 1:2, 1:2]
        units = ("post", "slope", "noise", "readout", "feedback")
        layer = {name: post - 0.2 * k for k, name in enumerate(units)}
        layer |= {"pre": pre, "weight": draw(2, 4, 3) - 0.5, "delta": one, "surprise": one - 0.5}
        return _digest(called(family.hidden_change, theta, **{name: layer[name] for name in family.sees}))
    return ""


def task_probe(task: Task, dt: float) -> str:
    """The task's tensors, and the input of one trial of each type."""
    tensors = called(task.tensors, dt).to("cpu", torch.float64)
    types = torch.arange(task.num_types)
    inputs = called(task.draw_inputs, tensors, types, lasting(0, 2))
    sequence = task.sequence(20).double()
    return _digest(tensors.inputs, tensors.targets, tensors.response.double(), inputs, sequence)


def labelled_probe(task: LabelledStimuli) -> str:
    """Targets, stimuli and noise of two networks, and the order of the stimuli."""
    stream = lasting(0, 5)
    stimuli, noise = (draw(2, stream, torch.float64) for draw in (task.draw_stimuli, task.draw_noise))
    return _digest(task.targets, stimuli, noise, task.sequence(20).double())


def summary_probe(summary: Summary, layout: Layout) -> str:
    """The summary of four made-up sessions."""
    error = 2 * torch.rand(4, 120, generator=lasting(0, 3))
    per_run = layout.named("run")
    per_trial = {name: error for name in layout.named("trial") if not layout[name].follows}
    per_trial |= {"output": error - 1} if "output" in per_trial else {}
    units = {f.name: f.units for f in layout.fields if f.per == "unit"}
    per_unit = {n: 2 * torch.rand(4, 120, k, generator=lasting(0, 4)) for n, k in units.items()}
    elsewhere = (*layout.named("trial"), *units)
    made = {name: error[:, 0] for name in summary.fields if name in per_run or name not in elsewhere}
    types = torch.arange(120).expand(4, -1) % max(len(layout.type_names), 1)
    runs = Trajectory(
        torch.zeros(4, dtype=torch.int8),
        types,
        layout.completed(per_trial, "trial"),
        made,
        per_unit=per_unit,
        type_names=layout.type_names,
    )
    return _digest(torch.as_tensor(called(summary.function, runs)))
