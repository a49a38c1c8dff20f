"""The sections of a study file: one dataclass each, used by study files, command line and `--dry-run` alike.

A field's metadata says what holds of it: `least`, the smallest whole number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeVar

from sbirules.checks.calibrating import FEWEST as FEWEST_RULES
from sbirules.importance.overview import PARTS
from sbirules.inference.choice_families import HELD_OUT
from sbirules.inference.estimators import LikelihoodSettings
from sbirules.inference.questions import Question
from sbirules.inference.rounds.recalibrating import FEWEST as FEWEST_SETS
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.samplers.smc import SamplerSettings
from sbirules.studies.problems import Problems, check_keys, made_with
from sbirules.support import arguments
from sbirules.support.files import Plain

__all__ = [
    "CheckSection",
    "FitSection",
    "NamedSection",
    "SearchSection",
    "SensitivitySection",
    "SimulateSection",
    "keys",
    "read",
    "table",
]


def _whole(default: int | None, least: int) -> Any:
    return field(default=default, metadata={"least": least})


FEWEST = {"calibration": FEWEST_RULES, "recalibration": FEWEST_SETS}  # where it is not 0
SETTINGS = {
    "classifier": EnsembleSettings,
    "ratio": EnsembleSettings,
    "likelihood": LikelihoodSettings,
    "sampler": SamplerSettings,
}


@dataclass(frozen=True)
class NamedSection:
    """[rule], [task], [simulator] and [prior]: a name of a catalogue, and what it is made with."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SimulateSection:
    """[simulate]: how many networks, from which seed."""

    num_simulations: int = _whole(4096, 1)
    seed: int = _whole(0, 0)
    shard_size: int | None = _whole(None, 1)


@dataclass(frozen=True)
class FitSection:
    """[fit]: the estimator, rounds of simulation, draws, and what the question takes (`options`)."""

    rounds: int = _whole(0, 0)
    round_simulations: int = _whole(3072, 1)
    recalibration: int = _whole(64, 0)
    minutes: float | None = None
    num_samples: int = _whole(4000, 1)
    seed: int = _whole(0, 0)
    estimator: str | None = None
    classifier: EnsembleSettings | None = None
    ratio: EnsembleSettings | None = None
    likelihood: LikelihoodSettings | None = None
    sampler: SamplerSettings | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Any:
        """Of the estimator that was chosen."""
        return {"ratio": self.ratio, "likelihood": self.likelihood}.get(self.estimator or "")


@dataclass(frozen=True)
class CheckSection:
    """[check]: rules and networks of the checks, baselines beside a rule of choices, and variants that inference never saw."""

    rules: int = _whole(128, 2)
    networks_per_rule: int | None = _whole(None, 1)
    seed: int = _whole(0, 0)
    calibration: int = _whole(100, 0)
    baselines: tuple[str, ...] = ()
    baselines_held_out: str | None = None
    held_out: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SensitivitySection:
    """[sensitivity]: which parts, and how many rules and networks."""

    rules: int = _whole(48, 2)
    networks: int = _whole(8, 1)
    parts: tuple[str, ...] = PARTS
    seed: int = _whole(0, 0)


@dataclass(frozen=True)
class SearchSection:
    """[search]: which structures a rule may have, and how they are searched."""

    method: str = "smc"
    budget: int = _whole(1000, 1)
    seed: int = _whole(0, 0)
    variables: tuple[str, ...] = ("c", "d", "x", "w", "r", "rd")
    degree: int = _whole(3, 1)
    most_power: int = _whole(2, 1)
    functions: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = (0.0,)
    max_terms: int = _whole(4, 1)
    coefficients: tuple[float, ...] = (-1.0, 1.0)
    decay: tuple[float, ...] = (-1.0, 0.0)


Section = TypeVar("Section")


def keys(kind: type[Any], question: type[Question] | None = None) -> tuple[str, ...]:
    """Keys that a section may hold."""
    own = tuple(f.name for f in fields(kind) if f.name != "options")
    return own if question is None or kind is not FitSection else (*own, *question.fit_keys)


def read(
    kind: type[Section],
    name: str,
    given: Plain,
    question: type[Question] | None,
    attempt: Callable[[Callable[[], Any]], Any],
) -> Section | None:
    """A section from what a file says; None if something is wrong with it.

    Arguments:
        kind: The section's class.
        name: Its name.
        given: Its keys, known ones only.
        question: The kind of question that is asked, whose own keys of [fit] go into `options`.
        attempt: Calls what it is given, and notes a ValueError.
    """
    values: dict[str, Any] = {}
    options: dict[str, Any] = {}
    wrong = object()
    for f in fields(kind):  # type: ignore[arg-type]  # sections are dataclasses
        if f.name in given:
            values[f.name] = attempt(lambda f=f: _value(f, name, given[f.name]))  # type: ignore[misc]
            if values[f.name] is None and given[f.name] is not None:
                values[f.name] = wrong
    if kind is FitSection and question is not None:
        options = {key: given[key] for key in question.fit_keys if key in given}
        values["options"] = options
    if any(value is wrong for value in values.values()):
        return None
    return kind(**values)


def _value(f: Any, section: str, value: Any) -> Any:
    where = f"[{section}] {f.name}"
    if "least" in f.metadata:
        if value is None:
            return None
        whole = arguments.whole(where, value, f.metadata["least"])
        few = FEWEST.get(f.name, 0)
        if 0 < whole < few:
            raise ValueError(f"{where}, unless it is 0, must be a whole number of at least {few}, got {value!r}.")
        return whole
    if f.name in SETTINGS:
        return _made(SETTINGS[f.name], f"{section}.{f.name}", value)
    if f.name == "minutes":
        return None if value is None else arguments.above(where, value, 0.0)
    if f.name == "parts":
        return _names(where, value, PARTS)
    if f.name == "baselines":
        from sbirules.inference.baselines.catalogue import BASELINES  # some are compiled, which is slow to import

        return _names(where, value, tuple(BASELINES))
    if section == "search" and f.name == "method":
        from sbirules.searches.searching import METHODS

        arguments.known(where, value, METHODS)
    if section == "search" and f.name in ("variables", "functions"):
        return arguments.strings(where, value)
    if section == "search" and f.name in ("thresholds", "coefficients", "decay"):
        return _numbers(where, value)
    if f.name == "baselines_held_out" and value is not None:
        arguments.known(where, value, HELD_OUT)
    return value


def _numbers(where: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{where} must be a list of numbers, got {value!r}.")
    return tuple(arguments.finite(where, v) for v in value)


def _names(where: str, value: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Names of a list in a file, each once."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} must be a list of names ({arguments.listed(allowed)}), got {value!r}.")
    problems = Problems()
    for name in value:
        problems.attempt(partial(arguments.known, where, name, allowed))
    problems.refuse()
    return tuple(dict.fromkeys(value))


def _made(kind: type[Any], where: str, given: Any) -> Any:
    """Settings from a table."""
    if not isinstance(given, Mapping):
        raise ValueError(f"[{where}] must be a table of settings, got {given!r}.")
    known, problems = tuple(f.name for f in fields(kind)), Problems()
    problems.attempt(lambda: check_keys(f"key in [{where}]", given, known))
    options = {name: value for name, value in given.items() if name in known}
    made = problems.attempt(lambda: made_with(f"[{where}]", kind, options))
    problems.refuse()
    return made


def table(section: Any) -> dict[str, Any]:
    """A section as study files hold it: plain types, nothing that is None."""
    if isinstance(section, NamedSection):
        return {"name": section.name, **section.options}
    out: dict[str, Any] = {}
    for f in fields(section):
        value = getattr(section, f.name)
        if f.name == "options":
            out |= value
        elif value is not None:
            out[f.name] = dict(vars(value)) if f.name in SETTINGS else value
    return {k: list(v) if isinstance(v, tuple) else v for k, v in out.items()}
