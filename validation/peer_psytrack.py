"""psytrack's own program on tables of choices; run by peers_of_behaviour.py, with an interpreter that has psytrack.

    PYTHON peer_psytrack.py FOLDER

Reads FOLDER/<name>.npz with `y` (0 or 1), `contrast`, `days` (trials of each session), `first` (prior s.d. of first weights),
`cut` (trials before those held out), `places` (after how many trials weights are wanted), `sigma` and `day` (drifts, bias
first, at which the evidence is wanted, too), `folds` (of its cross-validation; 0 for none). Writes <name>.out.npz beside it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = {"bias": 1, "contrast": 1}
BOTH = ["sigma", "sigDay"]


def cut(table: dict[str, np.ndarray], count: int) -> dict[str, Any]:
    """The first trials of a table, as psytrack takes them; it changes what it is given."""
    ends = np.minimum(np.cumsum(table["days"]), count)
    days = np.diff(ends, prepend=0)
    inputs = {"contrast": table["contrast"][:count, None].copy()}
    return {"y": table["y"][:count].astype(int) + 1, "inputs": inputs, "dayLength": days[days > 0]}


def last_weights(table: dict[str, np.ndarray], count: int, hyper: dict) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(2,)` and covariance `(2, 2)` of the weights at the last of so many trials, by its Laplace approximation."""
    from psytrack.getMAP import getMAP
    from psytrack.helper.helperFunctions import DT_X_D
    from scipy.sparse.linalg import spsolve

    mode, hess, _, _ = getMAP(cut(table, count), hyper, WEIGHTS)
    precision = -(DT_X_D(hess["ddlogprior"], hess["K"]) + hess["H"]).tocsc()
    at = [count - 1, 2 * count - 1]
    columns = []
    for k in at:
        unit = np.zeros(2 * count)
        unit[k] = 1.0
        columns.append(spsolve(precision, unit)[at])
    return mode[:, -1], np.stack(columns)


def fitted(table: dict[str, np.ndarray]) -> dict[str, Any]:
    """All that is asked of one table."""
    from psytrack import hyperOpt
    from psytrack.getMAP import getMAP

    first, count, before = float(table["first"]), len(table["y"]), int(table["cut"])
    guess = {"sigInit": first, "sigma": [0.03, 0.03], "sigDay": [0.3, 0.3]}
    start = time.process_time()
    hyper, evidence, weights, more = hyperOpt(cut(table, count), guess, WEIGHTS, BOTH)
    seconds = time.process_time() - start
    out = {"seconds": seconds, "sigma": hyper["sigma"], "day": hyper["sigDay"], "evidence": evidence}
    out |= {"weights": weights, "sd": more["W_std"]}
    # what it predicts of the trials held out, one ahead, is what they add to the evidence
    early, at_cut, _, _ = hyperOpt(cut(table, before), guess, WEIGHTS, BOTH, hess_calc=None)
    whole = getMAP(cut(table, count), early, WEIGHTS)[2]
    out |= {"held_out": whole - at_cut, "early_sigma": early["sigma"], "early_day": early["sigDay"]}
    given = {"sigInit": first, "sigma": list(table["sigma"]), "sigDay": list(table["day"])}
    out["evidence_given"] = getMAP(cut(table, count), given, WEIGHTS)[2]
    last = [last_weights(table, int(k), given) for k in table["places"]]
    out |= {"mean": np.array([m for m, _ in last]), "covariance": np.array([c for _, c in last])}
    folds = int(table["folds"])
    if folds:
        from psytrack.helper.crossValidation import crossValidate

        start = time.process_time()
        even = cut(table, count - count % folds)
        value, _ = crossValidate(even, guess, WEIGHTS, BOTH, F=folds, seed=0, verbose=False)
        out |= {"crossed": value / len(even["y"]), "crossed_seconds": time.process_time() - start}
    return out


def main() -> None:
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        with np.load(path) as table:
            out = fitted(dict(table))
        np.savez(path.with_suffix(".out.npz"), **out)
        print(path.stem, f"{out['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
