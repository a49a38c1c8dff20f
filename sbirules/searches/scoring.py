"""Structures scored side by side, in processes or on a cluster; what comes out does not depend on how many there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from sbirules.model.structures import Structure
from sbirules.searches.problems import Problem, Score
from sbirules.support.side_by_side import one_thread

__all__ = ["score_all"]


def score_all(
    problem: Problem, asked: Sequence[tuple[Structure, Mapping[str, float]]], workers: int | None
) -> list[Score]:
    """Scores of structures, each with coefficients to start from.

    Arguments:
        problem: What scores them.
        asked: Structures and starts.
        workers: Processes, or what joblib's `parallel_config` says if None; 1 for this process.
    """
    if workers == 1 or len(asked) < 2:
        with one_thread():
            return [_score(problem, structure, start) for structure, start in asked]
    from joblib import Parallel, delayed

    # each worker is given one thread, as rules are many and small
    return list(Parallel(n_jobs=workers)(delayed(_alone)(problem, structure, start) for structure, start in asked))


def _alone(problem: Problem, structure: Structure, start: Mapping[str, float]) -> Score:
    torch.set_num_threads(1)
    return _score(problem, structure, start)


def _score(problem: Problem, structure: Structure, start: Mapping[str, float]) -> Score:
    out = problem.score(structure, start)
    if math.isnan(out.held_out) or out.held_out == math.inf:
        return Score(-math.inf, -math.inf if problem.has_evidence else math.nan, math.nan, out.values, out.seconds)
    return out
