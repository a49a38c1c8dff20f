"""Neural posterior estimation: the posterior given one network's summaries, for any observation without retraining.

    q(theta | x) = sum_m w_m q_m(u | x) |du / dtheta|,    u = T(theta)

T maps the prior's support to the real numbers (sbi's `mcmc_transform`), so that no draw lies outside the prior. The
q_m are sbi's zuko flows, of one kind or several, each with its own split into training and validation rows; a kind's
weight is how well it predicts rules that it was not trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from sbirules import _check
from sbirules.embeddings import EMBEDDINGS, SetEmbedding, embedding
from sbirules.flows import FlowSettings, train_flow
from sbirules.scale import unconstrained
from sbirules.streams import seeded
from sbirules.summaries import Summary

__all__ = ["AmortisedPosterior", "NPESettings", "fit_npe"]


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
        if isinstance(self.models, str) or not self.models:
            raise ValueError(f'models must list names such as ("zuko_nsf",), got {self.models!r}.')
        object.__setattr__(self, "models", tuple(self.models))
        for name in self.models:
            _check.known("models", name, ("zuko_nsf", "zuko_maf", "zuko_gf", "zuko_nice"))
        if self.embedding is not None:
            _check.known("embedding", self.embedding, EMBEDDINGS)


class AmortisedPosterior(nn.Module):
    """p(theta | x_o), normalised.

    Arguments:
        flows: Densities of u given x.
        weights: Of the flows, `(M,)`.
        x_o: What was observed, `(S,)`; or a set of learners, `(L, columns)`.
        shape: What rebuilds it: settings, and the sizes of theta and x.
    """

    kind = "observation"
    normalised = True
    weights: Tensor
    x_o: Tensor

    def __init__(self, flows: list[nn.Module], weights: Tensor, x_o: Tensor, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.flows, self.shape = nn.ModuleList(flows), dict(shape)
        self.register_buffer("weights", weights)
        self.register_buffer("x_o", x_o)
        self.transform: Any = None
        self.summaries: Sequence[Summary] | None = None  # of learners, those of the fit; None after loading

    def bind(self, prior: Distribution) -> None:
        """Tells it the prior, whose support it is to stay in."""
        self.transform = unconstrained(prior)

    def forward(self, theta: Tensor) -> Tensor:
        """Log-density `(n,)` of theta `(n, D)` inside the prior's support."""
        u = self.transform(theta)
        inside = torch.isfinite(u).all(dim=1)
        u = torch.where(inside[:, None], u, 0.0)
        every: list[Any] = list(self.flows)
        parts = [flow.log_prob(u[:, None], self.x_o[None])[:, 0] for flow in every]
        value = torch.logsumexp(torch.stack(parts) + self.weights.log()[:, None], dim=0)
        jacobian = self.transform.log_abs_det_jacobian(torch.where(inside[:, None], theta, self.transform.inv(u)), u)
        return torch.where(inside, value + jacobian, -math.inf)

    def sample(self, n: int) -> Tensor:
        """Draws `(n, D)`, of all flows, shuffled."""
        counts = torch.bincount(torch.multinomial(self.weights, n, replacement=True), minlength=len(self.flows))
        every: list[Any] = list(self.flows)
        with torch.no_grad():
            parts = [
                flow.sample(Size((int(count),)), self.x_o[None])[:, 0]
                for flow, count in zip(every, counts, strict=True)
                if count
            ]
        u = torch.cat(parts)
        return self.transform.inv(u[torch.randperm(n)])

    def given(self, x_o: Tensor) -> AmortisedPosterior:
        """The same for another observation; nothing is trained."""
        out = AmortisedPosterior(list(self.flows), self.weights, x_o, self.shape)
        out.transform = self.transform
        return out.eval()

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return self.shape

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AmortisedPosterior:
        """One of that shape, to load tensors into."""
        settings = NPESettings(**config["settings"])
        with seeded(0):
            batch = torch.randn(64, config["dim"]), torch.randn(64, *config["shape"]).abs()
            flows = [_builder(m, settings, batch[1])(*batch) for m in settings.models for _ in range(settings.members)]
        return cls(flows, torch.ones(len(flows)), torch.zeros(config["shape"]), config)


def fit_npe(
    theta: Tensor, x: Tensor, x_o: Tensor, prior: Distribution, *, settings: NPESettings | None = None,
    groups: Tensor | None = None, seed: int = 0, progress: bool = False,
) -> tuple[AmortisedPosterior, dict[str, Any]]:  # fmt: skip
    """Trains the flows, and returns facts of the training, too.

    Arguments:
        theta: Draws of the prior, `(n, D)`.
        x: Their summaries, finite, `(n, S)`; or sets of learners, `(n, L, columns)` (see `SetEmbedding`).
        x_o: What was observed.
        prior: The prior.
        settings: Of flows and training.
        groups: Rows of one number are held out together, `(n,)`; None if all rows are independent.
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
    flows, losses, curves = [], [], {}
    jobs = [(model, member) for model in settings.models for member in range(settings.members)]
    for model, member in tqdm(jobs, desc="fit posterior", unit="flow", disable=not progress):
        with seeded(seed, member):  # members of one number share a split, so that kinds can be compared
            flow, curve, _ = train_flow(_builder(model, settings, x)(u, x), u, x, settings, groups)
        flows.append(flow)
        losses.append(min(curve["validation"]))
        curves[f"{model} {member}"] = curve
    held = max(1, int(settings.validation_fraction * len(x)))
    loss = torch.tensor(losses).reshape(len(settings.models), settings.members)
    # the weight of evidence on held-out rows, between kinds; members of a kind count alike
    of_kind = torch.softmax(-held * loss.mean(dim=1), dim=0)
    weights = (of_kind[:, None] / settings.members).expand(-1, settings.members).reshape(-1)
    shape = {"settings": vars(settings), "dim": theta.shape[1], "shape": list(x.shape[1:])}
    facts = {"losses": curves, "weights": dict(zip(settings.models, of_kind.tolist(), strict=True))}
    model_ = AmortisedPosterior(flows, weights, x_o.float(), shape).requires_grad_(False).eval()
    model_.bind(prior)
    return model_, facts


def _check_connected(prior: Distribution, middle: Tensor) -> None:
    """Raises ValueError if the prior has gaps, where rules between its draws lie, or atoms: a flow has neither."""
    if hasattr(prior, "propose_switch") or bool(torch.isinf(prior.log_prob(middle)).any()):
        raise ValueError(
            'estimator="npe" needs a prior without gaps in which no coefficient can be exactly zero; leave estimator '
            "out, which takes any prior."
        )


def _builder(model: str, settings: NPESettings, x: Tensor) -> Any:
    from sbi.neural_nets import posterior_nn

    options: dict[str, Any] = {} if model != "zuko_nsf" else {"num_bins": settings.num_bins}
    scale = "independent"
    if x.ndim == 3:  # the embedding of sets standardises what it sees
        scale, options["embedding_net"] = "none", SetEmbedding(x.shape[2]).standardise_by(x)
    elif settings.embedding is not None:
        scale, options["embedding_net"] = "structured", embedding(settings.embedding, x.shape[1])
    return posterior_nn(
        model, hidden_features=settings.hidden_features, num_transforms=settings.num_transforms,
        z_score_theta="independent", z_score_x=scale, **options,
    )  # fmt: skip
