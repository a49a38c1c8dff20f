"""Right and wrong posteriors, and right and wrong models, of the three problems of verdicts.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, Uniform

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN
from sbirules.support.streams import generator

SEED = 15_000
CAUGHT, FAILED = 0.9, 0.1  # share of wrong ones caught at least, of right ones failed at most
KEEP: dict[str, Any] = {"num_workers": 1, "progress": False}
Levels = dict[str, str]


@dataclass
class Case:
    """One row of the table: what is wrong, and the levels of each check in each repeat.

    Arguments:
        problem: Which problem.
        name: What is wrong.
        right: Whether nothing is.
        levels: Levels by check, of each repeat.
        noisy: Checks whose cautions do not count, since they caution of right ones as well.
    """

    problem: str
    name: str
    right: bool
    levels: list[Levels]
    noisy: frozenset[str] = frozenset()

    @property
    def failed(self) -> int:
        return sum("fail" in found.values() for found in self.levels)

    @property
    def doubted(self) -> int:
        return sum(set(found.values()) != {"pass"} for found in self.levels)

    @property
    def caught(self) -> int:
        return sum(
            any(level == "fail" or (level == "caution" and name not in self.noisy) for name, level in found.items())
            for found in self.levels
        )

    def row(self) -> dict[str, Any]:
        """Goal, wanted, found and met."""
        n = len(self.levels)
        found = (self.failed if self.right else self.caught) / n
        met = found <= FAILED if self.right else found >= CAUGHT
        return {
            "goal": f"{self.problem}, {self.name}: {'any check fails' if self.right else 'is caught'}",
            "wanted": f"<= {FAILED:.0%}" if self.right else f">= {CAUGHT:.0%}",
            "found": f"{found:.0%} of {n} (caution or fail {self.doubted}, fail {self.failed})",
            "met": met,
        }


def levels_of(checked: sr.Checks) -> Levels:
    return {v.name: v.level for v in checked}


# Lines --------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
A = torch.tensor(
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, 0.5]]
)
NOISE = 0.7
LINES_PRIOR = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
BOX = Independent(Uniform(torch.full((3,), -2.0), torch.full((3,), 2.0)), 1)


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


class InBox(Lines):
    """The exact posterior under a prior with bounds, by rejection; a share of its own draws is lost outside."""

    def __init__(self, lost: float = 0.0):
        super().__init__()
        self.lost = lost

    def at(self, x: Tensor) -> MultivariateNormal:
        precision = A.T @ A / NOISE**2
        return MultivariateNormal(
            torch.linalg.solve(precision, A.T @ x.flatten() / NOISE**2), torch.linalg.inv(precision)
        )

    def sample(
        self, shape: tuple[int, ...], x: Tensor, show_progress_bars: bool = False, reject_outside_prior: bool = True
    ) -> Tensor:
        n, found = shape[0], torch.empty(0, 3)
        while len(found) < n:
            draws = self.at(x).sample(torch.Size((4 * n,)))
            found = torch.cat([found, draws[(draws.abs() <= 2).all(dim=1)]])
        found = found[:n]
        lost = torch.rand(n) < (0.0 if reject_outside_prior else self.lost)
        return torch.where(lost[:, None], found + 10.0, found)


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
}
# as far off as an exact test of the prior predictive finds in 95 of 100
WRONG_DATA: dict[str, Callable[[Tensor], Tensor]] = {
    "noise x 6 in the data": lambda theta: theta @ A.T + 6 * NOISE * torch.randn(len(theta), 6),
    "one summary coded -999": lambda theta: torch.cat(
        [lines(theta)[:, :5], torch.full((len(theta), 1), -999.0)], dim=1
    ),
    "one summary moved by 8 s.d.": lambda theta: lines(theta) + torch.tensor([0.0, 0.0, 0.0, 8 * NOISE, 0.0, 0.0]),
    "all summaries moved by 25": lambda theta: lines(theta) + 25.0,
}


def check_lines(
    posterior: Lines,
    k: int,
    observed: Callable[[Tensor], Tensor] = lines,
    model: Callable[[Tensor], Tensor] = lines,
    prior: Distribution = LINES_PRIOR,
) -> Levels:
    torch.manual_seed(SEED + k)
    x_o = observed(prior.sample((1,)))[0]
    wrapped = sr.Posterior.wrap(posterior, prior, NAMES, x_o)
    return levels_of(sr.check(wrapped, model, rules=256, calibration=200, seed=SEED + k, **KEEP))


def cases_of_lines(repeats: Sequence[int]) -> Iterator[Case]:
    yield Case("lines", "exact", True, [check_lines(Lines(), k) for k in repeats])
    yield Case("lines", "exact, a prior with bounds", True, [check_lines(InBox(), k, prior=BOX) for k in repeats])
    for name, wrong in WRONG_POSTERIORS.items():
        yield Case("lines", name, False, [check_lines(wrong, k) for k in repeats])
    leaks = [check_lines(InBox(0.67), k, prior=BOX) for k in repeats]
    yield Case("lines", "two thirds of the draws leak out of the prior", False, leaks)
    for name, data in WRONG_DATA.items():
        yield Case("lines", f"exact, {name}", False, [check_lines(Lines(), k, data) for k in repeats])
    bent_ = [check_lines(Lines(), k, bent, bent) for k in repeats]
    yield Case("lines", "posterior of another model", False, bent_)


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


def cases_of_learners(repeats: Sequence[int]) -> Iterator[Case]:
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
        for k in repeats:
            table = learners(made_by, of, 100 + k)
            asked = posterior.given(table)
            checked = sr.check(asked, simulator, store=store, rules=100, calibration=0, seed=SEED + k, **KEEP)
            found.append(levels_of(checked))
        yield Case("learners", name, name == "right", found)


# Success ------------------------------------------------------------------------------------------


class Errors(sr.Simulator):
    """Errors of ten trials: |0.5 - a + 0.3 b trial / trials + noise|."""

    own_fields = (sr.Field("error", "distance from the target", low=0.0, better="low"),)

    def __init__(self) -> None:
        self.success = {}
        super().__init__(_Lines(), None, ["final_error"])
        self.num_trials = 10

    def config(self) -> dict[str, object]:
        return {"simulator": "errors"}

    def run(self, theta: Any, *, seed: Any = None, trial_types: Any = None, **options: Any) -> sr.Trajectory:
        theta = torch.as_tensor(theta).float()
        types = self.sequence_matrix(trial_types, len(theta))
        noise = 0.1 * torch.randn(types.shape, generator=generator(seed))
        error = (0.5 - theta[:, :1] + 0.3 * theta[:, 1:] * torch.linspace(0, 1, types.shape[1]) + noise).abs()
        ok = torch.full((len(theta),), int(sr.Status.OK), dtype=torch.int8)
        return sr.Trajectory(ok, types, per_trial={"error": error})


class _Lines(sr.RuleFamily):
    coefficients = (sr.Coefficient("a"), sr.Coefficient("b"))


def cases_of_success(repeats: Sequence[int]) -> Iterator[Case]:
    simulator = Errors()
    prior = uniform(simulator.family, -1, 1)

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

    limit = 0.3
    yield Case("success", "right", True, [check(False, 4, limit, k) for k in repeats])
    yield Case("success", "learned from shuffled outcomes", False, [check(True, 4, limit, k) for k in repeats])
    never = [check(False, 32, 0.09, k) for k in repeats]
    yield Case("success", "all of 32 networks, which no rule does", False, never)


# The table ----------------------------------------------------------------------------------------


PROBLEMS: dict[str, Callable[[Sequence[int]], Iterator[Case]]] = {
    "lines": cases_of_lines,
    "learners": cases_of_learners,
    "success": cases_of_success,
}
