"""`PolicyNetwork`: a policy whose weights a plasticity rule moves, trial by trial."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.choices import BETTER, ChoiceColumns
from sbirules.model.decisions import Decisions, has_constant
from sbirules.model.fields import Field, Layout
from sbirules.model.rules import Coefficient, LocalRule, PolicyRule, RuleFamily, RuleText, TaylorRule
from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike, choice_summaries
from sbirules.model.tables import Trials
from sbirules.model.tasks import ChoiceTask, Replayed, Task
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Key
from sbirules.support.typed import typed_class

from ._closed_loop import simulated
from ._columns import NUISANCE, PolicyColumns
from ._likelihood import ChoiceLikelihood

__all__ = ["PolicyNetwork", "PolicySettings"]

DEFAULT = ("initial", "lapse")
MOST_HIDDEN = 1000
TWO = ChoiceColumns(("0", "1"))


@typed_class
@dataclasses.dataclass(frozen=True)
class PolicySettings:
    """Settings of a policy.

    Arguments:
        nuisance: What of the policy is inferred beside the rule: `"initial"` weights, `"bias"`, `"perseveration"` to the
            answer before, `"lapse"`.
        constant: Whether a constant input is among the features; None for where stimuli are numbers, or there are none.
        credit: In accept-or-reject: whether the `"accepted"` offer alone teaches, or `"all_steps"` of the trial.
        decay_on: Whether weights decay only on trials that are `"answered"` with a known reward, or on `"all"`.
        num_trials: Trials of a simulated animal.
        engine: `"auto"`, `"numba"` (Taylor rules without hidden units) or `"torch"` (any family).
        hidden: Hidden units (tanh) of each option, whose input weights are plastic: a logit is 5 times their mean. Their first
            weights are random, with s.d. .01, so `"initial"` is no nuisance then.
        weight_draws: With hidden units: draws of the first weights that the likelihood is a mean over.
    """

    nuisance: tuple[str, ...] = DEFAULT
    constant: bool | None = None
    credit: str = "accepted"
    decay_on: str = "answered"
    num_trials: int = 300
    engine: str = "auto"
    hidden: int = 0
    weight_draws: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "nuisance", arguments.strings("nuisance", self.nuisance))
        for name in self.nuisance:
            arguments.known("nuisance", name, NUISANCE)
        arguments.known("credit", self.credit, ("accepted", "all_steps"))
        arguments.known("decay_on", self.decay_on, ("answered", "all"))
        arguments.known("engine", self.engine, ("auto", "numba", "torch"))
        arguments.whole("num_trials", self.num_trials, 2, arguments.MANY)
        arguments.whole("hidden", self.hidden, 0, MOST_HIDDEN)
        arguments.whole("weight_draws", self.weight_draws, 1, MOST_HIDDEN)


@typed_class
class PolicyNetwork(Simulator):
    r"""A policy whose weights a rule moves.

        s = softmax(W x + bias + perseveration),    p(answer) = (1 - lapse) s + lapse / answers

    W `(options, features)` is in logit units, x are the stimuli and a constant. After the outcome W changes by the rule
    (`TaylorRule`, or any `PolicyRule` or `LocalRule`). W and the expectation of reward go on from session to session, the
    answer before does not. Accepting or rejecting is one option against a logit of 0. A trial whose reward is not known
    teaches nothing.

    Given an animal's trials the probability of each of its choices is known exactly, so that `fit(simulator, prior,
    trials=...)` needs no simulations; `run` lets simulated animals choose in a task.

    Arguments:
        family: The rule family.
        task: A `ChoiceTask`, for simulated animals and for what a table's columns are; or None: tables say it themselves.
        summaries: Named summaries of simulated animals, as for any simulator; by default those of choices.
        settings: See `PolicySettings`.
        changes: Settings by name, over `settings`.
    """

    tables = "choices"
    rule_unit = "logit units"

    def __init__(
        self,
        family: RuleFamily,
        task: Task | None = None,
        *,
        summaries: Sequence[SummaryLike] | None = None,
        settings: PolicySettings | None = None,
        **changes: Any,
    ) -> None:
        names = [f.name for f in dataclasses.fields(PolicySettings)]
        for name in changes:
            arguments.known("a setting of PolicyNetwork", name, names)
        if not isinstance(family, (PolicyRule, LocalRule)):
            raise ValueError(
                f"family must be a rule of a policy such as TaylorRule, or a LocalRule such as Oja, got {type(family).__name__}."
            )
        meaning = getattr(task, "meaning", None)
        if task is not None and not isinstance(meaning, ChoiceColumns):
            raise ValueError(f"task must be a ChoiceTask, whose trials are choices, got {type(task).__name__}.")
        self.settings = dataclasses.replace(settings or PolicySettings(), **changes)
        self.success: Mapping[str, tuple[float, float]] = {}
        self.num_trials = int(getattr(task, "num_trials", None) or self.settings.num_trials)
        self._bind(family, meaning or TWO, (), meaning is not None)
        super().__init__(family, task, choice_summaries(self.meaning) if summaries is None else summaries)

    def _bind(self, family: RuleFamily, meaning: ChoiceColumns, scale: tuple[float, ...], known: bool = True) -> None:
        """Takes answers and stimuli; what they are without a task or a table is not `known`."""
        s = self.settings
        constant = has_constant(meaning) if s.constant is None else s.constant
        self.meaning = meaning
        nuisance = tuple(name for name in s.nuisance if name != "initial" or not s.hidden)
        self.columns = PolicyColumns(family, meaning, nuisance, constant, scale, s.hidden)
        _ = self.columns.names  # says which are taken
        if known:
            self.columns.check()
        if s.credit == "all_steps" and not isinstance(family, TaylorRule):
            raise ValueError(f'credit = "all_steps" needs a TaylorRule, got {type(family).__name__}.')
        if s.decay_on == "all" and isinstance(family, LocalRule):
            raise ValueError(
                f'decay_on = "all" needs a rule of a policy such as TaylorRule, got {type(family).__name__}.'
            )
        taylor = isinstance(family, TaylorRule)
        if s.engine == "numba" and not taylor:
            raise ValueError(f'engine = "numba" takes a TaylorRule, got {type(family).__name__}; leave engine out.')
        if s.engine == "numba" and s.hidden:
            raise ValueError('engine = "numba" knows no hidden units; leave engine out.')
        self.engine = ("numba" if taylor and not s.hidden else "torch") if s.engine == "auto" else s.engine
        if self.engine == "torch" and s.credit == "all_steps":
            raise ValueError('credit = "all_steps" needs engine = "numba", and a policy without hidden units.')

    def suited(self, trials: Trials) -> PolicyNetwork:
        """The same policy with the answers and stimuli of a table.

        Raises:
            ValueError: If it is no table of choices, or not one of this task.
        """
        meaning = trials.meaning
        if meaning is None:
            raise ValueError("trials must be a table of choices; see Trials.read, columns={'choice': ...}.")
        known = getattr(self.task, "known", False)
        if known:
            _refuse_other(self.meaning, meaning, "the task")
        out = copy.copy(self)
        out._bind(self.family, meaning, ())
        x = Decisions.of(trials, meaning, out.columns.constant).x
        scale = tuple(float(f"{v:.3g}") for v in x.square().mean(dim=0).sqrt().tolist())
        out._bind(self.family, meaning, scale)
        return out

    def cautions(self, trials: Trials) -> tuple[str, ...]:
        """What a table cannot tell of this rule, whatever its size, a sentence each."""
        if not isinstance(self.family, TaylorRule) or trials.meaning is None:
            return ()
        d = Decisions.of(trials, trials.meaning, self.columns.constant)
        blind = bool(trials.meaning.stimuli) and not any("x" in powers for powers in self.family.powers)
        unseen = (
            f"no term of the rule has x, so that what is learned does not depend on the stimulus "
            f"{arguments.listed(trials.meaning.stimuli)}: terms such as 'c x rd' or 'd x rd' do.",
        )
        return (unseen if blind else ()) + tuple(
            f"{arguments.listed(names)} do the same on this table (its features or rewards are 0 and 1): only their sum is told, "
            f"what each has of it is the prior's; leave {'one' if len(names) == 2 else 'all but one'} out."
            for names in self.family.alike(d.x, d.reward)
        )

    # What is declared -----------------------------------------------------------------------------

    @property
    def own_fields(self) -> tuple[Field, ...]:  # type: ignore[override]
        more = [Field(name, f"stimulus {name}", dtype="float64") for name in self.meaning.stimuli]
        if getattr(self.task, "reverses", False):
            more.append(Field(BETTER, "code of the option that pays best in the block", dtype="float64"))
        return (
            Field("choice", "code of the answer", dtype="float64"),
            Field("reward", "reward of the trial", dtype="float64"),
            Field("session", "session of the animal, from 0", dtype="float64"),
            Field("trial", "trial of the animal, from 0", dtype="float64"),
            *more,
        )

    @property
    def layout(self) -> Layout:
        return Layout(self.own_fields, ())

    @property
    def type_names(self) -> tuple[str, ...]:
        return ()

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        return self.columns.parameters

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns.names

    @property
    def nuisances(self) -> Mapping[str, Distribution]:
        """Coefficients of the policy, not of the rule, and their usual priors."""
        return {c.name: c.prior for c in self.columns.nuisances if c.prior is not None}

    @property
    def raw_per_unit(self) -> Tensor:
        return torch.ones(len(self.names), dtype=torch.float64)

    @property
    def setting(self) -> str:
        return "" if not getattr(self.task, "known", False) else type(self.task).__name__

    def rule_text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values = arguments.one_rule("theta", theta, self.names)
        return self.family.text(torch.tensor([values[name] for name in self.family.names]), digits)

    def config(self) -> dict[str, object]:
        settings = {k: v for k, v in dataclasses.asdict(self.settings).items() if k != "engine"}
        task = None if self.task is None else self.task.config()
        return {
            "simulator": "policy_network",
            "family": self.family.config(),
            "task": task,
            "meaning": self.meaning.config(),
            "settings": settings,
            "scale": list(self.columns.scale),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PolicyNetwork | None:
        """The policy that gave this `config()`, without its task; None where its rule is no `TaylorRule`."""
        with arguments.plain_form("a policy network"):
            if config["family"]["family"] != f"{TaylorRule.__module__}:{TaylorRule.__qualname__}":
                return None
            told = ("terms", "baseline", "rate", "last", "infer")
            family = TaylorRule(**{name: config["family"][name] for name in told})
            settings = dict(config["settings"])
            out = cls(family, **{**settings, "nuisance": tuple(settings["nuisance"])})
            meaning = ChoiceColumns.from_config(config["meaning"])
            out._bind(family, meaning, tuple(float(v) for v in config["scale"]))
            return out

    # Likelihood and simulations -------------------------------------------------------------------

    def likelihood(self, trials: Trials) -> ChoiceLikelihood:
        """The exact likelihood of a table of choices, for rules in any number."""
        if trials.meaning is None:
            raise ValueError("trials must be a table of choices; see Trials.read, columns={'choice': ...}.")
        _refuse_other(self.meaning, trials.meaning, "this policy")
        s = self.settings
        decisions = Decisions.of(trials, self.meaning, self.columns.constant)
        return ChoiceLikelihood(self.columns, decisions, s.credit, s.decay_on, self.engine, s.weight_draws)

    def log_likelihood(self, theta: ArrayLike, trials: Trials) -> Tensor:
        """log p(choices | theta) `(batch,)` of rules `(batch, D)`, summed over animals; -inf where impossible.

        Each choice is given what the animal itself saw, did and got before. Gradients flow.
        """
        rows = arguments.theta_matrix(theta, self.names)
        return self.likelihood(trials).log_prob(rows).sum(dim=1)

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        rows = arguments.theta_matrix(theta, self.names).double()
        if not getattr(self.task, "known", False):
            raise ValueError(
                "there is no task to choose in: give PolicyNetwork a ChoiceTask that knows its rewards, such as "
                'ChoiceTask(reward="bandit", probabilities=(0.8, 0.2)).'
            )
        if self.settings.credit == "all_steps":
            raise ValueError('animals are simulated with credit = "accepted" only; "all_steps" is for tables.')
        for name, wrong in self.columns.outside(rows).items():
            if wrong.any():
                value = float(rows[wrong, self.names.index(name)][0])
                raise ValueError(f"{name} must lie in [0, 1], got {value:g}.")
        given = (
            self.task.trial_types(len(rows)) if trial_types is None and isinstance(self.task, Replayed) else trial_types
        )
        types = self.sequence_matrix(given, len(rows))
        return simulated(rows, self.columns, self.task, types, seed, self.settings.decay_on)

    @property
    def knows_rewards(self) -> bool:
        """Whether animals of a table can be simulated in closed loop: what other choices would have brought is known."""
        return self._rewards is not None

    @property
    def _rewards(self) -> ChoiceTask | None:
        task = self.task.rewards if isinstance(self.task, Replayed) else self.task
        known = isinstance(task, ChoiceTask) and task.known and self.settings.credit != "all_steps"
        return task if known and isinstance(task, ChoiceTask) else None

    def replaying(self, trials: Trials) -> PolicyNetwork:
        """The same policy, suited to a table, whose simulated animals see what those of the table saw.

        Animal k stands in the place of animal `k % len(trials)`. What they get comes from the policy's own task; see `Replayed`.

        Raises:
            ValueError: If the policy has no `ChoiceTask` that knows its rewards, or the table is not one of this task.
        """
        rewards = self._rewards
        if rewards is None:
            raise ValueError(
                "animals of this table cannot be simulated, since a table does not say what other choices would have brought: "
                'give PolicyNetwork the experiment\'s rewards, such as ChoiceTask(reward="bandit", probabilities=(0.8, 0.2)).'
            )
        out = self.suited(trials)
        out.task = Replayed(trials, rewards)
        out.num_trials = out.task.num_trials
        return out

    def animals(self, theta: ArrayLike, *, seed: Key | None = None, names: Sequence[str] | None = None) -> Trials:
        """Simulated animals in the task, one for each row of theta `(animals, D)`, as a table."""
        run = self.run(theta, seed=seed)
        called = [f"animal {k + 1}" for k in range(len(run))] if names is None else list(names)
        return Trials(tuple(called), run, None, self.meaning)


def _refuse_other(mine: ChoiceColumns, other: ChoiceColumns, whose: str) -> None:
    """Raises ValueError unless a table has the answers and stimuli of a policy or task."""
    what = mine.other_than(other)
    if what:
        a, b = getattr(mine, what), getattr(other, what)
        raise ValueError(
            f"{whose} has the {what} {a!r:.120}, the table {b!r:.120}; simulator.suited(trials) takes those of a table."
        )
