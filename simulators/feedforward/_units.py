"""Natural units: how much weight change a coefficient causes in untrained networks."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.model.rules import READOUT_RATE, LayeredRule
from sbirules.model.tasks import LabelledStimuli
from sbirules.support.streams import lasting

from ._settings import Settings
from ._trial import changes, respond

__all__ = ["measure_raw_per_unit"]

SEED = 20161108
NUM_NETWORKS, BLOCK = 512, 64
CHANGE = 0.05  # weight change of one natural unit, in initial s.d. per trial and unit of error


def measure_raw_per_unit(s: Settings, task: LabelledStimuli, family: LayeredRule) -> Tensor:
    """Raw value of one natural unit for each column of theta, `(D,)`, float64.

    Raises:
        ValueError: If a coefficient changes no weight in untrained networks.
    """
    linear = [c for c in family.parameters if c.linear]
    squares = {c.name: torch.zeros((), dtype=torch.float64) for c in linear}
    into, out = s.initial_sd(task.channels)
    ones = torch.ones(BLOCK, dtype=torch.float64)
    for block in range(NUM_NETWORKS // BLOCK):
        stream = lasting(SEED, block)

        def normal(*shape: int, stream: torch.Generator = stream) -> Tensor:
            return torch.randn(BLOCK, *shape, generator=stream, dtype=torch.float64)

        weights, readout = into * normal(s.num_hidden, task.channels), out * normal(s.num_hidden)
        feedback, stimuli = out * normal(s.num_hidden), task.draw_stimuli(BLOCK, stream, torch.float64)
        for c in range(task.num_types):
            x = stimuli[:, c] + task.draw_noise(BLOCK, stream, torch.float64)
            seen = respond(s.nonlinearity, weights, readout, x, s.unit_noise * normal(s.num_hidden))
            for one in linear:
                theta = {
                    p.name: ones[:, None, None] * (1.0 if p is one else 0.0 if p.linear else p.default)
                    for p in family.parameters
                }
                # one unit of error, and of reward beyond expectation, whatever the output was
                both = changes(family, theta, s.nonlinearity, seen, weights, readout, feedback, ones, ones)
                squares[one.name] += both[one is READOUT_RATE].square().mean()
    trials = NUM_NETWORKS // BLOCK * task.num_types
    raw = {}
    for one in linear:
        size = float((squares[one.name] / trials).sqrt())
        target = CHANGE * (out if one.name == READOUT_RATE.name else into)
        if not 0 < size < float("inf"):
            raise ValueError(
                f"natural units cannot be measured: {one.name} causes no finite weight change in untrained networks; "
                f"drop the term, or declare its Coefficient with linear=False to give it unit 1."
            )
        raw[one.name] = target / size
    return torch.tensor([raw.get(name, 1.0) for name in family.names], dtype=torch.float64)
