"""Who is joined to whom, compiled."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from sbirules.support.compiling import compiled

__all__ = ["joined"]


@compiled
def joined(u: Any, excitatory: int, inhibitory: int, inputs: int, from_e: int, from_i: int, from_x: int) -> Any:
    """Draws different sources for each neuron, so many of each kind and never itself, from uniform numbers u `(N, K)`."""
    n_all = excitatory + inhibitory
    sources = n_all + inputs
    total = n_all * (from_e + from_i + from_x)
    in_start = np.zeros((n_all, 4), np.int32)
    in_source = np.zeros(total, np.int32)
    degree = np.zeros(sources + 1, np.int32)
    order = np.arange(sources).astype(np.int32)
    place = 0
    for n in range(n_all):
        column = 0
        for kind in range(3):
            in_start[n, kind] = place
            first = 0 if kind == 0 else (excitatory if kind == 1 else n_all)
            last = excitatory if kind == 0 else (n_all if kind == 1 else sources)
            wanted = from_e if kind == 0 else (from_i if kind == 1 else from_x)
            # a shuffle that stops after so many; the neuron itself stands last and out of it
            own = -1
            if first <= n < last:
                for k in range(first, last):
                    if order[k] == n:
                        own = k
                order[own], order[last - 1] = order[last - 1], order[own]
                last -= 1
            for k in range(wanted):
                other = first + k + int(u[n, column] * (last - first - k))
                order[first + k], order[other] = order[other], order[first + k]
                in_source[place] = order[first + k]
                degree[order[first + k] + 1] += 1
                place += 1
                column += 1
        in_start[n, 3] = place
    out_start = np.cumsum(degree).astype(np.int32)
    filled = out_start[:-1].copy()
    out_middle = out_start[:-1].copy()
    out_post = np.zeros(total, np.int32)
    in_synapse = np.zeros(total, np.int32)
    for n in range(n_all):  # in order, so that synapses of a source are in the order of their ends
        for place in range(in_start[n, 0], in_start[n, 3]):
            source = in_source[place]
            synapse = filled[source]
            filled[source] += 1
            out_post[synapse] = n
            in_synapse[place] = synapse
            if n < excitatory:
                out_middle[source] = filled[source]
    return out_start, out_middle, out_post, in_start, in_synapse, in_source
