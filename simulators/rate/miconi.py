"""The network and protocol of Miconi (2017), "Biologically plausible learning in recurrent neural networks
reproduces neural dynamics observed during cognitive tasks" (eLife 6:e20899), as in his published program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sbirules.model.rules import PolynomialRule, RuleFamily
from sbirules.model.summaries import SummaryLike
from sbirules.model.tasks import Task
from sbirules.support import arguments
from sbirules.support.typed import typed

from .rate_rnn import DEFAULT_SUMMARIES, RateRNN

__all__ = ["MICONI_THETA_33", "miconi2017"]

MICONI_THETA_33 = -0.1  # raw coefficient of his rule, cubic in r_j (x_i - xbar_i), in the sign used here


@typed
def miconi2017(
    task: Task,
    family: RuleFamily | None = None,
    *,
    summaries: Sequence[SummaryLike] = DEFAULT_SUMMARIES,
    **changes: Any,
) -> RateRNN:
    """A `RateRNN` as in Miconi's program: 200 units, dt 1 ms, clipped updates scaled by the mean error.

    His rule is `simulator.run([[MICONI_THETA_33]], units="raw")`. He counts a trial as correct when its
    error is below 1.

    Arguments:
        task: The task; his are `DelayedNonMatchToSample()` and `SelectiveIntegration()`.
        family: The rule family; by default the one whose only term is theta_33.
        summaries: As for `RateRNN`.
        changes: Settings of `RateRNN` to change.
    """
    dt = arguments.above("dt", changes.get("dt", 1.0), 0.0)
    settings: dict[str, Any] = {
        "num_units": 200,
        "num_trials": 2000,
        "dt": dt,
        "kick_size": 16.0 * dt / 30.0,
        "kick_start": 4,
        "trace_start": 3,
        "tau_xbar": -dt / math.log(0.05),  # xbar keeps 0.05 of itself per step
        "reset_xbar": False,
        "warm_up": 101,  # "numtrial > 100", counted from 0
        "initial_expectation": 0.0,
        "error_factor": True,
        "max_weight_change": 3e-4,
        "input_to_readout": False,
        "criterion": 1.0,
    }
    family = family or PolynomialRule(degree=3, terms=["theta_33"])
    return RateRNN(family, task, summaries=summaries, **{**settings, **changes})
