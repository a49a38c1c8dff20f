"""Studies as TOML files: parsed, checked and resolved to objects. All that is wrong with a file is said at once."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch.distributions import Distribution

from sbirules.inference.questions import QUESTIONS, Question
from sbirules.model.abilities import Configured
from sbirules.model.simulator import Simulator
from sbirules.priors import PRIORS
from sbirules.simulators import SIMULATORS
from sbirules.studies.baselines import refuse_baselines
from sbirules.studies.catalogue import keys_of, options_of
from sbirules.studies.making import NAMED, Made, Sections, kind_for
from sbirules.studies.problems import Problems, StudyError, check_keys
from sbirules.studies.sections import (
    CheckSection,
    FitSection,
    NamedSection,
    SearchSection,
    SensitivitySection,
    SimulateSection,
    keys,
    read,
    table,
)
from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.typed import typed_class

__all__ = ["Study", "StudyError"]

FIXED: dict[str, type[Any]] = {
    "simulate": SimulateSection,
    "fit": FitSection,
    "check": CheckSection,
    "sensitivity": SensitivitySection,
    "search": SearchSection,
}


SEARCHED: Plain = {
    "rule": {"family": "taylor", "terms": ["c rd", "w"]},
    "task": {"name": "choice"},
    "simulator": {"name": "policy_network"},
}


def sections_of_questions() -> dict[str, type[Question]]:
    """Kinds of questions by the section that asks them."""
    out: dict[str, type[Question]] = {}
    for kind in QUESTIONS.values():
        out.setdefault(kind.section, kind)
    return out


@typed_class
@dataclass(frozen=True)
class Study:
    """A resolved study.

    Arguments:
        name: Name of the study file without its ending.
        named: [rule], [task], [simulator] and [prior].
        simulate: [simulate].
        fit: [fit].
        check: [check].
        sensitivity: [sensitivity].
        simulator: The simulator.
        prior: The prior.
        question: What is asked of the rules.
        asked: The question's section, plain types.
        variants: Held-out variants by name: a simulator, with the trials observed in it for studies of data.
        folder: Where the study file is, and a user's own modules beside it.
        search: [search]; None where the file has none.
    """

    name: str
    named: Mapping[str, NamedSection]
    simulate: SimulateSection
    fit: FitSection
    check: CheckSection
    sensitivity: SensitivitySection
    simulator: Simulator
    prior: Distribution
    question: Question
    asked: Plain
    variants: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path(".")
    search: SearchSection | None = None

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
        try:
            return Study.of(content, name=path.stem, folder=path.parent, trust=trust)
        except StudyError:
            raise
        except ValueError as error:
            raise ValueError(f"{path} is no study: {error}") from error

    @staticmethod
    def of(content: Plain, *, name: str, folder: str | Path = ".", trust: bool = False) -> Study:
        """A study from the content of a TOML file."""
        problems = Problems()
        if "search" in content:  # it says itself that choices are asked about, of a rule that is not known
            content = {**SEARCHED, **content}
        content = _known(content, problems)
        kinds = {section: kind for section, kind in sections_of_questions().items() if section in content}
        if len(kinds) != 1:
            every = " and ".join(f"[{section}]" for section in ("constraints", "data"))
            more = [f"[{s}]" for s in sections_of_questions() if s not in ("constraints", "data")]
            problems.append(f"a study needs exactly one of {every}{' (or ' + ', '.join(more) + ')' if more else ''}.")
        kind = next(iter(kinds.values())) if len(kinds) == 1 else None
        named_simulator = str(content.get("simulator", {}).get("name", NAMED["simulator"][1]))
        kind = kind_for(kind, SIMULATORS.get(named_simulator, (None, ()))[0])
        _check_owner(content.get("fit", {}), kind, problems)
        sections: Sections = {key: {name: default} for key, (name, default) in NAMED.items()}
        sections = {key: {**sections.get(key, {}), **content.get(key, {})} for key in (*NAMED, *FIXED)}
        asked = {} if kind is None else content[kind.section]
        made = Made(sections, content, asked, kind, Path(folder), trust, problems)
        variants = made.variants()
        simulate = read(SimulateSection, "simulate", sections["simulate"], kind, problems.attempt)
        fit = read(FitSection, "fit", sections["fit"], kind, problems.attempt)
        check = read(CheckSection, "check", sections["check"], kind, problems.attempt)
        sensitivity = read(SensitivitySection, "sensitivity", sections["sensitivity"], kind, problems.attempt)
        search = read(SearchSection, "search", sections["search"], kind, problems.attempt)
        if "search" in content and kind is not None and kind is not QUESTIONS["choices"]:
            problems.append("[search] belongs to studies of choices: [data] with a simulator such as policy_network.")
        if check is not None and made.question is not None:
            problems.attempt(partial(refuse_baselines, check, made.question))
        if problems or made.simulator is None or made.prior is None or made.question is None:
            raise StudyError(list(dict.fromkeys(problems)))
        if simulate is None or fit is None or check is None or sensitivity is None:
            raise StudyError(["the study could not be read; look at [simulate], [fit], [check] and [sensitivity]."])
        named = {
            key: NamedSection(sections[key][inner], {k: v for k, v in sections[key].items() if k != inner})
            for key, (inner, _) in NAMED.items()
        }
        return Study(
            name,
            named,
            simulate,
            fit,
            check,
            sensitivity,
            simulator=made.simulator,
            prior=made.prior,
            question=made.question,
            asked=made.asked,
            variants=variants,
            folder=Path(folder).resolve(),
            search=search if "search" in content else None,
        )

    @property
    def exact(self) -> bool:
        """Whether the likelihood of its table is known exactly, so that nothing is simulated for the fit."""
        return not self.question.simulated

    def resolved(self) -> dict[str, Any]:
        """What `study.toml` holds: every setting, defaults included, in types that TOML knows."""
        out: dict[str, Any] = {}
        for key, section in self.named.items():
            inner, _ = NAMED[key]
            out[key] = {inner: section.name, **section.options}
        family, task = self.simulator.family, self.simulator.task
        more = {k: getattr(family, k) for k in options_of(type(family)) if k in dir(family)}
        out["rule"] = more | out["rule"] if ":" not in str(out["rule"]["family"]) else out["rule"]
        out["task"] = _toml(task) | out["task"] if is_dataclass(task) else out["task"]
        if isinstance(self.simulator, Configured):
            out["simulator"] = _toml(self.simulator.settings) | out["simulator"]
        maker = inspect.signature(PRIORS[out["prior"]["name"]]).parameters.values()
        out["prior"] = {p.name: p.default for p in maker if isinstance(p.default, float)} | out["prior"]
        out[self.question.section] = self.asked
        for key in FIXED:
            if getattr(self, key) is not None:
                out[key] = table(getattr(self, key))
        if self.exact:  # nothing is simulated for it
            del out["simulate"], out["sensitivity"]
            out["check"] = {name: value for name, value in out["check"].items() if name != "held_out" or value}
            for key, name in (("fit", "rounds"), ("fit", "round_simulations"), ("check", "calibration")):
                out[key].pop(name, None)
        else:
            del out["check"]["baselines"]
        if task is None:  # of simulators that take none
            del out["task"]
        for key, made in (("rule", family), ("task", task)):
            for name in getattr(made, "without_effect", ()):
                out[key].pop(name, None)
        if self.exact and not getattr(task, "known", False):
            out["simulator"].pop("num_trials", None)
        plain: dict[str, Any] = _toml({k: v for k, v in out.items() if v})
        return plain


def _known(content: Plain, problems: Problems) -> Sections:
    """The content without what no study knows; that is complained about."""
    out: Sections = {}
    questions = sections_of_questions()
    kind = next((kind for section, kind in questions.items() if section in content), None)
    every = (*NAMED, *FIXED, *questions)
    simulator = content.get("simulator", {})
    named = simulator.get("name", NAMED["simulator"][1]) if isinstance(simulator, Mapping) else ""
    maker = SIMULATORS.get(str(named), (None, ()))[0]  # None where only making it tells what it is asked
    for key, section in content.items():
        if key not in every:
            problems.attempt(partial(check_keys, "section", [key], every))
        elif not isinstance(section, Mapping):
            problems.append(f"[{key}] must be a table of settings, got {section!r}.")
        else:
            allowed: tuple[str, ...] | None = None
            if key in FIXED:
                more = [name for k in questions.values() for name in k.fit_keys] if key == "fit" else []
                allowed = (*keys(FIXED[key], kind), *(m for m in more if m not in keys(FIXED[key], kind)))
            elif key in NAMED:
                allowed = keys_of(key, dict([NAMED[key]]) | dict(section))
            elif kind is not None and key == kind.section and maker is not None:
                allowed = kind_for(kind, maker).section_keys  # type: ignore[union-attr]
            if allowed is not None:
                problems.attempt(partial(check_keys, f"key in [{key}]", section, allowed))
            out[key] = {inner: value for inner, value in section.items() if allowed is None or inner in allowed}
    return out


def _check_owner(fit: Plain, kind: type[Question] | None, problems: Problems) -> None:
    """Complains of keys of [fit] that belong to other questions, and of an unknown estimator."""
    if kind is None:
        return
    for key in fit:
        owners = [k.section for k in QUESTIONS.values() if key in k.fit_keys]
        estimating = key == "estimator" or key in ("ratio", "likelihood")
        if estimating and (not kind.estimators or (key != "estimator" and key not in kind.estimators)):
            owners = [
                k.section for k in QUESTIONS.values() if k.estimators and (key == "estimator" or key in k.estimators)
            ]
        if owners and kind.section not in owners:
            problems.append(f"[fit] {key} belongs to studies with [{owners[0]}], not with [{kind.section}].")
    if "estimator" in fit and kind.estimators and fit["estimator"] not in kind.estimators:
        problems.attempt(lambda: arguments.known("[fit] estimator", fit["estimator"], kind.estimators))


def _toml(value: Any) -> Any:
    """Settings as TOML can hold them: no None, keys as strings."""
    if value is None:
        return {}
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
    if isinstance(value, Mapping):
        return {str(k): _toml(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_toml(v) for v in value]
    return value.tolist() if callable(getattr(value, "tolist", None)) else value
