"""A simulator that costs nothing: what is tested with it is what happens to its results."""

import time

import torch

from sbirules import Coefficient, Simulator, Status, Task, ThreeFactorRule, Trajectory, TrialTensors
from sbirules.priors import uniform
from sbirules.support import arguments
from sbirules.support.streams import by_row, global_seed


class Line(ThreeFactorRule):
    coefficients = (Coefficient("a"), Coefficient("b"))

    def drive(self, theta, rate, deviation, weight):
        return theta["a"] * rate + theta["b"] * deviation


class Nothing(Task):
    type_names = ("only",)

    def tensors(self, dt):
        return TrialTensors(torch.zeros(1, 4, 1), torch.zeros(1), torch.ones(4, dtype=torch.bool))


class Cheap(Simulator):
    """Errors of `num_trials` trials: |a + b trial / trials + noise|; every fiftieth network or so diverges."""

    def __init__(self, num_trials=10, seconds=0.0):
        super().__init__(Line(), Nothing(), ["final_error"])
        self.num_trials, self.seconds = num_trials, seconds

    raw_per_unit = torch.ones(2)

    def config(self):
        return {"simulator": "cheap", "num_trials": self.num_trials}

    def run(self, theta, *, seed=None, trial_types=None, **options):
        time.sleep(self.seconds)
        seed = global_seed() if seed is None else seed
        theta = arguments.theta_matrix(theta, self.names).float()
        types = self.sequence_matrix(trial_types, len(theta))
        slope = torch.linspace(0, 1, types.shape[1])
        noise = 0.1 * by_row(lambda g, n: torch.randn(n, types.shape[1], generator=g), len(theta), seed, 1)
        error = (theta[:, :1] + theta[:, 1:] * slope + noise).abs()
        lost = by_row(lambda g, n: torch.rand(n, generator=g), len(theta), seed, 2) < 0.02
        return Trajectory(
            torch.where(lost, int(Status.DIVERGED), int(Status.OK)).to(torch.int8),
            types,
            self.layout.completed({"error": error, "output": error}, "trial"),
            type_names=("only",),
        )


PRIOR = uniform(Line(), -1, 1)
