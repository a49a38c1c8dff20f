"""From names and settings in a study file to families, tasks, simulators and priors."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from torch.distributions import Distribution

from sbirules import _check, tasks
from sbirules.constraints import Constraints
from sbirules.polynomial import PolynomialRule
from sbirules.rules import RuleFamily
from sbirules.simulator import Simulator
from sbirules.summaries import CATALOGUE
from sbirules.task import Task

__all__ = [
    "FAMILIES", "PRIORS", "SIMULATORS", "TASKS", "check_key", "keys_of", "load", "make", "make_prior", "make_simulator",
    "needed_summaries", "options_of",
]  # fmt: skip

FAMILIES: dict[str, Callable[..., RuleFamily]] = {"polynomial": PolynomialRule}
TASKS: dict[str, Callable[..., Task]] = {
    "delayed_discrimination": tasks.DelayedDiscrimination,
    "delayed_non_match_to_sample": tasks.DelayedNonMatchToSample,
    "selective_integration": tasks.SelectiveIntegration,
}
# The catalogues beside the core, found by name so that the core does not import them
SIMULATORS = {"rate_rnn": "sbirules.simulators:RateRNN", "miconi2017": "sbirules.simulators:miconi2017"}
PRIORS = {"uniform": "sbirules.priors:uniform", "normal": "sbirules.priors:normal"}
COMPONENTS = {"log_uniform": "sbirules.priors:log_uniform", "uniform": "", "normal": "torch.distributions:Normal"}


def load(reference: str) -> Any:
    """What "module:name" names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def check_key(what: str, name: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless `name` is allowed; suggests the nearest."""
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"unknown {what}: {name!r}{hint} Allowed: {_check.listed(allowed)}.")


def options_of(maker: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a maker's arguments, without those that a study fills in."""
    taken = ("self", "family", "task", "settings", "changes", "special")
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(maker).parameters.items()
    return tuple(name for name, p in found if name not in taken and p.kind not in open_ended)


def keys_of(section: str, given: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Keys that a section may hold, given the name in it; None where only making the object can tell."""
    if section == "simulator":
        return None if ":" in str(given["name"]) else ("name", "summaries", *_network_settings())
    catalogues: dict[str, Mapping[str, Any]] = {"rule": FAMILIES, "task": TASKS}
    makers = catalogues.get(section, {})
    name = str(given.get("family" if section == "rule" else "name"))
    if name not in makers:
        return None
    return ("family" if section == "rule" else "name", *options_of(makers[name]))


def _network_settings() -> list[str]:
    return [f.name for f in fields(load("sbirules.simulators._settings:Settings"))]


def make(
    section: str,
    key: str,
    given: Mapping[str, Any],
    catalogue: Mapping[str, Callable[..., Any]],
    kind: type,
    trust: bool,
) -> Any:
    """An object of the catalogue, or of a user's "module:Class"."""
    name, options = given[key], {k: v for k, v in given.items() if k != key}
    maker = _own(f"[{section}] {key}", name, trust) if ":" in str(name) else None
    if maker is None:
        _check.known(f"[{section}] {key}", name, tuple(catalogue))
        maker = catalogue[name]
    allowed = options_of(maker)
    for option in options:
        check_key(f"key in [{section}]", option, (key, *allowed))
    made = _call(f"[{section}]", maker, **options)
    if not isinstance(made, kind):
        raise ValueError(f"[{section}] {key} = {name!r} made a {type(made).__name__}, not a {kind.__name__}.")
    return made


def _own(where: str, reference: str, trust: bool) -> Callable[..., Any]:
    if not trust:
        raise ValueError(f"{where} = {reference!r} would run code of your own; pass --trust to allow it.")
    try:
        return load(reference)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where} = {reference!r} cannot be imported: {error}.") from error


def _call(where: str, maker: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls a maker; its complaints name the section."""
    try:
        return maker(*args, **options)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:
        shown = ", ".join(f"{k} = {v!r}" for k, v in options.items())
        raise ValueError(f"{where} with {shown or 'defaults'}: {str(error).splitlines()[0]}") from error


def needed_summaries(constraints: Constraints) -> list[str]:
    """The default summaries, and those that the constraints name."""
    stems = [name.split("[")[0] for name in constraints.intervals]
    for stem in stems:
        _check.known("[constraints]", stem, tuple(CATALOGUE))
    default = importlib.import_module("sbirules.simulators.rate_rnn").DEFAULT_SUMMARIES
    return list(dict.fromkeys((*default, *stems)))


def make_simulator(given: Mapping[str, Any], family: RuleFamily, task: Task, trust: bool) -> Simulator:
    """A simulator of the catalogue, or of a user's "module:Class"."""
    options = {k: v for k, v in given.items() if k != "name"}
    name = given["name"]
    if ":" in str(name):
        maker = _own("[simulator] name", name, trust)
    else:
        _check.known("[simulator] name", name, tuple(SIMULATORS))
        maker = load(SIMULATORS[name])
        for key in options:
            check_key("key in [simulator]", key, ("name", "summaries", *_network_settings()))
    if isinstance(options.get("clamped"), Mapping):  # TOML's keys are text
        options["clamped"] = {int(k) if str(k).isdecimal() else k: v for k, v in options["clamped"].items()}
    if name == "miconi2017":
        return _call("[simulator]", maker, task, family, **options)
    return _call("[simulator]", maker, family, task, **options)


def make_prior(given: Mapping[str, Any], family: RuleFamily) -> Distribution:
    """A prior of the catalogue over the family's coefficients."""
    _check.known("[prior] name", given["name"], tuple(PRIORS))
    maker = load(PRIORS[given["name"]])
    options: dict[str, Any] = {}
    allowed = options_of(maker)
    for key, value in given.items():
        if key == "name":
            continue
        check_key("key in [prior]", key, ("name", *allowed, *family.names))
        options[key] = _component(key, value) if isinstance(value, Mapping) else value
        if key in family.names and not isinstance(value, Mapping):
            raise ValueError(f'[prior.{key}] must be a table such as name = "log_uniform", low = 50, high = 5000.')
    return _call("[prior]", maker, family, **options)


def _component(key: str, given: Mapping[str, Any]) -> Any:
    name = given.get("name", "uniform")
    _check.known(f"[prior.{key}] name", name, tuple(COMPONENTS))
    allowed = {"normal": ("mean", "sd")}.get(name, ("low", "high"))
    for inner in given:
        check_key(f"key in [prior.{key}]", inner, ("name", *allowed))
    missing = [a for a in allowed if a not in given]
    if missing:
        raise ValueError(f"[prior.{key}] lacks {missing[0]}.")
    numbers = [_check.finite(f"[prior.{key}] {a}", given[a]) for a in allowed]
    if name == "uniform":
        return (numbers[0], numbers[1])
    return _call(f"[prior.{key}]", load(COMPONENTS[name]), *numbers)
