"""Studies as TOML files: parsed, checked and resolved to objects."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from torch.distributions import Distribution

from sbirules import _check
from sbirules.catalogue import (
    FAMILIES,
    PRIORS,
    TASKS,
    check_key,
    load,
    make,
    make_prior,
    make_simulator,
    needed_summaries,
)
from sbirules.check import NETWORKS
from sbirules.constraints import Constraints
from sbirules.ensemble import EnsembleSettings
from sbirules.fit_trials import ESTIMATORS
from sbirules.likelihood import LikelihoodSettings
from sbirules.polynomial import PolynomialRule
from sbirules.rules import RuleFamily
from sbirules.simulator import Simulator
from sbirules.smc import SamplerSettings
from sbirules.summaries import resolve, summarise
from sbirules.task import Task
from sbirules.trials import Trials

__all__ = ["Study"]

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
    "check": ("rules", "networks_per_rule", "seed"),
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "rule": {"family": "polynomial"},
    "task": {"name": "delayed_discrimination"},
    "simulator": {"name": "rate_rnn"},
    "prior": {"name": "uniform"},
    "simulate": {"num_simulations": 4096, "seed": 0},
    "fit": {"rounds": 0, "round_simulations": 3072, "num_samples": 4000, "seed": 0},
    "check": {"rules": 128, "seed": 0},
}


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
    """

    name: str
    sections: Mapping[str, Mapping[str, Any]]
    simulator: Simulator
    prior: Distribution
    constraints: Constraints | None
    trials: Trials | None

    @staticmethod
    def read(path: str | Path, *, trust: bool = False) -> Study:
        """A study from a TOML file; relative paths in it are relative to the file.

        Arguments:
            path: The file.
            trust: Whether names of the form "module:Class" may import a user's own code.

        Raises:
            ValueError: If the file is missing or not TOML, a key is unknown, or a value breaks its rule.
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
        for key, section in content.items():
            check_key("section", key, tuple(SECTIONS))
            if not isinstance(section, Mapping):
                raise ValueError(f"[{key}] must be a table of settings, got {section!r}.")
            allowed = SECTIONS[key]
            for inner in section if allowed is not None else ():
                check_key(f"key in [{key}]", inner, allowed or ())
        if ("constraints" in content) == ("data" in content):
            raise ValueError("a study needs exactly one of [constraints] and [data].")
        sections = {key: {**DEFAULTS.get(key, {}), **content.get(key, {})} for key in SECTIONS}
        family = make("rule", "family", sections["rule"], FAMILIES, RuleFamily, trust)
        task = make("task", "name", sections["task"], TASKS, Task, trust)
        constraints = Constraints.of(sections["constraints"]) if "constraints" in content else None
        trials = None
        if "data" in content:
            if "trials" not in sections["data"]:
                raise ValueError("[data] needs the key trials, the path of a CSV file.")
            table = (Path(folder) / str(sections["data"]["trials"])).resolve()
            criterion = make_simulator(sections["simulator"], family, task, trust).criterion
            trials = Trials.read(table, task.type_names, criterion)
            sections["data"]["trials"] = str(table)
            sections["simulator"].setdefault("num_trials", int(trials.num_trials.max()))
            sections["simulate"] = {**sections["simulate"], "num_simulations": 8192, **content.get("simulate", {})}
            asked = sections["simulate"]["num_simulations"]
            share = max(1, 3 * asked // 8) if isinstance(asked, int) else 1
            defaults = {"rounds": 3, "round_simulations": share, "estimator": "ratio"}
            sections["fit"] = {**sections["fit"], **defaults, **content.get("fit", {})}
        if constraints is not None and "summaries" not in sections["simulator"]:
            sections["simulator"]["summaries"] = needed_summaries(constraints)
        simulator = make_simulator(sections["simulator"], family, task, trust)
        prior = make_prior(sections["prior"], family)
        study = Study(name, sections, simulator, prior, constraints, trials)
        study.check_numbers()
        if constraints is not None:
            constraints.check(simulator.summary_names)
        return study

    def check_numbers(self) -> None:
        """Checks the settings of [simulate], [fit] and [check]."""
        simulate, fit, check = (self.sections[k] for k in ("simulate", "fit", "check"))
        _check.whole("[simulate] num_simulations", simulate["num_simulations"], 1)
        for section, values in (("simulate", simulate), ("fit", fit), ("check", check)):
            _check.whole(f"[{section}] seed", values["seed"], 0)
        _check.whole("[fit] num_samples", fit["num_samples"], 1)
        _check.whole("[fit] rounds", fit["rounds"], 0)
        _check.whole("[fit] round_simulations", fit["round_simulations"], 1)
        _check.whole("[check] rules", check["rules"], 2)
        for key, section, bound in (
            ("shard_size", "simulate", 1),
            ("all_of_networks", "fit", 1),
            ("networks_per_rule", "check", 1),
        ):
            if key in self.sections[section]:
                _check.whole(f"[{section}] {key}", self.sections[section][key], bound)
        self.settings("classifier", EnsembleSettings)
        self.settings("ratio", EnsembleSettings)
        self.settings("likelihood", LikelihoodSettings)
        self.settings("sampler", SamplerSettings)
        if "reliability" in fit:
            _check.share("[fit] reliability", fit["reliability"])
        if self.constraints is None:
            for key in ("all_of_networks", "reliability"):
                if key in fit:
                    raise ValueError(f"[fit] {key} belongs to studies with [constraints], not with [data].")
            _check.known("[fit] estimator", fit["estimator"], ESTIMATORS)
            self._check_summaries(fit.get("summaries"))
            if "networks_per_rule" in check and check["networks_per_rule"] != len(self.trials or ()):
                raise ValueError(
                    "[check] networks_per_rule is the number of learners in a study with [data]; leave it out."
                )
            return
        for key in ("summaries", "estimator", "ratio", "likelihood"):
            if key in fit:
                raise ValueError(f"[fit] {key} belongs to studies with [data], not with [constraints].")
        if "all_of_networks" in fit and "reliability" in fit:
            raise ValueError("[fit] takes all_of_networks or reliability, not both.")

    def _check_summaries(self, chosen: Any) -> None:
        """Raises ValueError unless the table's columns allow the chosen summaries."""
        if chosen is None or self.trials is None:
            return
        if not isinstance(chosen, list):
            raise ValueError(f"[fit] summaries must be a list of names, got {chosen!r}.")
        summarise(self.trials.trajectory, [resolve(name) for name in chosen])

    def settings(self, key: str, kind: type[Any]) -> Any:
        """Estimator settings from [fit.key], or None for the defaults."""
        given = self.sections["fit"].get(key)
        if given is None:
            return None
        if not isinstance(given, Mapping):
            raise ValueError(f"[fit.{key}] must be a table of settings, got {given!r}.")
        known = {f.name: f for f in fields(kind)}
        for name in given:
            check_key(f"key in [fit.{key}]", name, tuple(known))
        return kind(**given)

    @property
    def trial_types(self) -> Any:
        """Sequences of trial types to simulate: the learners', or the task's own (None)."""
        return None if self.trials is None else self.trials.trial_types

    def resolved(self) -> dict[str, Any]:
        """What `study.toml` holds: every setting, defaults included, in types that TOML knows."""
        out = {k: _toml(v) for k, v in self.sections.items() if v}
        family, task = self.simulator.family, self.simulator.task
        out["rule"] |= {k: _toml(getattr(family, k)) for k in ("degree", "weight_degree", "tau_e", "tau_w", "infer")
                        if hasattr(family, k)}  # fmt: skip
        if isinstance(family, PolynomialRule):
            out["rule"]["terms"] = list(family.powers)
        out["task"] = _toml(task) | out["task"] if is_dataclass(task) else out["task"]
        out["simulator"] = _toml(getattr(self.simulator, "settings", None)) | out["simulator"]
        maker = inspect.signature(load(PRIORS[out["prior"]["name"]])).parameters.values()
        out["prior"] = {p.name: p.default for p in maker if isinstance(p.default, float)} | out["prior"]
        if self.constraints is not None:
            out["check"].setdefault("networks_per_rule", NETWORKS)
            if not {"all_of_networks", "reliability"} & set(out["fit"]):
                out["fit"]["all_of_networks"] = 1
        return out


def _toml(value: Any) -> Any:
    """Settings as TOML can hold them: no None, keys as strings."""
    if value is None:
        return {}
    if hasattr(value, "__dataclass_fields__"):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _toml(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_toml(v) for v in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value
