"""What is random about a batch of networks, drawn in blocks of rows so that the batch can have any size.

Every block has streams of its own, named by its place and by what they are for. The rows of a block depend on the
configuration alone, and a block is drawn whole even where fewer of its rows are asked for: what a network is drawn
with does not depend on how many there are. How many blocks run as one batch is a matter of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from sbirules.support.streams import Stream, generator

from ._settings import Settings
from ._trial import Block, Networks, Noise

__all__ = ["batch_rows", "block_rows", "draw", "networks_of"]

# Activity of one block, (rows, T, N) in float32: on a CPU it should stay in a core's share of the cache,
# on a GPU it should be large enough to hide the launching of kernels.
CPU_BYTES, GPU_BYTES = 2**21, 2**28
ARRAYS = 24  # arrays of that size that a trial holds at once, with room to spare
GPU_BATCH = 32768
OF_TRIALS = (Stream.INITIAL_STATES, Stream.KICKS, Stream.INPUTS, Stream.MEASUREMENT_NOISE)


def block_rows(steps: int, num_units: int, device: torch.device) -> int:
    """Networks that are drawn from one set of streams: a power of two, for the same sizes always the same."""
    fit = (CPU_BYTES if device.type == "cpu" else GPU_BYTES) // (4 * steps * num_units)
    least, most = (8, 128) if device.type == "cpu" else (64, 16384)
    return min(max(1 << int(math.log2(max(fit, 1))), least), most)


def batch_rows(steps: int, num_units: int, device: torch.device, max_batch: int | None) -> int:
    """Networks that are simulated as one batch: whole blocks."""
    block = block_rows(steps, num_units, device)
    if max_batch is None:
        max_batch = block
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own cache
            row = 4 * (ARRAYS * steps * num_units + 8 * num_units**2)
            max_batch = min(int(0.7 * free) // row, GPU_BATCH)
    return max(max_batch // block, 1) * block


def draw(
    s: Settings,
    channels: int,
    num_types: int,
    key: list[int],
    rows: slice,
    given: Mapping[str, Tensor],
    device: torch.device,
    dtype: torch.dtype,
    block: int,
) -> tuple[Networks, Noise]:
    """Networks and noise of a batch that starts with a block; what was passed in replaces the draw.

    Arguments:
        s: The network's settings.
        channels: Input channels I.
        num_types: Trial types C.
        key: Name of the run's streams.
        rows: Rows of the run that form the batch; they start with a block.
        given: Draws passed in, of these rows.
        device: Where to draw.
        dtype: Floating type.
        block: Rows of a block.
    """
    networks, blocks = [], []
    for first in range(rows.start, rows.stop, block):
        size = min(block, rows.stop - first)
        mine = slice(first - rows.start, first - rows.start + size)
        part = {n: value[mine] for n, value in given.items()}
        stream = partial(generator, [*key, first // block], device=device)
        networks.append(networks_of(s, channels, num_types, size, block, stream, part, dtype))
        of_trials = (stream(purpose) for purpose in OF_TRIALS)
        blocks.append(Block(mine, block, *of_trials))
    return _joined(networks), Noise(tuple(blocks), given)


def networks_of(
    s: Settings,
    channels: int,
    num_types: int,
    size: int,
    block: int,
    stream: Callable[[Stream], torch.Generator],
    given: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> Networks:
    """The first `size` networks of a block of `block`."""
    connectivity = s.connectivity
    draws = stream(Stream.MASK)
    device = draws.device
    mask = connectivity.draw_mask(block, draws)
    weights = given.get("weights")
    if weights is None:
        weights = connectivity.draw(block, mask, stream(Stream.WEIGHTS), dtype)[:size]
    mask = None if mask is None else mask[:size]
    if "weights" in given and mask is not None:
        weights = weights * mask
    input_weights = given.get("input_weights")
    if input_weights is None:
        shape = (block, s.num_units, channels)
        draws = stream(Stream.INPUT_WEIGHTS)
        input_weights = 2 * torch.rand(shape, generator=draws, device=device, dtype=dtype)[:size] - 1
    if not s.input_to_readout and isinstance(s.readout, int):
        input_weights = input_weights.clone()  # may have been passed in
        input_weights[:, s.readout] = 0.0
    readout = given.get("readout")
    if isinstance(s.readout, Tensor):
        readout = s.readout.to(device, dtype).expand(size, -1)
    elif isinstance(s.readout, str) and readout is None:
        draws = stream(Stream.READOUT)
        readout = torch.randn(block, s.num_units, generator=draws, device=device, dtype=dtype)[:size]
        readout = readout / math.sqrt(s.num_units)
    expectation = given.get("expectation")
    if expectation is None:
        start = math.nan if s.initial_expectation is None else s.initial_expectation
        expectation = torch.full((size, num_types), start, device=device, dtype=dtype)
    recorded = None
    if s.num_recorded:
        order = torch.rand(block, s.num_units, generator=stream(Stream.RECORDED), device=device)
        order[:, list(s.clamped)] = 2.0  # last: what is clamped tells nothing
        recorded = order.argsort(dim=1)[:size, : s.num_recorded]
    return Networks(weights, input_weights, readout, mask, expectation, recorded)


def _joined(parts: list[Networks]) -> Networks:
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    shared = first.mask is not None and len(first.mask) == 1 < len(first.weights)
    return Networks(
        weights=torch.cat([p.weights for p in parts]),
        input_weights=torch.cat([p.input_weights for p in parts]),
        readout=None if first.readout is None else torch.cat([p.readout for p in parts if p.readout is not None]),
        mask=first.mask if first.mask is None or shared else torch.cat([p.mask for p in parts if p.mask is not None]),
        expectation=torch.cat([p.expectation for p in parts]),
        recorded=None if first.recorded is None else torch.cat([p.recorded for p in parts if p.recorded is not None]),
    )
