r"""The likelihood of one learner's trials given a rule, learned from single-network simulations.

Learners that share a rule but not a network are independent, so their likelihoods multiply:

    p(theta | x_1 ... x_n)  ~  p(theta) prod_i p(valid | theta) p(x_i | theta, valid)

x_i are the learner's named summaries. An ensemble of sbi's zuko flows gives p(x | theta, valid) as the
mean density of its members; a classifier gives p(valid | theta), since only learners that did not fail
can be observed. Where sessions differ in length, the flows are told the length, and each simulated run is
cut to the length of a learner that had its sequence of trial types.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sbirules import _check
from sbirules.classifier import EventProbability
from sbirules.features import Standardiser
from sbirules.streams import seeded

__all__ = ["LearnerLikelihood", "LikelihoodSettings", "fit_likelihood"]


@dataclass(frozen=True)
class LikelihoodSettings:
    """Settings of the flows and of their training.

    Arguments:
        members: Flows, each with its own split into training and validation rows.
        num_transforms: Spline transforms per flow.
        hidden_features: Units in the hidden layers of a transform's network.
        num_bins: Bins of a spline.
        batch_size: Rows per step.
        learning_rate: Step of Adam.
        validation_fraction: Share of the rows held out for early stopping.
        patience: Epochs without a better validation loss before training stops.
        max_epochs: Passes over the data at most.
    """

    members: int = 3
    num_transforms: int = 2
    hidden_features: int = 50
    num_bins: int = 6
    batch_size: int = 500
    learning_rate: float = 2e-3
    validation_fraction: float = 0.1
    patience: int = 15
    max_epochs: int = 500

    def __post_init__(self) -> None:
        for name in (
            "members",
            "num_transforms",
            "hidden_features",
            "num_bins",
            "batch_size",
            "patience",
            "max_epochs",
        ):
            _check.whole(name, getattr(self, name), 1)
        _check.above("learning_rate", self.learning_rate, 0.0)
        if _check.share("validation_fraction", self.validation_fraction) == 1:
            raise ValueError("validation_fraction must leave rows to train on; it must be below 1.")


class LearnerLikelihood(nn.Module):
    """log p(x | theta) of one learner, failures included.

    Arguments:
        flows: Densities of x given standardised coefficients and design.
        valid: Probability that a network does not fail.
        standardiser: Of theta.
        design: Standardiser of the design (the session's length), or None if all sessions are alike.
    """

    def __init__(
        self, flows: list[nn.Module], valid: EventProbability, standardiser: Standardiser, design: Standardiser | None
    ) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.valid, self.standardiser = valid, standardiser
        self.design: Standardiser | None = design
        self.history: dict[str, Any] = {}

    def context(self, theta: Tensor, length: Tensor) -> Tensor:
        """What the flows are conditioned on, `(n, D)` or `(n, D + 1)`, for lengths `(n,)`."""
        z = self.standardiser(theta)
        if self.design is None:
            return z
        return torch.cat([z, self.design(length[:, None].to(z.dtype))], dim=1)

    def log_prob(self, theta: Tensor, x: Tensor, length: Tensor) -> Tensor:
        """Sum over learners of log p(x_i | theta), `(n,)`.

        Arguments:
            theta: Rules, `(n, D)`.
            x: Summaries of the learners, `(L, S)`.
            length: Their numbers of trials, `(L,)`.
        """
        rules, learners = len(theta), len(x)
        densities: list[Any] = [flow.log_prob for flow in self.flows]
        if self.design is None:
            condition = self.context(theta, length)
            rows = x[:, None].expand(learners, rules, -1)
            # flows broadcast x over one batch of conditions
            parts = [log_prob(rows, condition) for log_prob in densities]
        else:
            every = theta.repeat(learners, 1)
            condition = self.context(every, length.repeat_interleave(rules))
            rows = x.repeat_interleave(rules, dim=0)[None]
            parts = [log_prob(rows, condition).reshape(learners, rules) for log_prob in densities]
        each = torch.logsumexp(torch.stack(parts), dim=0) - math.log(len(self.flows))
        return each.sum(dim=0) + learners * self.valid.log_prob(theta)

    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors."""
        return {
            "valid": self.valid.config(),
            "standardiser": self.standardiser.config(),
            "design": None if self.design is None else self.design.config(),
            "flows": self.history["flows"],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LearnerLikelihood:
        """A likelihood of that shape, to load tensors into."""
        shape = config["flows"]
        settings = LikelihoodSettings(**shape["settings"])
        builder = _builder(settings)
        with seeded(0):
            batch = torch.randn(64, shape["context"]), torch.randn(64, shape["columns"])
            flows = [builder(*batch) for _ in range(settings.members)]
        design = None if config["design"] is None else Standardiser.from_config(config["design"])
        valid = EventProbability.from_config(config["valid"])
        out = cls(flows, valid, Standardiser.from_config(config["standardiser"]), design)
        out.history["flows"] = shape
        return out


def _builder(settings: LikelihoodSettings) -> Any:
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
    design = Standardiser.of(length[:, None].float(), [True]) if length.unique().numel() > 1 else None
    model = LearnerLikelihood([], valid, standardiser, design)
    context = model.context(theta, length).detach()
    curves = []
    for member in tqdm(range(settings.members), desc="fit likelihood", unit="flow", disable=not progress):
        with seeded(seed, member):
            flow, curve = _train(context, x, settings)
        model.flows.append(flow)
        curves.append(curve)
    model.history = {
        "flows": {"settings": vars(settings), "context": context.shape[1], "columns": x.shape[1]},
        "validation_loss": curves,
    }
    return model.eval()


class _Batches:
    """Batches by indexing resident tensors; sbi's own loader fetches row by row, which costs 20 times as much."""

    def __init__(self, tensors: tuple[Tensor, ...], rows: Tensor, batch_size: int, shuffle: bool) -> None:
        self.tensors, self.rows, self.shuffle = tensors, rows, shuffle
        self.batch_size = min(batch_size, len(rows))

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        rows = self.rows[torch.randperm(len(self.rows))] if self.shuffle else self.rows
        for k in range(len(self)):
            batch = rows[k * self.batch_size : (k + 1) * self.batch_size]
            yield tuple(tensor[batch] for tensor in self.tensors)


class _Silent:
    """A tracker that writes nothing: sbi's default leaves logs in the current folder."""

    log_dir = None

    def log_metric(self, name: str, value: float, step: int | None = None) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_params(self, params: dict[str, Any]) -> None: ...

    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None: ...

    def flush(self) -> None: ...


def _train(context: Tensor, x: Tensor, settings: LikelihoodSettings) -> tuple[nn.Module, list[float]]:
    """One flow, by sbi's NLE on resident data, and its validation losses."""
    from sbi.inference import NLE

    class ResidentNLE(NLE):
        def get_dataloaders(
            self,
            starting_round: int = 0,
            training_batch_size: int = 200,
            validation_fraction: float = 0.1,
            resume_training: bool = False,
            dataloader_kwargs: dict[str, Any] | None = None,
        ) -> tuple[_Batches, _Batches]:
            tensors = self.get_simulations(starting_round)
            n = len(tensors[0])
            held = max(1, int(validation_fraction * n))
            rows = torch.randperm(n)
            self.train_indices, self.val_indices = rows[held:], rows[:held]
            return (
                _Batches(tensors, rows[held:], training_batch_size, shuffle=True),
                _Batches(tensors, rows[:held], training_batch_size, shuffle=False),
            )

    trainer = ResidentNLE(prior=None, density_estimator=_builder(settings), tracker=_Silent(), show_progress_bars=False)
    trainer.append_simulations(context, x, exclude_invalid_x=False)
    flow = trainer.train(
        training_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        validation_fraction=settings.validation_fraction,
        stop_after_epochs=settings.patience,
        max_num_epochs=settings.max_epochs,
    )
    return flow, [float(v) for v in trainer.summary["validation_loss"]]
