"""Spiking networks: against Brian2, the inhibitory rule's target, the search for plausible rules, and speed.

    python validation/spiking.py [--quick] [--part NAME ...] [--jobs N] [--json validation/results/spiking.json]

- *equal*: spikes and weights beside Brian2, of the same network, weights and input spikes: in double precision spike by
  spike, then in distribution over longer runs (`pip install brian2`, else left out; it is copyleft and used here only).
- *target*: Vogels et al. (2011): rate of excitatory neurons for three targets, detailed balance of what reaches a neuron.
- *search*, *search-all*: rules of EE and IE synapses, and of all four kinds, that keep 1000 neurons plausible for 20 s. They
  read rounds from runs/validation/spiking and say how many simulations they held; what is not there they simulate (hours;
  `python validation/spiking_search.py "EE and IE" 20000` beforehand).
- *speed*: seconds of networks per second and process beside Brian2's Cython and C++ targets; scaling.

Seeds are fixed. Without the search about half an hour on two cores, with --quick about 5 minutes.
"""

from __future__ import annotations

from functools import partial

from result_rows import run_parts
from spiking_checks import equal_rows, speed_rows, target_rows
from spiking_search import search_rows

if __name__ == "__main__":
    parts = {
        "equal": equal_rows,
        "target": target_rows,
        "search": partial(search_rows, "EE and IE"),
        "search-all": partial(search_rows, "all four"),
        "speed": speed_rows,
    }
    run_parts(__doc__, parts, packages=("sbirules", "torch", "numba", "numpy", "brian2"))
