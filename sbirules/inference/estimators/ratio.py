r"""The likelihood ratio of one learner's trials, learned from single-network simulations.

Learners that share a rule but not a network are independent, so their likelihoods multiply:

    p(theta | x_1 ... x_n)  ~  p(theta) prod_i p(valid | theta) p(x_i | theta, valid)

x_i are a learner's named summaries and the length of its session. An ensemble learns

    log p(x | theta, valid) = f(x) . g(theta) + g_0(theta) + c(x)

with networks f and g, by telling the rule that made x from the other rules of a batch (InfoNCE; van den
Oord et al. 2018, the contrastive ratio estimation of Durkan et al. 2020). c(x) plays no part in a
posterior. The statistics of many learners add up, so their number costs nothing when sampling. A
classifier gives p(valid | theta), since only learners that did not fail can be observed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sbirules.inference.estimators.base import Estimator, Job, Learned, ProductPotential, Rows
from sbirules.inference.potentials import LogLikelihood, Observed, Potential, Replicates
from sbirules.neural_nets.classifiers import EventProbability
from sbirules.neural_nets.ensembles import EnsembleSettings, Stack, train_folds
from sbirules.neural_nets.standardiser import Standardiser, with_squares
from sbirules.support.files import Plain
from sbirules.support.streams import Stream, seeded

__all__ = ["RATIO", "LearnerRatio", "RatioPotential", "fit_ratio"]

STATISTICS = 32  # components of f and g
# shrinking weights wins a third of a nat from 24 learners, and large steps win time (validation/many_learners.py)
SETTINGS = EnsembleSettings(learning_rate=2e-3, weight_decay=0.3, batch_size=256, patience=10)


class LearnerRatio(nn.Module):
    """log p(x | theta) of one learner up to c(x), failures included.

    Arguments:
        theta: Standardiser of theta.
        x: Standardiser of summaries and length.
        valid: Probability that a network does not fail.
        settings: Of the ensemble.
    """

    def __init__(
        self, theta: Standardiser, x: Standardiser, valid: EventProbability, settings: EnsembleSettings
    ) -> None:
        super().__init__()
        self.theta, self.x, self.valid, self.settings = theta, x, valid, settings
        h = settings.hidden
        self.g = Stack(settings.members, [2 * theta.dim, h, h, STATISTICS + 1])
        self.f = Stack(settings.members, [x.dim, h, h, STATISTICS])
        self.history: dict[str, Any] = {}

    def log_prob(self, theta: Tensor, x: Tensor, length: Tensor) -> Tensor:
        """Sum over learners of log p(x_i | theta) up to a constant, `(n,)`: the members' mean.

        Arguments:
            theta: Rules, `(n, D)`.
            x: Summaries of the learners, `(L, S)`.
            length: Their numbers of trials, `(L,)`.
        """
        totals = self.statistics(x, length)[:, None]
        return self.log_prob_many(theta[None], totals, torch.tensor([len(x)]))[0]

    def statistics(self, x: Tensor, length: Tensor) -> Tensor:
        """What the likelihood needs of learners `(L, S)`: the sum over them of f, `(M, K)`."""
        each: Tensor = self.f(self.x(_joined(x, length)))
        return each.sum(dim=1)

    def log_prob_many(self, theta: Tensor, totals: Tensor, counts: Tensor, shares: Tensor | None = None) -> Tensor:
        """The same for many groups of learners at once, `(B, n)`.

        Arguments:
            theta: Rules for each group, `(B, n, D)`.
            totals: `statistics` of each group, `(M, B, K)`.
            counts: Learners in each group, `(B,)`.
            shares: What of each group's sum counts, `(B,)`; None for all.
        """
        each = self._learned(theta, totals, counts).mean(dim=0)
        return (each if shares is None else shares[:, None] * each) + self._survival(theta, counts)

    def log_prob_members(self, theta: Tensor, totals: Tensor, counts: Tensor) -> Tensor:
        """The same by each member of the ensemble, `(M, B, n)`."""
        return self._learned(theta, totals, counts) + self._survival(theta, counts)

    def _learned(self, theta: Tensor, totals: Tensor, counts: Tensor) -> Tensor:
        """What members learned of learners whose networks ran through, `(M, B, n)`."""
        rules = theta.flatten(0, 1)
        g: Tensor = self.g(with_squares(self.theta(rules)))
        g = g.reshape(len(g), *theta.shape[:2], -1)  # (M, B, n, K + 1)
        out: Tensor = (g[..., 1:] @ totals[..., None])[..., 0] / math.sqrt(STATISTICS) + counts[:, None] * g[..., 0]
        return out

    def _survival(self, theta: Tensor, counts: Tensor) -> Tensor:
        """Log-probability that the networks of all learners ran through, `(B, n)`."""
        return counts[:, None] * self.valid.log_prob(theta.flatten(0, 1)).reshape(theta.shape[:2])

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return {
            "theta": self.theta.config(),
            "x": self.x.config(),
            "valid": self.valid.config(),
            "settings": vars(self.settings),
        }

    @classmethod
    def from_config(cls, config: Plain) -> LearnerRatio:
        """One of that shape, to load tensors into."""
        return cls(
            Standardiser.from_config(config["theta"]),
            Standardiser.from_config(config["x"]),
            EventProbability.from_config(config["valid"]),
            EnsembleSettings(**config["settings"]),
        )


def _joined(x: Tensor, length: Tensor) -> Tensor:
    return torch.cat([x, length[:, None].to(x.dtype)], dim=1)


def fit_ratio(
    theta: Tensor,
    x: Tensor,
    length: Tensor,
    valid: EventProbability,
    standardiser: Standardiser,
    *,
    settings: EnsembleSettings | None = None,
    seed: int = 0,
) -> LearnerRatio:
    """Trains the ensemble on rows that did not fail: theta `(n, D)`, x `(n, S)`, length `(n,)`."""
    rows = _joined(x, length)
    seen = Standardiser.of(rows, [False] * x.shape[1] + [True])
    with seeded(seed, Stream.TRAINING):
        model = LearnerRatio(standardiser, seen, valid, settings or EnsembleSettings())
        z, y = with_squares(standardiser(theta)).detach(), seen(rows).detach()

        def loss(batch: Tensor) -> Tensor:
            g, f = model.g(z[batch]), model.f(y[batch])
            logits = torch.bmm(f, g[:, :, 1:].mT) / math.sqrt(STATISTICS) + g[:, :, 0][:, None]
            right = torch.log_softmax(logits, dim=2).diagonal(dim1=1, dim2=2).mean(dim=1)
            return -right - math.log(batch.shape[1])  # 0 for a guess

        networks = nn.ModuleList([model.g, model.f])
        _, curve = train_folds(networks, loss, len(theta), model.settings)
    model.history = {"held_out_loss": curve}
    return model.requires_grad_(False).eval()


class RatioPotential(ProductPotential):
    """The sum over learners of their log-likelihood ratios."""

    kind = "ratio"

    def together(self, others: Sequence[Potential]) -> LogLikelihood:
        """The statistics of each group add up, so that all groups are one batch."""
        model: LearnerRatio = self.likelihood
        groups = [p for p in others if isinstance(p, RatioPotential)]
        with torch.no_grad():
            totals = torch.stack([model.statistics(p.transform(p.x), p.length) for p in groups], dim=1)
        counts = torch.tensor([len(p.x) for p in groups])
        shares = torch.tensor([p.share for p in groups])

        def log_likelihood(theta: Tensor, which: Tensor) -> Tensor:
            return model.log_prob_many(theta, totals[:, which], counts[which], shares[which])

        return log_likelihood

    def replicates(self, theta: Tensor) -> list[Replicates]:
        """The members, each without one fold."""
        model: LearnerRatio = self.likelihood
        totals = model.statistics(self.transform(self.x), self.length)[:, None]
        each = model.log_prob_members(theta[None], totals, torch.tensor([len(self.x)]))[:, 0]
        return [Replicates(self.weighed(each, theta), len(each) - 1)]

    @classmethod
    def from_config(cls, config: Plain) -> RatioPotential:
        return cls(LearnerRatio.from_config(config["likelihood"]), *cls.empty(config))


def _learn(rows: Rows, observed: Observed, job: Job) -> Learned:
    valid, ok = job.failures(rows), rows.ok
    model = fit_ratio(
        rows.theta[ok],
        rows.x[ok],
        rows.length[ok],
        valid,
        job.standardiser,
        settings=job.settings or SETTINGS,
        seed=job.seed,
    )
    return Learned(RatioPotential(model, observed.x, observed.length).eval())


RATIO = Estimator(EnsembleSettings, _learn)
