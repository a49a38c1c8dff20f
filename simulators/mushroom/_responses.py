"""The output neuron's response in every trial, one trial of many animals after the other, in torch with autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sbirules.model.rules import PolicyRule

from ._given import Conditioning

__all__ = ["responses"]


def responses(
    rule: Tensor,
    circuit: Tensor,
    family: PolicyRule | None,
    names: Sequence[str],
    given: Conditioning,
) -> Tensor:
    """Responses `(n, A, T)` in units of that of the naive animal to the first odour.

    Arguments:
        rule: The rule's coefficients, `(n, A, R)`.
        circuit: The circuit's, `(n, A, C)`, in the order of `names`.
        family: The rule; None for none.
        names: Of the circuit's coefficients.
        given: What the animals were given.
    """
    n, animals, _ = circuit.shape
    rows, flat = circuit.flatten(0, 1), rule.flatten(0, 1)
    one = rows.new_ones(len(rows))

    def column(name: str, default: Tensor) -> Tensor:
        return rows[:, names.index(name)] if name in names else default

    overlap = column("overlap", 0 * one)
    drives = [k for k, name in enumerate(names) if name.startswith("drive_")]
    drive = torch.cat([one[:, None], rows[:, drives].exp()], dim=1) if drives else one[:, None].expand(-1, given.odours)
    # Kenyon cells of each odour alone, and those that all odours excite
    size = torch.cat([(1 - overlap)[:, None].expand(-1, given.odours), overlap[:, None]], dim=1)[:, None]
    trace, strength = column("trace_time", torch.inf * one), column("dopamine_gain", one)
    theta = None if family is None else family.columns(flat)
    weight = rows.new_zeros(len(rows), 1, given.odours + 1)  # what it is above the naive weight, 1
    expected, memory = rows.new_zeros(len(rows)), rows.new_zeros(len(rows), getattr(family, "last", 1))
    out = []
    for t in range(given.odour.shape[1]):
        odour = given.odour[:, t].repeat(n)
        there = (odour >= 0).to(rows.dtype)
        active = torch.nn.functional.one_hot(odour.clamp(min=0), given.odours).to(rows.dtype) * there[:, None]
        cells = torch.cat([active, there[:, None]], dim=1)[:, None]  # (B, 1, groups)
        seen = (drive * active).sum(dim=1)
        out.append(seen * (size * cells * (1 + weight)).sum(dim=(1, 2)))
        if family is None or theta is None:
            continue
        kept = torch.exp(-given.delay[:, t].repeat(n) / trace)[:, None, None]
        r = strength * given.dopamine[:, t].repeat(n)
        x = cells * kept
        y = (size * weight * cells).sum(dim=2, keepdim=True)
        before = memory.mean(dim=1) if family.baseline == "last" else expected
        seen_by = {"x": x, "c": one[:, None, None], "d": one[:, None, None], "y": y, "w": weight}
        change = family.update(theta, **seen_by, r=r[:, None, None], rd=(r - before)[:, None, None])
        learns = there[:, None, None]
        weight = (weight + learns * change).clamp(min=-1.0)  # synapses of Kenyon cells excite
        rate = theta["rbar_rate"][:, 0, 0] if "rbar_rate" in theta else family.rate * one
        if family.baseline == "exponential":
            expected = expected + there * rate * (r - expected)
        memory = torch.where(there[:, None] > 0, torch.cat([memory[:, 1:], r[:, None]], dim=1), memory)
    return torch.stack(out, dim=1).reshape(n, animals, -1)
