"""A simulator of choices and spike counts, without a task and without any error: the core must not ask for one."""

import torch
from scipy.stats import poisson

from sbirules import Coefficient, Field, RuleFamily, Simulator, Status, Trajectory, summary
from sbirules.priors import uniform
from sbirules.support import arguments
from sbirules.support.streams import by_row


class Habit(RuleFamily):
    """How much a choice is repeated, and how strongly spikes go with it."""

    coefficients = (Coefficient("repeat", "c_t c_{t-1}"), Coefficient("drive", "c_t"))


@summary("choice_share", fields=["choice"])
def choice_share(run):
    """Share of choices that were 1."""
    return run.per_trial["choice"].nanmean(dim=1)


@summary("mean_spikes", fields=["spike_count"])
def mean_spikes(run):
    """Mean spike count of a trial."""
    return run.per_trial["spike_count"].nanmean(dim=1)


@summary("mean_latency", fields=["latency"])
def mean_latency(run):
    """Time of the first spike."""
    return run.per_run["latency"]


class Spikes(Simulator):
    """Choices with probability sigmoid(repeat) and Poisson spike counts with rate exp(1 + drive)."""

    num_trials = 30
    success = {}  # noqa: RUF012
    own_fields = (
        Field("choice", "1 for the right option", dtype="bool"),
        Field("spike_count", "spikes of one unit in the trial", unit="spikes", low=0.0),
        Field("latency", "time of the first spike", unit="ms", per="run", low=0.0),
    )

    def __init__(self, num_trials: int = 30) -> None:
        super().__init__(Habit(), None, [choice_share, mean_spikes, mean_latency])
        self.num_trials = num_trials

    def config(self):
        return {"simulator": "spikes", "num_trials": self.num_trials}

    def run(self, theta, *, seed=None, trial_types=None, **options):
        theta = arguments.theta_matrix(theta, self.names).float()
        types = self.sequence_matrix(trial_types, len(theta))
        seed = 0 if seed is None else seed

        def noise(purpose, columns):
            return by_row(lambda g, n: torch.rand(n, columns, generator=g), len(theta), seed, purpose)

        choice = (noise(1, types.shape[1]) < torch.sigmoid(theta[:, :1])).float()
        count = torch.as_tensor(poisson.ppf(noise(2, types.shape[1]), (1 + theta[:, 1:]).exp())).float()
        there = types >= 0
        choice, count = (torch.where(there, v, torch.nan) for v in (choice, count))
        latency = noise(3, 1)[:, 0] * 10
        status = torch.full((len(theta),), int(Status.OK), dtype=torch.int8)
        return Trajectory(status, types, {"choice": choice, "spike_count": count}, {"latency": latency})


PRIOR = uniform(Habit(), -1, 1)
