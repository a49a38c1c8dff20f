"""A rule family, a task and a summary of one's own, through to a posterior. About a minute on two cores."""

from dataclasses import dataclass
from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import log_uniform, uniform
from sbirules.simulators import RateRNN

OUT = Path("runs/tutorials/own_task_and_rule")


# --8<-- [start:family]
class GatedHebb(sr.ThreeFactorRule):
    """Hebbian growth of the trace, a decay that follows the postsynaptic deviation, and a term in the weight itself."""

    coefficients = (
        sr.Coefficient("hebb", "r_j (xbar_i - x_i)", latex=r"r_j\,(\bar x_i - x_i)"),
        sr.Coefficient("cubic", "(r_j (xbar_i - x_i))^3", latex=r"\left(r_j\,(\bar x_i - x_i)\right)^3"),
        sr.Coefficient("oja", "(xbar_i - x_i)^2 w_ij", latex=r"(\bar x_i - x_i)^2\, w_{ij}"),
    )

    def drive(self, theta, rate, deviation, weight):
        product = rate * deviation
        return theta["hebb"] * product + theta["cubic"] * product**3 + theta["oja"] * deviation**2 * weight

    # --8<-- [end:family]


# --8<-- [start:task]
@dataclass(frozen=True)
class GoNoGo(sr.Task):
    """One stimulus asks for an answer, the other for none; times in ms."""

    stimulus: float = 80.0
    response: float = 100.0
    type_names = ("go", "no-go")

    def tensors(self, dt: float) -> sr.TrialTensors:
        shown, steps = round(self.stimulus / dt), round((self.stimulus + self.response) / dt)
        inputs = torch.zeros(2, steps, 2)
        inputs[0, :shown, 0] = inputs[1, :shown, 1] = 1.0
        return sr.TrialTensors(inputs, torch.tensor([0.9, 0.0]), torch.arange(steps) >= shown)

    # --8<-- [end:task]


# --8<-- [start:summary]
@sr.summary("no_go_errors", fields=["error", "trial_types"])
def no_go_errors(trajectory: sr.Trajectory) -> torch.Tensor:
    """Mean error in the no-go trials of the second half."""
    half = trajectory.error.shape[1] // 2
    error, types = trajectory.error[:, half:], trajectory.trial_types[:, half:]
    return torch.where(types == 1, error, torch.nan).nanmean(dim=1)


# --8<-- [end:summary]


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    # --8<-- [start:study]
    family = GatedHebb(infer=["tau_e"])  # the trace's time constant is inferred, too
    simulator = RateRNN(
        family, GoNoGo(), num_units=24, num_trials=160, summaries=["final_error", "mean_rate", no_go_errors]
    )
    prior = uniform(family, -1.0, 1.0, tau_e=log_uniform(20, 2000))
    print(dict(zip(family.names, simulator.raw_per_unit.tolist(), strict=True)))
    # --8<-- [end:study]

    # --8<-- [start:posterior]
    store = sr.simulate(simulator, prior, 1536, store=OUT / "store", seed=0)
    asked = {"no_go_errors": (0, 0.35), "final_error": (0, 0.4), "mean_rate": (0.05, 0.9)}
    posterior = sr.fit(store, prior, constraints=asked, all_of_networks=16)
    print(posterior.marginals().round(2))
    checked = sr.check(posterior, simulator, store=store, rules=32, networks_per_rule=4)
    print(checked)
    sr.report(OUT / "report.html", posterior, simulator, checked=checked, store=store, title="Go or no-go")
    # --8<-- [end:posterior]


if __name__ == "__main__":
    main()
