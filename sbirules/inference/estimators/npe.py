"""Neural posterior estimation: the posterior given one network's summaries, for any observation without retraining.

    q(theta | x) = sum_m w_m q_m(u | x) |du / dtheta|,    u = T(theta)

T maps the prior's support to the real numbers (sbi's `mcmc_transform`), so that no draw lies outside the prior. The
q_m are sbi's zuko flows, of one kind or several, each with its own split into training and validation rows; a kind's
weight is how well it predicts rules that it was not trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from sbirules.inference.estimators.base import Job, Learned, Rows
from sbirules.inference.potentials import NormalisedPotential, Observed
from sbirules.model.prior import Sparse
from sbirules.neural_nets.embeddings import EMBEDDINGS, SetEmbedding, embedding
from sbirules.neural_nets.flows import FlowSettings, train_flow
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.support import arguments
from sbirules.support.borrowed import torch_as_found
from sbirules.support.files import Plain
from sbirules.support.scale import unconstrained
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed_class

__all__ = ["AmortisedPosterior", "NPESettings", "fit_npe", "learn_row"]


@typed_class
@dataclass(frozen=True)
class NPESettings(FlowSettings):
    """Settings of neural posterior estimation: those of `FlowSettings`, and

    Arguments:
        models: sbi's names of the kinds of flow; `members` of each are trained.
        embedding: `"cnn"` or `"transformer"` for a row of summaries that is a long curve, such as
            `learning_curve(100)`: sbi's embedding nets, trained along with each flow. None for named summaries.
    """

    models: tuple[str, ...] = ("zuko_nsf",)
    embedding: str | None = None
    members: int = 4
    num_transforms: int = 3
    batch_size: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "models", arguments.strings("models", self.models))
        if not self.models:
            raise ValueError('models must list at least one name, such as "zuko_nsf".')
        for name in self.models:
            arguments.known("models", name, ("zuko_nsf", "zuko_maf", "zuko_gf", "zuko_nice"))
        if self.embedding is not None:
            arguments.known("embedding", self.embedding, EMBEDDINGS)


def rows_of_set(observed: Observed) -> Tensor:
    """Learners as rows of a set, `(L, S + 2)`: summaries, length, and a mark that there is a learner."""
    x, length = observed.x, observed.length
    return torch.cat([torch.nan_to_num(x), torch.log(length[:, None].float()), torch.ones(len(x), 1)], dim=1)


def set_of(observed: Observed, places: int) -> Tensor:
    """Learners as a set with so many places, `(places, S + 2)`.

    Raises:
        ValueError: If there are more learners than places.
    """
    if len(observed.x) > places:
        raise ValueError(
            f"this posterior has learned from sets of up to {places} learners, got {len(observed.x)}; simulate each rule in "
            f"more networks."
        )
    rows = rows_of_set(observed)
    return torch.cat([rows, rows.new_zeros(places - len(rows), rows.shape[1])])


def learners_in(places: Tensor) -> Observed:
    """The learners of a set `(places, S + 2)`."""
    there = places[places[:, -1] > 0]
    return Observed(there[:, :-2], there[:, -2].exp().round().long())


class AmortisedPosterior(NormalisedPotential):
    """p(theta | x_o), normalised.

    Arguments:
        flows: Densities of u given x.
        weights: Of the flows, `(M,)`.
        x_o: What was observed, `(S,)`; or a set of learners, `(L, columns)`.
        shape: What rebuilds it: settings, and the sizes of theta and x.
        standardiser: Of summaries; None in files of before, whose flows see them as they are.
    """

    kind = "npe"
    weights: Tensor
    x_o: Tensor

    def __init__(
        self,
        flows: list[nn.Module],
        weights: Tensor,
        x_o: Tensor,
        shape: Mapping[str, Any],
        standardiser: Standardiser | None = None,
    ) -> None:
        super().__init__()
        self.standardiser: Standardiser | None = standardiser
        self.flows, self.shape = nn.ModuleList(flows), dict(shape)
        self.register_buffer("weights", weights)
        self.register_buffer("x_o", x_o)
        self.scale: Any = None

    def bind(self, prior: Distribution) -> None:
        super().bind(prior)
        self.scale = unconstrained(prior)

    def log_prob(self, theta: Tensor) -> Tensor:
        u = self.scale(theta)
        inside = torch.isfinite(u).all(dim=1)
        u = torch.where(inside[:, None], u, 0.0)
        every: list[Any] = list(self.flows)
        parts = [flow.log_prob(u[:, None], self.seen[None])[:, 0] for flow in every]
        value = torch.logsumexp(torch.stack(parts) + self.weights.log()[:, None], dim=0)
        jacobian = self.scale.log_abs_det_jacobian(torch.where(inside[:, None], theta, self.scale.inv(u)), u)
        return torch.where(inside, value + jacobian, -math.inf)

    def sample(self, n: int) -> Tensor:
        """Draws `(n, D)`, of all flows, shuffled."""
        counts = torch.bincount(torch.multinomial(self.weights, n, replacement=True), minlength=len(self.flows))
        every: list[Any] = list(self.flows)
        with torch.no_grad():
            parts = [
                flow.sample(Size((int(count),)), self.seen[None])[:, 0]
                for flow, count in zip(every, counts, strict=True)
                if count
            ]
        u = torch.cat(parts)
        return torch.as_tensor(self.scale.inv(u[torch.randperm(n)]))

    @property
    def seen(self) -> Tensor:
        """What was observed, as the flows see it."""
        return self.x_o if self.standardiser is None else _seen(self.x_o, self.standardiser)

    @property
    def observed(self) -> Observed:
        if self.x_o.ndim == 1:
            return Observed.of_one(self.x_o)
        return learners_in(self.x_o)

    def given(self, observed: Observed) -> AmortisedPosterior:
        """The same for another observation; nothing is trained.

        Raises:
            ValueError: If there are more learners than it has learned from.
        """
        places = self.shape["shape"][0]
        x_o = (observed.x[0] if self.x_o.ndim == 1 else set_of(observed, places)).to(self.x_o.dtype)
        out = AmortisedPosterior(list(self.flows), self.weights, x_o, self.shape, self.standardiser)
        out.scale, out.prior = self.scale, self.prior
        return out.eval()

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return self.shape

    @classmethod
    def from_config(cls, config: Plain) -> AmortisedPosterior:
        """One of that shape, to load tensors into."""
        settings = NPESettings(**config["settings"])
        with seeded(0, Stream.SHAPES):
            batch = torch.randn(64, config["dim"]), torch.randn(64, *config["shape"]).abs()
            flows = [_builder(m, settings, batch[1])(*batch) for m in settings.models for _ in range(settings.members)]
        standardiser = Standardiser.from_config(config["standardiser"]) if "standardiser" in config else None
        x_o = torch.zeros(config["shape"], dtype=torch.float32 if standardiser is None else standardiser.mean.dtype)
        return cls(flows, torch.ones(len(flows)), x_o, config, standardiser)


def learn_row(rows: Rows, observed: Observed, job: Job) -> Learned:
    """The amortised posterior given one network's summaries."""
    # rules whose networks failed cannot have made x_o: the valid rows already carry p(valid | theta)
    ok, log_weight = rows.ok, None
    if job.log_weight is not None:
        log_weight = job.log_weight(rows.theta)
        ok = ok & torch.isfinite(log_weight)  # rules outside the prior
        log_weight = log_weight[ok]
    net, curves, weights = fit_npe(
        rows.theta[ok],
        rows.x[ok],
        observed.x[0],
        job.prior,
        settings=job.settings,
        log_weight=log_weight,
        seed=job.seed,
        progress=job.progress,
    )
    return Learned(net, curves, {"weights": weights})


def fit_npe(
    theta: Tensor,
    x: Tensor,
    x_o: Tensor,
    prior: Distribution,
    *,
    settings: NPESettings | None = None,
    groups: Tensor | None = None,
    log_weight: Tensor | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[AmortisedPosterior, dict[str, list[float]], dict[str, float]]:
    """Trains the flows; also returns their held-out losses by epoch, and the weight of each kind.

    Arguments:
        theta: Draws of the prior, or of a proposal, `(n, D)`.
        x: Their summaries, finite, `(n, S)`; or sets of learners, `(n, L, columns)` (see `SetEmbedding`).
        x_o: What was observed.
        prior: The prior.
        settings: Of flows and training.
        groups: Rows of one number are held out together, `(n,)`; None if all rows are independent.
        log_weight: Log of prior / proposal of each row, `(n,)`; None for draws of the prior.
        seed: Makes the training repeatable.
        progress: Whether to show a progress bar.
    """
    from tqdm.auto import tqdm

    settings = settings or NPESettings()
    if len(x) < 100:
        raise ValueError(f"NPE needs at least 100 simulations that did not fail, got {len(x)}; simulate more.")
    transform = unconstrained(prior)
    u = transform(theta)
    _check_connected(prior, transform.inv((u + u.roll(1, dims=0)) / 2))
    row_weights = None if log_weight is None else torch.softmax(log_weight.double(), dim=0).float()
    standardiser = _standardiser(x, settings)
    z = _seen(x, standardiser)
    flows, losses, curves = [], [], {}
    jobs = [(model, member) for model in settings.models for member in range(settings.members)]
    for model, member in tqdm(jobs, desc="fit posterior", unit="flow", disable=not progress):
        with seeded(seed, Stream.MEMBER, member):  # members of one number share a split, so that kinds can be compared
            flow, curve, _ = train_flow(_builder(model, settings, z)(u, z), u, z, settings, groups, row_weights)
        flows.append(flow)
        losses.append(min(curve["validation"]))
        curves[f"{model} {member}"] = curve["validation"]
    held = max(1, int(settings.validation_fraction * len(x)))
    loss = torch.tensor(losses).reshape(len(settings.models), settings.members)
    # the weight of evidence on held-out rows, between kinds; members of a kind count alike
    of_kind = torch.softmax(-held * loss.mean(dim=1), dim=0)
    weights = (of_kind[:, None] / settings.members).expand(-1, settings.members).reshape(-1)
    shape = {
        "settings": vars(settings),
        "dim": theta.shape[1],
        "shape": list(x.shape[1:]),
        "standardiser": standardiser.config(),
    }
    x_o = x_o.to(standardiser.mean.dtype)
    model_ = AmortisedPosterior(flows, weights, x_o, shape, standardiser).requires_grad_(False).eval()
    model_.bind(prior)
    return model_, curves, dict(zip(settings.models, of_kind.tolist(), strict=True))


def _standardiser(x: Tensor, settings: NPESettings) -> Standardiser:
    """Of summaries `(n, S)`, or of those of sets `(n, L, columns)`."""
    if x.ndim == 3:
        return Standardiser.of(x[x[..., -1] > 0][:, :-2])
    if settings.embedding is None:
        return Standardiser.of(x)
    one = Standardiser.of(x.reshape(-1, 1))  # a curve keeps its shape
    return Standardiser(one.mean.repeat(x.shape[1]), one.sd.repeat(x.shape[1]), (False,) * x.shape[1])


def _seen(x: Tensor, standardiser: Standardiser) -> Tensor:
    """Summaries `(..., S)`, or sets of learners `(..., L, S + 2)`, as flows see them."""
    if x.shape[-1] == standardiser.dim:
        return torch.as_tensor(standardiser(x))
    there = x[..., -1:] > 0
    return torch.cat([torch.where(there, standardiser(x[..., :-2]), 0.0), x[..., -2:].float()], dim=-1)


def _check_connected(prior: Distribution, middle: Tensor) -> None:
    """Raises ValueError if the prior has gaps, where rules between its draws lie, or atoms: a flow has neither."""
    if isinstance(prior, Sparse) or bool(torch.isinf(prior.log_prob(middle)).any()):
        raise ValueError(
            'estimator="npe" needs a prior without gaps in which no coefficient can be exactly zero; leave estimator '
            "out, which takes any prior."
        )


def _builder(model: str, settings: NPESettings, x: Tensor) -> Any:
    with torch_as_found():
        from sbi.neural_nets import posterior_nn

    options: dict[str, Any] = {} if model != "zuko_nsf" else {"num_bins": settings.num_bins}
    scale = "independent"
    if x.ndim == 3:  # the embedding of sets standardises what it sees
        scale, options["embedding_net"] = "none", SetEmbedding(x.shape[2]).standardise_by(x)
    elif settings.embedding is not None:
        scale, options["embedding_net"] = "structured", embedding(settings.embedding, x.shape[1])
    return posterior_nn(
        model,
        hidden_features=settings.hidden_features,
        num_transforms=settings.num_transforms,
        z_score_theta="independent",
        z_score_x=scale,
        **options,
    )
