"""Between laws by which the connectivity of a circuit could have changed: evidence, and the sessions held out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.questions.controls import DECISIVE, drawn_rules, prior_without_rule
from sbirules.inference.questions.session_checks import SETTINGS, held_out_from
from sbirules.model.abilities import PredictsSessions
from sbirules.model.session_scales import SessionScales
from sbirules.priors import completed
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, child
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NO_LAW", "LawComparison", "compare_laws"]

NO_LAW = "no_law"  # scales that wander


@typed_class
@dataclass(frozen=True)
class LawComparison(Shown):
    """How well laws explain session scales; made by `compare_families`. F families.

    Arguments:
        names: The families.
        lawful: Which of them are laws.
        log_evidence: Of all sessions, `(F,)`.
        evidence_se: Its standard error, `(F,)`.
        score: Log-probability of the sessions held out given those before, `(F,)`.
        score_se: Its Monte Carlo error, `(F,)`.
        given: Sessions of each animal before them.
        measurements: Sessions held out and measured, over all animals.
    """

    names: tuple[str, ...]
    lawful: tuple[bool, ...]
    log_evidence: Tensor
    evidence_se: Tensor
    score: Tensor
    score_se: Tensor
    given: tuple[int, ...]
    measurements: int

    @property
    def best(self) -> str:
        """The family with the largest evidence."""
        return self.names[int(self.log_evidence.nan_to_num(-math.inf).argmax())]

    @property
    def probability(self) -> Tensor:
        """Of each family given the sessions, all as likely before, `(F,)`."""
        return torch.softmax(self.log_evidence.nan_to_num(-math.inf), dim=0)

    def table(self) -> pd.DataFrame:
        """One row per family, the one with the largest evidence first.

        `log_evidence` and its error; the family's `probability`, all as likely before; `score` of the sessions held out, in nats,
        and its error.
        """
        import pandas as pd

        columns = {
            "log_evidence": self.log_evidence,
            "evidence_se": self.evidence_se,
            "probability": self.probability,
            "score": self.score,
            "score_se": self.score_se,
        }
        frame = pd.DataFrame({name: v.numpy() for name, v in columns.items()}, index=list(self.names))
        return frame.sort_values("log_evidence", ascending=False, kind="stable")

    @property
    def verdict(self) -> str:
        """Which law the sessions speak for, in a sentence."""
        order = self.log_evidence.nan_to_num(-math.inf).argsort(descending=True)
        first, second = int(order[0]), int(order[1])
        gap = float(self.log_evidence[first] - self.log_evidence[second])
        se = math.hypot(float(self.evidence_se[first]), float(self.evidence_se[second]))
        best = int(self.score.nan_to_num(-math.inf).argmax())
        told = f"{gap:.1f} ± {se:.1f} nats of evidence before {self.names[second]}"
        if gap > DECISIVE + 2 * se:
            text = f"The sessions speak for {self.names[first]}, {told}."
        else:
            text = f"The sessions do not tell {self.names[first]} from {self.names[second]} ({told})."
        if best != first:
            text += f" Of the sessions held out, {self.names[best]} predicts best."
        return text

    def _card(self) -> Card:
        return Card("Laws of change", text=self.verdict, table=self.table().rename_axis("law"))

    def __str__(self) -> str:
        return f"{self.table().round(3).to_string()}\n{self.verdict}"


def compare_laws(
    families: Mapping[str, Any], sessions: Any, *, sampler: SamplerSettings | None = None, seed: int = 0
) -> LawComparison:
    """Laws on session scales; arguments as for `compare_families`."""
    table = SessionScales.read(sessions)
    if len(families) < 2:
        raise ValueError(f"compare_families needs at least two families, got {len(families)}.")
    ready = _ready(families, table)
    given = held_out_from(table)
    first, settings, rows = table.first(given), sampler or SETTINGS, []
    for k, (simulator, prior) in enumerate(ready.values()):
        z, se = drawn_rules(simulator, prior, table, child(seed, Stream.FAMILY, k), settings).log_evidence
        before, of_before = drawn_rules(simulator, prior, first, child(seed, Stream.HELD_OUT, k), settings).log_evidence
        rows.append((z, se, z - before, math.hypot(se, of_before)))
    values = torch.tensor(rows, dtype=torch.float64)
    return LawComparison(
        tuple(ready),
        tuple(bool(s.plastic) for s, _ in ready.values()),
        values[:, 0],
        values[:, 1],
        values[:, 2],
        values[:, 3],
        given,
        int(table.measured.sum() - first.measured.sum()),
    )


def _ready(families: Mapping[str, Any], table: SessionScales) -> dict[str, tuple[Any, Distribution]]:
    """Simulators suited to the table, with priors over all their coefficients."""
    out: dict[str, tuple[Any, Distribution]] = {}
    laws = {name: v for name, v in families.items() if not isinstance(v, str)}
    for name, value in laws.items():
        if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], PredictsSessions):
            raise ValueError(f"family {name!r} must be (simulator, prior) with a SessionLaw, or {NO_LAW!r}.")
        suited: Any = value[0].suited(table)
        out[name] = (suited, completed(value[1], suited.names, suited.nuisances, f"the prior of family {name!r}"))
    for name, value in families.items():
        if isinstance(value, str):
            arguments.known(f"family {name!r}", value, (NO_LAW,))
            if not laws:
                raise ValueError(f"{NO_LAW!r} stands beside laws, but none was given.")
            simulator, prior = out[next(iter(laws))]
            out[name] = (simulator.without_plasticity(), prior_without_rule(prior, simulator))
    return {name: out[name] for name in families}
