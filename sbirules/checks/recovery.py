"""Recovery: would this study find the rule, if one of the prior's had made the data?"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor

from sbirules.inference.fitting import fit
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions.sessions import learners_of
from sbirules.model.simulator import Simulator
from sbirules.priors import PriorLike, as_prior
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.borrowed import torch_as_found
from sbirules.support.distances import tail_p
from sbirules.support.streams import Stream, child, generator, seeded
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recovery", "recover"]


@typed_class
@dataclass(frozen=True)
class Recovery:
    """True rules, and the posteriors that learners of each led to.

    Arguments:
        names: Names of the columns of theta.
        truth: Rules drawn from the prior, `(rules, D)`.
        draws: Posterior draws for each, `(rules, draws, D)`.
        learners: Learners of each rule.
        prior_sd: S.d. of each coefficient under the prior, `(D,)`.
        posterior: The posterior of the first rule's learners, with the trained estimator.
    """

    names: tuple[str, ...]
    truth: Tensor
    draws: Tensor
    learners: int
    prior_sd: Tensor
    posterior: Posterior

    @property
    def ranks(self) -> Tensor:
        """Number of draws below the truth, `(rules, D)`: uniform if the posteriors are right (Talts et al. 2018).

        Draws that equal the truth, as where a term is absent in both, count as below or above at random.
        """
        truth = self.truth[:, None]
        below, ties = (self.draws < truth).sum(dim=1), (self.draws == truth).sum(dim=1)
        return below + (torch.rand(ties.shape, generator=generator(0, Stream.TIES, 0)) * (ties + 1)).long()

    @property
    def sbc_p(self) -> dict[str, float]:
        """Simulation-based calibration: p-value of uniform ranks by coefficient (Kolmogorov-Smirnov)."""
        from scipy.stats import kstest

        # ties between the few possible ranks are broken at random, which keeps them uniform
        jitter = torch.rand(self.ranks.shape, generator=generator(0, Stream.TIES, 1))
        u = (self.ranks + jitter) / (self.draws.shape[1] + 1)
        return {name: float(kstest(u[:, k].numpy(), "uniform").pvalue) for k, name in enumerate(self.names)}

    @property
    def pairs_p(self) -> dict[str, float]:
        """p-value by pair of coefficients of their going together as posteriors say (of a right one: uniform).

        Truth and draws are turned and scaled together until their covariance is one; two coefficients then have a mean
        product of 0 over draws, and over true rules too. Ranks of single coefficients see nothing of how these depend on
        each other: other quantities of theta do (Modrak et al. 2023).
        """
        d = len(self.names)
        first, second = torch.triu_indices(d, d, offset=1)
        if not len(first):
            return {}
        # the truth among the draws, so that it is one of them where the posterior is right
        z = _whitened(torch.cat([self.truth.double()[:, None], self.draws.double()], dim=1))
        z = z.clamp(-5, 5)  # a single rule shall not decide
        sums = (z[..., first] * z[..., second]).mean(dim=0)
        away = (sums - sums[1:].mean(dim=0)).abs()
        # products of sparse coefficients have long tails; a pair that never varies tells nothing
        told = sums[1:].std(dim=0) > 1e-9
        p = [tail_p(float(away[0, k]), away[1:, k]) if told[k] else 1.0 for k in range(len(first))]
        names = [f"{self.names[i]}, {self.names[k]}" for i, k in zip(first.tolist(), second.tolist(), strict=True)]
        return dict(zip(names, p, strict=True))

    @property
    def tarp(self) -> tuple[float, float]:
        """TARP (Lemos et al. 2023), of all coefficients together: sbi's area to the curve, and a p-value.

        The area is negative where posteriors are too narrow. The p-value is that of uniform credibilities of the truth
        (Kolmogorov-Smirnov).
        """
        with torch_as_found():
            from sbi.diagnostics.tarp import _run_tarp as tarp_of_draws
            from sbi.diagnostics.tarp import check_tarp, get_tarp_references
        from scipy.stats import kstest

        scale = self.prior_sd
        truth, draws = self.truth / scale, (self.draws / scale).transpose(0, 1)
        with seeded(0, Stream.REFERENCES):
            reference = get_tarp_references(truth)
        ecp, alpha = tarp_of_draws(draws, truth, reference)
        # distances are compared in double precision and by the same sum, so that equal rules tie
        far, own = ((v.double() - reference).norm(dim=-1) for v in (draws, truth))
        nearer, ties = (far < own).sum(dim=0), (far == own).sum(dim=0)
        # the truth takes a random place among draws that are as far away, as where no term is present in both
        place = nearer + torch.rand(len(nearer), generator=generator(0, Stream.TIES, 2)) * (ties + 1)
        p = float(kstest((place / (len(draws) + 1)).numpy(), "uniform").pvalue)
        return float(check_tarp(ecp, alpha)[0]), p

    def coverage(self, level: float = 0.95) -> dict[str, float]:
        """Share of rules whose central interval of that level holds the truth, by coefficient."""
        tail = (1 - arguments.share("level", level)) / 2
        low, high = (torch.quantile(self.draws, q, dim=1) for q in (tail, 1 - tail))
        inside = ((self.truth >= low) & (self.truth <= high)).float().mean(dim=0)
        return dict(zip(self.names, inside.tolist(), strict=True))

    def table(self) -> pd.DataFrame:
        """One row per coefficient.

        `bias`: mean of posterior mean - truth, with its standard error; `r`: correlation of the two; `sd`: mean
        posterior s.d.; `contraction`: 1 - (sd / prior s.d.)^2; `coverage_95`; `sbc_p`.
        """
        import pandas as pd

        mean, sd = self.draws.mean(dim=1), self.draws.std(dim=1)
        error = mean - self.truth
        n = len(error)
        r = [float(torch.corrcoef(torch.stack([mean[:, k], self.truth[:, k]]))[0, 1]) for k in range(len(self.names))]
        columns: dict[str, Any] = {
            "bias": error.mean(dim=0).tolist(),
            "bias_se": (error.std(dim=0) / math.sqrt(n)).tolist(),
            "r": r,
            "sd": sd.mean(dim=0).tolist(),
            "contraction": (1 - (sd / self.prior_sd).square().mean(dim=0)).tolist(),
            "coverage_95": list(self.coverage().values()),
            "sbc_p": list(self.sbc_p.values()),
        }
        return pd.DataFrame(columns, index=list(self.names))

    def __str__(self) -> str:
        area, p = self.tarp
        lines = [f"{len(self.truth)} rules, {self.learners} learners each", self.table().round(3).to_string()]
        worst = min(self.sbc_p.values())
        verdict = "calibrated" if worst >= 0.01 / len(self.names) and p >= 0.01 else "NOT calibrated"
        lines.append(f"TARP: area {area:+.3f}, p = {p:.3f}. Smallest SBC p-value {worst:.4f}: {verdict}.")
        return "\n".join(lines)


def _whitened(draws: Tensor) -> Tensor:
    """Draws `(rules, n, D)` of each rule turned and scaled to covariance one, each coefficient as little as may be."""
    gap = draws - draws.mean(dim=1, keepdim=True)
    sd = gap.std(dim=1, keepdim=True)
    gap = gap / torch.where(sd > 0, sd, 1.0)
    values, vectors = torch.linalg.eigh(gap.transpose(1, 2) @ gap / (gap.shape[1] - 1))
    root = torch.where(values > 1e-9, values.clamp(min=1e-9).rsqrt(), 0.0)
    turned: Tensor = gap @ (vectors * root[:, None]) @ vectors.transpose(1, 2)
    return turned


@typed
def recover(
    simulator: Simulator,
    prior: PriorLike,
    *,
    learners: int = 24,
    rules: int = 100,
    store: SimulationStore | None = None,
    num_simulations: int = 8192,
    num_samples: int = 500,
    fit_options: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Recovery:
    """Draws rules from the prior, simulates learners of each, and infers each rule from its learners.

    One estimator is trained for all rules, so that the study costs little more than one fit. Rounds of `refine`, which
    serve one data set, are not part of it: a real fit with them can only be better.

    Arguments:
        simulator: The simulator.
        prior: The prior.
        learners: Learners of each rule, each in a network of its own.
        rules: How many. Only those count of which every learner's network ran through, as in data.
        store: Simulations of the prior to learn from; None to make some.
        num_simulations: How many, if there is no store.
        num_samples: Posterior draws for each rule.
        fit_options: For `fit`: summaries, estimator, settings, sampler.
        folder: Where simulations go, so that an interrupted study resumes; None for temporary ones.
        seed: Of rules and networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
    """
    own = ("store", "prior", "constraints", "trials", "x_o", "question")
    for name in fit_options or {}:
        arguments.known("fit_options", name, [n for n in inspect.signature(fit).parameters if n not in own])
    arguments.whole("learners", learners, 1, arguments.MANY)
    arguments.whole("rules", rules, 10, arguments.MANY)
    arguments.whole("num_samples", num_samples, 50, arguments.MANY)
    prior = as_prior(prior, simulator.names)
    keep: dict[str, Any] = {"num_workers": num_workers, "progress": progress}
    place = None if folder is None else Path(folder)
    if store is None:
        where = None if place is None else place / "store"
        store = simulate(simulator, prior, num_simulations, store=where, seed=seed, **keep)
    truth, tables = learners_of(
        simulator, prior, rules, learners, folder=place, seed=child(seed, Stream.LEARNERS), **keep
    )
    posterior = fit(store, prior, trials=tables[0], **{"seed": seed, "progress": progress, **dict(fit_options or {})})
    draws = posterior.sample_batched((num_samples,), tables, seed=seed, progress=progress).transpose(0, 1)
    with seeded(seed, Stream.PRIOR_SPREAD):
        prior_sd = prior.sample(Size((10_000,))).float().std(dim=0)
    return Recovery(posterior.names, truth, draws, learners, prior_sd, posterior)
