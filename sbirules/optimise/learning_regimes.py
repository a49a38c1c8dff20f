"""Lazy or rich: what learning did to a network's weights and representation, for many rules.

A network that learns lazily keeps its representation and turns the read-out of it; a rich one changes what its units
represent (Chizat et al. 2019; Liu et al. 2024). Every measure compares a network before and after its session, with
kicks off and the same initial states, so that nothing but learning differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sbirules import figures
from sbirules.inference.posterior import Posterior
from sbirules.model.abilities import RecurrentNetwork, needed
from sbirules.model.runs import Trajectory
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Stream, generator
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

    from sbirules.figures.style import Grid, GridLike

__all__ = ["MEASURES", "Regimes", "alignment", "effective_rank", "participation_ratio", "regimes"]

MEASURES = {
    "kernel_change": "1 - centred kernel alignment of the representation before and after; 0 is lazy",
    "weight_change": "Frobenius norm of the weight change over that of the initial weights",
    "effective_rank": "effective rank of the weight change: exp of the entropy of its normalised singular values",
    "participation_before": "participation ratio of activity before learning, in units",
    "participation_after": "the same after learning",
    "readout_share": "share of the squared weight change in the synapses onto the read-out unit; NaN without one",
    "readout_alone": "share of the fall in error that the change of those synapses brings on its own",
    "recurrent_alone": "share of the fall in error that all other synapses' change brings on its own",
    "error_before": "mean error before learning, kicks off",
    "error_after": "mean error after learning, kicks off",
}
REPEATS = 4  # initial states in which each trial type is probed
ENOUGH = 0.1  # fall in error below which its shares are not told apart


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Linear centred kernel alignment of two representations `(..., samples, units)` (Kornblith et al. 2019)."""
    a, b = (x - x.mean(dim=-2, keepdim=True) for x in (a.double(), b.double()))
    across, own_a, own_b = ((p.mT @ q).square().sum(dim=(-2, -1)) for p, q in ((a, b), (a, a), (b, b)))
    return across / (own_a * own_b).sqrt()


def effective_rank(matrix: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values (Roy & Vetterli 2007) of `(..., m, n)`; NaN for zeros."""
    values = torch.linalg.svdvals(matrix.double())
    share = values / values.sum(dim=-1, keepdim=True)
    entropy: Tensor = torch.special.entr(share).sum(dim=-1)
    return entropy.exp()


def participation_ratio(activity: Tensor) -> Tensor:
    """(sum of eigenvalues)^2 / sum of squares, of the covariance of `(..., samples, units)` (Gao et al. 2017)."""
    centred = activity.double() - activity.double().mean(dim=-2, keepdim=True)
    covariance = centred.mT @ centred
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return trace.square() / covariance.square().sum(dim=(-2, -1))


@typed_class
@dataclass(frozen=True, repr=False)
class Regimes:
    """Measures of learning, one network a row.

    Arguments:
        names: Names of the coefficients.
        theta: Rules, `(rules, D)`, natural units.
        values: By name of the measure (see `MEASURES`), `(rules, networks)`; NaN for a network that failed.
    """

    names: tuple[str, ...]
    theta: Tensor
    values: dict[str, Tensor]

    def __repr__(self) -> str:
        rules, networks = next(iter(self.values.values())).shape
        return f"Regimes({rules} rules, {networks} networks each)"

    def table(self) -> pd.DataFrame:
        """One row per rule: its coefficients, and the mean of each measure over its networks."""
        import pandas as pd

        columns = {n: self.theta[:, i].numpy() for i, n in enumerate(self.names)}
        return pd.DataFrame(columns | {n: v.nanmean(dim=1).numpy() for n, v in self.values.items()})

    def correlations(self) -> pd.DataFrame:
        """Spearman's correlation over rules of each coefficient (rows) with each measure (columns), by scipy.

        Under independence its standard error is 1 / sqrt(rules - 1). NaN where fewer than three rules have a measure.
        """
        import pandas as pd
        from scipy.stats import spearmanr

        table = self.table()
        told = {m: table[table[m].notna()] for m in self.values}
        rows = {
            n: [float(spearmanr(t[n], t[m]).statistic) if len(t) > 2 else math.nan for m, t in told.items()]
            for n in self.names
        }
        return pd.DataFrame(rows, index=list(self.values)).T

    def __str__(self) -> str:
        table = self.table()[list(self.values)]
        return str(table.describe().loc[["mean", "std", "25%", "50%", "75%"]].T.round(3).to_string())

    def figure(self, axes: GridLike | None = None) -> Grid:
        """How rules spread between lazy and rich, and which coefficients decide; see `figures.regimes`."""
        return figures.regimes(self, axes)


@typed
def regimes(
    rules: Posterior | ArrayLike, simulator: RecurrentNetwork, *, num_rules: int = 64, networks: int = 4, seed: int = 0
) -> Regimes:
    """What learning does to networks, for rules across a posterior.

    Arguments:
        rules: A posterior, or rules in natural units, `(rules, D)`.
        simulator: A `RateRNN`.
        num_rules: Rules taken from a posterior, evenly spaced over its draws.
        networks: Fresh networks for each.
        seed: Of networks.

    Raises:
        ValueError: If the simulator cannot start from given weights, or rules have other coefficients.
    """
    needed(simulator, RecurrentNetwork, "regimes")
    arguments.whole("networks", networks, 1, arguments.MANY)
    if isinstance(rules, Posterior):
        if rules.names != simulator.names:
            mine, theirs = arguments.listed(rules.names), arguments.listed(simulator.names)
            raise ValueError(f"the posterior is over {mine}, the simulator's rules have {theirs}.")
        theta = rules.spread_out(arguments.whole("num_rules", num_rules, 2, arguments.MANY))
    else:
        theta = arguments.theta_matrix(rules, simulator.names, argument="rules").float()
    # weights, and their copies before and after, of so many networks are in memory at a time
    step = max(1, 256 // networks)
    parts = [_measure(part, simulator, networks, (seed, k)) for k, part in enumerate(torch.split(theta, step))]
    return Regimes(simulator.names, theta, {n: torch.cat([p[n] for p in parts]) for n in MEASURES})


def _measure(theta: Tensor, simulator: RecurrentNetwork, networks: int, seed: tuple[int, int]) -> dict[str, Tensor]:
    run = simulator.run(theta.repeat_interleave(networks, dim=0), seed=seed, keep_weights=True)
    before, after = run.initial_weights, run.final_weights
    fine = run.ok & torch.isfinite(after).all(dim=(1, 2))
    after = torch.where(fine[:, None, None], after, before)
    change = (after - before).double()
    probe = _Probe(simulator, run, seed)
    start, end = probe(before), probe(after)
    unit = simulator.settings.readout
    out = {
        "kernel_change": 1 - alignment(start.activity, end.activity),
        "weight_change": change.norm(dim=(1, 2)) / before.double().norm(dim=(1, 2)),
        "effective_rank": effective_rank(change),
        "participation_before": participation_ratio(start.activity),
        "participation_after": participation_ratio(end.activity),
        "error_before": start.error,
        "error_after": end.error,
    }
    nothing = torch.full_like(start.error, torch.nan)
    out |= dict.fromkeys(("readout_share", "readout_alone", "recurrent_alone"), nothing)
    if isinstance(unit, int):
        row = torch.zeros_like(before)
        row[:, unit] = 1.0
        fall = start.error - end.error
        for name, part in (("readout_alone", row), ("recurrent_alone", 1 - row)):
            own = start.error - probe(before + (after - before) * part).error
            out[name] = torch.where(fall.abs() >= ENOUGH, own / fall, torch.nan)
        out["readout_share"] = change[:, unit].square().sum(dim=1) / change.square().sum(dim=(1, 2))
    shape = (len(theta), networks)
    return {n: torch.where(fine, out[n], torch.nan).reshape(shape).float() for n in MEASURES}


@dataclass(frozen=True)
class _Probed:
    activity: Tensor  # rates of all types, initial states and steps, (batch, samples, N)
    error: Tensor


class _Probe:
    """The same trials for any weights: each type from the same initial states, no kicks, nothing learned."""

    def __init__(self, simulator: RecurrentNetwork, run: Trajectory, seed: tuple[int, int]) -> None:
        n, task = simulator.settings.num_units, simulator.task
        self.types = torch.arange(task.num_types).repeat(REPEATS)
        self.still = simulator.with_settings(kick_rate=0.0, warm_up=len(self.types))
        stream = generator(seed, Stream.INITIAL_STATES)
        self.draws = {"input_weights": run.input_weights}
        self.draws["initial_states"] = 0.2 * torch.rand(len(self.types), n, generator=stream) - 0.1
        if "readout" in run.extras:
            self.draws["readout"] = run.readout
        self.seed = seed
        self.theta = torch.zeros(len(run), len(simulator.names))
        for i, p in enumerate(simulator.family.parameters):
            self.theta[:, i] = min(max(0.0, p.low), p.high) if p.linear else max(p.low, 1.0)

    def __call__(self, weights: Tensor) -> _Probed:
        run = self.still.run(
            self.theta,
            seed=self.seed,
            units="raw",
            trial_types=self.types,
            weights=weights,
            record=range(len(self.types)),
            **self.draws,
        )
        recording = run.recording
        rate = recording.rate if recording is not None else torch.empty(0)
        return _Probed(rate.flatten(1, 2), run.error.double().mean(dim=1))
