"""The search of a study of choices: its structures, a page, tables and figures, in the study's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sbirules.inference.questions import ChoicesQuestion
from sbirules.model.rules import PolicyRule
from sbirules.model.structures import RuleGrammar
from sbirules.reporting.figures import ReportFigure, write_figures
from sbirules.reporting.searches import report_search
from sbirules.searches.problems import ChoiceProblem
from sbirules.searches.result import StructureSearch
from sbirules.searches.searching import search
from sbirules.simulators import PolicyNetwork
from sbirules.studies.baselines import table_of
from sbirules.studies.sections import SearchSection
from sbirules.studies.study import Study
from sbirules.support.files import make_folder, plain, write_bytes, write_json
from sbirules.support.locks import locked

__all__ = ["search_study"]


def search_study(
    study: Study, folder: str | Path, *, num_workers: int | None = None, progress: bool = False
) -> tuple[StructureSearch, dict[str, Any]]:
    """Searches for the structure of the rule, and returns what was found with the content of search.json.

    The folder gets `search/`, from which a stopped search goes on, `search.html`, `search.json`, `structures.csv` and figures.

    Arguments:
        study: With choices as its question; its [rule] says nothing but what reward is expected, its [prior] nothing.
        folder: Where results go.
        num_workers: Processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If the study is none of choices.
    """
    question, simulator = study.question, study.simulator
    if not isinstance(question, ChoicesQuestion) or not isinstance(simulator, PolicyNetwork):
        raise ValueError(
            f"{study.name} is no study of choices, whose rules are searched: it needs [data] with choices, and "
            f'[simulator] name = "policy_network".'
        )
    s = study.search or SearchSection()
    family, settings = simulator.family, simulator.settings
    expectation: dict[str, Any] = {}
    if isinstance(family, PolicyRule):
        expectation = {"baseline": family.baseline, "rate": family.rate}
    grammar = RuleGrammar(
        s.variables,
        degree=s.degree,
        most_power=s.most_power,
        functions=s.functions,
        thresholds=s.thresholds,
        max_terms=s.max_terms,
    )
    problem = ChoiceProblem(
        table_of(question),
        grammar,
        task=simulator.task,
        coefficients=_ends("coefficients", s.coefficients),
        decay=_ends("decay", s.decay),
        **expectation,
        settings=settings,
    )
    place = make_folder(Path(folder))
    with locked(place):
        found = search(
            problem,
            method=s.method,
            budget=s.budget,
            folder=place / "search",
            workers=num_workers or os.cpu_count() or 1,
            seed=s.seed,
            progress=progress,
        )
        report_search(place / "search.html", found, title=f"Search over structures of rules: {study.name}")
        content = _content(found)
        write_json(place / "search.json", content)
        write_bytes(place / "structures.csv", found.table().to_csv().encode())
        drawn = [
            ReportFigure("search_tree", "search", found.figure, "Structures in the order found."),
            ReportFigure("pareto_front", "search", found.pareto_figure, "Complexity against held-out score."),
        ]
        write_figures(drawn, place / "figures")
    return found, content


def _ends(name: str, values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) != 2:
        raise ValueError(f"[search] {name} must be two numbers, the lower one first, got {list(values)}.")
    return values[0], values[1]


def _content(found: StructureSearch) -> dict[str, Any]:
    best = found.best
    out: dict[str, Any] = {
        "schema_version": 1,
        "answer": found.answer,
        "method": found.method,
        "scored": len(found.nodes),
        "best": {"structure": str(best), "values": found.values(best)},
    }
    if found.has_posterior:
        top = found.most_probable
        out["most_probable"] = {"structure": str(top), "probability": found.posterior[top], "values": found.values(top)}
        out["terms"] = found.term_probabilities()
    if found.shares:
        out["disagreement"] = found.disagreement
    made: dict[str, Any] = plain(out)
    return made
