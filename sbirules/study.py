"""Studies as TOML files: parsed, checked and resolved to objects. All that is wrong with a file is said at once."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from torch.distributions import Distribution

from sbirules.catalogue import (
    FAMILIES,
    PRIORS,
    TASKS,
    check_key,
    keys_of,
    load,
    make,
    make_prior,
    make_simulator,
    needed_summaries,
    options_of,
)
from sbirules.constraints import Constraints
from sbirules.polynomial import PolynomialRule
from sbirules.resimulation import NETWORKS
from sbirules.rules import RuleFamily
from sbirules.sensitivity.overview import PARTS as SENSITIVITY_PARTS
from sbirules.simulator import Simulator
from sbirules.study_numbers import check_numbers
from sbirules.task import Task
from sbirules.trials import Trials

__all__ = ["Study", "StudyError"]

SECTIONS: dict[str, tuple[str, ...] | None] = {  # None: keys depend on the name that is chosen
    "rule": None,
    "task": None,
    "simulator": None,
    "prior": None,
    "simulate": ("num_simulations", "seed", "shard_size"),
    "constraints": None,
    "data": ("trials",),
    "fit": (
        "all_of_networks", "reliability", "rounds", "round_simulations", "num_samples", "seed", "summaries",
        "estimator", "classifier", "ratio", "likelihood", "sampler",
    ),
    "check": ("rules", "networks_per_rule", "seed", "calibration", "held_out"),
    "sensitivity": ("rules", "networks", "parts", "seed"),
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "rule": {"family": "polynomial"},
    "task": {"name": "delayed_discrimination"},
    "simulator": {"name": "rate_rnn"},
    "prior": {"name": "uniform"},
    "simulate": {"num_simulations": 4096, "seed": 0},
    "fit": {"rounds": 0, "round_simulations": 3072, "num_samples": 4000, "seed": 0},
    "check": {"rules": 128, "seed": 0, "calibration": 100},
    "sensitivity": {"rules": 48, "networks": 8, "parts": list(SENSITIVITY_PARTS), "seed": 0},
}
VARIANT = ("task", "simulator", "trials")  # keys of [check.held_out.NAME]
SHARED = {"task": (), "simulator": ("summaries", "num_trials")}  # what a variant of another name keeps


class StudyError(ValueError):
    """All that is wrong with a study file.

    Arguments:
        problems: One sentence each.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"  {k}. {text}" for k, text in enumerate(problems, start=1))
        super().__init__(problems[0] if len(problems) == 1 else f"the study has {len(problems)} problems:\n{listed}")


class _Problems(list[str]):
    """Complaints so far; `attempt` goes on after one."""

    def attempt(self, make: Callable[[], Any], default: Any = None) -> Any:
        try:
            return make()
        except ValueError as error:
            self.extend(error.problems if isinstance(error, StudyError) else [str(error)])
            return default


@dataclass(frozen=True)
class Study:
    """A resolved study.

    Arguments:
        name: Name of the study file without its ending.
        sections: All settings by section, defaults filled in, plain types; written to `study.toml`.
        simulator: The simulator.
        prior: The prior.
        constraints: What is asked of the rules, or None.
        trials: Or the observed learners, or None.
        variants: Held-out variants by name: a simulator, with the trials observed in it for studies of data.
        folder: Where the study file is, and a user's own modules beside it.
    """

    name: str
    sections: Mapping[str, Mapping[str, Any]]
    simulator: Simulator
    prior: Distribution
    constraints: Constraints | None
    trials: Trials | None
    variants: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path(".")

    @staticmethod
    def read(path: str | Path, *, trust: bool = False) -> Study:
        """A study from a TOML file; relative paths in it are relative to the file.

        Arguments:
            path: The file.
            trust: Whether names of the form "module:Class" may import a user's own code.

        Raises:
            ValueError: If the file is missing or not TOML.
            StudyError: If keys are unknown or values break their rules; a ValueError that says all of it.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"there is no study file {path}.")
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not valid TOML: {error}.") from error
        return Study.of(content, name=path.stem, folder=path.parent, trust=trust)

    @staticmethod
    def of(content: Mapping[str, Any], *, name: str, folder: str | Path = ".", trust: bool = False) -> Study:
        """A study from the content of a TOML file."""
        problems = _Problems()
        content = _known(content, problems)
        if ("constraints" in content) == ("data" in content):
            problems.append("a study needs exactly one of [constraints] and [data].")
            content.pop("data", None)
        sections = {key: {**DEFAULTS.get(key, {}), **content.get(key, {})} for key in SECTIONS}
        family = problems.attempt(lambda: make("rule", "family", sections["rule"], FAMILIES, RuleFamily, trust))
        task = problems.attempt(lambda: make("task", "name", sections["task"], TASKS, Task, trust))
        constraints = trials = None
        if "constraints" in content:
            constraints = problems.attempt(lambda: Constraints.of(sections["constraints"]))
        if "data" in content and family is not None and task is not None:
            trials = problems.attempt(lambda: _table(sections, content, family, task, Path(folder), trust))
        if constraints is not None and "summaries" not in sections["simulator"]:
            asked: Constraints = constraints
            more = problems.attempt(lambda: needed_summaries(asked))
            if more is None:
                constraints = None
            else:
                sections["simulator"]["summaries"] = more
        simulator = prior = None
        if family is not None and task is not None:
            simulator = problems.attempt(lambda: make_simulator(sections["simulator"], family, task, trust))
        if family is not None:
            prior = problems.attempt(lambda: make_prior(sections["prior"], family))
        if "constraints" in content:  # defaults that results depend on are part of the study
            sections["check"].setdefault("networks_per_rule", NETWORKS)
            if not {"all_of_networks", "reliability"} & set(sections["fit"]):
                sections["fit"]["all_of_networks"] = 1
        check_numbers(sections, constraints is not None or "data" not in content, trials, problems.attempt)
        if constraints is not None and simulator is not None:
            problems.attempt(lambda: constraints.check(simulator.summary_names))
        variants: dict[str, Any] = {}
        held_out = sections["check"].get("held_out", {})
        if simulator is not None and family is not None:
            variants = problems.attempt(
                lambda: _variants(held_out, sections, family, constraints, Path(folder), trust), {}
            )
        if problems or simulator is None or prior is None:
            raise StudyError(list(dict.fromkeys(problems)))
        return Study(name, sections, simulator, prior, constraints, trials, variants, Path(folder).resolve())

    def settings(self, key: str, kind: type[Any]) -> Any:
        """Estimator settings from [fit.key], or None for the defaults."""
        given = self.sections["fit"].get(key)
        return None if given is None else kind(**given)

    @property
    def trial_types(self) -> Any:
        """Sequences of trial types to simulate: the learners', or the task's own (None)."""
        return None if self.trials is None else self.trials.trial_types

    def resolved(self) -> dict[str, Any]:
        """What `study.toml` holds: every setting, defaults included, in types that TOML knows."""
        out = {k: _toml(v) for k, v in self.sections.items() if v}
        family, task = self.simulator.family, self.simulator.task
        out["rule"] |= {k: _toml(getattr(family, k)) for k in ("degree", "weight_degree", "tau_e", "tau_w", "infer")
                        if hasattr(family, k) and k in options_of(type(family))}  # fmt: skip
        if isinstance(family, PolynomialRule):
            out["rule"]["terms"] = list(family.powers)
        out["task"] = _toml(task) | out["task"] if is_dataclass(task) else out["task"]
        out["simulator"] = _toml(getattr(self.simulator, "settings", None)) | out["simulator"]
        maker = inspect.signature(load(PRIORS[out["prior"]["name"]])).parameters.values()
        out["prior"] = {p.name: p.default for p in maker if isinstance(p.default, float)} | out["prior"]
        return out


def _known(content: Mapping[str, Any], problems: _Problems) -> dict[str, dict[str, Any]]:
    """The content without what no study knows; that is complained about."""
    out: dict[str, dict[str, Any]] = {}
    for key, section in content.items():
        if key not in SECTIONS:
            problems.attempt(lambda key=key: check_key("section", key, tuple(SECTIONS)))  # type: ignore[misc]
        elif not isinstance(section, Mapping):
            problems.append(f"[{key}] must be a table of settings, got {section!r}.")
        else:
            fixed = SECTIONS[key]
            allowed = keys_of(key, {**DEFAULTS.get(key, {}), **section}) if fixed is None else fixed
            out[key] = {}
            for inner, value in section.items():
                if allowed is None or inner in allowed:
                    out[key][inner] = value
                else:
                    problems.attempt(lambda i=inner, k=key, a=allowed: check_key(f"key in [{k}]", i, a))  # type: ignore[misc]
    return out


def _table(
    sections: dict[str, dict[str, Any]],
    content: Mapping[str, Any],
    family: RuleFamily,
    task: Task,
    folder: Path,
    trust: bool,
) -> Trials:
    """The observed learners; fills in what a study of data has as defaults."""
    if "trials" not in sections["data"]:
        raise ValueError("[data] needs the key trials, the path of a CSV file.")
    path = (folder / str(sections["data"]["trials"])).resolve()
    criterion = make_simulator(sections["simulator"], family, task, trust).criterion
    table = Trials.read(path, task.type_names, criterion)
    sections["data"]["trials"] = str(path)
    sections["simulator"].setdefault("num_trials", int(table.num_trials.max()))
    sections["simulate"] = {**sections["simulate"], "num_simulations": 8192, **content.get("simulate", {})}
    asked = sections["simulate"]["num_simulations"]
    share = max(1, 3 * asked // 8) if isinstance(asked, int) else 1
    defaults = {"rounds": 3, "round_simulations": share, "estimator": "ratio"}
    sections["fit"] = {**sections["fit"], **defaults, **content.get("fit", {})}
    return table


def _variants(
    given: Any,
    sections: dict[str, dict[str, Any]],
    family: RuleFamily,
    constraints: Constraints | None,
    folder: Path,
    trust: bool,
) -> dict[str, Any]:
    """Simulators of [check.held_out.NAME]: the study's task and networks with some settings changed."""
    if not isinstance(given, Mapping):
        raise ValueError(f"[check.held_out] must hold tables such as [check.held_out.later], got {given!r}.")
    out: dict[str, Any] = {}
    for name, changes in given.items():
        where = f"[check.held_out.{name}]"
        if not isinstance(changes, Mapping) or not changes:
            raise ValueError(f"{where} must change something, e.g. task = {{delay = 100}}, got {changes!r}.")
        changed: dict[str, dict[str, Any]] = {}
        for key in changes:
            check_key(f"key in {where}", key, VARIANT)
        for key in ("task", "simulator"):
            new = changes.get(key, {})
            if not isinstance(new, Mapping):
                raise ValueError(f"{where} {key} must be a table such as {{delay = 100}}, got {new!r}.")
            # settings of one task or network mean nothing to another
            same = new.get("name", sections[key]["name"]) == sections[key]["name"]
            kept = sections[key] if same else {k: v for k, v in sections[key].items() if k in SHARED[key]}
            changed[key] = {**kept, **new}
        try:
            task = make("task", "name", changed["task"], TASKS, Task, trust)
            simulator = make_simulator(changed["simulator"], family, task, trust)
            if constraints is not None:
                constraints.check(simulator.summary_names)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        out[name] = simulator
        if sections["data"]:
            if "trials" not in changes:
                raise ValueError(f"{where} needs trials, a CSV file of what was observed there.")
            path = (folder / str(changes["trials"])).resolve()
            out[name] = (simulator, Trials.read(path, task.type_names, simulator.criterion))
            held_out = sections["check"]["held_out"]
            sections["check"]["held_out"] = {**held_out, name: {**changes, "trials": str(path)}}
        elif "trials" in changes:
            raise ValueError(f"{where} trials belongs to studies with [data].")
    return out


def _toml(value: Any) -> Any:
    """Settings as TOML can hold them: no None, keys as strings."""
    if value is None:
        return {}
    if hasattr(value, "__dataclass_fields__"):
        value = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
    if isinstance(value, Mapping):
        return {str(k): _toml(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_toml(v) for v in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value
