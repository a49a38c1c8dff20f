"""A family, a task and a summary of one's own, through to a posterior. Takes about a minute on two cores.

Run it with `python examples/own_rule_task_summary.py`.
"""

from dataclasses import dataclass

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN


class DecayingHebb(sr.ThreeFactorRule):
    """Reward-modulated Hebbian growth, and change in proportion to the weight."""

    coefficients = (
        sr.Coefficient("hebb", "r_j (xbar_i - x_i)"),
        sr.Coefficient("cubic", "r_j^3 (xbar_i - x_i)^3"),
        sr.Coefficient("scale", "(xbar_i - x_i)^2 w_ij"),
    )

    def drive(self, theta, rate, deviation, weight):
        product = rate * deviation
        return theta["hebb"] * product + theta["cubic"] * product**3 + theta["scale"] * deviation**2 * weight


@dataclass(frozen=True)
class GoNoGo(sr.Task):
    """Answer to one of two cues, hold still for the other."""

    cue: int = 12  # steps
    response: int = 12
    type_names = ("go", "no-go")

    def tensors(self, dt):
        inputs = torch.zeros(2, self.cue + self.response, 2)
        inputs[0, : self.cue, 0] = inputs[1, : self.cue, 1] = 1.0
        return sr.TrialTensors(inputs, torch.tensor([0.9, 0.0]), torch.arange(inputs.shape[1]) >= self.cue)


@sr.summary("late_improvement", fields=["error"])
def late_improvement(trajectory):
    """How much lower the error is in the last quarter of the session than in the first."""
    quarter = trajectory.error.shape[1] // 4
    return trajectory.error[:, :quarter].mean(dim=1) - trajectory.error[:, -quarter:].mean(dim=1)


if __name__ == "__main__":
    family = DecayingHebb()
    simulator = RateRNN(
        family, GoNoGo(), num_units=32, num_trials=200, summaries=["learned", "mean_rate", late_improvement]
    )
    prior = uniform(family, -1.5, 1.5)
    store = sr.simulate(simulator, prior, 1024, seed=0)
    posterior = sr.fit(store, prior, constraints={"late_improvement": (0.3, None)}, all_of_networks=4)
    theta = posterior.sample((1000,))
    print(family.describe(theta.mean(dim=0)))
    for name, column in zip(family.names, theta.T, strict=True):
        print(f"{name:>8}: {column.mean():+.2f} ± {column.std():.2f}")
    checked = sr.check(posterior, simulator, rules=32, networks_per_rule=8)
    print("posterior", checked.success.posterior_success, "prior", checked.success.prior_success, sep="\n  ")
