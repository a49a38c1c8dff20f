"""The answer in a few sentences: what is known of the rules, with numbers and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbirules.checks.collected import CONTRACTION, LITTLE, Checks
from sbirules.inference.posterior import Posterior
from sbirules.model.rules import MLPRule
from sbirules.model.simulator import Simulator

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answer"]

MOST = 3  # coefficients that are named


def answer(posterior: Posterior, simulator: Simulator, checked: Checks | None) -> list[str]:
    """Sentences: the coefficients that are known best, and those that are not."""
    if isinstance(simulator.family, MLPRule):
        return [f"The {len(posterior.names)} weights of a network mean little one by one: see the rule as a function."]
    table = posterior.marginals()
    if "inclusion" in table.columns:
        return [_terms(table)]
    known = _contractions(table, checked)
    best = [name for name in sorted(known, key=lambda n: -known[n]) if known[name] >= LITTLE]
    if not best:
        return ["Of no coefficient is much more known than before: the posterior is nearly the prior."]
    out = [f"Known best: {_listed([_interval(name, table) for name in best[:MOST]])} (median, 95 % interval)."]
    clear = [str(n) for n, row in table.iterrows() if row["2.5%"] > 0 or row["97.5%"] < 0]
    less = len(known) - len(best)
    zero = f"the 95 % interval excludes zero for {_listed(clear)}" if clear else "no 95 % interval excludes zero"
    rest = f"; of {less} of {len(known)} coefficients next to nothing was learned" if less else ""
    return [*out, f"{zero[0].upper()}{zero[1:]}{rest}."]


def _contractions(table: pd.DataFrame, checked: Checks | None) -> dict[str, float]:
    """What was learned of each coefficient, as the check of information has it, else by s.d."""
    for v in checked or ():
        found = {n.removeprefix(CONTRACTION): x for n, x in v.numbers.items() if n.startswith(CONTRACTION)}
        if v.name == "information" and found:
            return found
    return {str(name): float(value) for name, value in table["contraction"].items()}


def _interval(name: str, table: pd.DataFrame) -> str:
    row = table.loc[name]
    return f"{name} {_number(row['median'])} [{_number(row['2.5%'])}, {_number(row['97.5%'])}]"


def _terms(table: pd.DataFrame) -> str:
    """Under a prior in which terms may be absent."""
    present = table["inclusion"].sort_values(ascending=False)
    sure = [f"{name} ({value:.0%})" for name, value in present.items() if value >= 0.5]
    if not sure:
        name, value = str(present.index[0]), float(present.iloc[0])
        return f"No term is more probably present than absent; the likeliest is {name} ({value:.0%})."
    absent = sum(value < 0.05 for value in present)
    out = f"More probably present than absent: {_listed(sure[: 2 * MOST])}"
    return out + (f"; below 5 %: {absent} of {len(present)}." if absent else ".")


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) >= 0.01 else f"{value:.1g}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
