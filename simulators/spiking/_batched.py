"""Spiking networks in torch, a batch at a time: any rule, any device.

The same order within a step as the kernel of numba. Only synapses of neurons that fire are touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sbirules.model.rules import SYNAPSES, SpikeRule, Traces
from sbirules.support.own_code import called, must_broadcast

from ._network import Network, pathways
from ._outcome import WINDOW, Cell, Outcome, bounds_of, cell_of, decays_of, values_of
from ._presented import tests_of
from ._settings import Settings

__all__ = ["by_torch"]


@dataclass
class _Synapses:
    """Those of all networks in one row; of each network `m` of them."""

    out_start: Tensor  # (B, S + 1), places in the row
    post: Tensor  # end, as a place among the neurons of all networks
    source: Tensor  # likewise among the sources of all networks
    pathway: Tensor
    incoming: Tensor  # (B N, K) those on each neuron
    weights: Tensor


def _synapses(settings: Settings, networks: Sequence[Network], device: torch.device) -> _Synapses:
    s = settings
    n, m, sources = s.num_units, s.num_synapses, s.num_units + s.num_inputs

    def row(name: str, step: int) -> Tensor:
        return torch.cat(
            [torch.from_numpy(getattr(net, name).astype(np.int64)) + k * step for k, net in enumerate(networks)]
        )

    starts = torch.stack([torch.from_numpy(net.out_start.astype(np.int64)) + k * m for k, net in enumerate(networks)])
    source = torch.cat(
        [
            torch.repeat_interleave(torch.arange(sources), torch.from_numpy(np.diff(net.out_start).astype(np.int64)))
            + k * sources
            for k, net in enumerate(networks)
        ]
    )
    post = row("out_post", n)
    pathway = np.concatenate([pathways(s, net.out_start, net.out_middle) for net in networks])
    weights = torch.cat([torch.from_numpy(net.weights) for net in networks])
    incoming = row("in_synapse", m).reshape(len(networks) * n, -1)
    parts = (starts, post, source, torch.from_numpy(pathway), incoming, weights)
    return _Synapses(*(p.to(device) for p in parts))


def _spread(first: Tensor, count: Tensor) -> Tensor:
    """All places of ranges that start at `first` and are so long."""
    end = count.cumsum(0)
    total = int(end[-1]) if len(end) else 0
    offset = torch.repeat_interleave(first - (end - count), count, output_size=total)
    return offset + torch.arange(total, device=first.device)


def by_torch(
    settings: Settings,
    family: SpikeRule,
    thetas: Sequence[dict[str, float]],
    networks: Sequence[Network],
    device: torch.device,
) -> list[Outcome]:
    """Runs networks together, each with its rule."""
    s = settings
    b, n, sources = len(networks), s.num_units, s.num_units + s.num_inputs
    y = _synapses(s, networks, device)
    dtype = y.weights.dtype
    cell = Cell(*map(float, cell_of(s, networks[0].weights.dtype.type)))
    values = [values_of(family, theta) for theta in thetas]
    decays = torch.from_numpy(np.stack([decays_of(s, v) for v in values], axis=1)).to(device, dtype)[..., None]
    bounds = torch.from_numpy(bounds_of(s)).to(device, dtype)
    plastic = torch.tensor([name in family.synapses for name in SYNAPSES], device=device)
    columns = {  # by short name, (B, 6)
        c.name: torch.tensor([[v.get(p, {}).get(c.name, 0.0) for p in SYNAPSES] for v in values], device=device).to(
            dtype
        )
        for c in family.of_synapse
    }
    drive = s.resting + s.current
    v = torch.cat([torch.from_numpy(net.potentials) for net in networks]).to(device).reshape(b, n)
    g = torch.zeros(2, b * n, device=device, dtype=dtype)
    decay_g = torch.tensor([[cell.decay_of_excitation], [cell.decay_of_inhibition]], device=device, dtype=dtype)
    slow_g, raised = torch.zeros_like(v), torch.zeros_like(v)  # NMDA; by how much thresholds are above their own
    free = torch.zeros(b, n, dtype=torch.long, device=device)
    pre, post = (torch.zeros(6, 2, b, k, device=device, dtype=dtype) for k in (sources, n))  # fast and slow
    reached = torch.full((b,), s.total_steps, dtype=torch.long, device=device)
    running = torch.ones(b, dtype=torch.bool, device=device)
    recent = torch.zeros(b, device=device)
    queue: list[Tensor] = []
    written: list[tuple[int, Tensor]] = []
    counts = torch.zeros(s.bins, 2, b, dtype=torch.long, device=device)
    means = torch.full((s.bins, 6, b), torch.nan, dtype=torch.float64, device=device)
    inputs = _input_events(networks, n, sources, s.total_steps, device)
    window, refractory, bin_length = s.steps(WINDOW), s.refractory_steps(), s.steps(s.bin_length)

    frozen = tests_of(networks[0].presented).tolist()  # at the same times in all
    end, at_end = s.steps(s.duration), y.weights.reshape(b, -1).clone()

    def changed(which: Tensor, at_pre: bool) -> None:
        """Weights of plastic synapses at spikes of one side."""
        pathway = y.pathway[which]
        which = which[plastic[pathway]]
        if not len(which) or not s.eta:  # a rate of 0 times an infinite change is no number
            return
        pathway, source, end = y.pathway[which], y.source[which], y.post[which]
        net = torch.div(end, n, rounding_mode="floor")
        theta = {name: column[net, pathway] for name, column in columns.items()}
        x = pre[pathway, :, net, source % sources]
        z = post[pathway, :, net, end % n]
        traces = Traces(x[:, 0], z[:, 0], x[:, 1], z[:, 1], y.weights[which])
        rule = family.at_pre if at_pre else family.at_post
        change = called(rule, theta, traces)
        must_broadcast(rule, change, which.shape)
        change = torch.as_tensor(change, device=device)
        if change.is_complex() or bool(torch.isnan(change).any()):
            side = "at_pre" if at_pre else "at_post"
            raise ValueError(
                f"{type(family).__name__}.{side} must return real numbers, got {change.flatten()[:3].tolist()}."
            )
        new = y.weights[which] + s.eta * change.to(dtype)
        y.weights[which] = torch.minimum(torch.maximum(new, bounds[pathway, 0]), bounds[pathway, 1])

    for t in range(s.total_steps):
        g_e, g_i = g[0].reshape(b, n), g[1].reshape(b, n)
        if s.nmda_share > 0:
            slow_g, g_e = (
                cell.decay_of_nmda * slow_g + cell.rise_of_nmda * g_e,
                (1 - cell.nmda_share) * g_e + cell.nmda_share * slow_g,
            )
        pull = drive + g_e * cell.pull_of_excitation + g_i * cell.pull_of_inhibition
        moved = (v + cell.step * pull) / (1 + cell.step * (1 + cell.leak_of_g * (g_e + g_i)))
        v = torch.where(free <= t, moved, cell.reset)
        g = g * decay_g
        raised = raised * cell.decay_of_threshold
        fired = ((v > cell.threshold + raised) & running[:, None]).reshape(-1).nonzero()[:, 0]
        net, neuron = torch.div(fired, n, rounding_mode="floor"), fired % n
        v[net, neuron] = cell.reset
        raised[net, neuron] += cell.threshold_jump
        free[net, neuron] = t + 1 + refractory
        written.append((t, fired))
        excited = neuron < s.num_excitatory
        recent.index_add_(0, net[excited], torch.ones_like(net[excited], dtype=recent.dtype))
        here = t // bin_length
        if here < s.bins:
            for kind, mine in enumerate((excited, ~excited)):
                counts[here, kind].index_add_(0, net[mine], torch.ones_like(net[mine]))
        queue.append(net * sources + neuron)
        arrived = queue.pop(0) if len(queue) > s.delay_steps() else net[:0]
        arrived = torch.cat([arrived, inputs[t]])
        arrived = arrived[running[torch.div(arrived, sources, rounding_mode="floor")]]

        of, which_source = torch.div(arrived, sources, rounding_mode="floor"), arrived % sources
        first = y.out_start[of, which_source]
        outgoing = _spread(first, y.out_start[of, which_source + 1] - first)
        inhibitory = (y.pathway[outgoing] // 2 == 1).long()
        g.reshape(-1).index_add_(0, inhibitory * (b * n) + y.post[outgoing], y.weights[outgoing])
        if not any(first_step <= t < last_step for first_step, last_step in frozen):
            changed(outgoing, at_pre=True)
            changed(y.incoming[fired].reshape(-1), at_pre=False)
        for slow in (0, 1):
            pre[:, slow, of, which_source] += 1
            post[:, slow, net, neuron] += 1
            pre[:, slow] *= decays[:, :, 2 * slow]
            post[:, slow] *= decays[:, :, 2 * slow + 1]

        if t + 1 == end:
            at_end[running] = y.weights.reshape(b, -1)[running]
        if (t + 1) % bin_length == 0 and here < s.bins:
            means[here] = _mean_weights(y, b)
        if (t + 1) % window == 0:
            ended = running & (recent > s.rate_limit * WINDOW * s.num_excitatory)
            reached[ended] = t + 1
            if t + 1 < end:
                at_end[ended] = y.weights.reshape(b, -1)[ended]
            running = running & ~ended
            recent.zero_()
            if not running.any():
                break
    step = torch.cat([torch.full((len(f),), t) for t, f in written])
    which = torch.cat([f for _, f in written]).cpu()
    weights = at_end.cpu()
    return [
        Outcome(
            not bool(running[k]),
            int(reached[k]),
            step[mine].numpy().astype(np.int32),
            (which[mine] % n).numpy().astype(np.int32),
            counts[:, :, k].cpu().numpy(),
            means[:, :, k].cpu().numpy(),
            weights[k].numpy(),
        )
        for k in range(b)
        for mine in [which // n == k]
    ]


def _input_events(
    networks: Sequence[Network], n: int, sources: int, steps: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Sources among all networks of which a spike arrives, by step."""
    step = torch.cat([torch.from_numpy(net.input_step.astype(np.int64)) for net in networks])
    source = torch.cat(
        [torch.from_numpy(net.input_neuron.astype(np.int64)) + n + k * sources for k, net in enumerate(networks)]
    )
    order = torch.argsort(step, stable=True)
    count = torch.bincount(step, minlength=steps)[:steps].tolist()
    return torch.split(source[order].to(device), count)


def _mean_weights(y: _Synapses, b: int) -> Tensor:
    """Mean weight of each of `SYNAPSES` in each network, `(6, B)`; NaN of one without synapses."""
    each = len(y.weights) // b
    place = y.pathway * b + torch.arange(len(y.weights), device=y.weights.device) // each
    total = torch.zeros(6 * b, dtype=torch.float64, device=y.weights.device)
    total.index_add_(0, place, y.weights.double())
    return (total / torch.bincount(place, minlength=6 * b)).reshape(6, b)
