"""The table of baselines, by the name that `compare_families` takes."""

from __future__ import annotations

from .base import Baseline
from .coin import Coin
from .fixed import Fixed
from .logistic import Logistic
from .per_session import PerSession
from .q_learning import QLearning
from .random_walk import RandomWalk
from .traces import Traces

__all__ = ["BASELINES"]

BASELINES: dict[str, Baseline] = {
    kind.name: kind for kind in (Coin(), Fixed(), Logistic(), PerSession(), RandomWalk(), Traces(), QLearning())
}
