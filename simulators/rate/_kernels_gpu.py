"""The Triton kernels of the fused GPU backend: one program per network in each of them.

episode_kernel   steps a network through a trial, weights on chip; reads kicks as they were drawn
panels_kernel    what the trace's matrix product multiplies: polynomials of the rates, powers of the deviation
apply_kernel     the weight update (Eq. 5), in place, and whether the weights are still within the limit
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Triton compiles these, and takes annotations for types of its own; its decorator has none

import triton
import triton.language as tl

__all__ = ["apply_kernel", "episode_kernel", "panels_kernel"]


@triton.jit
def _rate(x, KIND: tl.constexpr):
    if KIND == 0:
        return 2.0 * tl.sigmoid(2.0 * x) - 1.0
    elif KIND == 1:
        return tl.where(x < 0.0, 0.0, x)
    else:
        return tl.sigmoid(x)


@triton.jit
def episode_kernel(
    weights,
    inputs,
    input_weights,
    kicks,
    x0,
    free,
    value,
    xs,
    rates,
    leak,
    steps,
    chance,
    amplitude,
    first_kick,
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
    LINES: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    KIND: tl.constexpr,
    UNIFORM: tl.constexpr,
):
    network = tl.program_id(0).to(tl.int64)
    w0 = weights + network * N * N
    row = network * (steps + 1) * N  # of the states and rates
    post = tl.arange(0, BLOCK)
    on = post < N
    pre = tl.arange(0, TILE)
    line = tl.arange(0, LINES)
    open_, held = tl.load(free + post, mask=on, other=0.0), tl.load(value + post, mask=on, other=0.0)
    into = tl.load(
        input_weights + network * CHANNELS * N + line[:, None] * N + post[None, :],
        mask=(line[:, None] < CHANNELS) & on[None, :],
        other=0.0,
    )
    x = tl.load(x0 + network * N + post, mask=on, other=0.0)
    r = tl.where(on, _rate(x, KIND), 0.0)
    tl.store(xs + row + post, x, mask=on)
    tl.store(rates + row + post, r, mask=on)
    if TILE == BLOCK:
        w = tl.load(w0 + pre[:, None] * N + post[None, :], mask=(pre[:, None] < N) & on[None, :], other=0.0)
    for t in range(steps):
        if TILE == BLOCK:
            total = tl.sum(w * r[:, None], axis=0)
        else:
            tl.debug_barrier()  # the rates of the last step must have been written by all threads
            total = tl.zeros((BLOCK,), tl.float32)
            for first in range(0, N, TILE):
                j = first + pre
                rate = tl.load(rates + row + j, mask=j < N, other=0.0)
                w = tl.load(w0 + j[:, None] * N + post[None, :], mask=(j[:, None] < N) & on[None, :], other=0.0)
                total += tl.sum(w * rate[:, None], axis=0)
        u = tl.load(inputs + (network * steps + t) * CHANNELS + line, mask=line < CHANNELS, other=0.0)
        total += tl.sum(into * u[:, None], axis=0)
        kick = tl.load(kicks + (network * steps + t) * N + post, mask=on, other=1.0)
        if UNIFORM:  # one number decides and gives the size
            hit = (kick < chance) & (t >= first_kick)
            kick = tl.where(hit, amplitude * (2.0 * kick / chance - 1.0), 0.0)
        x = ((1.0 - leak) * x + kick + leak * total) * open_ + held
        r = tl.where(on, _rate(x, KIND), 0.0)
        row += N
        tl.store(xs + row + post, x, mask=on)
        tl.store(rates + row + post, r, mask=on)


@triton.jit
def panels_kernel(
    xs,
    rates,
    means,
    coefficients,
    log_decay,
    left,
    right,
    constant,
    dt,
    factor,
    steps,
    first,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    PANELS: tl.constexpr,
    TERMS: tl.constexpr,
    LEVELS: tl.constexpr,
    CONSTANT: tl.constexpr,
):
    network = tl.program_id(0).to(tl.int64)
    unit = tl.arange(0, BLOCK)
    on = unit < N
    row = network * (steps + 1) * N
    mean = tl.load(means + network * N + unit, mask=on, other=0.0)
    rule = coefficients + network * PANELS * TERMS
    decay = tl.load(log_decay + network)
    kept = steps - first  # steps that enter the trace
    moving: tl.constexpr = PANELS - CONSTANT  # panels that come with a power of the deviation
    out = network * moving * kept * N
    flat = tl.zeros((BLOCK,), tl.float32)
    for t in range(steps):
        x = tl.load(xs + row + N + unit, mask=on, other=0.0)
        r = tl.load(rates + row + unit, mask=on, other=0.0)
        deviation = mean - x
        mean = x + factor * (mean - x)
        row += N
        if t >= first:
            scale = dt * tl.exp(decay * (steps - 1 - t))
            for p in tl.static_range(PANELS):
                total = tl.zeros((BLOCK,), tl.float32) + tl.load(rule + p * TERMS + TERMS - 1)
                for k in tl.static_range(TERMS - 1):
                    total = total * r + tl.load(rule + p * TERMS + TERMS - 2 - k)
                if (LEVELS >> (4 * p)) & 15 == 0:  # the power of the deviation, four bits each
                    flat += scale * total
                else:
                    power = deviation
                    for _ in tl.static_range(((LEVELS >> (4 * p)) & 15) - 1):
                        power = power * deviation
                    place = out + ((p - CONSTANT) * kept + t - first) * N + unit
                    tl.store(left + place, scale * total, mask=on)
                    tl.store(right + place, power, mask=on)
    if CONSTANT:
        tl.store(constant + network * N + unit, flat, mask=on)


@triton.jit
def apply_kernel(
    weights,
    trace,
    constant,
    surprise,
    keep,
    alive,
    mask,
    mask_stride,
    signs,
    within,
    clip,
    limit,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    TRACE: tl.constexpr,
    CONSTANT: tl.constexpr,
    CLIP: tl.constexpr,
    MASK: tl.constexpr,
    SIGNS: tl.constexpr,
):
    network = tl.program_id(0).to(tl.int64)
    learns = tl.load(alive + network) != 0
    bad = 0
    if learns:
        gain, kept = tl.load(surprise + network), tl.load(keep + network)
        post = tl.arange(0, BLOCK)
        pre = tl.arange(0, TILE)
        base = network * N * N
        for first in range(0, N, TILE):
            j = first + pre
            on = (j[:, None] < N) & (post[None, :] < N)
            place = j[:, None] * N + post[None, :]
            w = tl.load(weights + base + place, mask=on, other=0.0)
            change = tl.zeros((TILE, BLOCK), tl.float32)
            if TRACE:
                change += tl.load(trace + base + place, mask=on, other=0.0)
            if CONSTANT:
                change += tl.load(constant + network * N + j, mask=j < N, other=0.0)[:, None]
            change = change * gain
            if CLIP:  # comparisons, since minimum and maximum may drop NaN
                change = tl.where(change > clip, clip, tl.where(change < -clip, -clip, change))
            if MASK:
                change = change * tl.load(mask + network * mask_stride + place, mask=on, other=0.0)
            new = change + kept * w
            if SIGNS:
                sign = tl.load(signs + j, mask=j < N, other=1.0)[:, None]
                new = tl.where(new * sign < 0.0, 0.0, new)
            fine = (tl.abs(new) <= limit) | ~on  # not so for NaN
            bad += tl.sum(tl.sum(tl.where(fine, 0, 1), axis=1), axis=0)
            tl.store(weights + base + place, new, mask=on)
    tl.store(within + network, tl.where(bad == 0, 1, 0).to(tl.int8))
