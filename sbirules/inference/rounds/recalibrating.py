"""What a sum over learners is worth: found on sets of simulated learners whose rule is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.inference.batches import log_likelihoods
from sbirules.inference.estimators.base import ProductPotential, share_of
from sbirules.inference.posterior import Posterior
from sbirules.inference.potentials import Observed
from sbirules.inference.questions import LearnersQuestion
from sbirules.inference.questions.sessions import learners_of
from sbirules.model.prior import prior_draws
from sbirules.model.simulator import Simulator
from sbirules.support import arguments, tensors
from sbirules.support.files import make_folder
from sbirules.support.streams import Stream, child, generator
from sbirules.support.typed import typed

__all__ = ["Drawn", "Worth", "recalibrate", "recalibrated", "rules_near", "worth_of"]

FEWEST = 20  # sets that a limit can be found from
BASE = 8192  # rules over which sets are normalised
LIMITS = (math.inf, *torch.logspace(3.5, 0, 43).tolist())  # learners that are tried, from no limit to one
RULES = "rules.safetensors"  # kept, so that a resumed call simulates the same ones


class Drawn(Distribution):
    """Rules `(n, D)` that are drawn one after another, from the first again after the last."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__(event_shape=Size(theta.shape[1:]), validate_args=False)
        self.theta, self._next = theta, 0

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """The next ones."""
        n = Size(sample_shape).numel()
        rows = torch.arange(self._next, self._next + n) % len(self.theta)
        self._next += n
        return self.theta[rows].reshape(*sample_shape, -1)


@dataclass(frozen=True)
class Worth:
    """What sums over learners are worth.

    Arguments:
        limit: Learners whose sampling error is as large as the estimator's own; see `ProductPotential`.
        learners: In each set that it was found from.
        sets: How many.
        gain: Log posterior density of the true rules above that without a limit, in nats a set.
        gain_se: Its standard error.
    """

    limit: float
    learners: int
    sets: int
    gain: float
    gain_se: float

    @property
    def counted(self) -> float:
        """What the learners of a set count as."""
        return self.learners * share_of(self.learners, self.limit)

    def config(self) -> dict[str, Any]:
        """Plain types."""
        limit = self.limit if math.isfinite(self.limit) else None
        return {
            "limit": limit,
            "learners": self.learners,
            "counted": round(self.counted, 2),
            "sets": self.sets,
            "gain": round(self.gain, 3),
            "gain_se": round(self.gain_se, 3),
        }


@typed
def recalibrate(
    posterior: Posterior,
    simulator: Simulator,
    *,
    rules: int = 64,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Posterior:
    """The same posterior with its sum over learners at what it is worth, found on simulated learners of known rules.

    A likelihood that was learned from finitely many simulations has an error that all learners share. Many learners do not
    average it out, so that their sum is too sure. Sets of learners are simulated, as many as were observed and with their
    trials, of rules of the posterior, or of the prior where nothing was simulated near the posterior yet; and the share of
    the sum that counts is the one under which the true rules are most probable (see `ProductPotential` in
    `sbirules.inference.estimators`). It holds for every later observation and number of learners. `refine` and `recover` do
    this themselves.

    Arguments:
        posterior: Of `fit(store, prior, trials=...)` with `estimator="ratio"` or `"likelihood"`.
        simulator: The simulator of the fit.
        rules: Sets of learners.
        folder: Where their simulations go; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If the posterior is not one of learners, or too few sets finish.
    """
    question, potential = posterior.question, posterior.potential_net
    if not isinstance(question, LearnersQuestion) or not isinstance(potential, ProductPotential):
        raise ValueError(
            'recalibrate needs a posterior of trials=... with estimator="ratio" or "likelihood", whose learners\' likelihoods '
            "multiply."
        )
    if question.lacking():
        raise ValueError(
            "recalibrate needs the posterior that fit returned: one from files keeps no table of learners."
        )
    if posterior.hold or posterior.region:
        raise ValueError("recalibrate takes whole posteriors, not conditioned or truncated ones; condition afterwards.")
    arguments.whole("rules", rules, FEWEST, arguments.MANY)
    place = None if folder is None else make_folder(Path(folder))
    before = _kept(place)
    base, truth = before or rules_near(posterior, rules, seed, progress)
    if place is not None and before is None:
        tensors.write(place / RULES, {"base": base, "truth": truth})
    found, tables = learners_of(
        simulator,
        Drawn(truth),
        rules,
        question.learners,
        folder=place,
        seed=child(seed, Stream.CALIBRATION),
        trial_types=question.trial_types,
        fewest=FEWEST,
        num_workers=num_workers,
        progress=progress,
    )
    sets: list[Observed | None] = []
    for table in tables:
        try:
            sets.append(question.again(table)[1])
        except ValueError:  # a summary that one of these learners does not define
            sets.append(None)
    fine = [k for k, one in enumerate(sets) if one is not None]
    if len(fine) < FEWEST:
        raise ValueError(f"summaries are defined in only {len(fine)} of {len(tables)} sets of learners; use others.")
    worth = worth_of(potential, base, found[fine], [one for one in sets if one is not None])
    details = {**posterior.record.details, "worth": worth.config()}
    return Posterior(
        posterior.prior,
        posterior.names,
        potential.with_limit(worth.limit),
        question,
        replace(posterior.record, details=details),
        posterior.settings,
        posterior.raw_per_unit,
    )


def _kept(place: Path | None) -> tuple[Tensor, Tensor] | None:
    """Rules that an interrupted call has drawn already."""
    if place is None or not (place / RULES).is_file():
        return None
    try:
        found = tensors.read(place / RULES)[1]
        return found["base"], found["truth"]
    except (tensors.DamagedFile, KeyError):
        return None


def rules_near(posterior: Posterior, rules: int, seed: int, progress: bool) -> tuple[Tensor, Tensor]:
    """Rules that a posterior is to be right for: many to normalise by, and some as true ones, of the same distribution.

    Of the posterior where it was refined, else of the prior.
    """
    truth = 5 * rules  # learners of some rules fail
    if posterior.record.refined:
        draws = posterior.draw(BASE + truth, seed=seed, progress=progress).draws.flatten(0, 1)
        draws = draws[torch.randperm(len(draws), generator=generator(seed, Stream.CALIBRATION))]
    else:
        draws = prior_draws(posterior.prior, 2 * BASE + truth)
    return draws[truth:].float(), draws[:truth].float()


def worth_of(potential: ProductPotential, base: Tensor, truth: Tensor, sets: Sequence[Observed]) -> Worth:
    """The limit under which true rules are most probable, given all learners of a set and a quarter of them.

    Arguments:
        potential: Of one estimator.
        base: Rules of the distribution that the true ones are from, `(n, D)`.
        truth: True rules, `(R, D)`.
        sets: Learners of each.
    """
    learners = len(sets[0].x)
    score = torch.zeros(len(LIMITS), len(sets), dtype=torch.float64)
    whole = torch.zeros_like(score)
    for count in sorted({learners, math.ceil(learners / 4)}):
        asked = [potential.given(Observed(one.x[:count], one.length[:count])).with_limit(math.inf) for one in sets]
        learned, survival = _parts(asked, base.expand(len(asked), -1, -1))
        of_learned, of_survival = (part[:, 0] for part in _parts(asked, truth[:, None]))
        for k, limit in enumerate(LIMITS):
            share = share_of(count, limit)
            every = torch.logsumexp(share * learned + survival, dim=1) - math.log(len(base))
            now = share * of_learned + of_survival - every
            score[k] += now
            whole[k] = now if count == learners else whole[k]
    best = int(score.sum(dim=1).argmax())
    gain = whole[best] - whole[0]
    return Worth(LIMITS[best], learners, len(sets), float(gain.mean()), float(gain.std() / math.sqrt(len(gain))))


def _parts(asked: Sequence[ProductPotential], theta: Tensor) -> tuple[Tensor, Tensor]:
    """Of rules of each set `(R, n, D)`: what was learned of its learners, and that their networks ran through, `(R, n)`."""
    with torch.no_grad():
        survival = torch.stack([one.survival(rules) for one, rules in zip(asked, theta, strict=True)]).double()
    return log_likelihoods(asked, theta) - survival, survival


def recalibrated(posterior: Posterior, simulator: Simulator, **options: Any) -> Posterior:
    """`recalibrate` where that applies; with a warning the posterior as it is, where too few sets of learners finish."""
    learners = isinstance(posterior.question, LearnersQuestion) and posterior.question.learners > 1
    if not learners or not isinstance(posterior.potential_net, ProductPotential):
        return posterior
    try:
        return recalibrate(posterior, simulator, **options)
    except ValueError as error:
        warnings.warn(f"the sum over learners is not recalibrated: {error}")
        return posterior
