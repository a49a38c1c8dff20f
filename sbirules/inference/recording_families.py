"""Between rules that could have changed what was recorded: which predicts best an animal that was left out?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules import figures
from sbirules.inference.choice_scores import bridge, least_p, paired_tests, wilcoxon_p
from sbirules.inference.questions.controls import DECISIVE, prior_without_rule
from sbirules.model.abilities import PredictsActivity
from sbirules.model.recordings import Recordings
from sbirules.model.simulator import Simulator
from sbirules.priors import PriorLike, completed
from sbirules.samplers.chains import Chains, draw_chains
from sbirules.samplers.modes import Reference, reference_of
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, child, seeded
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["NO_PLASTICITY", "RecordingComparison", "compare_recordings"]

NO_PLASTICITY = "no_plasticity"  # the circuit of the first rule, which does not learn
SETTINGS = SamplerSettings(num_runs=2, num_particles=512, num_moves=6, max_doublings=1)
DRAWS = 1024


@typed_class
@dataclass(frozen=True)
class RecordingComparison(Shown):
    """How well rules predict recordings of animals left out; made by `compare_families`. A animals, F families.

    Arguments:
        names: The families.
        plastic: Which of them learn.
        learners: Names of the animals.
        score: Log-probability of what was recorded of each animal after its first `seen` trials, given these and the other
            animals, `(F, A)`.
        squared_error: Mean squared error of the predicted means there, `(F, A)`, in the unit of values squared.
        score_error: Its Monte Carlo error, `(F, A)`.
        values: Values predicted of each animal, `(A,)`.
        log_evidence: Of all recordings, `(F,)`.
        evidence_se: Its standard error, `(F,)`.
        seen: Trials of the animal left out that its predictions were given.
        unit: Of values.
    """

    names: tuple[str, ...]
    plastic: tuple[bool, ...]
    learners: tuple[str, ...]
    score: Tensor
    squared_error: Tensor
    score_error: Tensor
    values: Tensor
    log_evidence: Tensor
    evidence_se: Tensor
    seen: int = 0
    unit: str = ""

    @property
    def best(self) -> str:
        """The family that predicts animals left out best."""
        return self.names[int(self.score.sum(dim=1).nan_to_num(-math.inf).argmax())]

    def table(self) -> pd.DataFrame:
        """One row per family, the best first.

        `score` is the sum over animals in nats; by how much it is `behind` the best and the standard error of that over animals;
        in how many animals the best is `better`; the mean `squared_error` over values; `log_evidence` and its error.
        """
        import pandas as pd

        total, first = self.score.sum(dim=1), self.names.index(self.best)
        behind = self.score[first] - self.score
        animals = len(self.learners)
        of_total = behind.std(dim=1) * math.sqrt(animals) if animals > 1 else torch.full_like(total, math.nan)
        weight = self.values.double() / float(self.values.sum())
        columns = {
            "score": total,
            "behind": behind.sum(dim=1),
            "behind_se": of_total,
            "best_is_better": (behind > 0).sum(dim=1),
            "squared_error": (self.squared_error * weight).sum(dim=1),
            "log_evidence": self.log_evidence,
            "evidence_se": self.evidence_se,
        }
        frame = pd.DataFrame({name: v.numpy() for name, v in columns.items()}, index=list(self.names))
        return frame.iloc[total.nan_to_num(-math.inf).argsort(descending=True, stable=True).tolist()]

    def tests(self, against: str | None = None) -> pd.DataFrame:
        """Wilcoxon's signed-rank test over animals of each family against one, on scores per value, two-sided.

        A row for each other family: the median over animals of the `difference` in nats per value, above 0 where the other is
        better; in how many animals it is `ahead`; `p`; and `p_holm`, corrected for all rows (Holm 1979).

        Arguments:
            against: The family; the best by default.
        """
        one = self.best if against is None else against
        arguments.known("against", one, self.names)
        score, count = self.score.double(), self.values.double()
        own = score[self.names.index(one)]
        each = {n: ((v - own) / count).numpy() for n, v in zip(self.names, score, strict=True) if n != one}
        return paired_tests(one, each)

    @property
    def plasticity(self) -> str:
        """Whether plasticity is needed to explain the recordings."""
        rules = [k for k, learns in enumerate(self.plastic) if learns]
        still = [k for k, learns in enumerate(self.plastic) if not learns]
        if not rules or not still:
            return f'Whether plasticity is needed cannot be said: give "{NO_PLASTICITY}" beside the rules.'
        k = max(rules, key=lambda i: float(self.log_evidence[i]))
        best = max(still, key=lambda i: float(self.log_evidence[i]))
        gain = float(self.log_evidence[k] - self.log_evidence[best])
        se = math.hypot(float(self.evidence_se[k]), float(self.evidence_se[best]))
        difference = (self.score[k] - self.score[best]).numpy()
        p, ahead = wilcoxon_p(difference), int((difference > 0).sum())
        told = (
            f"evidence {gain:+.1f} ± {se:.1f} nats; animals left out {float(difference.sum()):+.1f} nats, better in {ahead} of "
            f"{len(difference)}, Wilcoxon p = {p:.2g}"
        )
        if gain > DECISIVE + 2 * se:
            text = (
                f"Plasticity is needed: {self.names[k]} explains the recordings better than a circuit that does not learn "
                f"({told})."
            )
        elif gain < -DECISIVE - 2 * se:
            text = (
                f"No plasticity needed: a circuit that does not learn explains the recordings better than {self.names[k]} "
                f"({told})."
            )
        else:
            text = (
                f"Whether plasticity is needed is not told by these recordings: {self.names[k]} beside a circuit that does not "
                f"learn, {told}."
            )
        return text + (f" With {len(difference)} animals no test can tell." if least_p(difference) >= 0.05 else "")

    def _card(self) -> Card:
        return Card("Rules on animals left out", text=self.plasticity, table=self.table().rename_axis("rule"))

    def __str__(self) -> str:
        return f"{self.table().round(3).to_string()}\n{self.plasticity}"

    def figure(self, *, ax: Axes | None = None) -> Axes:
        """Score of each family above the worst, by animal and value; see `figures.held_out_scores`."""
        order = self.score.sum(dim=1).nan_to_num(-math.inf).argsort(descending=True, stable=True).tolist()
        each = self.score[order] / self.values.double()
        return figures.held_out_scores([self.names[k] for k in order], each, "nats per value, animals left out", ax=ax)


def compare_recordings(
    families: Mapping[str, Any],
    recordings: Any,
    *,
    seen: int = 0,
    sampler: SamplerSettings | None = None,
    seed: int = 0,
) -> RecordingComparison:
    """Rules on recordings; arguments as for `compare_families`."""
    table = Recordings.read(recordings)
    if len(families) < 2:
        raise ValueError(f"compare_families needs at least two families, got {len(families)}.")
    if len(table) < 2:
        raise ValueError(f"animals are left out in turn, which needs at least two of them, got {len(table)}.")
    arguments.whole("seen", seen, 0)
    place = torch.arange(table.trial_types.shape[1])
    first = (place < seen) & (table.trial_types >= 0)
    rest = (table.trial_types >= 0) & ~first
    count = torch.isfinite(table.values).flatten(2).sum(dim=2).mul(rest).sum(dim=1)
    if not bool((count > 0).all()):
        raise ValueError(f"seen must leave each animal at least one trial to predict, got {seen}.")
    ready = _ready(families, table)
    settings, f, a = sampler or SETTINGS, len(ready), len(table)
    score, error = (torch.full((f, a), math.nan, dtype=torch.float64) for _ in range(2))
    of_score, evidence = torch.zeros(f, a, dtype=torch.float64), torch.full((f, 2), math.nan, dtype=torch.float64)
    for k, (simulator, prior) in enumerate(ready.values()):
        whole = simulator.likelihood(table)
        near = reference_of(lambda t, own=whole: own.log_prob(t).sum(dim=1), prior, seed=child(seed, Stream.POINTS, k))  # type: ignore[misc]
        of_all_animals = _drawn(whole, prior, None, settings, near, child(seed, Stream.FAMILY, k))
        given_all = of_all_animals.draws.flatten(0, 1).double()
        evidence[k] = torch.tensor(of_all_animals.log_evidence)
        for left in range(a):
            others = [i for i in range(a) if i != left]
            chains = _drawn(whole, prior, others, settings, near, child(seed, Stream.HELD_OUT, k, left))
            theta = chains.draws.flatten(0, 1).double()
            one = simulator.likelihood(table.subset([left]))
            n = one.recordings.trial_types.shape[1]
            before, after = first[left : left + 1, :n], rest[left : left + 1, :n]
            of_first = one.log_prob(theta, before)[:, 0]
            of_all = one.log_prob(theta)[:, 0]
            # bridged, since few rules given the others may be near to what this animal tells
            value, of_score[k, left] = bridge(of_all, one.log_prob(given_all)[:, 0], chains.ess, of_all_animals.ess)
            score[k, left] = value - float(torch.logsumexp(of_first, dim=0) - math.log(len(theta)))
            with seeded(child(seed, Stream.CHECK, k, left)):
                means = one.means(theta, one.gains(theta, before))[:, 0]
            told = torch.softmax(of_first, dim=0)[:, None, None]
            gap = (one.value[0] - (told * means).sum(dim=0))[after[0]][one.there[0][after[0]]]
            error[k, left] = gap.square().mean()
    return RecordingComparison(
        tuple(ready),
        tuple(bool(getattr(s, "plastic", True)) for s, _ in ready.values()),
        table.learners,
        score,
        error,
        of_score,
        count,
        evidence[:, 0],
        evidence[:, 1],
        seen,
        table.unit,
    )


def _drawn(
    likelihood: Any,
    prior: Distribution,
    animals: list[int] | None,
    settings: SamplerSettings,
    near: Reference | None,
    seed: int,
) -> Chains:
    """Rules given some of the animals, all by default; they start where all animals lead to."""

    def log_likelihood(theta: Tensor) -> Tensor:
        each = likelihood.log_prob(theta)
        out: Tensor = (each if animals is None else each[:, animals]).sum(dim=1)
        return out

    return draw_chains(log_likelihood, prior, DRAWS, settings, seed=seed, from_modes=True, reference=near)


def _ready(families: Mapping[str, Any], table: Recordings) -> dict[str, tuple[Any, Distribution]]:
    """Simulators suited to the table, with priors over all their coefficients."""
    out: dict[str, tuple[Any, Distribution]] = {}
    rules = {n: v for n, v in families.items() if not isinstance(v, str)}
    for name, value in rules.items():
        if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], PredictsActivity):
            raise ValueError(
                f"family {name!r} must be (simulator, prior) with a simulator of recordings, such as MushroomBody."
            )
        out[name] = _with_prior(name, *value, table)
    for name, value in families.items():
        if not isinstance(value, str):
            continue
        arguments.known(f"family {name!r}", value, (NO_PLASTICITY,))
        if not rules:
            raise ValueError(f'"{NO_PLASTICITY}" is the circuit of the first rule, but no rule was given.')
        simulator, prior = out[next(iter(rules))]
        out[name] = (simulator.without_plasticity(), prior_without_rule(prior, simulator))
    return {name: out[name] for name in families}


def _with_prior(name: str, simulator: Simulator, prior: PriorLike, table: Recordings) -> tuple[Any, Distribution]:
    suited: Any = simulator.suited(table)  # type: ignore[attr-defined]
    if not getattr(suited, "plastic", True):
        whole: Distribution = completed(prior, suited.names, {}, f"the prior of family {name!r}")
        return suited, whole
    return suited, completed(prior, suited.names, suited.nuisances, f"the prior of family {name!r}")
