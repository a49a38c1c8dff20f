"""Do the checks see what is wrong? Right and wrong posteriors, and right and wrong models, twenty times each.

    python validation/verdicts.py [--quick] [--json validation/results/verdicts.json] [--write docs/verdicts.md]

Three problems whose simulators cost nothing or little:

- *lines*: x = A theta + noise, three coefficients, six summaries; the posterior is known and made wrong on purpose, or the
  data come from another model than the posterior's.
- *learners*: 24 networks that learn delayed discrimination under one rule; data from the same networks, or with another delay,
  another rule than the prior holds, other noise.
- *success*: constraints on the errors of trials; a classifier that learned from right or from shuffled outcomes.

A posterior is caught where any check is a caution or a fail. Seeds are fixed below.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

SEED = 15_000
CAUGHT, FAILED = 0.9, 0.1  # share of wrong ones caught at least, of right ones failed at most
REPEATS, QUICK = 20, 3
KEEP: dict[str, Any] = {"num_workers": 1, "progress": False}


@dataclass
class Case:
    """One row of the table: what is wrong, and the levels of each check in each repeat."""

    problem: str
    name: str
    right: bool
    levels: list[dict[str, str]]

    @property
    def any_fail(self) -> int:
        return sum("fail" in found.values() for found in self.levels)

    @property
    def any_doubt(self) -> int:
        return sum(set(found.values()) != {"pass"} for found in self.levels)

    def row(self) -> dict[str, Any]:
        """Goal, wanted, found and met."""
        n = len(self.levels)
        found = self.any_fail / n if self.right else self.any_doubt / n
        goal = "any check fails" if self.right else "any check cautions or fails"
        wanted = f"<= {FAILED:.0%}" if self.right else f">= {CAUGHT:.0%}"
        met = found <= FAILED if self.right else found >= CAUGHT
        words = f"{found:.0%} of {n}" + f" (caution or fail {self.any_doubt}, fail {self.any_fail})"
        return {"goal": f"{self.problem}, {self.name}: {goal}", "wanted": wanted, "found": words, "met": met}


def levels_of(checked: sr.Checks) -> dict[str, str]:
    return {v.name: v.level for v in checked}


# Lines --------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
COLUMNS = tuple(f"x_{k + 1}" for k in range(6))
A = torch.tensor(
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, 0.5]]
)
NOISE = 0.7
LINES_PRIOR = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)


def lines(theta: Tensor) -> Tensor:
    return theta @ A.T + NOISE * torch.randn(len(theta), len(A))


def bent(theta: Tensor) -> Tensor:
    """Another model: the summaries saturate."""
    return 2.5 * torch.tanh(theta @ A.T / 1.2) + NOISE * torch.randn(len(theta), len(A))


class Lines:
    """The exact posterior, scaled about its mean, shifted, or blind to some of the data; asked as sbi's posteriors are."""

    def __init__(
        self, scale: float = 1.0, shift: float = 0.0, columns: int = 6, bend: float = 0.0, apart: bool = False
    ):
        self.scale, self.shift, self.columns, self.bend, self.apart = scale, shift, columns, bend, apart

    def at(self, x: Tensor) -> MultivariateNormal:
        seen = A[: self.columns]
        precision = torch.eye(3) + seen.T @ seen / NOISE**2
        covariance = torch.linalg.inv(precision)
        mean = covariance @ (seen.T @ x.flatten()[: self.columns]) / NOISE**2
        sd = covariance.diagonal().sqrt()
        if self.apart:  # right marginals, coefficients independent of each other
            covariance = torch.diag(covariance.diagonal())
        # `bend`: to one side where the first summary is large, to the other where it is small
        mean = mean + (self.shift + self.bend * torch.sign(x.flatten()[0])) * sd
        return MultivariateNormal(mean, self.scale**2 * covariance)

    def sample(self, shape: tuple[int, ...], x: Tensor, show_progress_bars: bool = False) -> Tensor:
        return self.at(x).sample(torch.Size(shape))

    def log_prob(self, theta: Tensor, x: Tensor) -> Tensor:
        return self.at(x).log_prob(theta)


class Prior(Lines):
    """Ignores the data."""

    def at(self, x: Tensor) -> MultivariateNormal:
        return MultivariateNormal(torch.zeros(3), torch.eye(3))


class Leaky(Lines):
    """Two thirds of its draws lie where the prior has none."""

    def sample(
        self, shape: tuple[int, ...], x: Tensor, show_progress_bars: bool = False, reject_outside_prior: bool = True
    ) -> Tensor:
        draws = super().sample(shape, x)
        lost = torch.rand(len(draws)) < (0.0 if reject_outside_prior else 0.67)
        return torch.where(lost[:, None], torch.full_like(draws, torch.inf), draws)


WRONG_POSTERIORS: dict[str, Lines] = {
    "s.d. x 0.6": Lines(scale=0.6),
    "s.d. x 0.8": Lines(scale=0.8),
    "s.d. x 1.5": Lines(scale=1.5),
    "s.d. x 2": Lines(scale=2.0),
    "shifted by 1 s.d.": Lines(shift=1.0),
    "shifted by 0.5 s.d.": Lines(shift=0.5),
    "shifted by 0.5 s.d. to where the data point": Lines(bend=0.5),
    "coefficients independent of each other": Lines(apart=True),
    "ignores the data": Prior(),
    "ignores half of the data": Lines(columns=3),
    "leaks out of the prior": Leaky(),
}
WRONG_DATA: dict[str, Callable[[Tensor], Tensor]] = {
    "noise x 4 in the data": lambda theta: lines(theta) + 15**0.5 * NOISE * torch.randn(len(theta), 6),
    "one summary coded -999": lambda theta: torch.cat(
        [lines(theta)[:, :5], torch.full((len(theta), 1), -999.0)], dim=1
    ),
    "one summary moved by 6 s.d.": lambda theta: lines(theta) + torch.tensor([0.0, 0.0, 0.0, 6 * NOISE, 0.0, 0.0]),
    "all summaries moved by 25": lambda theta: lines(theta) + 25.0,
}


def check_lines(posterior: Lines, observed: Callable[[Tensor], Tensor], k: int, model: Any = lines) -> dict[str, str]:
    torch.manual_seed(SEED + k)
    x_o = observed(LINES_PRIOR.sample((1,)))[0]
    wrapped = sr.Posterior.wrap(posterior, LINES_PRIOR, NAMES, x_o)
    return levels_of(sr.check(wrapped, model, rules=256, calibration=200, seed=SEED + k, **KEEP))


def cases_of_lines(repeats: int) -> Iterator[Case]:
    yield Case("lines", "exact", True, [check_lines(Lines(), lines, k) for k in range(repeats)])
    for name, wrong in WRONG_POSTERIORS.items():
        yield Case("lines", name, False, [check_lines(wrong, lines, k) for k in range(repeats)])
    for name, data in WRONG_DATA.items():
        yield Case("lines", f"exact, {name}", False, [check_lines(Lines(), data, k) for k in range(repeats)])
    bad = [check_lines(Lines(), bent, k, bent) for k in range(repeats)]
    yield Case("lines", "posterior of another model", False, bad)


# Learners -----------------------------------------------------------------------------------------

FAMILY = sr.PolynomialRule(degree=3, terms=["theta_33", "theta_11"])
LEARNERS = 24


def network(**settings: Any) -> RateRNN:
    delay = settings.pop("delay", 50.0)
    task = sr.tasks.DelayedDiscrimination(delay=delay)
    return RateRNN(FAMILY, task, num_units=32, num_trials=60, **settings)


def learners(simulator: RateRNN, rule: tuple[float, float], k: int) -> sr.Trials:
    """Learners of one rule, those whose networks ran through."""
    run = simulator.run(simulator.to_natural(network().to_raw(torch.tensor([rule] * (LEARNERS + 12)))), seed=(SEED, k))
    kept = run.ok.nonzero()[:LEARNERS, 0]
    return sr.Trials(tuple(str(i) for i in range(len(kept))), run.rows(kept))


def cases_of_learners(repeats: int) -> Iterator[Case]:
    simulator, prior = network(), uniform(FAMILY, -1, 1)
    store = sr.simulate(simulator, prior, 3000, seed=SEED, **KEEP)
    rule = (-0.7, 0.1)
    posterior = sr.fit(store, prior, trials=learners(simulator, rule, 0), seed=SEED)
    data: dict[str, tuple[RateRNN, tuple[float, float]]] = {
        "right": (simulator, rule),
        "a delay of 300 ms": (network(delay=300.0), rule),
        "weaker recurrence": (network(gain=1.0), rule),
        "a rule outside of the prior": (simulator, (-2.0, 0.1)),
    }
    for name, (made_by, of) in data.items():
        found = []
        for k in range(repeats):
            table = learners(made_by, of, 100 + k)
            asked = posterior.given(table)
            checked = sr.check(asked, simulator, store=store, rules=100, calibration=0, seed=SEED + k, **KEEP)
            found.append(levels_of(checked))
        yield Case("learners", name, name == "right", found)


# Success ------------------------------------------------------------------------------------------


class Errors(sr.Simulator):
    """Errors of ten trials: |a + b trial / trials + noise|."""

    own_fields = (sr.Field("error", "distance from the target", low=0.0, better="low"),)

    def __init__(self) -> None:
        self.success = {}
        super().__init__(_Lines(), None, ["final_error"])
        self.num_trials = 10

    def config(self) -> dict[str, object]:
        return {"simulator": "errors"}

    def run(self, theta: Any, *, seed: Any = None, trial_types: Any = None, **options: Any) -> sr.Trajectory:
        from sbirules.support.streams import generator

        theta = torch.as_tensor(theta).float()
        types = self.sequence_matrix(trial_types, len(theta))
        noise = 0.1 * torch.randn(types.shape, generator=generator(seed))
        error = (theta[:, :1] + theta[:, 1:] * torch.linspace(0, 1, types.shape[1]) + noise).abs()
        ok = torch.full((len(theta),), int(sr.Status.OK), dtype=torch.int8)
        return sr.Trajectory(ok, types, per_trial={"error": error})


class _Lines(sr.RuleFamily):
    coefficients = (sr.Coefficient("a"), sr.Coefficient("b"))


def cases_of_success(repeats: int) -> Iterator[Case]:
    simulator = Errors()
    prior = uniform(simulator.family, -1, 1)
    asked = {"final_error": (0.0, 0.3)}

    def check(shuffled: bool, all_of: int, limit: float, k: int) -> dict[str, str]:
        store = sr.simulate(simulator, prior, 2048, seed=SEED + k, **KEEP)
        torch.manual_seed(SEED + k)
        x = store.x[torch.randperm(len(store))] if shuffled else store.x
        arrays = sr.SimulationStore.from_arrays(store.theta, x, names=store.names, summary_names=store.summary_names)
        constraints = {"final_error": (0.0, limit)}
        posterior = sr.fit(arrays, prior, constraints=constraints, all_of_networks=all_of, seed=k)
        return levels_of(
            sr.check(posterior, simulator, store=arrays, rules=64, networks_per_rule=16, seed=SEED + k, **KEEP)
        )

    limit = asked["final_error"][1]
    yield Case("success", "right", True, [check(False, 4, limit, k) for k in range(repeats)])
    yield Case("success", "learned from shuffled outcomes", False, [check(True, 4, limit, k) for k in range(repeats)])
    never = [check(False, 32, 0.09, k) for k in range(repeats)]
    yield Case("success", "all of 32 networks, which no rule does", False, never)


# The table ----------------------------------------------------------------------------------------


def table(cases: list[Case]) -> str:
    """One line a case: how often any check doubts and fails, and which do."""
    lines_ = ["| problem | posterior, data | caution or fail | fail | by |", "|---|---|---|---|---|"]
    for case in cases:
        by: Counter[str] = Counter(name for found in case.levels for name, level in found.items() if level != "pass")
        listed = ", ".join(f"{name} {n}" for name, n in by.most_common(6))
        n = len(case.levels)
        lines_.append(
            f"| {case.problem} | {case.name} | {case.any_doubt} of {n} | {case.any_fail} of {n} | {listed or '-'} |"
        )
    return "\n".join(lines_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} repeats of each in place of {REPEATS}")
    parser.add_argument("--only", choices=["lines", "learners", "success"], help="one of the problems")
    parser.add_argument("--json", type=Path, help="where rows and levels go")
    parser.add_argument("--write", type=Path, help="where the table goes, as Markdown")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    repeats, clock = QUICK if args.quick else REPEATS, time.monotonic()
    problems = {"lines": cases_of_lines, "learners": cases_of_learners, "success": cases_of_success}
    cases: list[Case] = []
    for name, make in problems.items():
        if args.only in (None, name):
            for case in make(repeats):
                cases.append(case)
                row = case.row()
                print(
                    f"{'met   ' if row['met'] else 'MISSED'} {row['goal']}: {row['found']}", file=sys.stderr, flush=True
                )
    print(table(cases))
    rows = [case.row() for case in cases]
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        kept = [{"problem": c.problem, "case": c.name, "right": c.right, "levels": c.levels} for c in cases]
        content = {"repeats": repeats, "seconds": round(time.monotonic() - clock), "rows": rows, "cases": kept}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if args.write is not None:
        args.write.write_text(f"{table(cases)}\n\n{repeats} repeats of each.\n", encoding="utf-8")
    missed = [row["goal"] for row in rows if not row["met"]]
    if missed:
        sys.exit(f"{len(missed)} of {len(rows)} goals are missed.")


if __name__ == "__main__":
    main()
