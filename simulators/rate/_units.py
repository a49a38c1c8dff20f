"""Natural units: how much weight change a coefficient causes in untrained networks."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.model.rules import RuleFamily, ThreeFactorRule
from sbirules.model.tasks import Task
from sbirules.support.own_code import called
from sbirules.support.streams import Stream, lasting

from ._backends import TorchBackend
from ._draws import networks_of
from ._episode import deviation_from_mean
from ._settings import MEASURED as BLOCK
from ._settings import Settings
from ._trial import Block, Noise, Stage

__all__ = ["measure_raw_per_unit"]

SEED = 20170213
NUM_NETWORKS = 512
CHANGE = 0.05  # weight change of one natural unit, in initial s.d. per unit of reward error


def measure_raw_per_unit(s: Settings, family: RuleFamily, task: Task, dtype: torch.dtype) -> Tensor:
    """Raw value of one natural unit for each column of theta, `(D,)`, float64 on the CPU.

    Rules that no reward gates have no unit of reward error: theirs stay 1.
    """
    if not isinstance(family, ThreeFactorRule):
        return torch.ones(family.dim, dtype=torch.float64)
    device = torch.device("cpu")
    stage, backend = Stage.build(s, task, device, dtype), TorchBackend()
    channels = stage.tensors.inputs.shape[2]
    linear = [c.name for c in family.coefficients if c.linear]
    squares = torch.zeros(len(linear), dtype=torch.float64)
    synapses = torch.zeros(len(linear), dtype=torch.float64)
    for block in range(NUM_NETWORKS // BLOCK):
        network, trials, inputs = (lasting(SEED, block, 0, purpose) for purpose in range(3))
        net = networks_of(
            s, channels, task.num_types, BLOCK, BLOCK, {}.fromkeys(Stream, network).__getitem__, {}, dtype
        )
        noise = Noise((Block(slice(0, BLOCK), BLOCK, trials, trials, inputs),), {})
        kernel = net.weights.mT.contiguous()
        mask = torch.ones_like(net.weights) if net.mask is None else net.mask.to(dtype).expand_as(net.weights)
        for c in range(task.num_types):
            types = torch.full((BLOCK,), c, device=device)
            drive, x0 = stage.draw(net, types, 0, noise)
            x, rate = backend.episode(kernel, drive, x0, s.nonlinearity, stage.clamp)
            deviation, _ = deviation_from_mean(x, x0, s.xbar_factor)
            rate, deviation = rate[:, s.trace_start : -1], deviation[:, s.trace_start :]
            for i, name in enumerate(linear):
                theta = {
                    p.name: rate.new_full((BLOCK, 1, 1), 1.0 if p.name == name else 0.0 if p.linear else p.default)
                    for p in family.coefficients
                }
                trace = called(family.trace, theta, rate, deviation, kernel.mT, s.dt, None) * mask
                size = (trace.double() ** 2).sum(dim=(1, 2))
                fine = torch.isfinite(size)  # a network whose activity blows up has no say
                squares[i] += float(size[fine].sum())
                synapses[i] += float(mask[fine].sum())
    target = CHANGE * s.connectivity.initial_sd
    change = torch.sqrt(squares / synapses)
    raw = dict(zip(linear, (target / change).tolist(), strict=True))
    dead = [name for name, value in raw.items() if not 0 < value < float("inf")]
    if dead:
        raise ValueError(
            f"natural units cannot be measured: {dead[0]} causes no finite weight change in untrained networks; "
            f"drop the term, or declare its Coefficient with linear=False to give it unit 1."
        )
    return torch.tensor([raw.get(name, 1.0) for name in family.names], dtype=torch.float64)
