"""Named summaries of runs: what one is, and the catalogue that study files, `sbirules list` and documentation read."""

from sbirules.model.summaries.catalogue import (
    CATALOGUE,
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
    "Summary",
    "SummaryLike",
    "answers_by_part",
    "autocorrelation",
    "choice_summaries",
    "default_summaries",
    "history_weights",
    "learning_curve",
    "rebuild",
    "resolve",
    "scatter",
    "summarise",
    "summary",
    "summary_names",
    "volatility",
    "written",
]
