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
from sbirules.studies.catalogue import check_key, make, make_prior, make_simulator, takes
from sbirules.support.files import Plain

__all__ = ["NAMED", "Made", "Problems", "Sections", "StudyError", "kind_for"]

NAMED = {  # sections that name something of a catalogue: under which key, and what by default
    "rule": ("family", "polynomial"),
    "task": ("name", "delayed_discrimination"),
    "simulator": ("name", "rate_rnn"),
    "prior": ("name", "uniform"),
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


class Problems(list[str]):
    """Complaints so far; `attempt` goes on after one."""

    def attempt(self, make: Callable[[], Any], default: Any = None) -> Any:
        try:
            return make()
        except ValueError as error:
            self.extend(error.problems if isinstance(error, StudyError) else [str(error)])
            return default


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
        self.family: RuleFamily | None = attempt(
            lambda: make("rule", "family", sections["rule"], FAMILIES, RuleFamily, trust)
        )
        self.task: Task | None = attempt(lambda: make("task", "name", sections["task"], TASKS, Task, trust))
        self.more: list[str] | None = [] if kind is None else attempt(partial(kind.summaries_for, asked))
        self.simulator: Simulator | None = self._simulator(sections["simulator"], self.task)
        if self.simulator is not None:
            self.family = self.simulator.family
        self.question: Question | None = None
        self.kind = kind = kind_for(kind, self.simulator)
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
            if self.simulator is not None:
                self.simulator = attempt(partial(self.question.suited, self.simulator), self.simulator)
            self.asked = self.question.resolved(asked, folder)
        self.prior: Distribution | None = (
            None if self.family is None else attempt(lambda: make_prior(sections["prior"], self.family, self.simulator))  # type: ignore[arg-type]
        )
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
