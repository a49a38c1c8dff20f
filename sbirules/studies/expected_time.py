"""How long a study will take, from a few simulations of it."""

from __future__ import annotations

import os
import time

from torch import Size

from sbirules.checks.calibrating import OF_PRIOR
from sbirules.studies.study import Study
from sbirules.support.durations import in_words
from sbirules.support.streams import Stream, seeded

__all__ = ["counts_of", "forecast"]

PROBE = 64  # networks that are simulated to see how fast that is


def counts_of(study: Study) -> dict[str, int]:
    """How many networks a study simulates, by what they are for."""
    fit, check = study.fit, study.check
    counts = {"simulate": study.simulate.num_simulations, "rounds": fit.rounds * fit.round_simulations}
    counts |= study.question.costs(check.rules, check.networks_per_rule, check.calibration, len(study.variants))
    learners = study.question.size
    if learners > 1:
        counts["recalibration"] = fit.recalibration * learners
        if fit.rounds and check.calibration:  # the prior's data, which a refined posterior's are not
            counts["calibration"] += OF_PRIOR * learners
    if "knock_outs" in study.sensitivity.parts:
        terms = len(study.simulator.names) + 1
        counts["knock-outs"] = terms * study.sensitivity.rules * study.sensitivity.networks
    return {name: n for name, n in counts.items() if n}


def forecast(study: Study, workers: int | None = None) -> list[str]:
    """Sentences on the number of simulations and the time they should take here.

    Arguments:
        study: The study.
        workers: Worker processes; None for one per core.
    """
    if study.exact:
        return ["no simulations: the likelihood of the table is known exactly; fitting takes seconds to minutes"]
    simulator, counts = study.simulator, counts_of(study)
    with seeded(0, Stream.PRIOR):
        theta = study.prior.sample(Size((PROBE,))).float()
    types = study.question.trial_types
    one = simulator.sequence() if types is None else types[0]
    simulator.run(theta[:2], seed=0, trial_types=one[:2])  # compiling is paid once
    start = time.perf_counter()
    simulator.run(theta, seed=0, trial_types=one)
    each = (time.perf_counter() - start) / PROBE
    number = workers or os.cpu_count() or 1
    total = float(f"{sum(counts.values()) * each / number:.2g}")  # no more is known of it
    listed = ", ".join(f"{name} {n}" for name, n in counts.items())
    return [
        f"simulations: {listed}; {sum(counts.values())} networks of {len(one)} trials in all",
        f"expected time of these: about {in_words(total)} with {number} worker(s) here ({1e3 * each:.1f} ms per network and "
        f"core); fitting, sampling and figures come on top, minutes",
    ]
