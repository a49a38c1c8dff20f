"""`GymnasiumTask`: any Gymnasium environment with a few discrete actions as a task of choices."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from sbirules.model.choices import ChoiceColumns
from sbirules.model.tasks.choice import check_choice, check_decision
from sbirules.model.tasks.task import MOST, Task, TrialTensors
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["GymnasiumTask"]


class _Environments:
    """One environment for each animal, stepped in lockstep; what they show, and how often they were stepped."""

    def __init__(self, made: list[Any], seeds: list[int]) -> None:
        self.made, self.steps = made, 0
        self.seen = [env.reset(seed=seed)[0] for env, seed in zip(made, seeds, strict=True)]
        self.close = weakref.finalize(self, _close, made)


def _close(made: list[Any]) -> None:
    for env in made:
        env.close()


@dataclass(frozen=True)
class _GymnasiumState:
    """Where animals stand: the next decision, the trial and session of each `(batch,)`, their environments."""

    decision: int
    trial: Tensor
    session: Tensor
    environments: _Environments


@typed_class
@dataclass(frozen=True)
class GymnasiumTask(Task):
    """A Gymnasium environment as a task of choices (Towers et al. 2024, arXiv 2407.17032).

    Each step is a decision: the observation is the stimulus, the action the choice, the step's reward the reward. An
    environment with a Box of observations has a number for each of its entries; one with Discrete observations has one label.
    Every animal has an environment of its own, with a seed from the simulation's random numbers. An episode's end resets the
    environment. A state holds environments that move on: it goes forward only and cannot be stepped twice.

        GymnasiumTask("FrozenLake-v1", options=("left", "down", "right", "up"), keywords={"is_slippery": False})

    In a study file, run with --trust:

        [task]
        name = "sbirules.model.tasks:GymnasiumTask"
        environment = "FrozenLake-v1"
        options = ["left", "down", "right", "up"]
        keywords = {is_slippery = false}

    Arguments:
        environment: Its registered name, or a function that makes one and takes no arguments.
        options: Names of the actions, in their order; numbers from 0 if left out.
        stimuli: Names of the observation's entries; `observation`, or `observation_0` ..., if left out.
        keywords: Given to `gymnasium.make` with the name.
        episodes_are_sessions: Whether a new episode is a new session.
        num_trials: Decisions of a simulated animal; None for what the simulator says.
        session_length: Decisions of a session; None for one session, or for episodes.

    Raises:
        ValueError: If actions are not discrete, observations neither numbers nor labels, or names are not one for each.
        ImportError: If Gymnasium is not installed.
    """

    environment: str | Callable[[], Any]
    options: Sequence[str] | None = None
    stimuli: Sequence[str] | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)
    episodes_are_sessions: bool = False
    num_trials: int | None = None
    session_length: int | None = None
    type_names = ("choice",)
    known = True

    def __post_init__(self) -> None:
        for name in ("options", "stimuli"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, arguments.strings(name, getattr(self, name)))
        object.__setattr__(self, "keywords", dict(self.keywords))
        for name, least in (("num_trials", 2), ("session_length", 1)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, arguments.whole(name, getattr(self, name), least, MOST))
        if self.episodes_are_sessions and self.session_length is not None:
            raise ValueError("with episodes_are_sessions the episodes are the sessions: leave session_length out.")
        if self.keywords and not isinstance(self.environment, str):
            raise ValueError(
                "keywords go with the name of an environment: leave them out, or let the function use them."
            )
        _ = self.meaning  # makes one environment, and refuses those that are no task of choices

    @cached_property
    def _spaces(self) -> tuple[Any, Any]:
        """Of actions and of observations."""
        gymnasium = _gymnasium()
        env = self._make()
        try:
            actions, seen = env.action_space, env.observation_space
        finally:
            env.close()
        if not isinstance(actions, gymnasium.spaces.Discrete):
            raise ValueError(f"environment must have a Discrete space of actions, got {actions!s:.80}.")
        if not isinstance(seen, (gymnasium.spaces.Box, gymnasium.spaces.Discrete)):
            raise ValueError(
                f"environment must have a Box or Discrete space of observations, got {seen!s:.80}; wrap it in "
                f"gymnasium.wrappers.FlattenObservation."
            )
        return actions, seen

    @property
    def _discrete(self) -> bool:
        return isinstance(self._spaces[1], _gymnasium().spaces.Discrete)

    @cached_property
    def meaning(self) -> ChoiceColumns:
        """Answers and stimuli."""
        actions, seen = self._spaces
        count = 1 if self._discrete else math.prod(seen.shape)
        first = int(actions.start)
        options = self.options or tuple(str(first + k) for k in range(int(actions.n)))
        single = ("observation",) if count == 1 else tuple(f"observation_{k}" for k in range(count))
        stimuli = single if self.stimuli is None else tuple(self.stimuli)
        for name, given, wanted in (("options", options, int(actions.n)), ("stimuli", stimuli, count)):
            if len(given) != wanted:
                what = "actions" if name == "options" else "entries of an observation"
                raise ValueError(f"{name} must name the {wanted} {what}, got {len(given)} names.")
        labels = {}
        if self._discrete:
            labels[stimuli[0]] = tuple(str(int(seen.start) + k) for k in range(int(seen.n)))
        return ChoiceColumns(tuple(options), stimuli, labels)

    def _make(self) -> Any:
        gymnasium = _gymnasium()
        if isinstance(self.environment, str):
            try:
                return gymnasium.make(self.environment, **self.keywords)
            except (gymnasium.error.Error, ImportError, TypeError) as error:
                why = str(error).partition("\n")[0].rstrip(".")
                raise ValueError(f"environment {self.environment!r} cannot be made ({why}).") from error
        env = self.environment()
        if not isinstance(env, gymnasium.Env):
            raise ValueError(f"environment must make an environment of Gymnasium's, got {type(env).__name__}.")
        return env

    def tensors(self, dt: float) -> TrialTensors:
        """A choice task has none.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "an environment of choices has no time course for networks with read-outs: use the simulator policy_network, or a "
            "task such as DelayedDiscrimination."
        )

    def config(self) -> dict[str, object]:
        made = self.environment
        if not isinstance(made, str):
            made = f"{getattr(made, '__module__', '')}:{getattr(made, '__qualname__', type(made).__qualname__)}"
        return {
            "task": f"{type(self).__module__}:{type(self).__qualname__}",
            "environment": made,
            "options": list(self.meaning.options),
            "stimuli": list(self.meaning.stimuli),
            "keywords": dict(self.keywords),
            "episodes_are_sessions": self.episodes_are_sessions,
            "num_trials": self.num_trials,
            "session_length": self.session_length,
        }

    def start(self, batch: int, generator: Generator) -> _GymnasiumState:
        """Animals before their first decision, each with an environment of its own."""
        rows = arguments.whole("batch", batch, 1, arguments.MANY)
        seeds = torch.randint(2**31 - 1, (rows,), generator=generator).tolist()
        zero = torch.zeros(rows, dtype=torch.long)
        return _GymnasiumState(0, zero, zero, _Environments([self._make() for _ in range(rows)], seeds))

    def stimulus(self, trial: int, state: _GymnasiumState, generator: Generator) -> tuple[Tensor, _GymnasiumState]:
        """Observations `(batch, S)` before decision number `trial`, labels by their codes; and where animals stand."""
        _check_state(trial, state)
        if self.session_length is not None:
            state = replace(state, session=state.trial // self.session_length)
        first = int(self._spaces[1].start) if self._discrete else 0
        seen = np.stack([np.asarray(one, dtype=np.float64).reshape(-1) for one in state.environments.seen])
        return torch.from_numpy(seen) - first, state

    def outcome(
        self, choice: Tensor, trial: int, state: _GymnasiumState, generator: Generator
    ) -> tuple[Tensor, _GymnasiumState]:
        """Rewards `(batch,)` of the actions with codes `choice` `(batch,)`, and where animals stand then."""
        _check_state(trial, state)
        check_choice(choice, len(state.trial), len(self.meaning.options))
        environments, first = state.environments, int(self._spaces[0].start)
        reward, over = torch.zeros(len(choice), dtype=torch.float64), torch.zeros(len(choice), dtype=torch.long)
        for k, (env, code) in enumerate(zip(environments.made, choice.tolist(), strict=True)):
            seen, got, terminated, truncated, _ = env.step(first + code)
            if terminated or truncated:
                over[k] = 1
                seen = env.reset()[0]
            environments.seen[k], reward[k] = seen, float(got)
        environments.steps += 1
        session = state.session + over if self.episodes_are_sessions else state.session
        return reward, replace(state, decision=state.decision + 1, trial=state.trial + 1, session=session)


def _check_state(trial: int, state: _GymnasiumState) -> None:
    check_decision(trial, state.decision)
    if state.environments.steps != state.decision:
        raise ValueError(
            "state has been stepped already, and environments do not go back: take the state that came of it."
        )


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError("GymnasiumTask needs the package gymnasium (pip install 'sbirules[gymnasium]').") from error
    return gymnasium
