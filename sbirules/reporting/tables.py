"""The tables of a report, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sbirules import figures
from sbirules.checks.collected import LITTLE, Checks
from sbirules.importance import Sensitivity
from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.posterior import Posterior
from sbirules.model.abilities import PredictsTables
from sbirules.model.simulator import Simulator
from sbirules.optimise.comparing import PointComparison
from sbirules.reporting.numbers import parameter_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["apart_of", "report_tables", "unit_of", "units_of"]


def unit_of(simulator: Simulator) -> str:
    """What coefficients are measured in where nothing else is said, for people."""
    if simulator.rule_unit:
        return simulator.rule_unit
    return "natural units" if bool((simulator.raw_per_unit != 1).any()) else "raw units"


def units_of(simulator: Simulator) -> list[str]:
    """The unit of each coefficient, for people."""
    usual, own = unit_of(simulator), not isinstance(simulator, PredictsTables)
    return [p.unit or ("as it is" if own and not p.linear else usual) for p in simulator.parameters]


def apart_of(simulator: Simulator) -> tuple[str, ...]:
    """Coefficients that are not of the rule: initial weights, lapses, gains, noise, the rate of an expectation."""
    if not isinstance(simulator, PredictsTables):
        return ()
    rule = {c.name for c in simulator.family.coefficients}
    return tuple(name for name in simulator.names if name not in rule)


def report_tables(
    posterior: Posterior,
    simulator: Simulator,
    checked: Checks | None,
    sensitivity: Sensitivity | None,
    bridge: PointComparison | None,
    compared: ChoiceComparison | None = None,
) -> list[dict[str, Any]]:
    """Every table as its name, heads, rows of text, a note, and an anchor."""
    tables = [_coefficients(posterior, simulator)]
    if compared is not None:
        note = (
            "Score: log-probability of held-out choices, in nats; behind: the best's less this one's. "
            + compared.plasticity
        )
        tables.append(_frame("The rule and baselines", compared.table(), note))
    if sensitivity is not None:
        if sensitivity.effects():
            note = " ".join((f"Outcome: {sensitivity.outcome}. Value ± standard error.", *sensitivity.notes))
            kinds = list(sensitivity.effects())
            shown = [
                [str(name), *(f"{row[n]:.3f} ± {row[f'{n}_se']:.3f}" if row[n] == row[n] else "–" for n in kinds)]
                for name, row in sensitivity.table().iterrows()
            ]
            heads = ["", *(n.replace("_", " ") for n in kinds)]
            tables.append({"name": "Sensitivity", "columns": heads, "rows": shown, "note": note})
        if sensitivity.compensation is not None:
            note = "The strongest pairs. partial: all others fixed; conditional: in the density around posterior draws."
            tables.append(_frame("Compensation between pairs", sensitivity.compensation.head(10), note))
        if sensitivity.sobol is not None:
            pairs = sensitivity.sobol.pairs.head(8).set_index("pair")
            tables.append(
                _frame("Interactions (second-order Sobol indices)", pairs, f"The largest ones. {sensitivity.learned}")
            )
    if bridge is not None:
        tables.append(
            _frame("The optimised rule", bridge.table(), "level: mass of the smallest central interval around it.")
        )
    if checked is not None and checked.calibration is not None:
        note = f"{len(checked.calibration.truth)} rules of the prior, inferred again."
        tables.append(_frame("Calibration", checked.calibration.table(), note))
    return [table | {"anchor": f"table-{k}"} for k, table in enumerate(tables)]


def _coefficients(posterior: Posterior, simulator: Simulator) -> dict[str, Any]:
    """The first table; what is of the policy and not of the rule stands apart, under a heading of its own (a row of one)."""
    measured, apart = bool((simulator.raw_per_unit != 1).any()), apart_of(simulator)
    terms = {p.name: p.term for p in simulator.parameters} if isinstance(simulator, PredictsTables) else {}
    columns = [
        "coefficient",
        *(["multiplies"] if terms else []),
        "mean",
        "s.d.",
        "2.5 %",
        "median",
        "97.5 %",
        "contraction",
    ]
    found, rows = parameter_table(posterior), {}
    for name, unit in zip(found, simulator.raw_per_unit.tolist(), strict=True):
        v = found[name]
        row = [name, *([terms[name]] if terms else []), f"{v['mean']:.3g}", f"{v['sd']:.2g}"]
        row += [f"{v['q025']:.3g}", f"{v['median']:.3g}", f"{v['q975']:.3g}"]
        row.append(f"{v['contraction']:.2f}" if v["contraction"] >= LITTLE else "as the prior")
        rows[name] = row + ([f"{v['mean'] * unit:.3g}", f"{v['sd'] * unit:.2g}"] if measured else [])
    shown = [row for name, row in rows.items() if name not in apart]
    if apart:
        shown = [["the rule"], *shown, [figures.NOT_RULE], *(rows[name] for name in apart)]
    columns += ["raw mean", "raw s.d."] if measured else []
    return {"name": "Coefficients", "columns": columns, "rows": shown, "note": _units_note(simulator)}


def _units_note(simulator: Simulator) -> str:
    """What the numbers of the first table are measured in."""
    named = [f"{p.name} in {p.unit}" for p in simulator.parameters if p.unit]
    first = f"In {unit_of(simulator)}" + (
        ", and raw values beside them" if bool((simulator.raw_per_unit != 1).any()) else ""
    )
    return f"{first}; {', '.join(named)}." if named else f"{first}."


def _frame(name: str, table: pd.DataFrame, note: str) -> dict[str, Any]:
    def cell(value: Any) -> str:
        return "–" if value != value else f"{value:.3g}" if isinstance(value, float) else str(value)

    rows = [
        [str(index), *(cell(v) for v in row)] for index, row in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]
    return {"name": name, "columns": ["", *map(str, table.columns)], "rows": rows, "note": note}
