"""The answer in a few sentences: what is known of the rules, with numbers and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbirules.checks.collected import LITTLE, Checks
from sbirules.inference.parts import clear_of_zero
from sbirules.inference.posterior import Posterior
from sbirules.model.rules import MLPRule
from sbirules.model.simulator import Simulator
from sbirules.reporting.tables import apart_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answer"]

MOST, LISTED = 3, 8  # coefficients that are named with numbers, and without


def answer(posterior: Posterior, simulator: Simulator, checked: Checks | None) -> list[str]:
    """Sentences: the coefficients that are known best, and those that are not."""
    if isinstance(simulator.family, MLPRule):
        return [f"The {len(posterior.names)} weights of a network mean little one by one: see the rule as a function."]
    table = posterior.marginals()
    if "inclusion" in table.columns:
        return [_terms(table)]
    told = {} if checked is None else checked.contractions
    known = told or {str(name): float(value) for name, value in table["contraction"].items()}
    held = [posterior.names[k] for k in posterior.hold]
    known = {name: value for name, value in known.items() if name not in held}
    apart = apart_of(simulator)  # what belongs to policy, circuit or measurement is known best, and asked last
    best = [n for n in sorted(known, key=lambda n: (n in apart, -known[n])) if known[n] >= LITTLE]
    if not best:
        return ["Of no coefficient is much more known than before: the posterior is nearly the prior."]
    out = [f"Known best: {_listed([_interval(name, table) for name in best[:MOST]])} (median, 95 % interval)."]
    clear = [name for name in clear_of_zero(posterior) if name not in held]
    less = [name for name in known if known[name] < LITTLE]
    zero = f"the 95 % interval excludes zero for {_listed(clear)}" if clear else "no 95 % interval excludes zero"
    named = f" ({', '.join(less)})" if len(less) <= MOST else ""
    rest = f"; of {len(less)} of {len(known)} coefficients{named} next to nothing was learned" if less else ""
    fixed = f" Fixed: {_listed(held)}." if held else ""
    return [*out, f"{zero[0].upper()}{zero[1:]}{rest}.{fixed}"]


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
    out = f"More probably present than absent: {_listed(sure)}"
    return out + (f"; below 5 %: {absent} of {len(present)}." if absent else ".")


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) >= 0.01 else f"{value:.1g}"


def _listed(items: list[str]) -> str:
    if len(items) > LISTED:
        return f"{', '.join(items[:LISTED])} and {len(items) - LISTED} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
