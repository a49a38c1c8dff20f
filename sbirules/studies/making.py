"""What the sections of a study file make: simulator, prior, question and variants; what is wrong is collected on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch.distributions import Distribution

from sbirules.inference.questions import QUESTIONS, Question
from sbirules.model.rules import FAMILIES, RuleFamily
from sbirules.model.simulator import Simulator
from sbirules.model.tasks import TASKS, Task
from sbirules.studies.catalogue import look_at_prior, make, make_prior, make_simulator, takes
from sbirules.studies.problems import Problems, check_keys
from sbirules.support.files import Plain

__all__ = ["NAMED", "Made", "Sections", "kind_for"]

NAMED = {  # sections that name something of a catalogue: under which key, and what by default
    "rule": ("family", "polynomial"),
    "task": ("name", "delayed_discrimination"),
    "simulator": ("name", "rate_rnn"),
    "prior": ("name", "uniform"),
}
VARIANT = ("task", "simulator", "trials")  # keys of [check.held_out.NAME]
SHARED = {"task": (), "simulator": ("summaries", "num_trials")}  # what a variant of another name keeps
Sections = dict[str, dict[str, Any]]


def kind_for(kind: type[Question] | None, simulator: Any) -> type[Question] | None:
    """The kind of question that a section asks of this simulator's maker: tables of choices ask others than those of errors."""
    found = QUESTIONS.get(str(getattr(simulator, "tables", "")))
    return found if kind is not None and found is not None and found.section == kind.section else kind


class Made:
    """What a study's sections make: the simulator, its prior, the question. Fills in the sections' defaults."""

    def __init__(
        self,
        sections: Sections,
        content: Mapping[str, Plain],
        asked: Plain,
        kind: type[Question] | None,
        folder: Path,
        trust: bool,
        problems: Problems,
    ) -> None:
        self.sections, self.folder, self.trust, self.problems = sections, folder, trust, problems
        self.asked, self.kind = asked, kind
        attempt = problems.attempt
        either = problems.or_instead
        self.family: RuleFamily | None
        self.task: Task | None
        self.family, of_rule = either(lambda: make("rule", "family", sections["rule"], FAMILIES, RuleFamily, trust))
        self.task, of_task = either(lambda: make("task", "name", sections["task"], TASKS, Task, trust))
        self.more, of_more = self._each(lambda part: [] if kind is None else kind.summaries_for(part))
        self.simulator: Simulator | None
        self.simulator, of_simulator = self._simulator(sections["simulator"])
        if self.simulator is not None:
            self.family = self.simulator.family
        self.question: Question | None = None
        self.prior: Distribution | None = None
        self.kind = kind_for(kind, self.simulator)
        right = False
        if self.kind is not None:
            right = attempt(lambda: self.kind.check_options(sections["fit"], "[fit] ") is None, False)  # type: ignore[union-attr]
        if not (of_rule and of_task and of_more and of_simulator):
            # what stands in for what is wrong may have other names, of which nothing is to be said
            attempt(lambda: look_at_prior(sections["prior"], self.family))
            if self.kind is not None and self.kind.section == "data" and "trials" in asked:
                path = folder / str(asked["trials"])
                if not path.is_file():
                    problems.append(f"[data] trials: there is no file {path}.")
            return
        if self.kind is not None and right:
            self._ask(content)
        attempt(self._make_prior)
        if self.simulator is not None and self.more:
            sections["simulator"].setdefault("summaries", [s.name for s in self.simulator.summaries])

    def _each(self, ask: Callable[[Plain], Any]) -> tuple[Any, bool]:
        """What is asked of the question's section, and whether it is sound; after a complaint keys are looked at one by one."""
        mine, found = Problems(), None
        try:
            return ask(self.asked), True
        except ValueError as error:
            for key, value in self.asked.items() if self.kind is not None and self.kind.section != "data" else ():
                mine.attempt(partial(ask, {key: value}))
            if not mine:
                mine.note(error)
        self.problems.extend(mine)
        return found, False

    def _ask(self, content: Mapping[str, Plain]) -> None:
        """The question, and what it changes about the simulator."""
        kind, sections, folder, attempt = self.kind, self.sections, self.folder, self.problems.attempt
        self.question, _ = self._each(lambda part: kind.from_study(part, sections["fit"], self.simulator, folder))  # type: ignore[union-attr, arg-type]
        if self.question is None:
            return
        before = dict(sections["simulator"])
        attempt(lambda: self.question.fill_in(sections, content))  # type: ignore[union-attr]
        taken = attempt(lambda: takes(str(before["name"]), self.trust), ())
        filled = {k: v for k, v in sections["simulator"].items() if k in before or k in taken}
        sections["simulator"] = filled
        if filled != before:
            self.simulator, _ = self._simulator(filled)
        if self.simulator is not None:
            self.simulator = attempt(partial(self.question.suited, self.simulator), self.simulator)
        self.asked = self.question.resolved(self.asked, folder)

    def _make_prior(self) -> None:
        if self.family is not None:
            self.prior = make_prior(self.sections["prior"], self.family, self.simulator)

    def _simulator(self, given: Plain) -> tuple[Simulator | None, bool]:
        """The simulator, and whether it is sound; None where family or task are not there."""
        family, task, more = self.family, self.task, self.more or []
        if family is None or task is None:
            return None, False
        found, sound = self.problems.or_instead(partial(make_simulator, given, family, task, self.trust, more))
        if found is None:
            # what it says may be about the task's timings; there may be more that is wrong
            of_task = {k: v for k, v in self.sections["task"].items() if k == "name" or k not in self.problems[-1]}
            task = Problems().attempt(partial(make, "task", "name", of_task, TASKS, Task, self.trust))
            if task is not None:
                found, _ = self.problems.or_instead(partial(make_simulator, given, family, task, self.trust, more))
        return found, sound

    def variants(self) -> dict[str, Any]:
        """Simulators of [check.held_out.NAME]: the study's task and networks with some settings changed."""
        given = self.sections["check"].get("held_out", {})
        before = len(self.problems)
        self.problems.attempt(partial(_check_variants, given))
        if len(self.problems) > before:
            return {}
        if self.simulator is None or self.question is None or self.family is None:
            return {}
        found: dict[str, Any] = self.problems.attempt(lambda: self._variants(given), {})
        return found

    def _variants(self, given: Any) -> dict[str, Any]:
        problems = Problems()
        out: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        for name, changes in given.items():
            where, mine = f"[check.held_out.{name}]", Problems()
            changed = {key: self._changed(key, changes.get(key, {})) for key in ("task", "simulator")}
            task, of_task = mine.or_instead(partial(make, "task", "name", changed["task"], TASKS, Task, self.trust))
            if task is not None:
                making = partial(make_simulator, changed["simulator"], self.family, task, self.trust)  # type: ignore[arg-type]
                simulator, sound = mine.or_instead(making)
                if of_task and sound:
                    found = mine.attempt(partial(self.question.variant, changes, simulator, self.folder))  # type: ignore[union-attr]
                    out[name], whole[name] = found or (None, None)
            for text in mine:
                gap = " " if text.startswith(("needs", "trials belongs")) else ": "
                problems.append(f"{where}{gap}{text}")
        problems.refuse()
        if whole:
            self.sections["check"]["held_out"] = whole
        return out

    def _changed(self, key: str, new: Plain) -> dict[str, Any]:
        # settings of one task or network mean nothing to another
        same = new.get("name", self.sections[key]["name"]) == self.sections[key]["name"]
        kept = self.sections[key]
        return {**(kept if same else {k: v for k, v in kept.items() if k in SHARED[key]}), **new}


def _check_variants(given: Any) -> None:
    """Raises StudyError for what cannot be meant by [check.held_out]."""
    if not isinstance(given, Mapping):
        raise ValueError(f"[check.held_out] must hold tables such as [check.held_out.later], got {given!r}.")
    problems = Problems()
    for name, changes in given.items():
        where = f"[check.held_out.{name}]"
        if not isinstance(changes, Mapping) or not changes:
            problems.append(f"{where} must change something, e.g. task = {{delay = 100}}, got {changes!r}.")
            continue
        problems.attempt(partial(check_keys, f"key in {where}", changes, VARIANT))
        for key in ("task", "simulator"):
            if not isinstance(changes.get(key, {}), Mapping):
                problems.append(f"{where} {key} must be a table such as {{delay = 100}}, got {changes[key]!r}.")
    problems.refuse()
