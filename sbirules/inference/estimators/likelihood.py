r"""The likelihood of one learner's trials given a rule, learned from single-network simulations.

Learners that share a rule but not a network are independent, so their likelihoods multiply:

    p(theta | x_1 ... x_n)  ~  p(theta) prod_i p(valid | theta) p(x_i | theta, valid)

x_i are the learner's named summaries. Their trend over rules is taken out by a response surface; what is left is
a mixture of one Gaussian and of an ensemble of sbi's zuko flows, weighted by how well each predicts rows that it
was not trained on. A classifier gives p(valid | theta), since only learners that did not fail
can be observed. Where sessions differ in length, the flows are told the length, and each simulated run is
cut to the length of a learner that had its sequence of trial types.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sbirules.inference.estimators.base import Estimator, Job, Learned, ProductPotential, Rows
from sbirules.inference.potentials import LogLikelihood, Observed, Potential, Replicates
from sbirules.neural_nets.classifiers import EventProbability
from sbirules.neural_nets.flows import FlowSettings, train_flow
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.neural_nets.trends import FOLDS, GaussianResidual, Trend
from sbirules.support.borrowed import torch_as_found
from sbirules.support.files import Plain
from sbirules.support.streams import Stream, generator, seeded
from sbirules.support.typed import typed_class

__all__ = ["LIKELIHOOD", "LearnerLikelihood", "LikelihoodPotential", "LikelihoodSettings", "fit_likelihood"]


NEGLIGIBLE = 1e-3  # weight of the flows below which they are left out
PAIRS_AT_ONCE = 2**15  # of rule and learner, in one pass through the networks


@typed_class
class LikelihoodSettings(FlowSettings):
    """Settings of neural likelihood estimation, as `FlowSettings`."""


@dataclass(frozen=True)
class Part:
    """A likelihood as it would be without one fold in the trend or in the Gaussian, or by one of the flows alone."""

    trend: int | None = None
    gaussian: int | None = None
    flow: int | None = None


WHOLE = Part()


class LearnerLikelihood(nn.Module):
    """log p(x | theta) of one learner, failures included.

    Arguments:
        trend: Mean of x given standardised coefficients and design.
        gaussian: Density of the residuals.
        flows: Densities of the residuals given standardised coefficients and design.
        flow_share: Weight of the flows against the Gaussian.
        valid: Probability that a network does not fail.
        standardiser: Of theta.
        design: Standardiser of the design (the session's length), or None if all sessions are alike.
    """

    flow_share: Tensor

    def __init__(
        self,
        trend: Trend,
        gaussian: GaussianResidual,
        flows: list[nn.Module],
        flow_share: float,
        valid: EventProbability,
        standardiser: Standardiser,
        design: Standardiser | None,
    ) -> None:
        super().__init__()
        self.trend, self.gaussian = trend, gaussian
        self.register_buffer("flow_share", torch.tensor(flow_share))
        self.flows = nn.ModuleList(flows)
        self.valid, self.standardiser = valid, standardiser
        self.design: Standardiser | None = design
        self.history: dict[str, Any] = {}

    def context(self, theta: Tensor, length: Tensor) -> Tensor:
        """What the flows are conditioned on, `(n, D)` or `(n, D + 1)`, for lengths `(n,)`."""
        z: Tensor = self.standardiser(theta)
        if self.design is None:
            return z
        return torch.cat([z, self.design(length[:, None].to(z.dtype))], dim=1)

    def log_prob(self, theta: Tensor, x: Tensor, length: Tensor, part: Part = WHOLE) -> Tensor:
        """Sum over learners of log p(x_i | theta), `(n,)`.

        Arguments:
            theta: Rules, `(n, D)`.
            x: Summaries of the learners, `(L, S)`.
            length: Their numbers of trials, `(L,)`.
            part: What was learned from part of the simulations only.
        """
        rules, learners = len(theta), len(x)
        if self.design is None:
            condition = self.context(theta, length)
            # flows broadcast x over one batch of conditions
            rows = self.trend.standardise(x)[:, None] - self._expected(condition, part)
        else:
            condition = self.context(theta.repeat(learners, 1), length.repeat_interleave(rules))
            rows = (self.trend.standardise(x).repeat_interleave(rules, dim=0) - self._expected(condition, part))[None]
        each = self._density(rows, condition, part).reshape(learners, rules)
        return each.sum(dim=0) + learners * self.valid.log_prob(theta)

    def log_prob_of_pairs(self, theta: Tensor, x: Tensor, length: Tensor) -> Tensor:
        """log p(x_i | theta_i) of learners `(n, S)` that each have their rule `(n, D)`, without failures; `(n,)`."""
        condition = self.context(theta, length)
        return self._density((self.trend.standardise(x) - self.trend(condition))[None], condition)[0]

    def _expected(self, condition: Tensor, part: Part) -> Tensor:
        found: Tensor = self.trend(condition) if part.trend is None else self.trend.without_fold(condition, part.trend)
        return found

    def _density(self, rows: Tensor, condition: Tensor, part: Part = WHOLE) -> Tensor:
        """Of residuals `(..., n, S)` under conditions `(n, C)`: `(..., n)`."""
        parts = [self.gaussian.log_prob(rows, without=part.gaussian) + torch.log1p(-self.flow_share)]
        # flows that predict worse than the Gaussian are not worth their time
        densities: list[Any] = [flow.log_prob for flow in self.flows] if self.flow_share > NEGLIGIBLE else []
        if part.flow is not None:
            densities = densities[part.flow : part.flow + 1]
        share = self.flow_share.log() - math.log(max(len(densities), 1))
        parts += [log_prob(rows, condition) + share for log_prob in densities]
        return torch.logsumexp(torch.stack(parts), dim=0) - self.trend.log_scale

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return {
            "valid": self.valid.config(),
            "standardiser": self.standardiser.config(),
            "design": None if self.design is None else self.design.config(),
            "flows": self.history["flows"],
        }

    @classmethod
    def from_config(cls, config: Plain) -> LearnerLikelihood:
        """A likelihood of that shape, to load tensors into."""
        shape = config["flows"]
        settings = LikelihoodSettings(**shape["settings"])
        builder = _builder(settings)
        with seeded(0, Stream.SHAPES):
            batch = torch.randn(64, shape["context"]), torch.randn(64, shape["columns"])
            flows = [builder(*batch) for _ in range(settings.members)]
        design = None if config["design"] is None else Standardiser.from_config(config["design"])
        valid = EventProbability.from_config(config["valid"])
        gaussian = GaussianResidual(torch.randn(64, shape["columns"], generator=generator(0, Stream.SHAPES)))
        dtype = torch.float64 if shape.get("double") else torch.float32
        trend = Trend.empty(shape["context"], shape.get("summaries", shape["columns"]), shape["columns"], dtype)
        out = cls(trend, gaussian, flows, 0.5, valid, Standardiser.from_config(config["standardiser"]), design)
        out.history["flows"] = shape
        return out


def _builder(settings: LikelihoodSettings) -> Any:
    with torch_as_found():
        from sbi.neural_nets import likelihood_nn

    return likelihood_nn(
        "zuko_nsf",
        hidden_features=settings.hidden_features,
        num_transforms=settings.num_transforms,
        num_bins=settings.num_bins,
    )


def fit_likelihood(
    theta: Tensor,
    x: Tensor,
    length: Tensor,
    valid: EventProbability,
    standardiser: Standardiser,
    *,
    settings: LikelihoodSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> LearnerLikelihood:
    """Trains the flows on valid rows: theta `(n, D)`, x `(n, S)`, length `(n,)`."""
    from tqdm.auto import tqdm

    settings = settings or LikelihoodSettings()
    if len(x) < 100:
        raise ValueError(f"a likelihood needs at least 100 simulations that did not fail, got {len(x)}; simulate more.")
    design = Standardiser.of(length[:, None].float(), [True]) if torch.unique(length).numel() > 1 else None
    z = standardiser(theta)
    context = z if design is None else torch.cat([z, design(length[:, None].to(z.dtype))], dim=1)
    context = context.detach()
    with seeded(seed, Stream.TREND):
        trend, residuals = Trend.fit(context, x)
    flows, curves, gains = [], [], []
    for member in tqdm(range(settings.members), desc="fit likelihood", unit="flow", disable=not progress):
        with seeded(seed, Stream.MEMBER, member):
            flow, losses, held = train_flow(_builder(settings)(context, residuals), residuals, context, settings)
        flows.append(flow)
        curves.append(losses)
        kept = torch.ones(len(x), dtype=torch.bool)
        kept[held] = False
        plain = -float(GaussianResidual(residuals[kept]).log_prob(residuals[held]).mean())
        gains.append((plain - min(losses["validation"])) * len(held))
    # the weight of the held-out evidence for the flows against the Gaussian
    share = float(torch.sigmoid(torch.tensor(gains).mean()).clamp(1e-6, 1 - 1e-6))
    model = LearnerLikelihood(trend, GaussianResidual(residuals), flows, share, valid, standardiser, design)
    model.history = {
        "flows": {
            "settings": vars(settings),
            "context": context.shape[1],
            "summaries": x.shape[1],
            "columns": residuals.shape[1],
            "double": x.dtype == torch.float64,
        },
        "losses": curves,
        "flow_share": share,
    }
    return model.eval()


class LikelihoodPotential(ProductPotential):
    """The sum over learners of their log-likelihoods."""

    kind = "likelihood"

    def together(self, others: Sequence[Potential]) -> LogLikelihood:
        """Pairs of rule and learner of many potentials in one pass, as small batches cost as much as large ones."""
        model: LearnerLikelihood = self.likelihood
        observed = [other.observed or self.observed for other in others]
        learners = [(self.transform(one.x), one.length) for one in observed]
        shares = torch.tensor([other.share if isinstance(other, ProductPotential) else 1.0 for other in others])

        def of_few(theta: Tensor, which: list[int]) -> Tensor:
            rules = theta.shape[1]
            pairs = [(rows.repeat(len(learners[k][0]), 1), *learners[k]) for k, rows in zip(which, theta, strict=True)]
            each = model.log_prob_of_pairs(
                torch.cat([rows for rows, _, _ in pairs]),
                torch.cat([x.repeat_interleave(rules, dim=0) for _, x, _ in pairs]),
                torch.cat([length.repeat_interleave(rules) for _, _, length in pairs]),
            )
            counts = torch.tensor([len(x) for _, x, _ in pairs])
            group = torch.arange(len(which)).repeat_interleave(counts)
            sums = torch.zeros(len(which), rules).index_add(0, group, each.reshape(-1, rules))
            survival = model.valid.log_prob(theta.flatten(0, 1)).reshape(len(which), rules)
            return shares[which][:, None] * sums + counts[:, None] * survival

        def log_likelihood(theta: Tensor, which: Tensor) -> Tensor:
            most = max(len(x) for x, _ in learners) * theta.shape[1]
            some = max(1, PAIRS_AT_ONCE // most)
            parts = [slice(at, at + some) for at in range(0, len(which), some)]
            return torch.cat([of_few(theta[part], [int(k) for k in which[part]]) for part in parts])

        return log_likelihood

    def replicates(self, theta: Tensor) -> list[Replicates]:
        """Trend and Gaussian without each fold, and each flow, which had a part of the rows held out."""
        model: LearnerLikelihood = self.likelihood
        x = self.transform(self.x)

        def of(parts: list[Part]) -> Tensor:
            return self.weighed(torch.stack([model.log_prob(theta, x, self.length, part) for part in parts]), theta)

        out = [
            Replicates(of([Part(trend=k) for k in range(FOLDS)]), FOLDS - 1),
            Replicates(of([Part(gaussian=k) for k in range(FOLDS)]), FOLDS - 1),
        ]
        flows = len(model.flows) if float(model.flow_share) > NEGLIGIBLE else 0
        if flows > 1:
            held = model.history["flows"]["settings"]["validation_fraction"]
            out.append(Replicates(of([Part(flow=k) for k in range(flows)]), (1 - held) / held * flows / (flows - 1)))
        return out

    @classmethod
    def from_config(cls, config: Plain) -> LikelihoodPotential:
        return cls(LearnerLikelihood.from_config(config["likelihood"]), *cls.empty(config))


def _learn(rows: Rows, observed: Observed, job: Job) -> Learned:
    valid, ok = job.failures(rows), rows.ok
    rows, transform = job.without_atoms(rows)
    model = fit_likelihood(
        rows.theta[ok],
        rows.x[ok],
        rows.length[ok],
        valid,
        job.standardiser,
        settings=job.settings,
        seed=job.seed,
        progress=job.progress,
    )
    potential = LikelihoodPotential(model, observed.x, observed.length, transform).eval()
    return Learned(potential, details={"flow_share": model.history["flow_share"]})


LIKELIHOOD = Estimator(LikelihoodSettings, _learn)
