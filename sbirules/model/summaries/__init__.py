"""Named summaries of runs: what one is, and the catalogue that study files, `sbirules list` and documentation read."""

from sbirules.model.summaries.activity import (
    activity_summaries,
    alignment,
    decoding,
    dimensionality,
    dissimilarity,
    drift,
    of_recordings,
    procrustes,
    response_distribution,
    selectivity,
)
from sbirules.model.summaries.catalogue import (
    CATALOGUE,
    NAMED,
    autocorrelation,
    default_summaries,
    learning_curve,
    rebuild,
    resolve,
    scatter,
    volatility,
    written,
)
from sbirules.model.summaries.choices import answers_by_part, choice_summaries, history_weights
from sbirules.model.summaries.definition import Summary, SummaryLike, summarise, summary, summary_names

__all__ = [
    "CATALOGUE",
    "NAMED",
    "Summary",
    "SummaryLike",
    "activity_summaries",
    "alignment",
    "answers_by_part",
    "autocorrelation",
    "choice_summaries",
    "decoding",
    "default_summaries",
    "dimensionality",
    "dissimilarity",
    "drift",
    "history_weights",
    "learning_curve",
    "of_recordings",
    "procrustes",
    "rebuild",
    "resolve",
    "response_distribution",
    "scatter",
    "selectivity",
    "summarise",
    "summary",
    "summary_names",
    "volatility",
    "written",
]
