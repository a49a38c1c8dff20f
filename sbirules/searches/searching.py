"""`search`: over structures of rules."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from tqdm import tqdm

from sbirules.model.structures import Structure
from sbirules.searches.nodes import Record
from sbirules.searches.particles import search_by_smc
from sbirules.searches.problems import Problem
from sbirules.searches.puct import IDLE, IDLE_OF_OWN, Proposer, grammar_moves, search_by_puct
from sbirules.searches.result import StructureSearch
from sbirules.support import arguments
from sbirules.support.files import make_folder
from sbirules.support.locks import locked
from sbirules.support.typed import typed

__all__ = ["METHODS", "search"]

METHODS = ("puct", "smc")
VERSION = 1


@typed
def search(
    problem: Problem,
    *,
    method: str = "puct",
    proposer: Proposer | None = None,
    budget: int = 1000,
    folder: str | Path | None = None,
    workers: int | None = 1,
    seed: int = 0,
    progress: bool = False,
) -> StructureSearch:
    """Which terms a rule has.

    `"puct"` looks for the structure that predicts best what was held out: it goes on from good and little visited nodes of all.
    `"smc"` gives a posterior over structures, for problems that know their evidence, such as `ChoiceProblem`.

    A proposer is called as `proposer(parent, score, history, rng)` with a `Structure`, its held-out score, the last proposals as
    `(text, score, why refused)` and a numpy generator. It returns a `Structure`, a text such as `"c x rd - w"`, or None. Text is
    parsed by the grammar and never executed; what is none of the grammar is refused, with the reason in the history. It is asked
    up to four times for each structure sought, and the search ends after five rounds of sixteen in which nothing is new (twenty
    of the grammar's own moves).

    Arguments:
        problem: What scores structures: `ChoiceProblem`, `LearningProblem`, or `OwnProblem` with a function of your own.
        method: `"puct"` or `"smc"`.
        proposer: Of `"puct"`; by default reversible moves of the grammar.
        budget: Structures that are scored at most.
        folder: Where rounds are kept, so that a search that was stopped goes on; the same search again, or a larger budget, also
            with another proposer.
        workers: Processes that score; None for what joblib's `parallel_config` says, a Dask cluster for instance.
        seed: Makes the search repeatable, with the grammar's proposer whatever `workers` is.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If the folder holds another search, the method needs an evidence that the problem has not, or a proposer
            returns what is neither structure nor text.

    Examples:
        >>> found = search(ChoiceProblem("bandit.csv"), method="smc", budget=500)
        >>> found.most_probable, found.term_probabilities()
    """
    arguments.known("method", method, METHODS)
    arguments.whole("budget", budget, 1, arguments.MANY)
    arguments.whole("seed", seed, 0)
    if workers is not None and workers != -1:
        arguments.whole("workers", workers, 1, 10_000)
    if method == "smc" and not problem.has_evidence:
        raise ValueError('method = "smc" needs a problem that knows its evidence, such as ChoiceProblem; take "puct".')
    if method == "smc" and proposer is not None:
        raise ValueError(
            'method = "smc" moves by the grammar, whose probabilities are known; leave proposer out, or take "puct".'
        )
    config = {
        "version": VERSION,
        "grammar": problem.grammar.config(),
        **problem.config(),
        "method": method,
        "seed": seed,
    }
    place = None if folder is None else make_folder(arguments.path("folder", folder))
    with nullcontext() if place is None else locked(place):
        record = Record.opened(place, problem.grammar, config)
        with tqdm(total=budget, initial=len(record.nodes), desc="search", disable=None if progress else True) as bar:

            def told(count: int) -> None:
                bar.update(count - bar.n)

            shares: dict[Structure, float] = {}
            beyond = 0
            if method == "smc":
                shares, beyond = search_by_smc(problem, record, budget, seed, workers, told)
            else:
                moves = proposer or grammar_moves(problem.grammar)
                patience = IDLE if proposer is None else IDLE_OF_OWN
                search_by_puct(problem, moves, record, budget, seed, workers, told, patience)
        proposals = [p for r in record.rounds for p in r.proposals]
        early = method == "puct" and len(record.nodes) < min(budget, problem.grammar.count())
        return StructureSearch(
            problem.grammar, record.nodes, proposals, method, shares, beyond, problem.scored_by, early
        )
