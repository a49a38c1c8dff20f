"""Search over structures: is the planted rule found, are probabilities of structures right, and how fast is it?

    python validation/search.py [--quick] [--part NAME ...] [--jobs N] [--json validation/results/search.json]

- *planted*: ten rules of 2-4 terms, found from the choices of 18 simulated animals of 300 trials: by tree search, among rules
  drawn from the prior, by posterior over structures; sequentially thresholded fits and L1 beside it. Rules are one class where
  their log score on fresh animals differs by less than .1 nat per animal.
- *calibration*: 200 rules drawn from the prior without selection (6 animals of 150 trials): probabilities against hits.
- *fish*: five circuits of the optomotor response: models with and without drive and connections, in distribution and under a
  stimulus held out; their Jacobians; the posterior over circuits, beside pysindy (`pip install pysindy`, else left out).
- *speed*: nodes per second of a whole search; on a machine that does nothing else.

The prior over structures is 2^-complexity across complexities and uniform within one; coefficients are uniform(-1, 1), the decay
of weights uniform(-1, 0). Seeds are fixed. On two cores about an hour, with --quick about 5 minutes. Rows of other parts in the
JSON file stay, and rules that were done stay in runs/validation: a run that was stopped goes on.
"""

from __future__ import annotations

from result_rows import run_parts
from search_fish import fish_rows
from search_rules import calibration_rows, planted_rows, speed_rows


def main() -> None:
    makers = {
        "speed": lambda quick, _: speed_rows(quick),
        "planted": planted_rows,
        "calibration": calibration_rows,
        "fish": fish_rows,
    }
    run_parts(__doc__, makers)


if __name__ == "__main__":
    main()
