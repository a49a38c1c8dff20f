"""The page of a search over structures: what was found, its tree and front as figures that answer to the pointer, and tables."""

from __future__ import annotations

import math
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sbirules.reporting.equations import math_of
from sbirules.reporting.explorer import as_json
from sbirules.reporting.pages import write_page
from sbirules.searches.result import StructureSearch
from sbirules.support.typed import typed

__all__ = ["report_search"]

LISTED = 100  # structures of the table
DRAWN = 4000  # nodes of the figures at most, the best ones
EQUATIONS = 300  # that are typeset; others are shown as text


@typed
def report_search(path: str | Path, found: StructureSearch, *, title: str = "Search over structures of rules") -> None:
    """Writes a self-contained HTML page: the answer, the tree of the search, complexity against score, the best structures.

    Arguments:
        path: The file.
        found: What `search` returned.
        title: Of the page.
    """
    best = found.table().index[:EQUATIONS].tolist()
    equations = {int(k): str(math_of(found.nodes[k].structure.latex)) for k in best}
    write_page(
        path,
        "search.html",
        ("page.js", "search.js"),
        title=title,
        answer=found.answer,
        rules=_rules(found),
        nodes=as_json(_nodes(found, equations)),
        drawn=min(len(found.nodes), DRAWN),
        count=len(found.nodes),
        tables=_tables(found),
        made=_made(found),
    )


def _number(value: float, digits: int = 5) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _nodes(found: StructureSearch, equations: dict[int, str]) -> dict[str, Any]:
    order = sorted(range(len(found.nodes)), key=lambda k: -found.nodes[k].score.held_out)[:DRAWN]
    kept = set(order)
    at = found.nodes[order[0]].parent
    while at >= 0:  # the way to the best is drawn whole
        kept.add(at)
        at = found.nodes[at].parent
    probability = found.posterior if found.has_posterior else {}
    rows = [
        {
            "k": k,
            "parent": found.nodes[k].parent if found.nodes[k].parent in kept else -1,
            "score": _number(found.nodes[k].score.held_out, 7),
            "size": found.nodes[k].structure.complexity,
            "text": str(found.nodes[k].structure),
            "p": _number(probability.get(found.nodes[k].structure, math.nan), 3),
            "values": [
                [n, _number(found.nodes[k].score.values[n], 3)]
                for n in found.nodes[k].structure.names
                if n in found.nodes[k].score.values
            ],
        }
        for k in sorted(kept)
    ]
    return {"nodes": rows, "front": [int(k) for k in found.pareto().index], "equations": equations}


def _rules(found: StructureSearch) -> list[dict[str, Any]]:
    """The rules of the answer, that of the method first."""
    named = [("Predicts best what was held out", found.best)]
    if found.has_posterior:
        named.append(("Most probable", found.most_probable))
    if found.method == "smc":
        named.reverse()
    if named[0][1] == named[-1][1]:
        named = [(" and ".join([named[0][0], *(n[0].lower() + n[1:] for n, _ in named[1:])]), named[0][1])]
    return [{"name": n, "equation": math_of(s.latex), "fitted": _values(found, s)} for n, s in named]


def _values(found: StructureSearch, structure: Any) -> str:
    values = found.values(structure)
    return ", ".join(f"{name} = {values[name]:.3g}" for name in structure.names if name in values)


def _tables(found: StructureSearch) -> list[dict[str, Any]]:
    def rows(frame: Any) -> list[list[str]]:
        return [[_cell(v) for v in row] for row in frame.itertuples(index=False)]

    whole = found.table().drop(columns=["parent", "round"]).head(LISTED)
    more = f" The best {LISTED} of {len(found.nodes):,}." if len(found.nodes) > LISTED else ""
    out = [
        {
            "name": "Structures",
            "anchor": "structures",
            "columns": [str(c).replace("_", " ") for c in whole.columns],
            "rows": rows(whole),
            "note": "held out: log-probability of what was held out, or the score of the problem; the higher the better."
            + more,
        }
    ]
    front = found.pareto()
    out.append(
        {
            "name": "Complexity against score",
            "anchor": "front-table",
            "columns": [str(c).replace("_", " ") for c in front.columns],
            "rows": rows(front),
            "note": "Structures that no simpler or equally complex one beats.",
        }
    )
    if found.has_posterior:
        terms = [[name, f"{p:.3f}"] for name, p in found.term_probabilities().items() if p >= 0.001]
        out.insert(
            1,
            {
                "name": "Terms",
                "anchor": "terms",
                "columns": ["term", "probability"],
                "rows": terms,
                "note": "Posterior probability that a term is part of the rule, whatever stands beside it.",
            },
        )
    if found.refused:
        out.append(
            {
                "name": "Refused proposals",
                "anchor": "refused",
                "columns": ["why", "how often"],
                "rows": [[why, str(count)] for why, count in found.refused.items()][:LISTED],
                "note": "Proposals that are none of the grammar. Nothing of a text is ever executed.",
            }
        )
    return out


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    return str(value)


def _made(found: StructureSearch) -> dict[str, str]:
    out = {
        "method": {"puct": "tree search (PUCT over all nodes)", "smc": "sequential Monte Carlo"}[found.method],
        "grammar": repr(found.grammar),
        "structures scored": f"{len(found.nodes):,}",
        "proposals": f"{len(found.proposals):,}",
        "seconds of scoring": f"{sum(n.score.seconds for n in found.nodes):.0f}",
    }
    if found.has_posterior:
        out["prior"] = "2^-complexity across complexities, uniform within one"
    if found.shares:
        out["particles against weights"] = f"{found.disagreement:.3f} (total variation)"
    out["version"] = f"sbirules {version('sbirules')}"
    out["page written"] = date.today().isoformat()
    return out
