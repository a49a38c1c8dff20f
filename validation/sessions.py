"""Slow laws of plasticity: are posteriors over laws right, are laws told apart, and how well do fast-slow networks predict?

    python validation/sessions.py [--quick] [--part NAME ...] [--jobs N] [--json validation/results/sessions.json]

- *laws*: planted linear and BCM laws, scales observed with known errors: coverage of coefficients and of invariants, TARP.
- *families*: five laws planted in the same circuit, told apart by evidence, by number of sessions.
- *forecasts*: scales of sessions under schedules that were not tried, in their bands.
- *end to end*: laws planted in a known network whose activity is simulated, found again through a fitted network.
- *lorenz*, *bcm*, *ring*: the benchmarks of STEER (arXiv 2603.00213), beside what was published. Dynamical similarity (DSA) needs
  `pip install dsa-metric` and is left out without.
- *speed*: a fit of the Lorenz sessions with 8 restarts; cost over sessions and samples.

Seeds are fixed. On two cores about an hour, with --quick about 5 minutes. Rows of other parts in the JSON file stay.
"""

from __future__ import annotations

from result_rows import PACKAGES, run_parts
from session_benchmarks import bcm_rows, lorenz_rows, ring_rows, speed_rows
from session_laws import end_to_end_rows, family_rows, forecast_rows, law_rows


def main() -> None:
    makers = {
        "laws": law_rows,
        "families": family_rows,
        "forecasts": forecast_rows,
        "end_to_end": end_to_end_rows,
        "lorenz": lambda quick, _: lorenz_rows(quick),
        "bcm": lambda quick, _: bcm_rows(quick),
        "ring": lambda quick, _: ring_rows(quick),
        "speed": lambda quick, _: speed_rows(quick),
    }
    run_parts(__doc__, makers, (*PACKAGES, "dsa-metric"))


if __name__ == "__main__":
    main()
