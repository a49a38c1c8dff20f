"""What a user's own rule, task or summary computes, as a digest.

A manifest must tell two families of one name apart, and class names and settings do not: so each is run once
on fixed input, and the digest of what comes out, to single precision, is part of the configuration.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from sbirules.rules import RuleFamily
from sbirules.streams import generator
from sbirules.summaries import Summary
from sbirules.task import Task
from sbirules.trajectory import Trajectory

__all__ = ["family_probe", "summary_probe", "task_probe"]


def _digest(*tensors: Tensor) -> str:
    """Of values rounded to five digits, which differ by rounding between machines."""
    text = ",".join(f"{v:.5g}" for t in tensors for v in t.detach().double().flatten().tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def family_probe(family: RuleFamily) -> str:
    """Traces of two rules in three units over four steps."""
    stream = generator(0, 1)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=stream, dtype=torch.float64)

    low = torch.tensor([max(p.low, -1.0) for p in family.coefficients], dtype=torch.float64)
    high = torch.tensor([min(p.high, 2.0) for p in family.coefficients], dtype=torch.float64)
    coefficients = low + (high - low) * draw(2, len(low))
    names = [c.name for c in family.coefficients]
    theta = {name: column[:, None, None] for name, column in zip(names, coefficients.T, strict=True)}
    rate, deviation, weight = draw(2, 4, 3), draw(2, 4, 3) - 0.5, draw(2, 3, 3) - 0.5
    return _digest(family.trace(theta, rate, deviation, weight, 5.0, None))


def task_probe(task: Task, dt: float) -> str:
    """The task's tensors, and the input of one trial of each type."""
    tensors = task.tensors(dt).to("cpu", torch.float64)
    types = torch.arange(task.num_types)
    inputs = task.draw_inputs(tensors, types, generator(0, 2))
    sequence = task.sequence(20).double()
    return _digest(tensors.inputs, tensors.targets, tensors.response.double(), inputs, sequence)


def summary_probe(summary: Summary, type_names: tuple[str, ...]) -> str:
    """The summary of four made-up sessions."""
    error = 2 * torch.rand(4, 120, generator=generator(0, 3))
    runs = Trajectory(
        status=torch.zeros(4, dtype=torch.int8),
        trial_types=torch.arange(120).expand(4, -1) % len(type_names),
        error=error,
        output=error - 1,
        reward=-error,
        correct=(error < 0.5).float(),
        activity={name: error[:, 0] for name in summary.fields if name not in Trajectory.PER_TRIAL},
        num_types=len(type_names),
        type_names=type_names,
    )
    return _digest(torch.as_tensor(summary.function(runs)))
