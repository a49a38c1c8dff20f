"""report.html: one self-contained page on a study."""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sbirules import _check, figures
from sbirules.compare_point import PointComparison, compare_point
from sbirules.equations import typeset
from sbirules.files import write_atomically
from sbirules.point import PointEstimate
from sbirules.posterior import Posterior
from sbirules.report_figures import ReportFigure, make_figures, slug
from sbirules.report_tables import report_tables
from sbirules.resimulation import ConstraintCheck
from sbirules.rules import TIME_CONSTANTS
from sbirules.sampling import prior_draws
from sbirules.sensitivity import Sensitivity
from sbirules.simulator import Simulator
from sbirules.store import SimulationStore
from sbirules.verdicts import Checks

__all__ = ["report"]

WORDS = {"pass": "✓ pass", "caution": "! caution", "fail": "✗ fail"}  # a sign beside the colour
HIDDEN = ("study", "cautions", "training", "summary_settings", "kind", "criterion", "lengths")  # facts not listed
DRAWS = 800  # posterior draws in the interactive figure


def report(
    path: str | Path,
    posterior: Posterior,
    simulator: Simulator,
    *,
    checked: Checks | None = None,
    sensitivity: Sensitivity | None = None,
    point: PointEstimate | PointComparison | Any = None,
    store: SimulationStore | None = None,
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
        checked: The result of `sbirules.check`.
        sensitivity: The result of `sbirules.sensitivity`.
        point: An optimised rule to place in the posterior: what `BPTL.fit` or `compare_point` returned.
        store: The simulations, for their counts.
        study: The resolved study, as text.
        title: Of the page.
        made: Figures made before, by `make_figures`.

    Raises:
        ValueError: If the posterior is over other coefficients than the simulator's rules.
    """
    import jinja2
    from markupsafe import Markup

    if posterior.names != simulator.names:
        raise ValueError(
            f"the posterior is over {_check.listed(posterior.names)}, but the simulator's rules have "
            f"{_check.listed(simulator.names)}; pass the simulator of the fit."
        )
    if posterior.chains is None:
        posterior.sample((2000,))
    bridge = (
        point if isinstance(point, PointComparison) or point is None else compare_point(posterior, point, simulator)
    )
    items = make_figures(posterior, simulator, checked, sensitivity, bridge) if made is None else list(made)
    groups = _groups(items)
    tables = report_tables(posterior, simulator, checked, sensitivity, bridge)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sbirules", "page"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    folder = resources.files("sbirules").joinpath("page")
    names = {item.name for item in items}
    page = environment.get_template("report.html").render(
        title=title,
        style=Markup(folder.joinpath("report.css").read_text("utf-8")),
        script=Markup(folder.joinpath("report.js").read_text("utf-8")),
        question=_question(posterior, simulator),
        contents=[("findings", "Findings"), ("rule", "The rule"), ("explore", "Explore")]
        + [(g["anchor"], g["name"]) for g in groups]
        + [("tables", "Numbers"), ("settings", "How it was made")],
        level=checked.level if checked is not None else "",
        level_words=WORDS,
        overall=_overall(checked),
        verdicts=_verdicts(checked, names),
        findings=_findings(posterior, checked, sensitivity, bridge),
        family=typeset(simulator.family, posterior.draws.mean(dim=0)),
        explorer=_explorer(posterior),
        figures=groups,
        tables=tables,
        made=_made(posterior, simulator, store),
        study=study,
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), lambda temporary: temporary.write_text(page, encoding="utf-8"))


# What the page says ------------------------------------------------------------------------------


def _question(posterior: Posterior, simulator: Simulator) -> str:
    facts = posterior.facts
    family, task = type(simulator.family).__name__, type(simulator.task).__name__
    start = f"Which plasticity rules ({family}, {len(posterior.names)} coefficients)"
    if facts.get("kind") == "constraints":
        asked = _intervals(facts["constraints"])
        if facts.get("reliability") is not None:
            often = f"in at least {facts['reliability']:.0%} of random networks"
        else:
            n = facts.get("all_of_networks") or 1
            often = "in a random network" if n == 1 else f"in all of {n} random networks"
        return f"{start} satisfy {asked} on {task} {often}?"
    if facts.get("kind") == "trials":
        return (
            f"{start} could have produced the trials of {facts['learners']} learners ({facts['trials']} trials in all) on "
            f"{task}, if all of them share one rule?"
        )
    return f"{start} could have led to what was observed in one network on {task}?"


def _intervals(constraints: Mapping[str, Any]) -> str:
    parts = []
    for name, (low, high) in constraints.items():
        word = name.replace("_", " ")
        if low == high:
            parts.append(f"“{word}” = {low:g}")
        else:
            parts.append(
                f"“{word}” from {'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"
            )
    return " and ".join(parts)


def _overall(checked: Checks | None) -> str:
    if checked is None or not len(checked):
        return ""
    bad = [v.name for v in checked if v.level == checked.level]
    if checked.level == "pass":
        return f"All {len(checked)} checks pass."
    word = (
        "need attention"
        if checked.level == "caution"
        else "failed: do not rely on this posterior before that is mended"
    )
    return f"{len(bad)} of {len(checked)} checks {word} ({', '.join(bad)})."


def _verdicts(checked: Checks | None, names: set[str]) -> list[dict[str, str]]:
    out = []
    for v in checked or ():
        anchor = slug(v.name)
        shown = f"figure-{anchor}" if v.draw is not None and anchor in names else ""
        out.append({"name": v.name, "level": v.level, "finding": v.finding, "advice": v.advice, "anchor": shown})
    return sorted(out, key=lambda v: ("fail", "caution", "pass").index(v["level"]))


def _findings(
    posterior: Posterior, checked: Checks | None, sensitivity: Sensitivity | None, bridge: PointComparison | None
) -> list[str]:
    out = []
    if checked is not None and isinstance(checked.resimulation, ConstraintCheck):
        r = checked.success.posterior_reliable
        out.append(
            f"{r.value:.0%} ± {r.se:.1%} of posterior rules satisfy the constraints in at least 90 % of networks."
        )
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
        out.append(
            f"The optimised rule lies outside the {100 * bridge.joint_level:.1f} % region of highest density; success in "
            f"fresh networks: {success}."
        )
    return out


def _explorer(posterior: Posterior) -> dict[str, Any]:
    """Draws for the interactive figure, as JSON that cannot end its own script element."""
    from markupsafe import Markup

    step = max(1, len(posterior.draws) // DRAWS)
    draws = posterior.draws[::step][:DRAWS]
    prior = prior_draws(posterior.prior, 4000).double()
    low, high = (torch.quantile(prior, q, dim=0).tolist() for q in (0.025, 0.975))
    two = figures.most_informed(posterior, 2)
    success = getattr(posterior.potential_net, "success", None)
    predicted = None
    if success is not None:
        with torch.no_grad():
            predicted = [round(v, 3) for v in success.log_prob(draws.float()).exp().tolist()]
    data = {
        "names": list(posterior.names),
        "units": [TIME_CONSTANTS[n].unit if n in TIME_CONSTANTS else "natural units" for n in posterior.names],
        "draws": [[float(f"{v:.4g}") for v in row] for row in draws.tolist()],
        "low": low, "high": high, "start": [two[0], two[-1]], "success": predicted,
    }  # fmt: skip
    text = (
        json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
    words = (
        f"{len(draws)} draws of the posterior; the dashed rectangle holds 95 % of the prior along each coefficient. Choose two "
        "coefficients, point at a rule for its values, and drag across the plot (or type limits) to highlight the rules of a "
        "region: their other coefficients appear beside or below."
    )
    return {"data": Markup(text), "words": words}  # JSON without <, > and &


# Figures --------------------------------------------------------------------------------


def _groups(items: Sequence[ReportFigure]) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        light, dark = (base64.b64encode(png).decode("ascii") for png in (item.light, item.dark))
        width = int.from_bytes(item.light[16:20], "big") * 96 // 130  # figures have 130 dots per inch, pages 96
        entry = {
            "anchor": f"figure-{item.name}", "light": light, "dark": dark, "width": width, "caption": item.caption,
            "alt": f"{item.name.replace('_', ' ')}: {item.caption}",
        }  # fmt: skip
        groups.setdefault(item.group, []).append(entry)
    return [
        {"name": name, "anchor": f"figures-{k}", "figures": found} for k, (name, found) in enumerate(groups.items())
    ]


def _made(posterior: Posterior, simulator: Simulator, store: SimulationStore | None) -> dict[str, str]:
    out = {
        k.replace("_", " "): _readable(v) for k, v in posterior.facts.items() if v is not None and k not in HIDDEN
    }  # fmt: skip
    if store is not None:
        counts = ", ".join(f"{n} {name}" for name, n in store.status_counts().items() if n)
        out["simulated networks"] = counts
        out["simulation time"] = f"{store.seconds:.0f} s"
        out["seed of simulations"] = str(store.manifest["seed"])
    chains = posterior.chains
    if chains is not None and chains.r_hat == chains.r_hat:
        drawn = len(posterior.draws)
        out["sampler"] = f"R-hat {chains.r_hat:.3f}, effective sample size {min(chains.ess, drawn):.0f}, {drawn} draws"
    versions = store.manifest["versions"] if store is not None else {"torch": version("torch")}
    out["versions"] = ", ".join(f"{name} {v}" for name, v in versions.items())
    if simulator.engine:
        out["engine"] = f"{simulator.engine}, {platform.machine()}"
    out["page written"] = date.today().isoformat()
    return out


def _readable(value: Any) -> str:
    """A fact as text: intervals and lists without Python's brackets."""
    if isinstance(value, Mapping):
        if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value.values()):
            return _intervals(value)
        return "; ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
