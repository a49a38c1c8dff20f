"""Studies as TOML files: parsed, checked and resolved to objects. All that is wrong with a file is said at once."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from torch.distributions import Distribution

from sbirules.inference.questions import QUESTIONS, Question
from sbirules.model.abilities import Configured
from sbirules.model.rules import FAMILIES, RuleFamily
from sbirules.model.simulator import Simulator
from sbirules.model.tasks import TASKS, Task
from sbirules.priors import PRIORS
from sbirules.studies.catalogue import check_key, keys_of, make, make_prior, make_simulator, options_of, takes
from sbirules.studies.sections import (
    CheckSection,
    FitSection,
    NamedSection,
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

NAMED = {  # sections that name something of a catalogue: under which key, and what by default
    "rule": ("family", "polynomial"),
    "task": ("name", "delayed_discrimination"),
    "simulator": ("name", "rate_rnn"),
    "prior": ("name", "uniform"),
}
FIXED: dict[str, type[Any]] = {
    "simulate": SimulateSection,
    "fit": FitSection,
    "check": CheckSection,
    "sensitivity": SensitivitySection,
}
VARIANT = ("task", "simulator", "trials")  # keys of [check.held_out.NAME]
SHARED = {"task": (), "simulator": ("summaries", "num_trials")}  # what a variant of another name keeps
Sections = dict[str, dict[str, Any]]


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


def sections_of_questions() -> dict[str, type[Question]]:
    """Kinds of questions by the section that asks them."""
    return {kind.section: kind for kind in QUESTIONS.values()}


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
        problems = _Problems()
        content = _known(content, problems)
        kinds = {section: kind for section, kind in sections_of_questions().items() if section in content}
        if len(kinds) != 1:
            every = " and ".join(f"[{section}]" for section in ("constraints", "data"))
            more = [f"[{s}]" for s in sections_of_questions() if s not in ("constraints", "data")]
            problems.append(f"a study needs exactly one of {every}{' (or ' + ', '.join(more) + ')' if more else ''}.")
        kind = next(iter(kinds.values())) if len(kinds) == 1 else None
        _check_owner(content.get("fit", {}), kind, problems)
        sections: Sections = {key: {name: default} for key, (name, default) in NAMED.items()}
        sections = {key: {**sections.get(key, {}), **content.get(key, {})} for key in (*NAMED, *FIXED)}
        asked = {} if kind is None else content[kind.section]
        made = _Made(sections, content, asked, kind, Path(folder), trust, problems)
        variants = made.variants()
        simulate = read(SimulateSection, "simulate", sections["simulate"], kind, problems.attempt)
        fit = read(FitSection, "fit", sections["fit"], kind, problems.attempt)
        check = read(CheckSection, "check", sections["check"], kind, problems.attempt)
        sensitivity = read(SensitivitySection, "sensitivity", sections["sensitivity"], kind, problems.attempt)
        if problems or made.simulator is None or made.prior is None or made.question is None:
            raise StudyError(list(dict.fromkeys(problems)))
        if simulate is None or fit is None or check is None or sensitivity is None:
            raise StudyError(["the study could not be read."])
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
        )

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
            out[key] = table(getattr(self, key))
        plain: dict[str, Any] = _toml({k: v for k, v in out.items() if v})
        return plain


class _Made:
    """What a study's sections make: the simulator, its prior, the question. Fills in the sections' defaults."""

    def __init__(
        self,
        sections: Sections,
        content: Mapping[str, Plain],
        asked: Plain,
        kind: type[Question] | None,
        folder: Path,
        trust: bool,
        problems: _Problems,
    ) -> None:
        self.sections, self.folder, self.trust, self.problems = sections, folder, trust, problems
        self.asked, self.kind = asked, kind
        attempt = problems.attempt
        self.family: RuleFamily | None = attempt(
            lambda: make("rule", "family", sections["rule"], FAMILIES, RuleFamily, trust)
        )
        self.task: Task | None = attempt(lambda: make("task", "name", sections["task"], TASKS, Task, trust))
        self.more: list[str] | None = [] if kind is None else attempt(lambda: kind.summaries_for(asked))
        self.simulator: Simulator | None = self._simulator(sections["simulator"], self.task)
        if self.simulator is not None:
            self.family = self.simulator.family
        self.prior: Distribution | None = (
            None if self.family is None else attempt(lambda: make_prior(sections["prior"], self.family))  # type: ignore[arg-type]
        )
        self.question: Question | None = None
        right = kind is None or attempt(lambda: kind.check_options(sections["fit"], "[fit] ") is None, False)
        if kind is not None and self.simulator is not None and self.more is not None and right:
            self.question = attempt(lambda: kind.from_study(asked, sections["fit"], self.simulator, folder))  # type: ignore[arg-type]
        if self.question is not None:
            before = dict(sections["simulator"])
            attempt(lambda: self.question.fill_in(sections, content))  # type: ignore[union-attr]
            taken = attempt(lambda: takes(str(before["name"]), trust), ())
            filled = {k: v for k, v in sections["simulator"].items() if k in before or k in taken}
            sections["simulator"] = filled
            if filled != before:
                self.simulator = self._simulator(filled, self.task)
            self.asked = self.question.resolved(asked, folder)
        if self.simulator is not None and isinstance(self.more, list) and self.more:
            sections["simulator"].setdefault("summaries", [s.name for s in self.simulator.summaries])

    def _simulator(self, given: Plain, task: Task | None) -> Simulator | None:
        if self.family is None or task is None or self.more is None:
            return None
        family, more = self.family, self.more
        made: Simulator | None = self.problems.attempt(lambda: make_simulator(given, family, task, self.trust, more))
        return made

    def variants(self) -> dict[str, Any]:
        """Simulators of [check.held_out.NAME]: the study's task and networks with some settings changed."""
        given = self.sections["check"].get("held_out", {})
        if self.simulator is None or self.question is None or self.family is None:
            return {}
        found: dict[str, Any] = self.problems.attempt(lambda: self._variants(given), {})
        return found

    def _variants(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise ValueError(f"[check.held_out] must hold tables such as [check.held_out.later], got {given!r}.")
        out: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        for name, changes in given.items():
            where = f"[check.held_out.{name}]"
            if not isinstance(changes, Mapping) or not changes:
                raise ValueError(f"{where} must change something, e.g. task = {{delay = 100}}, got {changes!r}.")
            for key in changes:
                check_key(f"key in {where}", key, VARIANT)
            changed = {key: self._changed(key, changes.get(key, {}), where) for key in ("task", "simulator")}
            try:
                task = make("task", "name", changed["task"], TASKS, Task, self.trust)
                simulator = make_simulator(changed["simulator"], self.family, task, self.trust)  # type: ignore[arg-type]
                out[name], whole[name] = self.question.variant(changes, simulator, self.folder)  # type: ignore[union-attr]
            except ValueError as error:
                gap = " " if str(error).startswith(("needs", "trials belongs")) else ": "
                raise ValueError(f"{where}{gap}{error}") from error
        if whole:
            self.sections["check"]["held_out"] = whole
        return out

    def _changed(self, key: str, new: Any, where: str) -> dict[str, Any]:
        if not isinstance(new, Mapping):
            raise ValueError(f"{where} {key} must be a table such as {{delay = 100}}, got {new!r}.")
        # settings of one task or network mean nothing to another
        same = new.get("name", self.sections[key]["name"]) == self.sections[key]["name"]
        kept = self.sections[key]
        return {**(kept if same else {k: v for k, v in kept.items() if k in SHARED[key]}), **new}


def _known(content: Plain, problems: _Problems) -> Sections:
    """The content without what no study knows; that is complained about."""
    out: Sections = {}
    questions = sections_of_questions()
    kind = next((kind for section, kind in questions.items() if section in content), None)
    every = (*NAMED, *FIXED, *questions)
    for key, section in content.items():
        if key not in every:
            problems.attempt(lambda key=key: check_key("section", key, every))  # type: ignore[misc]
        elif not isinstance(section, Mapping):
            problems.append(f"[{key}] must be a table of settings, got {section!r}.")
        else:
            allowed: tuple[str, ...] | None = None
            if key in FIXED:
                more = [name for k in questions.values() for name in k.fit_keys] if key == "fit" else []
                allowed = (*keys(FIXED[key], kind), *(m for m in more if m not in keys(FIXED[key], kind)))
            elif key in NAMED:
                allowed = keys_of(key, dict([NAMED[key]]) | dict(section))
            out[key] = {}
            for inner, value in section.items():
                if allowed is None or inner in allowed:
                    out[key][inner] = value
                else:
                    problems.attempt(lambda i=inner, k=key, a=allowed: check_key(f"key in [{k}]", i, a))  # type: ignore[misc]
    return out


def _check_owner(fit: Plain, kind: type[Question] | None, problems: _Problems) -> None:
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
