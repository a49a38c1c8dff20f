"""Small simulated tables for study files to start from; the same ones every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sbirules.model.tables import Trials

__all__ = ["EXAMPLES"]

SEED = 0
NUMBER = 8  # of animals or networks
OF_LEARNERS = {"theta_11": 0.0, "theta_13": -0.3, "theta_31": 0.0, "theta_33": -0.5}
OF_ANIMALS = {"c_rd": 0.16, "c": 0.17, "w": -0.12, "lapse": 0.1}


def learners(num_trials: int = 200) -> Trials:
    """Networks that share the rule `OF_LEARNERS` and learn delayed discrimination."""
    from sbirules.model.rules import PolynomialRule
    from sbirules.model.runs import Trajectory
    from sbirules.model.tables import Trials
    from sbirules.model.tasks import DelayedDiscrimination
    from sbirules.simulators import RateRNN

    lab = RateRNN(PolynomialRule(degree=3, terms=list(OF_LEARNERS)), DelayedDiscrimination(), num_trials=num_trials)
    run = lab.run([list(OF_LEARNERS.values())] * NUMBER, seed=SEED)
    kept = {"error": run.per_trial["error"].double().round(decimals=4)}  # what else there is follows from it
    shown = Trajectory(run.status, run.trial_types, kept, type_names=run.type_names)
    return Trials(tuple(f"network{k + 1}" for k in range(NUMBER)), shown)


def animals(num_trials: int = 240) -> Trials:
    """Animals that share the rule `OF_ANIMALS` and choose between two options, the better one changing in blocks."""
    from sbirules.model.rules import TaylorRule
    from sbirules.model.tasks import ChoiceTask
    from sbirules.simulators import PolicyNetwork

    task = ChoiceTask(
        options=("A", "B"),
        reward="baited",
        probabilities=((0.4, 0.1), (0.1, 0.4)),
        block=(70, 90),
        num_trials=num_trials,
    )
    lab = PolicyNetwork(TaylorRule(["c rd", "c", "w"]), task, nuisance=("lapse",))
    theta = [[OF_ANIMALS[name] for name in lab.names]] * NUMBER
    return lab.animals(theta, seed=SEED, names=[f"animal{k + 1}" for k in range(NUMBER)])


EXAMPLES: Mapping[str, Callable[[], Trials]] = {"data": learners, "choices": animals}  # by question
