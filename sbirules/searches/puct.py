"""Which node to go on from: the flat rule of predictor + upper confidence bound, over all nodes of the tree.

Source: "An AI system to help scientists write expert-level empirical software" (arXiv 2509.06503), Algorithm 1: rank score
+ c P sqrt(sum N) / (1 + N_i), with P = 1 / n; a visit counts for a node and all its ancestors; scores are not backed up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sbirules.model.structures import RuleGrammar, Structure
from sbirules.searches.nodes import Node, Proposal, Record, Round
from sbirules.searches.problems import Problem
from sbirules.searches.scoring import score_all
from sbirules.support.own_code import called

__all__ = ["IDLE", "IDLE_OF_OWN", "Proposer", "grammar_moves", "search_by_puct"]

# (parent, its score, history of (structure, score, why refused), rng) -> a structure, its text, or None
Proposer = Callable[..., Any]

ROUND = 16  # structures that are proposed before any of them is scored
TRIES = 4  # proposals for each of them at most
EXPLORATION = 1.0
CONTINUED = 0.4  # probability that a move is followed by another
AFRESH = 0.25  # probability of a draw of the prior instead
IDLE = 20  # rounds without anything new, after which the search is over
IDLE_OF_OWN = 5  # the same where each proposal is a call of a user's own
KEPT = 500  # characters of a refused text
SHOWN = 50  # of the history that a proposer is given


def grammar_moves(grammar: RuleGrammar) -> Proposer:
    """The default proposer: one reversible move of the grammar, or a few, and now and then a draw of its prior.

    Held-out scores lead to rules that say the same in more terms, from which moves seldom come back to a simple one.
    """

    def propose(parent: Structure, score: float, history: object, rng: np.random.Generator) -> Structure | None:
        if rng.random() < AFRESH:
            return grammar.sample(rng)
        at = parent
        while True:
            at = grammar.propose(at, rng) or at
            if rng.random() >= CONTINUED:
                return at

    return propose


def search_by_puct(
    problem: Problem,
    proposer: Proposer,
    record: Record,
    budget: int,
    seed: int,
    workers: int | None,
    told: Callable[[int], None],
    patience: int = IDLE,
) -> None:
    """Adds rounds to a record until it has `budget` nodes, or nothing new is proposed for so many rounds."""
    grammar = problem.grammar
    if not record.rounds:
        root = grammar.root
        record.add(Round((Node(root, score_all(problem, [(root, {})], 1)[0], -1, 0),)))
    nodes = record.nodes
    places = {node.structure: k for k, node in enumerate(nodes)}
    visits, parents = _visits(record), [node.parent for node in nodes]
    idle = 0
    for last in reversed(record.rounds[1:]):
        if last.nodes:
            break
        idle += 1
    while len(nodes) < budget and idle < patience:
        at = len(record.rounds)
        rng = np.random.default_rng([seed, at])
        room = min(ROUND, budget - len(nodes))
        fresh: list[tuple[Structure, int]] = []
        proposals: list[Proposal] = []
        history = _history(record)
        for k in range(room * TRIES):
            if len(fresh) == room:
                break
            # where good nodes have brought too little that is new, any node is gone on from
            parent = _chosen(nodes, visits) if k < room * TRIES // 2 else int(rng.integers(len(nodes)))
            value = called(proposer, nodes[parent].structure, nodes[parent].score.held_out, history, rng)
            found, refused = _structure(value, grammar)
            place = -1
            if found is not None:
                if found not in places:
                    places[found] = len(nodes) + len(fresh)
                    fresh.append((found, parent))
                    visits.append(0)
                    parents.append(parent)
                place = places[found]
            proposals.append(
                Proposal(parent, place, refused, value[:KEPT] if refused and isinstance(value, str) else "")
            )
            _visit(visits, parents, proposals[-1])
        scores = score_all(problem, [(s, nodes[p].score.values) for s, p in fresh], workers)
        new = tuple(Node(s, score, p, at) for (s, p), score in zip(fresh, scores, strict=True))
        record.add(Round(new, tuple(proposals)))
        nodes += new
        idle = 0 if new else idle + 1
        told(len(nodes))


def _structure(value: Any, grammar: RuleGrammar) -> tuple[Structure | None, str]:
    """What a proposer gave as a structure of the grammar, or a sentence why it is none."""
    if value is None:
        return None, ""
    if isinstance(value, str):
        try:
            return grammar.parse(value), ""
        except ValueError as error:
            return None, str(error)
    if not isinstance(value, Structure):
        raise ValueError(f"a proposer must return a Structure, text or None, got {type(value).__name__}.")
    try:
        value = Structure.of(value.terms, value.target)
    except (ValueError, TypeError, AttributeError):
        return None, "the terms of the structure are no products of factors; make it with parse_structure."
    if not grammar.contains(value):
        return None, f"{str(value)[:80]!r} is none of the grammar."
    return value, ""


def _history(record: Record) -> Sequence[tuple[str, float, str]]:
    """The last proposals as (text, score, why refused), for proposers that read them."""
    nodes = record.nodes
    out: list[tuple[str, float, str]] = []
    for r in reversed(record.rounds):
        for p in reversed(r.proposals):
            if p.node >= 0:
                out.append((str(nodes[p.node].structure), nodes[p.node].score.held_out, ""))
            elif p.refused:
                out.append((p.text, math.nan, p.refused))
            if len(out) == SHOWN:
                return out[::-1]
    return out[::-1]


def _chosen(nodes: Sequence[Node], visits: Sequence[int]) -> int:
    """The node with the highest bound; the earlier one of equals."""
    score = np.array([n.score.held_out for n in nodes])
    order = score.argsort(kind="stable")
    rank = np.empty(len(score))
    rank[order] = np.arange(len(score)) / max(1, len(score) - 1)
    n = np.array(visits[: len(nodes)], dtype=float)
    bound = rank + EXPLORATION / len(nodes) * math.sqrt(n.sum()) / (1 + n)
    return int(bound.argmax())


def _visit(visits: list[int], parents: Sequence[int], proposal: Proposal) -> None:
    at = proposal.parent
    new = proposal.node
    if new >= 0 and parents[new] == at and new != at:
        visits[new] += 1
    while at >= 0:
        visits[at] += 1
        at = parents[at]


def _visits(record: Record) -> list[int]:
    """Visits of each node, from all proposals."""
    parents = [n.parent for n in record.nodes]
    visits = [0] * len(parents)
    for r in record.rounds:
        for p in r.proposals:
            _visit(visits, parents, p)
    return visits
