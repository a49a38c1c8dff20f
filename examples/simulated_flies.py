"""The table of simulated flies that comes with the package, sbirules/studies/flies.csv; the same one every time.

Eighteen flies choose between two odours, 240 times each. Rewards are baited: an odour that has none waiting gets one with
its probability, which then waits until it is collected; the better odour changes in blocks of about 80 trials. One rule moves
the policy of all flies, and one answer in ten is given at random. Run it with
`python examples/simulated_flies.py sbirules/studies/flies.csv`; without a file the table is printed.
"""

import csv
import sys

import sbirules as sr
from sbirules.simulators import PolicyNetwork

TRUTH = {"c_rd": 0.16, "c": 0.17, "w": -0.12, "lapse": 0.1}
SEED = 0


def simulated_flies(num_flies: int = 18, num_trials: int = 240) -> sr.Trials:
    """Flies with the rule `TRUTH`, as a table of choices."""
    task = sr.tasks.ChoiceTask(
        options=("A", "B"),
        reward="baited",
        probabilities=((0.4, 0.1), (0.1, 0.4)),
        block=(70, 90),
        num_trials=num_trials,
    )
    lab = PolicyNetwork(sr.TaylorRule(["c rd", "c", "w"]), task, nuisance=("lapse",))
    theta = [[TRUTH[name] for name in lab.names]] * num_flies
    return lab.animals(theta, seed=SEED, names=[f"fly{k + 1:02d}" for k in range(num_flies)])


def main() -> None:
    flies = simulated_flies()
    fields = flies.trajectory.per_trial
    with open(sys.argv[1], "w", newline="") if len(sys.argv) > 1 else sys.stdout as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("fly", "trial", "odor", "reward"))
        for k, name in enumerate(flies.learners):
            for t in range(int(flies.num_trials[k])):
                odor = flies.meaning.options[int(fields["choice"][k, t])]
                table.writerow((name, t, odor, int(fields["reward"][k, t])))


if __name__ == "__main__":
    main()
