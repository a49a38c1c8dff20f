"""What a rule leads to on average over networks, learned from single networks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sbirules.model.constraints import Constraints
from sbirules.neural_nets.ensembles import EnsembleSettings, Stack, train_folds
from sbirules.neural_nets.standardiser import Standardiser, with_squares
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.robust import centre_and_spread, far_out
from sbirules.support.streams import Stream, seeded

__all__ = ["LearnedOutcome", "learn_outcome", "outcome_of"]


class LearnedOutcome(nn.Module):
    """E[outcome | theta] by an ensemble of small networks: `f(theta)` is `(members, n)` for theta `(n, D)`.

    Arguments:
        standardiser: Of theta.
        settings: Of the ensemble.
        name: Of the outcome.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, standardiser: Standardiser, settings: EnsembleSettings, name: str) -> None:
        super().__init__()
        self.standardiser, self.name = standardiser, name
        sizes = [2 * standardiser.dim, settings.hidden, settings.hidden, 1]
        self.members = Stack(settings.members, sizes)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.explained = float("nan")

    def forward(self, theta: Tensor) -> Tensor:
        z = with_squares(self.standardiser(theta.float()))
        out: Tensor = self.centre + self.scale * self.members(z)[:, :, 0].to(self.centre.dtype)
        return out


def outcome_of(
    x: Tensor, names: Sequence[str], outcome: str | Mapping[str, object] | Constraints
) -> tuple[Tensor, str]:
    """The outcome of each simulated network `(n,)`, and its name.

    Arguments:
        x: Summaries, `(n, S)`.
        names: Their names.
        outcome: A summary's name, where failed networks stay NaN; or constraints: 1 where they hold, 0 elsewhere and
            in networks that failed.
    """
    if isinstance(outcome, str):
        arguments.known("outcome", outcome, tuple(names))
        return x[:, list(names).index(outcome)], outcome.replace("_", " ")
    asked = Constraints.of(outcome)
    return asked.satisfied(x, names).float(), " and ".join(asked.intervals).replace("_", " ")


def learn_outcome(
    stores: SimulationStore | Sequence[SimulationStore],
    outcome: str | Mapping[str, object] | Constraints,
    *,
    settings: EnsembleSettings | None = None,
    seed: int = 0,
) -> LearnedOutcome:
    """Learns how an outcome depends on the rule, averaged over networks, from a store with one network per rule.

    Least squares on single networks gives their mean given the rule; how networks differ is noise to it.
    `explained` is the share of the variance of held-out networks that it predicts.

    Arguments:
        stores: Simulations.
        outcome: A summary's name or constraints, see `outcome_of`.
        settings: Of the ensemble.
        seed: Makes it repeatable.

    Raises:
        ValueError: If too few simulations have the outcome, or all have the same.
    """
    settings = settings or EnsembleSettings()
    stores = [stores] if isinstance(stores, SimulationStore) else list(stores)
    theta = torch.cat([s.theta for s in stores])
    y, name = outcome_of(torch.cat([s.x for s in stores]), stores[0].summary_names, outcome)
    there = torch.isfinite(y)
    theta, y = theta[there], y[there]
    far = far_out(y[:, None])[:, 0]
    if bool(far.any()):
        warnings.warn(
            f"{int(far.sum())} of {len(y)} simulations have {name} far from all others (down to {float(y.min()):.6g}, up to "
            f"{float(y.max()):.6g}) and are left out; where such numbers stand for missing values, give NaN."
        )
        theta, y = theta[~far], y[~far]
    centre, scale = (v[0] for v in centre_and_spread(y[:, None]))
    if len(y) < 100 or not float(scale) > 0:
        what = f"only {len(y)} simulations have it" if len(y) < 100 else "all simulations have the same"
        raise ValueError(f"the outcome {name!r} cannot be learned: {what}; simulate more, or choose another outcome.")
    with seeded(seed, Stream.TRAINING):
        model = LearnedOutcome(Standardiser.of(theta), settings, name)
        model.centre, model.scale = centre, scale
        z = with_squares(model.standardiser(theta)).detach()
        goal = ((y - centre) / scale).float()

        def loss(rows: Tensor) -> Tensor:
            gap: Tensor = model.members(z[rows])[:, :, 0] - goal[rows]
            return gap.square().mean(dim=1)

        fold, _ = train_folds(model.members, loss, len(y), settings)
        with torch.no_grad():
            held_out = model.members(z)[:, :, 0].gather(0, fold[None])[0]
    model.explained = 1 - float((goal - held_out).square().mean() / goal.var())
    return model.requires_grad_(False).eval()
