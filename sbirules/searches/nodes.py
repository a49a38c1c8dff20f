"""Nodes of a search, and the folder they are kept in: a line for each round, written when it is over."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sbirules.model.structures import RuleGrammar, Structure
from sbirules.searches.problems import Score
from sbirules.support.files import differences, make_folder, plain, read_json, write_first

__all__ = ["Node", "Proposal", "Record", "Round"]

NODES, CONFIG = "nodes.jsonl", "search.json"


@dataclass(frozen=True)
class Node:
    """A structure that was scored.

    Arguments:
        structure: Its terms.
        score: What it scored.
        parent: Index of the node it was proposed from; -1 of none.
        round: In which it was scored, from 0.
    """

    structure: Structure
    score: Score
    parent: int
    round: int


@dataclass(frozen=True)
class Proposal:
    """What a proposer said.

    Arguments:
        parent: Index of the node it was asked about; -1 of none.
        node: Index of the node it led to, new or known; -1 where it led to none.
        refused: Why not, a sentence; empty where it is a node, or where nothing was proposed.
        text: What was refused, its first 500 characters.
    """

    parent: int
    node: int
    refused: str = ""
    text: str = ""


@dataclass(frozen=True)
class Round:
    """One round of a search."""

    nodes: tuple[Node, ...]
    proposals: tuple[Proposal, ...] = ()


@dataclass
class Record:
    """All rounds so far; in a folder, or in memory alone.

    Arguments:
        grammar: Of the structures.
        path: The file of rounds; None for memory alone.
        rounds: What there is.
    """

    grammar: RuleGrammar
    path: Path | None = None
    rounds: list[Round] = field(default_factory=list)

    @classmethod
    def opened(cls, folder: Path | None, grammar: RuleGrammar, config: Mapping[str, Any]) -> Record:
        """That of a folder, which is made if there is none.

        Raises:
            ValueError: If the folder holds another search.
        """
        if folder is None:
            return cls(grammar)
        make_folder(folder)
        own = plain(dict(config))
        if not write_first(folder / CONFIG, own):
            other = differences(read_json(folder / CONFIG), own)
            if other:
                name, then, now = other[0]
                raise ValueError(
                    f"{folder} holds another search: {name} was {str(then)[:80]}, now it is {str(now)[:80]}; take another folder."
                )
        out = cls(grammar, folder / NODES)
        out.rounds = list(out._kept())
        return out

    def _kept(self) -> Sequence[Round]:
        if self.path is None or not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # a round that a kill cut off is searched again
            with self.path.open("r+b") as file:
                file.truncate(whole)
        try:
            rounds = [self._read(json.loads(line)) for line in content[:whole].splitlines()]
            _refuse_inconsistent(rounds)
            return rounds
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{self.path} is damaged: a line of it is no round of this search; take another folder."
            ) from None

    def _read(self, line: Mapping[str, Any]) -> Round:
        nodes = tuple(
            Node(
                self.grammar.parse(n["structure"]),
                _score(n["score"]),
                int(n["parent"]),
                int(n["round"]),
            )
            for n in line["nodes"]
        )
        return Round(nodes, tuple(Proposal(**p) for p in line["proposals"]))

    def add(self, new: Round) -> None:
        """Keeps a round."""
        self.rounds.append(new)
        if self.path is None:
            return
        nodes = [
            {"structure": str(n.structure), "score": _plain(asdict(n.score)), "parent": n.parent, "round": n.round}
            for n in new.nodes
        ]
        line = json.dumps({"nodes": nodes, "proposals": [asdict(p) for p in new.proposals]}, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in the order in which they were scored."""
        return [node for r in self.rounds for node in r.nodes]


def _refuse_inconsistent(rounds: Sequence[Round]) -> None:
    """Raises ValueError unless rounds follow each other, as a search writes them."""
    nodes = [(k, node) for k, r in enumerate(rounds) for node in r.nodes]
    seen = {node.structure for _, node in nodes}
    if len(seen) < len(nodes) or (rounds and not nodes):
        raise ValueError("a structure comes twice, or none at all.")
    for place, (k, node) in enumerate(nodes):
        if not -1 <= node.parent < place or node.round != k:
            raise ValueError("a node is proposed from none before it, or of another round.")
    for proposal in (p for r in rounds for p in r.proposals):
        for index in (proposal.parent, proposal.node):
            if type(index) is not int or not -1 <= index < len(nodes):
                raise ValueError("a proposal is of no node.")
        if not isinstance(proposal.refused, str) or not isinstance(proposal.text, str):
            raise ValueError("a proposal is no text.")


def _plain(score: Mapping[str, Any]) -> dict[str, Any]:
    """With text for infinities and None for what is no number, which JSON does not know."""

    def one(v: Any) -> Any:
        if isinstance(v, float) and not math.isfinite(v):
            return None if math.isnan(v) else str(v)
        return v

    return {k: one(v) for k, v in score.items()}


def _score(kept: Mapping[str, Any]) -> Score:
    number = {
        k: math.nan if kept[k] is None else float(kept[k])
        for k in ("held_out", "log_evidence", "evidence_se", "seconds")
    }
    if number["held_out"] == math.inf or math.isnan(number["held_out"]) or number["log_evidence"] == math.inf:
        raise ValueError("a score is infinite, or none.")
    values = {str(name): float(value) for name, value in kept["values"].items()}
    return Score(number["held_out"], number["log_evidence"], number["evidence_se"], values, number["seconds"])
