r"""Calibrated probability of an event given a rule: an ensemble of small networks.

Learned from one network per rule, P(A | theta) gives the probability that all of n networks satisfy A as
P(A | theta)^n. Errors in log P are multiplied by n there, hence the care for calibration: each member's
predictions on the fold that it never saw set the temperature and offset (Platt scaling) of all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sbirules.neural_nets.ensembles import EnsembleSettings, Stack, train_folds
from sbirules.neural_nets.standardiser import Standardiser, with_squares
from sbirules.support.files import Plain
from sbirules.support.gradients import gradients
from sbirules.support.streams import Stream, seeded

__all__ = ["EventProbability", "fit_event_probability"]

CLASSIFIER = EnsembleSettings(learning_rate=2e-3, batch_size=256)


class EventProbability(nn.Module):
    """P(A | theta), calibrated.

    Arguments:
        standardiser: Of theta.
        settings: Of the ensemble.
    """

    scale: Tensor
    offset: Tensor
    rate: Tensor

    def __init__(self, standardiser: Standardiser, settings: EnsembleSettings) -> None:
        super().__init__()
        self.standardiser, self.settings = standardiser, settings
        h = settings.hidden
        self.members = Stack(settings.members, [2 * standardiser.dim, h, h, 1])
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("rate", torch.tensor(math.nan))  # set where the event was certain or impossible
        self.history: dict[str, object] = {}

    def log_prob(self, theta: Tensor) -> Tensor:
        """log P(A | theta) `(n,)` for theta `(n, D)`: the mean probability of the members."""
        learned = torch.logsumexp(self._each(theta), dim=0) - math.log(self.settings.members)
        return torch.where(torch.isnan(self.rate), learned, torch.log(self.rate))

    def log_prob_members(self, theta: Tensor) -> Tensor:
        """The same by each member of the ensemble, `(M, n)`."""
        return torch.where(torch.isnan(self.rate), self._each(theta), torch.log(self.rate))

    def _each(self, theta: Tensor) -> Tensor:
        logits = self.members(with_squares(self.standardiser(theta)))[:, :, 0]
        return nn.functional.logsigmoid(self.scale * logits + self.offset)

    def config(self) -> dict[str, object]:
        """What rebuilds it, beside its tensors."""
        return {"settings": vars(self.settings), "standardiser": self.standardiser.config()}

    @classmethod
    def from_config(cls, config: Plain) -> EventProbability:
        """An ensemble of that shape, to load tensors into."""
        return cls(Standardiser.from_config(config["standardiser"]), EnsembleSettings(**config["settings"]))


def fit_event_probability(
    theta: Tensor,
    happened: Tensor,
    standardiser: Standardiser,
    *,
    settings: EnsembleSettings | None = None,
    seed: int = 0,
) -> EventProbability:
    """Learns P(A | theta) from rules `(n, D)` and whether A happened `(n,)` in one network of each."""
    y = happened.float()
    with seeded(seed, Stream.TRAINING):
        model = EventProbability(standardiser, settings or CLASSIFIER)
        if y.mean() in (0.0, 1.0):
            # nothing to learn; the rule of succession keeps log P finite
            model.rate.fill_((float(y.sum()) + 1) / (len(y) + 2))
            return model.requires_grad_(False).eval()
        z = with_squares(standardiser(theta)).detach()

        def loss(rows: Tensor) -> Tensor:
            logits = model.members(z[rows])[:, :, 0]
            return nn.functional.binary_cross_entropy_with_logits(logits, y[rows], reduction="none").mean(dim=1)

        fold, curve = train_folds(model.members, loss, len(y), model.settings)
        with torch.no_grad():
            held_out = model.members(z)[:, :, 0].gather(0, fold[None])[0]
        _calibrate(model, held_out, y)
    model.history = {
        "held_out_loss": curve,
        "held_out_probability": torch.sigmoid(model.scale * held_out + model.offset),
    }
    return model.requires_grad_(False).eval()


@gradients()
def _calibrate(model: EventProbability, logits: Tensor, y: Tensor) -> None:
    """Platt scaling on held-out logits."""
    scale, offset = torch.ones((), requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser: torch.optim.Optimizer = torch.optim.LBFGS([scale, offset], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(scale * logits + offset, y)
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimiser.step(closure)
    model.scale.copy_(scale.detach().clamp(min=0.05))
    model.offset.copy_(offset.detach())
