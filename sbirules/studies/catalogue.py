"""From names and settings in a study file to families, tasks, simulators and priors."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch.distributions import Distribution, Uniform

from sbirules.model.rules import FAMILIES, RuleFamily
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import NAMED
from sbirules.model.tasks import TASKS, Task
from sbirules.priors import COMPONENTS, PRIORS, completed
from sbirules.simulators import SIMULATORS
from sbirules.studies.problems import Problems, check_keys, made_with
from sbirules.support import arguments
from sbirules.support.files import Plain

__all__ = ["described", "keys_of", "look_at_prior", "make", "make_prior", "make_simulator", "options_of", "takes"]


def options_of(maker: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a maker's arguments, without those that a study fills in."""
    taken = ("self", "family", "task", "settings", "changes", "special")
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(maker).parameters.items()
    return tuple(name for name, p in found if name not in taken and p.kind not in open_ended)


def takes(name: str, trust: bool) -> tuple[str, ...]:
    """Names of all arguments of a simulator's maker, family and task included."""
    if ":" not in name and name in SIMULATORS:
        return ("family", "task", *SIMULATORS[name][1])
    maker = _own("[simulator] name", name, trust) if ":" in name else None
    return () if maker is None else tuple(inspect.signature(maker).parameters)


def keys_of(section: str, given: Plain) -> tuple[str, ...] | None:
    """Keys that a section may hold, given the name in it; None where only making the object can tell."""
    if section == "simulator":
        name = str(given["name"])
        return ("name", *SIMULATORS[name][1]) if name in SIMULATORS else None
    catalogues: dict[str, Mapping[str, Callable[..., Any]]] = {"rule": FAMILIES, "task": TASKS}
    makers = catalogues.get(section, {})
    key = "family" if section == "rule" else "name"
    name = str(given.get(key))
    return (key, *options_of(makers[name])) if name in makers else None


def make(
    section: str,
    key: str,
    given: Plain,
    catalogue: Mapping[str, Callable[..., Any]],
    kind: type,
    trust: bool,
) -> Any:
    """An object of the catalogue, or of a user's "module:Class"."""
    name, options = given[key], {k: v for k, v in given.items() if k != key}
    maker = _own(f"[{section}] {key}", name, trust) if ":" in str(name) else None
    if maker is None:
        arguments.known(f"[{section}] {key}", name, tuple(catalogue))
        maker = catalogue[name]
    allowed = options_of(maker)
    problems = Problems()
    problems.attempt(partial(check_keys, f"key in [{section}]", options, (key, *allowed)))
    options = {name: value for name, value in options.items() if name in allowed}
    made, _ = problems.or_instead(partial(made_with, f"[{section}]", maker, options))
    problems.refuse(made if isinstance(made, kind) else None)
    if not isinstance(made, kind):
        raise ValueError(f"[{section}] {key} = {name!r} made a {type(made).__name__}, not a {kind.__name__}.")
    return made


def _own(where: str, reference: str, trust: bool) -> Callable[..., Any]:
    """What a user's "module:Class" names."""
    if not trust:
        raise ValueError(f"{where} = {reference!r} would run code of your own; pass --trust to allow it.")
    module, _, name = str(reference).partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where} = {reference!r} cannot be imported: {error}.") from error
    if not callable(found) or not hasattr(found, "__name__"):
        raise ValueError(f"{where} = {reference!r} must name a class or a function, got a {type(found).__name__}.")
    return found


def make_simulator(given: Plain, family: RuleFamily, task: Task, trust: bool, more: Sequence[str] = ()) -> Simulator:
    """A simulator of the catalogue, or of a user's "module:Class".

    Arguments:
        given: The section: its name, and what it is made with.
        family: Passed on where the maker takes it.
        task: Likewise.
        trust: Whether a user's own code may run.
        more: Names of summaries that are asked for beside the maker's default ones.
    """
    options = {k: v for k, v in given.items() if k != "name"}
    name, problems = str(given["name"]), Problems()
    if ":" in name:
        maker = _own("[simulator] name", name, trust)
        parameters = inspect.signature(maker).parameters
    else:
        arguments.known("[simulator] name", name, tuple(SIMULATORS))
        maker, allowed = SIMULATORS[name]
        parameters = inspect.signature(maker).parameters
        problems.attempt(partial(check_keys, "key in [simulator]", options, ("name", *allowed)))
        options = {key: value for key, value in options.items() if key in allowed}
    if isinstance(options.get("clamped"), Mapping):  # TOML's keys are text
        options["clamped"] = {int(k) if str(k).isdecimal() else k: v for k, v in options["clamped"].items()}
    if more and "summaries" in parameters and "summaries" not in options:
        default = parameters["summaries"].default
        own = list(default) if isinstance(default, (list, tuple)) else []
        options["summaries"] = list(dict.fromkeys((*own, *more)))
    passed = {key: value for key, value in (("family", family), ("task", task)) if key in parameters}
    made, _ = problems.or_instead(partial(made_with, "[simulator]", maker, options, passed=passed))
    problems.refuse(made if isinstance(made, Simulator) else None)
    if not isinstance(made, Simulator):
        raise ValueError(f"[simulator] name = {name!r} made a {type(made).__name__}, not a Simulator.")
    return made


def make_prior(given: Plain, family: RuleFamily, simulator: Simulator | None = None) -> Distribution:
    """A prior of the catalogue over the family's coefficients, and over what else a simulator has that is inferred."""
    nuisances: dict[str, Distribution] = dict(getattr(simulator, "nuisances", {}))
    problems = Problems()
    maker, options, wrong = _prior_options(given, (*family.names, *nuisances), problems)
    for key in [key for key in options if key in nuisances]:
        ends = options.pop(key)
        nuisances[key] = Uniform(ends[0], ends[1], validate_args=False) if isinstance(ends, tuple) else ends
    made: Distribution = problems.attempt(partial(made_with, "[prior]", maker, options, family, gone=wrong))
    problems.refuse()
    return made if simulator is None or not nuisances else completed(made, simulator.names, nuisances, "[prior]")


def look_at_prior(given: Plain, family: RuleFamily | None) -> None:
    """Raises StudyError for what is wrong with [prior] whatever the coefficients are; the family is one in place of another."""
    problems = Problems()
    maker, options, _ = _prior_options(given, None, problems)
    if family is not None:
        plain = {key: value for key, value in options.items() if key in options_of(maker)}
        problems.attempt(partial(made_with, "[prior]", maker, plain, family, gone=family.names))
    problems.refuse()


def _prior_options(
    given: Plain, names: tuple[str, ...] | None, problems: Problems
) -> tuple[Callable[..., Distribution], dict[str, Any], set[str]]:
    """The maker of [prior], what it is called with, and what is left out of that since it is wrong; names of coefficients."""
    arguments.known("[prior] name", given["name"], tuple(PRIORS))
    maker = PRIORS[given["name"]]
    own = options_of(maker)
    options = {key: value for key, value in given.items() if key != "name"}
    if names is not None:
        problems.attempt(lambda: check_keys("key in [prior]", options, ("name", *own, *names)))
    out: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping) and (names is None or key in names):
            out[key] = problems.attempt(partial(_component, key, value))
        elif key in own:
            out[key] = value
        elif names is not None and key in names:
            problems.append(f'[prior.{key}] must be a table such as name = "log_uniform", low = 50, high = 5000.')
    good = {key: value for key, value in out.items() if value is not None}
    return maker, good, set(options) - set(good)


def _component(key: str, given: Plain) -> Any:
    problems = Problems()
    name = given.get("name", "uniform")
    arguments.known(f"[prior.{key}] name", name, tuple(COMPONENTS))
    maker, allowed = COMPONENTS[name]
    problems.attempt(lambda: check_keys(f"key in [prior.{key}]", given, ("name", *allowed)))
    missing = [a for a in allowed if a not in given]
    if missing:
        problems.append(f"[prior.{key}] lacks {missing[0]}; {name} needs {arguments.listed(allowed)}.")
    there = [a for a in allowed if a in given]
    values = [problems.attempt(partial(arguments.finite, f"[prior.{key}] {a}", given[a])) for a in there]
    problems.refuse()
    return made_with(f"[prior.{key}]", maker, {}, *values)


def described(what: str) -> list[tuple[str, str]]:
    """What `sbirules list` shows of a catalogue: names, and one line on each."""
    if what == "summaries":
        return [(name, s.help) for name, s in NAMED.items()]
    makers: dict[str, Mapping[str, Callable[..., Any]]] = {
        "families": FAMILIES,
        "tasks": TASKS,
        "priors": PRIORS,
        "simulators": {n: m for n, (m, _) in SIMULATORS.items()},
    }
    out = [(name, (maker.__doc__ or "").strip().splitlines()[0]) for name, maker in makers[what].items()]
    if what == "priors":
        out.append(("log_uniform", "Uniform in the logarithm: for time constants, as [prior.tau_e]."))
    return out
