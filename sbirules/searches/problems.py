"""What a structure is scored by: an animal's choices, or a function of one's own."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Uniform

from sbirules.inference.choice_scores import before, held_out_part
from sbirules.model.decisions import Decisions
from sbirules.model.rules import RuleFamily, TaylorRule
from sbirules.model.structures import RuleGrammar, Structure, family_of
from sbirules.model.structures.expressions import term_text
from sbirules.model.tables import Trials
from sbirules.searches.evidence import fit_mode
from sbirules.simulators import PolicyNetwork
from sbirules.support import arguments
from sbirules.support.files import digest
from sbirules.support.own_code import called
from sbirules.support.readable import one_line
from sbirules.support.typed import typed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ChoiceProblem", "OwnProblem", "Problem", "Score", "number_of", "uniform_between"]

Bounds = tuple[float, float]
TOLD_APART = 300  # decisions by which terms are told apart
ROLES = ("learner", "session", "trial", "step", "stimulus", "choice", "accept", "reward", "better")  # of Trials.read


@dataclass(frozen=True)
class Score:
    """Of one structure.

    Arguments:
        held_out: What a search climbs, higher is better; NaN where it could not be found.
        log_evidence: Log-evidence, for a posterior over structures; NaN where the problem has none.
        evidence_se: Its Monte Carlo error.
        values: Fitted coefficients, by name.
        seconds: What it took.
    """

    held_out: float
    log_evidence: float = math.nan
    evidence_se: float = math.nan
    values: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class Problem(ABC):
    """What scores structures.

    Arguments:
        grammar: Which structures there are.
    """

    grammar: RuleGrammar
    has_evidence = False
    scored_by = "score"

    @abstractmethod
    def score(self, structure: Structure, start: Mapping[str, float]) -> Score:
        """Of one structure, the same whenever it is asked with the same start; `start` has coefficients to fit from."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What identifies the problem, plain types only."""


class ChoiceProblem(Problem):
    """Which structure explains choices of animals that share one rule.

    A structure is fitted to all choices under its prior. It is scored by the log-probability of those held out, the last
    sessions of each animal (of a single session its last third), given those before; its evidence is that of all choices.

    Arguments:
        trials: Choices: a table, a path or a data frame; see `Trials.read`.
        grammar: Which structures there are; by default products of c, d, x, w, r and rd up to degree 3, at most 4 of them.
            Terms that are equal on this table are taken once.
        task: The `ChoiceTask` of the table, where its settings are known.
        coefficients: Ends of the uniform prior of each coefficient, in logit units.
        decay: The same of the term w alone, a decay of the weights.
        baseline: Of the expectation of reward, see `PolicyRule`.
        rate: Of its exponential mean.
        settings: Of the `PolicyNetwork`, such as `nuisance`.

    Raises:
        ValueError: If the table is none of choices, or the grammar's target is not `"policy"`.
    """

    has_evidence = True
    scored_by = "log-probability of what was held out"

    @typed
    def __init__(
        self,
        trials: str | Path | pd.DataFrame | Trials,
        grammar: RuleGrammar | None = None,
        *,
        task: Any = None,
        coefficients: Bounds = (-1.0, 1.0),
        decay: Bounds = (-1.0, 0.0),
        baseline: str = "exponential",
        rate: float = 0.1,
        **settings: Any,
    ) -> None:
        chosen = RuleGrammar(["c", "d", "x", "w", "r", "rd"]) if grammar is None else grammar
        if chosen.target != "policy":
            raise ValueError(f'grammar must have the target "policy", got {chosen.target!r}.')
        self._uniforms = {
            "coefficients": uniform_between("coefficients", coefficients),
            "decay": uniform_between("decay", decay),
        }
        self.options: dict[str, Any] = {"baseline": baseline, "rate": rate}
        self.task, self.settings = task, settings
        first = PolicyNetwork(TaylorRule(["w"], **self.options), task, **settings)
        self.trials = Trials.read(trials, None if task is None else first.layout)
        plain = first.suited(self.trials)
        self.policy = plain
        self.earlier = before(self.trials, held_out_part(self.trials))
        self._earlier = (self.earlier.trial_types >= 0).sum(dim=1)
        self.grammar = _told_apart(chosen, plain, self.trials, self.options)
        unread = _unread(trials) if not plain.meaning.stimuli else []
        if unread and "x" in chosen.variables:
            warnings.warn(
                f"no stimulus is read of this table, so that x is 1 throughout; not read are {arguments.listed(unread)}. If one "
                f"is a stimulus, give Trials.read(table, columns={{'stimulus': {unread[0]!r}}}), or a task with stimuli."
            )

    def __repr__(self) -> str:
        return one_line(
            self, f"{len(self.trials)} animals", f"{int(self.trials.num_trials.sum())} choices", repr(self.grammar)
        )

    def family(self, structure: Structure) -> RuleFamily:
        """The rule family of a structure; of the empty one a decay that is kept at 0."""
        return TaylorRule(["w"], **self.options) if not structure.terms else family_of(structure, **self.options)

    def simulator(self, structure: Structure) -> PolicyNetwork:
        """The policy that a structure moves, suited to the table: what `fit` and `compare_families` take."""
        return PolicyNetwork(self.family(structure), self.task, **self.settings).suited(self.trials)

    def prior(self, structure: Structure) -> dict[str, Distribution]:
        """Of each coefficient of a structure and of the policy, independent."""
        return self._prior(self.simulator(structure))

    def _prior(self, simulator: PolicyNetwork) -> dict[str, Distribution]:
        rule = {name: self._uniforms["decay" if name == "w" else "coefficients"] for name in simulator.family.names}
        return {**rule, **simulator.nuisances}

    def score(self, structure: Structure, start: Mapping[str, float]) -> Score:
        begun = time.perf_counter()
        if structure.target != "policy":
            raise ValueError(f"structure must be one of a policy, got one of a {structure.target}.")
        simulator = self.simulator(structure)
        likelihood = simulator.likelihood(self.trials)
        likelihood.threads = 1
        still = not structure.terms
        names = [name for name in simulator.names if not (still and name == "w")]

        def full(theta: Tensor) -> Tensor:
            return torch.cat([theta.new_zeros(len(theta), 1), theta], dim=1) if still else theta

        def slope(theta: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = likelihood.value_and_slope(full(theta))
            return value, gradient[:, :, int(still) :]

        def values(theta: Tensor) -> tuple[Tensor, Tensor]:
            every, earlier = likelihood.log_prob_and_before(full(theta), self._earlier)
            return every.sum(dim=1), earlier.sum(dim=1)

        found = fit_mode(names, self._prior(simulator), slope, values, start, number_of(structure))
        seconds = time.perf_counter() - begun
        return Score(found.predicted, found.log_evidence, found.evidence_se, dict(found.values), seconds)

    def config(self) -> dict[str, Any]:
        ends = {k: [float(u.low), float(u.high)] for k, u in self._uniforms.items()}
        policy = {k: v for k, v in self.policy.config().items() if k != "family"}
        return {"problem": "choices", "table": self.trials.digest(), "policy": policy, **ends, **self.options}


class OwnProblem(Problem):
    """Structures scored by a function.

    Arguments:
        function: Takes a `Structure` and returns a number, higher is better; NaN for one that cannot be scored.
        grammar: Which structures there are.
        name: By which a folder knows the function.
        evidence: Whether the number is a log-evidence, so that there is a posterior over structures.
    """

    @typed
    def __init__(
        self, function: Callable[..., Any], grammar: RuleGrammar, *, name: str = "own", evidence: bool = False
    ) -> None:
        self.function, self.grammar, self.name, self.has_evidence = function, grammar, name, evidence

    def score(self, structure: Structure, start: Mapping[str, float]) -> Score:
        begun = time.perf_counter()
        value = called(self.function, structure)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"the score of a structure must be a number, the function returned {type(value).__name__}."
            ) from None
        seconds = time.perf_counter() - begun
        return Score(number, number if self.has_evidence else math.nan, 0.0, {}, seconds)

    def config(self) -> dict[str, Any]:
        return {"problem": "own", "name": self.name, "evidence": self.has_evidence, "code": _code(self.function)}


def number_of(structure: Structure) -> int:
    """A number that names a structure in streams of random numbers."""
    return int.from_bytes(hashlib.sha256(str(structure).encode()).digest()[:7], "big")


def uniform_between(argument: str, ends: Bounds) -> Uniform:
    """The uniform prior between two ends; `argument` is what a sentence calls them."""
    low, high = (arguments.finite(argument, end) for end in ends) if len(ends) == 2 else (1.0, 0.0)
    if not low < high:
        raise ValueError(f"{argument} must be two numbers, the lower one first, got {ends!r}.")
    return Uniform(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64), validate_args=False)


def _code(function: object) -> str:
    """What tells the code of a function from that of another, as far as it is written in Python."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    plain = [c for c in code.co_consts if isinstance(c, (int, float, str, bool))]
    return digest([code.co_code.hex(), [repr(c) for c in plain], list(code.co_names)])[:16]


def _unread(table: object) -> list[str]:
    """Columns of a table that stand for nothing, as far as it tells them."""
    import pandas as pd

    if isinstance(table, (str, Path)) and Path(table).suffix == ".csv":
        table = pd.read_csv(table, nrows=0)
    return [str(c) for c in table.columns if str(c) not in ROLES] if isinstance(table, pd.DataFrame) else []


def _told_apart(grammar: RuleGrammar, policy: PolicyNetwork, trials: Trials, options: Mapping[str, Any]) -> RuleGrammar:
    """The grammar with one of all terms that are equal on this table, the simplest; without those that are 0 there.

    Terms are held against each other with the table's stimuli and rewards, and weights and errors drawn at random.
    """
    d = Decisions.of(trials, policy.meaning, policy.columns.constant)
    known = torch.nonzero(~torch.isnan(d.reward))[:, 0]
    if not len(known):
        return grammar
    gen = torch.Generator().manual_seed(0)
    rows = known[torch.randperm(len(known), generator=gen)[:TOLD_APART]]
    x, r = d.x[rows].double()[:, None, :], d.reward[rows].double()[:, None, None]
    answers = 1 if policy.meaning.accept else policy.columns.answers
    shape = (len(rows), answers, x.shape[2])
    w = torch.randn(shape, generator=gen, dtype=torch.float64)
    chosen = torch.randint(answers, (len(rows),), generator=gen)
    c = torch.nn.functional.one_hot(chosen, answers).double()[:, :, None]
    error = c - torch.softmax(torch.randn(len(rows), answers, 1, generator=gen, dtype=torch.float64), dim=1)
    if answers == 1:
        error = torch.rand(len(rows), 1, 1, generator=gen, dtype=torch.float64)
    rd = r if options.get("baseline") == "none" else r - torch.rand(len(rows), 1, 1, generator=gen, dtype=torch.float64)
    seen = {"c": c, "d": error, "x": x, "y": (w * x).sum(dim=2, keepdim=True), "w": w, "r": r, "rd": rd}
    first: dict[bytes, str] = {}
    gone, instead = [], {}
    for term in grammar.terms:
        value = torch.ones(shape, dtype=torch.float64)
        for factor in term:
            value = value * factor.value(seen)
        text = term_text(term)
        mark = value.float().numpy().tobytes()  # products in another order differ in the last digits
        if not bool(value.any()):
            gone.append(text)
        elif mark in first:
            gone.append(text)
            instead[text] = first[mark]
        else:
            first[mark] = text
    return grammar.without(gone, instead) if gone else grammar
