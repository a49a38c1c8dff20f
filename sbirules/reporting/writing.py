"""report.html: one self-contained page on a study."""

from __future__ import annotations

import base64
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sbirules.checks.collected import Checks
from sbirules.importance import Sensitivity
from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.posterior import Posterior
from sbirules.model.simulator import Simulator
from sbirules.model.verdicts import LEVELS
from sbirules.optimise.comparing import PointComparison, compare_point
from sbirules.optimise.points import PointEstimate
from sbirules.reporting.answer import answer
from sbirules.reporting.downloads import packed
from sbirules.reporting.equations import typeset
from sbirules.reporting.explorer import as_json, explorer
from sbirules.reporting.figures import DISTRIBUTION, MACHINERY, PREDICTIONS, TRUST, ReportFigure, make_figures, slug
from sbirules.reporting.numbers import question_words
from sbirules.reporting.pages import write_page
from sbirules.reporting.tables import report_tables, units_of
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.notebook import SIGNS
from sbirules.support.typed import typed

__all__ = ["report"]

FIRST = "marginals"  # the figure of the first screen
ORDER = (DISTRIBUTION, PREDICTIONS, "The optimised rule", "Which coefficients matter", TRUST)
SCRIPTS = ("report.js", "page.js")


@typed
def report(
    path: str | Path,
    posterior: Posterior,
    simulator: Simulator,
    *,
    checked: Checks | None = None,
    sensitivity: Sensitivity | None = None,
    point: PointEstimate | PointComparison | Any = None,
    compared: ChoiceComparison | None = None,
    store: SimulationStore | Sequence[SimulationStore] | None = None,
    study: str = "",
    title: str = "Posterior over plasticity rules",
    made: Sequence[ReportFigure] | None = None,
) -> None:
    """Writes a self-contained HTML page: the question, the verdicts, the rule, figures, tables, settings.

    It loads nothing from anywhere, follows the reader's light or dark mode, and prints.

    Arguments:
        path: The file.
        posterior: With draws.
        simulator: The simulator.
        checked: The result of `sbirules.checks.checking`.
        sensitivity: The result of `sbirules.importance`.
        point: An optimised rule to place in the posterior: what `BPTL.fit` or `compare_point` returned.
        compared: The rule of choices beside baselines: what `compare_families` returned.
        store: The simulations, one store or several, for their counts.
        study: The resolved study, as text.
        title: Of the page.
        made: Figures made before, by `make_figures`.

    Raises:
        ValueError: If the posterior is over other coefficients than the simulator's rules.
    """
    simulator = simulator if posterior.question is None else posterior.question.suited(simulator)
    if posterior.names != simulator.names:
        raise ValueError(
            f"the posterior is over {arguments.listed(posterior.names)}, but the simulator's rules have "
            f"{arguments.listed(simulator.names)}; pass the simulator of the fit."
        )
    bridge = (
        point if isinstance(point, PointComparison) or point is None else compare_point(posterior, point, simulator)
    )
    items = make_figures(posterior, simulator, checked, sensitivity, bridge, compared) if made is None else list(made)
    tables = report_tables(posterior, simulator, checked, sensitivity, bridge, compared)
    groups = _groups(items)
    first = next((figure for figure in groups.get(DISTRIBUTION, []) if figure["name"] == FIRST), None)
    groups[DISTRIBUTION] = [figure for figure in groups.get(DISTRIBUTION, []) if figure is not first]
    named = [name for name in ORDER if name in groups] + [name for name in groups if name not in (*ORDER, MACHINERY)]
    groups = {name: groups[name] for name in [*named, *([MACHINERY] if MACHINERY in groups else [])]}
    contents = [(slug(name), name) for name in named]
    contents += [("rule", "The rule"), ("tables", "Numbers"), ("settings", "How it was made")]
    names = {item.name for item in items}
    write_page(
        path,
        "report.html",
        SCRIPTS,
        title=title,
        question=question_words(posterior, simulator),
        contents=[("answer", "The answer"), *contents],
        answer=answer(posterior, simulator, checked),
        first=first,
        level=checked.level if checked is not None else "",
        level_words=SIGNS,
        overall=checked.headline if checked is not None else "",
        verdicts=_verdicts(checked, names),
        findings=[*([] if compared is None else [compared.plasticity]), *_findings(checked, sensitivity, bridge)],
        family=typeset(simulator.rule_text(posterior.draws.mean(dim=0))),
        explorer=explorer(posterior, units_of(simulator), checked),
        groups=groups,
        anchors={name: slug(name) for name in groups},
        distribution=DISTRIBUTION,
        machinery=MACHINERY,
        downloads=as_json({item.name: {"svg": packed(item.svg), "csv": packed(item.table)} for item in items}),
        tables=tables,
        made=_made(posterior, simulator, [store] if isinstance(store, SimulationStore) else list(store or ())),
        study=study,
    )


# What the page says ------------------------------------------------------------------------------


def _verdicts(checked: Checks | None, names: set[str]) -> list[dict[str, str]]:
    out = []
    for v in checked or ():
        anchor = slug(v.name)
        shown = f"figure-{anchor}" if v.draw is not None and anchor in names else ""
        out.append({"name": v.name, "level": v.level, "finding": v.finding, "advice": v.advice, "anchor": shown})
    return sorted(out, key=lambda v: -LEVELS.index(v["level"]))


def _findings(checked: Checks | None, sensitivity: Sensitivity | None, bridge: PointComparison | None) -> list[str]:
    out = []
    if checked is not None and checked.question is not None and checked.resimulation is not None:
        out += checked.question.findings(checked.resimulation)
    if sensitivity is not None and sensitivity.knock_outs is not None:
        table = sensitivity.knock_outs.table()
        clear = table[table["value"].abs() > 3 * table["se"]]
        if len(clear):
            changes = ", ".join(
                f"{n} ({'falls' if row.value > 0 else 'rises'} by {abs(row.value):.2g} ± {row.se:.1g})"
                for n, row in list(clear.iterrows())[:4]
            )
            out.append(f"“{sensitivity.outcome}” changes most without these terms of posterior rules: {changes}.")
        else:
            out.append(f"No single term, taken out of posterior rules, clearly changes “{sensitivity.outcome}”.")
    if sensitivity is not None and sensitivity.stiff is not None:
        stiff = sensitivity.stiff
        out.append(
            f"Against the prior, the posterior narrows most the combination {stiff.combination(0)} (in prior s.d.), by a factor "
            f"of {float(stiff.value[0].exp()):.1f}; least {stiff.combination(len(stiff.value) - 1)}."
        )
    if bridge is not None:
        success = ", ".join(f"{name} {rate}" for name, rate in bridge.success.items())
        value = ", ".join(f"{name} {v:.1f}" for name, v in bridge.log_likelihood.items())
        out.append(
            f"The optimised rule lies outside the {100 * bridge.joint_level:.1f} % region of highest density; "
            + (f"log-likelihood of the choices: {value}." if value else f"success in fresh networks: {success}.")
        )
    return out


# Figures --------------------------------------------------------------------------------


def _groups(items: Sequence[ReportFigure]) -> dict[str, list[dict[str, Any]]]:
    """Figures as the page needs them, by section."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        light, dark = (base64.b64encode(png).decode("ascii") for png in (item.light, item.dark))
        narrow = [base64.b64encode(png).decode("ascii") for png in item.narrow]
        width = item.width(item.light)
        entry = {
            "name": item.name,
            "anchor": f"figure-{item.name}",
            "light": light,
            "dark": dark,
            "width": width,
            "narrow": narrow,
            "narrow_width": item.width(item.narrow[0]) if narrow else 0,
            "caption": item.caption,
            "alt": f"{item.name.replace('_', ' ')}: {item.caption}",
        }
        groups.setdefault(item.group, []).append(entry)
    return groups


def _made(posterior: Posterior, simulator: Simulator, stores: Sequence[SimulationStore]) -> dict[str, str]:
    facts = {} if posterior.question is None else posterior.question.facts()
    facts |= posterior.record.facts()
    out = {k.replace("_", " "): _readable(v) for k, v in facts.items() if v is not None}
    if stores:
        counts: Counter[str] = Counter()
        for store in stores:
            counts.update(store.status_counts())
        of = f", in {len(stores)} stores of {', '.join(str(len(s)) for s in stores)}" if len(stores) > 1 else ""
        out["simulated networks"] = ", ".join(f"{n} {name}" for name, n in counts.items() if n) + of
        out["simulation time"] = f"{sum(s.seconds for s in stores):.0f} s"
        out["seed of simulations"] = _each_once(str(s.manifest["seed"]) for s in stores)
    chains = posterior.chains
    if chains.r_hat == chains.r_hat:
        drawn = len(posterior.draws)
        out["sampler"] = f"R-hat {chains.r_hat:.3f}, effective sample size {min(chains.ess, drawn):.0f}, {drawn} draws"
    versions = [s.manifest["versions"] for s in stores] or [{"torch": version("torch")}]
    out["versions"] = _each_once(f"{name} {v}" for every in versions for name, v in every.items())
    if simulator.engine:
        out["engine"] = f"{simulator.engine}, {platform.machine()}"
    out["page written"] = date.today().isoformat()
    return out


def _each_once(values: Iterable[str]) -> str:
    """In the given order."""
    return ", ".join(dict.fromkeys(values))


def _readable(value: Any) -> str:
    """A fact as text: intervals and lists without Python's brackets."""
    if isinstance(value, Mapping):
        return "; ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
