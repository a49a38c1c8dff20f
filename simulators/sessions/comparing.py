"""Which rank, which size of the slow state, staged or joint? Networks by how they predict sessions that they did not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sbirules.model.sessions import Sessions
from sbirules.support import arguments
from sbirules.support.typed import typed

from ._settings import FastSlowSettings
from .fast_slow import FastSlowNetwork

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_networks"]


@typed
def compare_networks(
    sessions: Sessions,
    networks: Mapping[str, FastSlowSettings],
    *,
    first: float = 0.6,
    horizon: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Networks of different settings, such as ranks, by the sessions that they were not trained on.

    Each is trained on the first sessions. Of each later session scales are fitted to the first half, and the second half is
    predicted: that the scales are its own makes no prediction better than the motifs are.

    Arguments:
        sessions: All sessions, in their order.
        networks: Settings by name.
        first: Share of the sessions that train.
        horizon: Samples ahead.
        seed: Of the training.

    Returns:
        A row for each network: `explained` variance of the held-out halves, that of the training sessions (`training`), and
        how far scales of the held-out sessions move against their errors (`change_over_error`, of the scale that moves most).

    Examples:
        >>> from sbirules.simulators import FastSlowSettings, compare_networks, stimulation_sessions
        >>> sessions = stimulation_sessions(10, 120).sessions
        >>> small = {"units": 12, "restarts": 1, "iterations": 20, "history": 3}
        >>> table = compare_networks(sessions, {"one": FastSlowSettings(rank=1, **small)})
    """
    import pandas as pd

    if not networks:
        raise ValueError("networks must hold settings by name, at least one.")
    n = round(arguments.share("first", first) * len(sessions))
    if n < 2 or len(sessions) - n < 2:
        raise ValueError(f"first must leave at least two sessions on each side of {len(sessions)}, got {first:g}.")
    train, later = sessions.subset(range(n)), sessions.subset(range(n, len(sessions)))
    own, judged = later.halves()
    rows = []
    for name, settings in networks.items():
        arguments.instance(f"networks[{name!r}]", settings, FastSlowSettings)
        network = FastSlowNetwork.fit(train, settings, seed=seed)
        fitted, seen = network.scales(own, horizon=horizon), network.scales(train, horizon=horizon)
        moved = network.scales(sessions, horizon=horizon).describe().scales
        rows.append(
            {
                "network": name,
                "explained": network.explained(judged, fitted.scales[0], horizon=horizon),
                "training": network.explained(train, seen.scales[0], horizon=horizon),
                "change_over_error": float((moved["change"] / moved["error"]).max()),
            }
        )
    return pd.DataFrame(rows).set_index("network")
