"""Figures in one style: every function takes axes (or makes a figure) and returns them, and shows or saves nothing.

    ax = sr.figures.success_rates(checked.success)
    ax.figure.savefig("success.png")

Colours can be told apart with any colour vision; `with sr.figures.theme(dark=True):` makes figures for dark pages.
"""

from sbirules.figures import style
from sbirules.figures.choices import (
    animals,
    by_amount,
    by_animal,
    forest,
    held_out_scores,
    reversals,
    statistics,
    weights_over_trials,
)
from sbirules.figures.diagnostics import (
    calibration,
    coverage,
    distance_to_prior_predictive,
    failures,
    held_out,
    reliability,
    summaries,
    training,
)
from sbirules.figures.importance import directions, effects, regime_correlations, regime_scatter, regimes
from sbirules.figures.learning import (
    activity,
    filter_rounds,
    learning_curves,
    success_over,
    success_rates,
    success_spread,
)
from sbirules.figures.overlay import overlay
from sbirules.figures.posterior import NOT_RULE, correlations, inclusion, marginals, most_informed, pairs, rule_matrix
from sbirules.figures.recordings import controls, recorded, responses
from sbirules.figures.sessions import invariants, session_forecast, session_scales
from sbirules.figures.spiking import raster, rates_and_weights
from sbirules.figures.structures import connections, pareto_front, search_tree
from sbirules.figures.style import BLUE, GREEN, GREY, ORANGE, axis_label, palette, theme
from sbirules.figures.updates import updates

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "NOT_RULE",
    "ORANGE",
    "activity",
    "animals",
    "axis_label",
    "by_amount",
    "by_animal",
    "calibration",
    "connections",
    "controls",
    "correlations",
    "coverage",
    "directions",
    "distance_to_prior_predictive",
    "effects",
    "failures",
    "filter_rounds",
    "forest",
    "held_out",
    "held_out_scores",
    "inclusion",
    "invariants",
    "learning_curves",
    "marginals",
    "most_informed",
    "overlay",
    "pairs",
    "palette",
    "pareto_front",
    "raster",
    "rates_and_weights",
    "recorded",
    "regime_correlations",
    "regime_scatter",
    "regimes",
    "reliability",
    "responses",
    "reversals",
    "rule_matrix",
    "search_tree",
    "session_forecast",
    "session_scales",
    "statistics",
    "style",
    "success_over",
    "success_rates",
    "success_spread",
    "summaries",
    "theme",
    "training",
    "updates",
    "weights_over_trials",
]
