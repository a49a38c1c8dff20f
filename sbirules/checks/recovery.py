"""What a study finds of rules that are known: coverage, bias, and tests of whole posteriors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.inference.posterior import Posterior
from sbirules.support import arguments
from sbirules.support.borrowed import torch_as_found
from sbirules.support.distances import tail_p
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, generator, seeded
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recovery"]


@typed_class
@dataclass(frozen=True)
class Recovery(Shown):
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
        return dict(zip(self.names, self.inside(level).double().mean(dim=0).tolist(), strict=True))

    def inside(self, level: float = 0.95) -> Tensor:
        """Whether the central interval of that level holds the truth, `(rules, D)` boolean.

        By ranks, whose ties are broken at random: intervals between draws that are often exactly 0 hold too much.
        """
        place = (self.ranks.double() + 0.5) / (self.draws.shape[1] + 1)
        return (place - 0.5).abs() <= arguments.share("level", level) / 2

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

    def _card(self) -> Card:
        first, *_, last = str(self).split("\n")
        return Card(f"Recovery: {first}", text=last, table=self.table().rename_axis("coefficient"))

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
