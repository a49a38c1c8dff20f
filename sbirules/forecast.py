"""How long a study will take, from a few simulations of it."""

from __future__ import annotations

import os
import time

import torch
from torch import Size

from sbirules.resimulation import ZERO_NETWORKS
from sbirules.streams import seeded
from sbirules.study import Study

__all__ = ["forecast"]

PROBE = 64  # networks that are simulated to see how fast that is


def forecast(study: Study, workers: int | None = None) -> list[str]:
    """Sentences on the number of simulations and the time they should take here.

    Arguments:
        study: The study.
        workers: Worker processes; None for one per core.
    """
    simulator = study.simulator
    fit, check, sensitivity = (study.sections[k] for k in ("fit", "check", "sensitivity"))
    counts = {"simulate": study.sections["simulate"]["num_simulations"]}
    counts["rounds"] = fit["rounds"] * fit["round_simulations"]
    if study.constraints is not None:
        counts["check"] = 2 * check["rules"] * check["networks_per_rule"] + ZERO_NETWORKS
        counts["variants"] = 2 * len(study.variants) * min(check["rules"], 64) * min(check["networks_per_rule"], 8)
    elif study.trials is not None:
        counts["check"] = check["rules"] * len(study.trials)
        counts["calibration"] = check["calibration"] * len(study.trials)
        counts["variants"] = sum(min(check["rules"], 64) * len(pair[1]) for pair in study.variants.values())
    if "knock_outs" in sensitivity["parts"]:
        counts["knock-outs"] = (len(simulator.names) + 1) * sensitivity["rules"] * sensitivity["networks"]
    counts = {name: n for name, n in counts.items() if n}
    with seeded(0, 1):
        theta = study.prior.sample(Size((PROBE,))).float()
    types = simulator.task.sequence(simulator.num_trials) if study.trial_types is None else study.trial_types
    one = torch.as_tensor(types) if torch.as_tensor(types).ndim == 1 else torch.as_tensor(types)[0]
    simulator.run(theta[:2], seed=0, trial_types=one[:2])  # compiling is paid once
    start = time.perf_counter()
    simulator.run(theta, seed=0, trial_types=one)
    each = (time.perf_counter() - start) / PROBE
    number = workers or os.cpu_count() or 1
    total = sum(counts.values()) * each / number
    listed = ", ".join(f"{name} {n}" for name, n in counts.items())
    return [
        f"simulations: {listed}; {sum(counts.values())} networks of {len(one)} trials in all",
        f"expected time of these: about {_spoken(total)} with {number} worker(s) here ({1e3 * each:.1f} ms per network and "
        f"core); fitting, sampling and figures come on top, minutes",
    ]


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
