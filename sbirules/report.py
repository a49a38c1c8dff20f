"""report.html: one self-contained page on a study."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from sbirules import _check, figures
from sbirules.check import ConstraintCheck, TrialsCheck
from sbirules.files import write_atomically
from sbirules.posterior import Posterior
from sbirules.results import parameter_table
from sbirules.simulator import Simulator
from sbirules.store import SimulationStore

__all__ = ["make_figures", "report"]

HIDDEN = ("study", "cautions")  # facts that the page does not list
Check = ConstraintCheck | TrialsCheck


def make_figures(posterior: Posterior, simulator: Simulator, checked: Check | None) -> dict[str, tuple[Any, str]]:
    """Figures of a study by name, each with its caption."""
    out: dict[str, tuple[Any, str]] = {}
    if isinstance(checked, ConstraintCheck):
        out["success"] = (
            figures.success_figure(checked),
            f"Success on fresh networks. Left: mean share over {checked.rules} rules of {checked.networks_per_rule} "
            f"networks each (bars: standard error between rules). Right: how it varies over posterior rules.",
        )
        out["learning_curves"] = (
            figures.curve_figure(checked.curves, "Learning curves of fresh networks", trials=simulator.num_trials),
            "Error over a session: median and middle half of fresh networks under posterior rules, prior rules, and "
            "without plasticity.",
        )
    if isinstance(checked, TrialsCheck):
        out["learning_curves"] = (
            figures.curve_figure(
                {"posterior": checked.curve}, "Posterior predictive check", "mean error, mean over learners",
                simulator.num_trials,
            ),
            f"Mean learning curve of the learners (points) and of as many fresh networks under each of "
            f"{checked.rules} posterior rules (median and 95 % band).",
        )  # fmt: skip
    out["marginals"] = (
        figures.marginal_figure(posterior),
        "Posterior of each coefficient: mean, 50 % and 95 % interval; the prior's 95 % interval in grey.",
    )
    if len(posterior.names) > 1:
        out["pairs"] = (
            figures.pair_figure(posterior),
            "Coefficients whose posterior differs most from the prior, one by one and in pairs (r: correlation).",
        )
        out["correlations"] = (
            figures.correlation_figure(posterior),
            "Posterior correlations: strongly correlated coefficients can stand in for each other.",
        )
    return out


def _lead(posterior: Posterior, checked: Check | None) -> list[str]:
    """What was found, in sentences with numbers."""
    if isinstance(checked, ConstraintCheck):
        s, p, z, r = (
            checked.posterior_success, checked.prior_success, checked.zero_rule_success, checked.posterior_reliable
        )  # fmt: skip
        cautions = list(posterior.facts.get("cautions", ()))
        if s.value < p.value + 2 * math.hypot(s.se, p.se):
            cautions.append(
                "Posterior rules do not succeed clearly more often than prior rules: do not rely on this fit."
            )
        return [
            *cautions,
            f"On fresh networks, posterior rules satisfy the constraints in {s.value:.0%} ± {s.se:.1%} of networks, "
            f"prior rules in {p.value:.0%} ± {p.se:.1%}, and no plasticity at all in {z.value:.1%} ± {z.se:.1%}.",
            f"{r.value:.0%} ± {r.se:.1%} of posterior rules satisfy them in at least 90 % of networks. "
            f"The classifier behind the posterior predicted {checked.predicted_success:.0%}.",
            f"Measured on {checked.rules} rules with {checked.networks_per_rule} fresh networks each"
            + ("; fewer than the 32 that a study should use." if checked.networks_per_rule < 32 else "."),
        ]
    if isinstance(checked, TrialsCheck):
        return [
            f"{checked.curve.coverage:.0%} of the bins of the learners' mean learning curve lie in the 95 % band of "
            f"{checked.rules} posterior rules, each simulated in {checked.networks_per_rule} fresh networks.",
        ]
    return ["No check by re-simulation was run."]


def report(
    path: str | Path,
    posterior: Posterior,
    simulator: Simulator,
    *,
    checked: Check | None = None,
    store: SimulationStore | None = None,
    study: str = "",
    title: str = "Posterior over plasticity rules",
    made: Mapping[str, tuple[Any, str]] | None = None,
) -> None:
    """Writes a self-contained HTML page: what was asked and found, figures, tables, settings.

    Arguments:
        path: The file.
        posterior: With draws.
        simulator: The simulator.
        checked: The result of `sbirules.check`.
        store: The simulations, for their counts.
        study: The resolved study, as text.
        title: Of the page.
        made: Figures made before, by `make_figures`.
    """
    import jinja2

    if posterior.names != simulator.names:
        raise ValueError(
            f"the posterior is over {_check.listed(posterior.names)}, but the simulator's rules have "
            f"{_check.listed(simulator.names)}; pass the simulator of the fit."
        )
    if posterior.chains is None:
        posterior.sample((2000,))
    made = make_figures(posterior, simulator, checked) if made is None else made
    table = parameter_table(posterior)
    raw = simulator.raw_per_unit.tolist()
    rows = [
        {"name": name, "raw": values["mean"] * unit, "raw_sd": values["sd"] * unit, **values}
        for (name, values), unit in zip(table.items(), raw, strict=True)
    ]
    mean = posterior.draws.mean(dim=0)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files("sbirules").joinpath("report.html").read_text("utf-8"))
    page = template.render(
        title=title,
        lead=_lead(posterior, checked),
        facts={
            k.replace("_", " "): _readable(v) for k, v in posterior.facts.items() if v is not None and k not in HIDDEN
        },
        equation=simulator.family.describe(mean.tolist()),
        rows=rows,
        pairs=_pairs(posterior),
        figures=[{"name": n, "png": _png(fig), "caption": caption} for n, (fig, caption) in made.items()],
        status=store.status_counts() if store is not None else {},
        seconds=store.seconds if store is not None else None,
        versions=store.manifest["versions"] if store is not None else {"torch": torch.__version__},
        r_hat=posterior.chains.r_hat if posterior.chains is not None else None,
        ess=posterior.chains.ess if posterior.chains is not None else None,
        study=study,
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), lambda temporary: temporary.write_text(page, encoding="utf-8"))


def _readable(value: Any) -> str:
    """A fact as text: intervals and lists without Python's brackets."""
    if isinstance(value, Mapping):
        ends = {name: [f"{e:g}" if e is not None else "any" for e in pair] for name, pair in value.items()}
        return "; ".join(f"{name} from {low} to {high}" for name, (low, high) in ends.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return str(value)


def _pairs(posterior: Posterior, most: int = 8) -> list[dict[str, Any]]:
    """The most strongly correlated pairs of coefficients."""
    n = len(posterior.names)
    if n < 2:
        return []
    r = torch.corrcoef(posterior.draws.double().T)
    pairs = [(abs(float(r[i, j])), float(r[i, j]), i, j) for i in range(n) for j in range(i)]
    return [
        {"a": posterior.names[j], "b": posterior.names[i], "r": value}
        for size, value, i, j in sorted(pairs, reverse=True)[:most]
        if size >= 0.2
    ]


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
