"""Filter rounds: rules that meet constraints, found where the prior hardly has any.

Each round simulates single networks of rules drawn from the prior cut or tilted to where success was predicted, and
learns anew from all simulations. Rows of all rounds keep correct weights against the prior, those of the
deterministic mixture (Owen & Zhou 2000): prior / sum_r (n_r / n) proposal_r.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.fitting import fit
from sbirules.inference.posterior import Posterior
from sbirules.inference.rounds.proposals import Proposal, WarmStart, fit_stages
from sbirules.model.constraints import Constraints, nearest
from sbirules.model.prior import log_scale_of
from sbirules.model.simulator import Simulator
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.priors import PriorLike, as_prior
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, child, generator
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FilterRound", "RuleFilter", "filter_rules"]

PROPOSALS = ("truncated", "tilted")
LOST = 0.01  # share of the successful rules so far that a truncation may cut off


@typed_class
@dataclass(frozen=True)
class FilterRound:
    """What a round did.

    Arguments:
        constraints: What was asked in it.
        simulations: Networks simulated.
        kept: Share of the prior that its proposal keeps: 1 for the prior itself and for a warm start; for a tilted proposal the
            prior mean of the predicted success.
        accepted: Share of its networks that met the constraints.
        se: Standard error of that.
        total: Networks simulated so far.
        successful: Networks of all rounds that meet the constraints.
        ess: Effective number of those under their weights.
    """

    constraints: Mapping[str, Any]
    simulations: int
    kept: float
    accepted: float
    se: float
    total: int
    successful: int
    ess: float


@typed_class
@dataclass(repr=False)
class RuleFilter(Shown):
    """Simulations of all rounds, and what follows from them; made by `filter_rules`.

    Arguments:
        simulator: The simulator.
        prior: The prior.
        proposal: `"truncated"` or `"tilted"`.
        seed: Of rules and networks.
        folder: Where the rounds' stores go, or None.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
        start: Rules around which half of the first round is drawn, `(K, D)`, or None.
    """

    simulator: Simulator
    prior: Distribution
    proposal: str = "truncated"
    seed: int = 0
    folder: Path | None = None
    num_workers: int | None = None
    progress: bool = False
    start: Tensor | None = None
    constraints: Constraints | None = None
    rounds: list[FilterRound] = field(default_factory=list)
    stores: list[SimulationStore] = field(default_factory=list)
    converged: bool = False
    _proposals: list[Proposal | WarmStart] = field(default_factory=list)

    def more(
        self, constraints: Mapping[str, Any] | Constraints | None = None, *, budget: int, num_simulations: int = 2048
    ) -> RuleFilter:
        """Further rounds, for other constraints if they are given; no simulation is lost.

        Arguments:
            constraints: New ones; None goes on with those of the last round.
            budget: Simulations, at most, in these rounds.
            num_simulations: In each round.
        """
        arguments.whole("budget", budget, 1)
        arguments.whole("num_simulations", num_simulations, 100)
        asked = self.constraints if constraints is None else Constraints.of(constraints)
        if asked is None:
            raise ValueError("more() needs constraints, e.g. {'learned': (1, 1)}.")
        asked.check(self.simulator.summary_names)
        self.constraints, self.converged = asked, False
        shares: list[tuple[float, float]] = []
        while budget > 0 and not self.converged:
            n = min(num_simulations, budget)
            self._round(asked, n)
            budget -= n
            now = self.rounds[-1]
            shares.append((now.accepted, now.se))
            self.converged = self._settled(shares)
        if not len(self.theta):
            x = self._rows()[1]
            warnings.warn(
                f"none of {len(x)} networks met all constraints ({nearest(x, self.stores[0].summary_names, asked)}): "
                f"loosen them, or spend more."
            )
        return self

    def __repr__(self) -> str:
        return f"RuleFilter({len(self.rounds)} rounds, {sum(map(len, self.stores))} simulations)"

    def _card(self) -> Card:
        return Card(repr(self), table=self.table())

    def _settled(self, shares: Sequence[tuple[float, float]]) -> bool:
        """Whether the share of success has stopped growing: the last two rounds no better than that before them."""
        if len(shares) < 3 or shares[-1][0] == 0:
            return False
        (a, a_se), (b, b_se) = shares[-3], _mean(shares[-2:])
        return b - a < 2 * math.hypot(a_se, b_se) and b - a < 0.1 * b

    def _round(self, constraints: Constraints, n: int) -> None:
        k = len(self.stores)
        proposal = self._next_proposal(constraints)
        theta = proposal.sample(self.prior, n, seed=child(self.seed, Stream.FILTER, k))
        place = None if self.folder is None else self.folder / f"filter-{k + 1}"
        self.stores.append(
            simulate(
                self.simulator,
                theta,
                store=place,
                seed=child(self.seed, Stream.ROUND, k),
                num_workers=self.num_workers,
                progress=self.progress,
                label=f"filter {k + 1}",
            )
        )
        self._proposals.append(proposal)
        new = self.stores[-1]
        share = float(constraints.satisfied(new.x, new.summary_names).float().mean())
        q = (share * n + 1) / (n + 2)
        weight = self.weights
        self.rounds.append(
            FilterRound(
                constraints=constraints.config(),
                simulations=n,
                kept=math.exp(proposal.log_mean),
                accepted=share,
                se=math.sqrt(q * (1 - q) / n),
                total=sum(map(len, self.stores)),
                successful=len(weight),
                ess=float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0,
            )
        )

    # Proposals ------------------------------------------------------------------------------------

    def _next_proposal(self, constraints: Constraints) -> Proposal | WarmStart:
        """What the next rules are drawn from."""
        if not self.stores:
            return Proposal() if self.start is None else WarmStart(self.start, self.prior)
        theta, x = self._rows()
        standardiser = Standardiser.of(self.stores[0].theta, log_scale_of(self.prior))
        names, seed = self.stores[0].summary_names, child(self.seed, Stream.STAGE, len(self.stores))
        stages, near = fit_stages(theta, x, names, constraints, standardiser, seed=seed)
        if not stages:
            return Proposal()
        proposal = Proposal(stages)
        if self.proposal == "truncated":
            proposal.threshold = float(torch.quantile(proposal.log_success(theta[near]).double(), LOST))
        proposal.normalise(self.prior, seed=seed)
        return proposal if math.isfinite(proposal.log_mean) else Proposal()

    # Results --------------------------------------------------------------------------------------

    def _rows(self) -> tuple[Tensor, Tensor]:
        return torch.cat([s.theta for s in self.stores]), torch.cat([s.x for s in self.stores])

    def _successful(self) -> Tensor:
        if self.constraints is None:
            raise ValueError("nothing was asked yet; call more(constraints, budget=...).")
        theta, x = self._rows()
        return theta[self.constraints.satisfied(x, self.stores[0].summary_names)]

    @property
    def theta(self) -> Tensor:
        """Rules whose network met the constraints, of all rounds, `(n, D)`."""
        return self._successful()

    @property
    def weights(self) -> Tensor:
        """Weight of each of them against p(theta | A), `(n,)`, summing to 1."""
        theta = self._successful()
        if not len(theta):
            return torch.zeros(0)
        counts = torch.tensor([float(len(s)) for s in self.stores])
        parts = torch.stack([p.log_ratio(theta) for p in self._proposals])
        mixture = torch.logsumexp(parts + torch.log(counts / counts.sum())[:, None], dim=0)
        return torch.softmax(-mixture.double(), dim=0).float()

    def sample(self, num_samples: int, *, seed: int = 0) -> Tensor:
        """Rules that met the constraints, drawn by their weights, `(num_samples, D)`: draws of p(theta | A)."""
        arguments.whole("num_samples", num_samples, 1, arguments.MANY)
        theta, weight = self.theta, self.weights
        if not len(theta):
            raise ValueError("no simulated network met the constraints yet; spend more, or loosen them.")
        row = torch.multinomial(weight, num_samples, replacement=True, generator=generator(seed, Stream.RESAMPLING))
        return theta[row]

    def posterior(self, **options: Any) -> Posterior:
        """The posterior by `fit`, from the simulations of all rounds; options such as `all_of_networks=8`."""
        free = [n for n in inspect.signature(fit).parameters if n not in ("store", "prior", "constraints")]
        for name in options:
            arguments.known("option of posterior()", name, free)
        return fit(self.stores, self.prior, constraints=self.constraints, **{"seed": self.seed, **options})

    def table(self) -> pd.DataFrame:
        """One row per round: constraints, simulations, kept, accepted, total, successful, ess."""
        import pandas as pd

        rows = [
            {
                "constraints": ", ".join(r.constraints),
                "simulations": r.simulations,
                "kept": r.kept,
                "accepted": r.accepted,
                "se": r.se,
                "total": r.total,
                "successful": r.successful,
                "ess": r.ess,
            }
            for r in self.rounds
        ]
        return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="round"))


def _mean(shares: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of shares and their standard errors."""
    return sum(s for s, _ in shares) / len(shares), math.hypot(*(se for _, se in shares)) / len(shares)


@runtime_checkable
class EndPoints(Protocol):
    """What an optimiser found: rules `(K, D)`, and which of its ways diverged, `(K,)`."""

    @property
    def names(self) -> tuple[str, ...]: ...

    theta: Tensor
    diverged: Tensor


def _points(start: EndPoints | Any, simulator: Simulator) -> Tensor | None:
    """Rules to start around, `(K, D)`."""
    if isinstance(start, EndPoints):
        if start.names != simulator.names:
            mine, theirs = arguments.listed(start.names), arguments.listed(simulator.names)
            raise ValueError(f"start has the coefficients {mine}, the simulator's rules have {theirs}.")
        start = start.theta[~start.diverged]
    return None if start is None else arguments.theta_matrix(start, simulator.names, argument="start").float()


@typed
def filter_rules(
    simulator: Simulator,
    prior: PriorLike,
    constraints: Mapping[str, Any] | Constraints | Sequence[Mapping[str, Any] | Constraints],
    *,
    budget: int = 20_000,
    num_simulations: int = 2048,
    proposal: str = "truncated",
    start: EndPoints | Any = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> RuleFilter:
    """Rounds of simulation that home in on the rules that meet constraints.

    Arguments:
        simulator: The simulator.
        prior: The prior.
        constraints: Intervals by summary name. A list of such tables is applied one after another: each stage asks
            for its own and for all before it.
        budget: Simulations in all, at most; a list of constraints shares it. Rounds also stop when the share of
            successful networks has stopped growing.
        num_simulations: In each round.
        proposal: `"truncated"`: the prior, cut to where success is at least as likely as in 99 % of the rules that
            succeeded (Deistler et al. 2022). `"tilted"`: prior x P(success), mixed with 5 % of the prior: reaches
            more successes, with less even weights.
        start: An optimised rule, or several, in natural units, `(D,)` or `(K, D)`; or what `BPTL.fit` returned, all of
            whose end points count. Half of the first round is drawn around them, with a third of the prior's s.d.;
            weights take account of it, so that the result is the same distribution, reached sooner.
        folder: Where the rounds' stores go; None for temporary ones. An interrupted call resumes there.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Returns:
        The simulations, a table of the rounds, weighted draws, and the posterior. `more` goes on from there.

    Examples:
        >>> found = filter_rules(simulator, prior, [{"learned": (1, 1)}, {"saturation": (0, 0.2)}])
        >>> found.table(), found.posterior(all_of_networks=8)
    """
    arguments.known("proposal", proposal, PROPOSALS)
    stages = [constraints] if isinstance(constraints, (Mapping, Constraints)) else list(constraints)
    if not stages:
        raise ValueError("constraints must name at least one summary, e.g. {'learned': (1, 1)}.")
    place = None if folder is None else Path(folder)
    whole: Distribution = as_prior(prior, simulator.names)
    out = RuleFilter(simulator, whole, proposal, seed, place, num_workers, progress, _points(start, simulator))
    arguments.whole("budget", budget, 100)
    asked: Constraints | None = None
    for left, stage in zip(range(len(stages), 0, -1), stages, strict=True):
        asked = Constraints.of(stage) if asked is None else asked.narrowed_by(Constraints.of(stage))
        spent = sum(map(len, out.stores))
        if budget > spent:
            out.more(asked, budget=(budget - spent) // left, num_simulations=num_simulations)
    return out
