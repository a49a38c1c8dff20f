"""Simulations for checks from what a user has: a simulator, any function of theta, or a store of fresh simulations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.drawn_from import drawn_from
from sbirules.inference.posterior import Posterior
from sbirules.model.fields import Field
from sbirules.model.prior import prior_draws, written
from sbirules.model.rules import Coefficient, RuleFamily
from sbirules.model.runs import Status, Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import Summary
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.files import differences, plain
from sbirules.support.streams import Key, Stream, global_seed, seeded

__all__ = ["FunctionSimulator", "Simulations", "other_than", "refuse_store", "simulator_of"]

LEFT_OUT = ("probes", "raw_per_unit")  # follow from the settings, up to rounding

Simulations = Simulator | SimulationStore | Callable[[Tensor], Any]


class _Columns(RuleFamily):
    """Columns of theta of which only the names are known."""

    def __init__(self, names: Sequence[str]) -> None:
        self.coefficients = tuple(Coefficient(name) for name in names)
        super().__init__()


class FunctionSimulator(Simulator):
    """A function from theta `(n, D)` to x `(n, S)`, as sbi takes them, as a simulator: nothing else is known of it.

    It draws from torch's or numpy's global stream. Rows that are not finite count as failed.

    Arguments:
        function: The function.
        names: Names of theta's columns.
        summary_names: Names of x's columns.
        told: What tells it from other functions of the same name, in plain types, for manifests.
    """

    def __init__(
        self, function: Callable[[Tensor], Any], names: Sequence[str], summary_names: Sequence[str], told: object = None
    ) -> None:
        self.function, self.told, self.success = function, told, {}
        self.own_fields = tuple(Field(f"column_{k + 1}", name, per="run") for k, name in enumerate(summary_names))
        summaries = [
            Summary(name, (field.name,), partial(_column, field.name))
            for name, field in zip(summary_names, self.own_fields, strict=True)
        ]
        super().__init__(_Columns(names), None, summaries)

    def config(self) -> dict[str, object]:
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        columns = list(self.summary_names)
        return {"simulator": f"function {name}", "names": list(self.names), "columns": columns, "told": self.told}

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        rows = arguments.theta_matrix(theta, self.names).float()
        with seeded(global_seed() if seed is None else seed):
            x = called(self.function, rows)
        if x.shape[1] != len(self.own_fields):
            raise ValueError(f"the simulator returned {x.shape[1]} columns of x, then {len(self.own_fields)}.")
        status = torch.where(torch.isfinite(x).all(dim=1), int(Status.OK), int(Status.FAILED)).to(torch.int8)
        values = {field.name: column for field, column in zip(self.own_fields, x.unbind(dim=1), strict=True)}
        return Trajectory(status, self.sequence_matrix(trial_types, len(rows)), per_run=values)


def _column(name: str, run: Trajectory) -> Tensor:
    return run.per_run[name]


def called(function: Callable[[Tensor], Any], theta: Tensor) -> Tensor:
    """x `(n, S)` of theta `(n, D)`.

    Raises:
        ValueError: If the function does not return one row for each rule.
    """
    x = arguments.numbers("x of the simulator", function(theta))
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or len(x) != len(theta):
        raise ValueError(
            f"simulator must return x of shape (n, S) for theta (n, D); for theta of shape {tuple(theta.shape)} it returned "
            f"{tuple(x.shape)}."
        )
    return x


def simulator_of(given: object, posterior: Posterior, stores: Sequence[SimulationStore]) -> Simulator | None:
    """What a user gave as a simulator; None for a store, which can make nothing anew.

    Columns of x of a function are named as in the fit's store, else as in the question, where their number is the same.

    Raises:
        ValueError: If it is none of a simulator, a function and a store, or is about other rules.
    """
    if isinstance(given, Simulator) and posterior.question is not None:
        given = posterior.question.suited(given)
    if isinstance(given, (Simulator, SimulationStore)):
        if posterior.names != given.names:
            mine, theirs = arguments.listed(posterior.names), arguments.listed(given.names)
            raise ValueError(f"the posterior is over {mine}, the simulator's rules have {theirs}.")
        return given if isinstance(given, Simulator) else None
    if not callable(given) or isinstance(given, type):  # a class is made, not asked
        raise ValueError(
            f"simulator must be a Simulator, a function from theta (n, D) to x (n, S), or a SimulationStore of fresh "
            f"simulations, got {'the class ' + given.__name__ if isinstance(given, type) else type(given).__name__}."
        )
    with seeded(0, Stream.SHAPES):
        x = called(given, prior_draws(posterior.prior, 2).float())
    width, told = x.shape[1], [float(f"{v:.4g}") for v in x.flatten().tolist()]
    asked = () if posterior.question is None else posterior.question.feature_names
    known = (*(store.summary_names for store in stores), asked, [f"x_{k + 1}" for k in range(width)])
    return FunctionSimulator(given, posterior.names, next(names for names in known if len(names) == width), told)


def other_than(fitted: Sequence[SimulationStore], simulator: Simulator | None) -> tuple[str, ...]:
    """What is otherwise in a simulator than in the one that filled the fit's store, a sentence; empty if nothing is."""
    then = fitted[0].manifest["config"].get("simulator") if fitted else None
    if simulator is None or isinstance(simulator, FunctionSimulator):
        return ()
    if not isinstance(then, Mapping) or "simulator" not in then:  # arrays from elsewhere do not tell
        return ()
    mine, now = (plain({k: v for k, v in c.items() if k not in LEFT_OUT}) for c in (then, simulator.config()))
    if mine["simulator"] != now.get("simulator"):  # settings of another kind of simulator are no news
        mine, now = ({"simulator": content.get("simulator")} for content in (mine, now))
    other = differences(mine, now)
    if not other:
        return ()
    listed = arguments.listed(f"{key} was {was} and is now {given}" for key, was, given in other[:3])
    return (f"The simulator is not that of the fit: {listed}; what the checks say is about this one.",)


def refuse_store(fresh: SimulationStore, prior: Distribution, fitted: Sequence[SimulationStore]) -> None:
    """Raises ValueError unless a store holds rules of the prior that no fit has seen."""
    for store in fitted:
        seen = {row.tobytes() for row in store.theta.numpy()}
        twice = sum(row.tobytes() in seen for row in fresh.theta.numpy())
        if twice:
            raise ValueError(
                f"{twice} of {len(fresh)} rules in {fresh.path} are also in the store of the fit; give fresh ones."
            )
    drawn = fresh.manifest["config"]["proposal"]
    if isinstance(drawn, dict) and "prior" in drawn and written(prior) is not None and not drawn_from(fresh, prior):
        raise ValueError(f"the rules in {fresh.path} were drawn from another prior than the posterior's.")
