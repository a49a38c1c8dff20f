"""What a search found: its tree, the best structures, and a posterior over structures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sbirules import figures
from sbirules.model.structures import RuleGrammar, Structure
from sbirules.model.structures.expressions import term_text
from sbirules.searches.nodes import Node, Proposal
from sbirules.support.notebook import Card, Shown
from sbirules.support.readable import one_line
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["StructureSearch"]

SHOWN = 10


@typed_class
@dataclass(frozen=True)
class StructureSearch(Shown):
    """The nodes of a search over structures; made by `search`.

    Arguments:
        grammar: Which structures there were to find.
        nodes: Structures with their scores, in the order in which they were found.
        proposals: What was proposed, in order, refused proposals included.
        method: `"puct"` or `"smc"`.
        shares: Of particles by structure, where the method is `"smc"`; empty else.
        beyond: How many proposals of particles were not followed because the budget was used up.
        scored_by: What the held-out score is, for people.
        ended_early: Whether it ended before its budget was used up, since nothing new was proposed.
    """

    grammar: RuleGrammar
    nodes: Sequence[Node]
    proposals: Sequence[Proposal]
    method: str
    shares: Mapping[Structure, float]
    beyond: int = 0
    scored_by: str = "score"
    ended_early: bool = False

    def __repr__(self) -> str:
        return one_line(self, self.method, f"{len(self.nodes):,} structures scored", f"best {str(self.best)[:60]}")

    @property
    def best(self) -> Structure:
        """The structure with the highest held-out score; the simplest of equals."""
        return self._best.structure

    @cached_property
    def _best(self) -> Node:
        return max(self.nodes, key=lambda n: (n.score.held_out, -n.structure.complexity))

    @property
    def most_probable(self) -> Structure:
        """The structure with the highest posterior probability.

        Raises:
            ValueError: If the problem knows no evidence.
        """
        return max(self._probabilities.items(), key=lambda pair: pair[1])[0]

    @typed
    def values(self, structure: Structure | str) -> dict[str, float]:
        """Fitted coefficients of a structure that was scored, or of its text, by name.

        Raises:
            ValueError: If it was not scored.
        """
        structure = self.grammar.parse(structure) if isinstance(structure, str) else structure
        found = next((n for n in self.nodes if n.structure == structure), None)
        if found is None:
            raise ValueError(f"structure {str(structure)[:80]!r} was not scored in this search.")
        return dict(found.score.values)

    # Posterior ------------------------------------------------------------------------------------

    @property
    def has_posterior(self) -> bool:
        """Whether there are evidences."""
        return any(math.isfinite(n.score.log_evidence) for n in self.nodes)

    @cached_property
    def _probabilities(self) -> dict[Structure, float]:
        if not self.has_posterior:
            raise ValueError("this problem knows no evidence, so that there is no posterior over structures; see best.")
        log = np.array([self.grammar.log_prob(n.structure) + n.score.log_evidence for n in self.nodes])
        log[~np.isfinite(log)] = -np.inf
        share = np.exp(log - log.max())
        share /= share.sum()
        return {n.structure: float(p) for n, p in zip(self.nodes, share, strict=True)}

    @property
    def posterior(self) -> dict[Structure, float]:
        """Posterior probability of each structure that was scored, the most probable first.

        It is prior times evidence, as if there were no others.
        """
        return dict(sorted(self._probabilities.items(), key=lambda pair: -pair[1]))

    @property
    def disagreement(self) -> float:
        """Total variation between that and the shares of particles: above about .1 the particles have not settled.

        NaN where the method is not `"smc"`. With 400 particles spread over many structures chance alone makes a part of it.
        """
        if not self.shares:
            return math.nan
        own = self._probabilities
        return 0.5 * sum(abs(p - self.shares.get(s, 0.0)) for s, p in own.items())

    def term_probabilities(self) -> dict[str, float]:
        """Posterior probability of each term, whatever stands beside it; the most probable first."""
        out: dict[str, float] = {}
        for structure, p in self._probabilities.items():
            for term in structure.terms:
                out[term_text(term)] = out.get(term_text(term), 0.0) + p
        return dict(sorted(out.items(), key=lambda pair: -pair[1]))

    # Tables ---------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """One row per node, the best first: structure, its complexity, scores, posterior probability, parent, round, seconds."""
        import pandas as pd

        rows = {
            "structure": [str(n.structure) for n in self.nodes],
            "complexity": [n.structure.complexity for n in self.nodes],
            "held_out": [n.score.held_out for n in self.nodes],
        }
        if self.has_posterior:
            rows["log_evidence"] = [n.score.log_evidence for n in self.nodes]
            rows["evidence_se"] = [n.score.evidence_se for n in self.nodes]
            rows["probability"] = [self._probabilities[n.structure] for n in self.nodes]
        rows["parent"] = [n.parent for n in self.nodes]
        rows["round"] = [n.round for n in self.nodes]
        rows["seconds"] = [n.score.seconds for n in self.nodes]
        frame = pd.DataFrame(rows).rename_axis("node")
        by = "probability" if self.has_posterior and self.method == "smc" else "held_out"
        return frame.sort_values(by, ascending=False, kind="stable")

    def pareto(self) -> pd.DataFrame:
        """Structures that no simpler or equally complex one beats on held-out score, the simplest first."""
        import pandas as pd

        rows: list[tuple[int, int]] = []
        most = -math.inf
        order = sorted(
            range(len(self.nodes)), key=lambda k: (self.nodes[k].structure.complexity, -self.nodes[k].score.held_out)
        )
        for k in order:
            if self.nodes[k].score.held_out > most:
                most = self.nodes[k].score.held_out
                rows.append((k, self.nodes[k].structure.complexity))
        data = {
            "structure": [str(self.nodes[k].structure) for k, _ in rows],
            "complexity": [z for _, z in rows],
            "held_out": [self.nodes[k].score.held_out for k, _ in rows],
        }
        return pd.DataFrame(data, index=pd.Index([k for k, _ in rows], name="node"))

    @property
    def refused(self) -> dict[str, int]:
        """Why proposals were refused, and how often."""
        out: dict[str, int] = {}
        for p in self.proposals:
            if p.refused:
                out[p.refused] = out.get(p.refused, 0) + 1
        return dict(sorted(out.items(), key=lambda pair: -pair[1]))

    # Text and figures -----------------------------------------------------------------------------

    @property
    def answer(self) -> str:
        """What was found, in a sentence or two."""
        best = self._best
        start = f"Of {len(self.nodes):,} rules scored, of {self.grammar.count():,} in the grammar, "
        if not math.isfinite(best.score.held_out):
            return f"{start}none has a score."
        first = self.nodes[0]
        if best is first and not first.structure.terms and len(self.nodes) > 1:
            found = [
                f"none has a better {self.scored_by} than the rule that changes nothing ({best.score.held_out:.4g})"
            ]
        else:
            found = [f"{best.structure} has the best {self.scored_by} ({best.score.held_out:.4g})"]
        if self.has_posterior:
            top = self.most_probable
            among = "" if self.method == "smc" else " among those that were scored"
            found.append(f"{top} is most probable{among} ({self._probabilities[top]:.0%})")
        if self.method == "smc":
            found.reverse()
        text = f"{start}{'; '.join(found)}."
        if self.beyond:
            text += (
                f" The budget was too small: {self.beyond:,} proposals of particles could not be followed, so that more probable "
                f"rules may not have been scored. Give a larger one."
            )
        elif self.shares and self.disagreement > 0.1:
            text += f" Particles disagree with that by {self.disagreement:.2f} (total variation): try another seed."
        if self.refused:
            text += f" {sum(self.refused.values()):,} proposals were refused, see refused."
        if self.ended_early:
            text += " The search ended early, since nothing new was proposed."
        return text

    def _card(self) -> Card:
        return Card("Search over structures", text=self.answer, table=self.table().head(SHOWN))

    def __str__(self) -> str:
        return f"{self.table().head(SHOWN).to_string(float_format=_readable)}\n{self.answer}"

    def figure(self, *, ax: Axes | None = None) -> Axes:
        """The tree of the search; see `figures.search_tree`."""
        scores = [n.score.held_out for n in self.nodes]
        return figures.search_tree(
            [n.parent for n in self.nodes], scores, [str(n.structure) for n in self.nodes], ax=ax
        )

    def pareto_figure(self, *, ax: Axes | None = None) -> Axes:
        """Complexity against held-out score, and the front; see `figures.pareto_front`."""
        front = self.pareto()
        return figures.pareto_front(
            [n.structure.complexity for n in self.nodes],
            [n.score.held_out for n in self.nodes],
            front.index.tolist(),
            front["structure"].tolist(),
            ax=ax,
        )


def _readable(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 1000 else f"{value:.3g}"
