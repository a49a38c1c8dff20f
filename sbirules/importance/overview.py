"""All about which coefficients matter, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.importance.effects import Directions, Effects
from sbirules.importance.experiments import elasticities, knock_outs
from sbirules.importance.geometry import active_subspace, compensation, stiff_and_sloppy
from sbirules.importance.outcome import learn_outcome, outcome_of
from sbirules.importance.variance import Sobol, shapley, sobol
from sbirules.inference.posterior import Posterior
from sbirules.model.constraints import Constraints
from sbirules.model.simulator import Simulator
from sbirules.stores.filling import on_gpu
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.notebook import Card, Shown
from sbirules.support.side_by_side import side_by_side
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PARTS", "Sensitivity", "sensitivity"]

PARTS = ("sobol", "shapley", "active_subspace", "stiff", "compensation", "knock_outs", "elasticities")
LEAST = 0.02  # share of single networks' variance that an outcome must be predicted to, for its variance to be split up
NEEDS_STORE = ("sobol", "shapley", "active_subspace")


@typed_class
@dataclass(frozen=True, repr=False)
class Sensitivity(Shown):
    """What matters; parts that were not asked for, or could not be had, are None.

    Arguments:
        outcome: Name of the outcome.
        explained: Share of held-out variance of single networks that the learned outcome predicts.
        sobol: Over the box between the posterior's 2.5 % and 97.5 % quantiles, coefficients independent.
        shapley: Over the posterior itself, whose coefficients depend on each other.
        active: Directions along which the outcome changes.
        stiff: Directions that the data constrain, and those they leave free.
        compensation: Pairs that stand in for each other.
        knock_outs: Loss of the outcome without a term, re-simulated.
        elasticities: Of the mean error, exact.
        left_out: Parts that were asked for and could not be had, and why.
    """

    outcome: str
    explained: float
    sobol: Sobol | None = None
    shapley: Effects | None = None
    active: Directions | None = None
    stiff: Directions | None = None
    compensation: pd.DataFrame | None = None
    knock_outs: Effects | None = None
    elasticities: Effects | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per coefficient; each number with its standard error beside it (`..._se`)."""
        import pandas as pd

        columns: dict[str, pd.Series] = {}
        for name, found in self.effects().items():
            columns[name] = pd.Series(found.value.numpy(), index=list(found.names))
            columns[f"{name}_se"] = pd.Series(found.se.numpy(), index=list(found.names))
        return pd.DataFrame(columns)

    def effects(self) -> dict[str, Effects]:
        """All parts with one number per coefficient."""
        parts = {
            "first_order": None if self.sobol is None else self.sobol.first,
            "total": None if self.sobol is None else self.sobol.total,
            "shapley": self.shapley,
            "knock_out": self.knock_outs,
            "elasticity": self.elasticities,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def figures(self) -> dict[str, tuple[Callable[[], object], str]]:
        """By name: what draws it and returns axes, and a caption."""
        out: dict[str, tuple[Callable[[], object], str]] = {}
        if self.knock_outs is not None:
            out["knock_outs"] = (
                self.knock_outs.figure,
                f"Loss of “{self.outcome}” when one term is taken out of posterior rules, in the same fresh networks "
                f"(bars: standard error over rules).",
            )
        if self.sobol is not None:
            out["sobol"] = (
                self.sobol.figure,
                f"Sobol indices: shares of the variance of “{self.outcome}” over the box of the posterior's 95 % "
                f"intervals, by each coefficient alone and with its interactions (bars: standard error). {self.learned}",
            )
        if self.shapley is not None:
            out["shapley"] = (
                self.shapley.figure,
                f"Shapley effects: shares of the variance of “{self.outcome}” within the posterior, whose coefficients "
                f"depend on each other; they sum to one (bars: standard error). {self.learned}",
            )
        if self.stiff is not None:
            out["stiff"] = (
                self.stiff.figure,
                "Directions from stiff to sloppy: how far the posterior narrows each combination of coefficients against the "
                "prior (bars: standard error), and the stiffest combinations.",
            )
        if self.active is not None:
            out["active_subspace"] = (
                self.active.figure,
                f"Active subspace: directions along which “{self.outcome}” changes fastest over the posterior.",
            )
        if self.elasticities is not None:
            out["elasticities"] = (
                self.elasticities.figure,
                "Elasticities of the mean error with respect to each coefficient at posterior rules, exact, median over "
                "networks (bars: standard error)." + (f" {self.elasticities.note}" if self.elasticities.note else ""),
            )
        return out

    @property
    def learned(self) -> str:
        """Which share of the variance the learned outcome explains, a sentence; empty where nothing hangs on it."""
        if self.explained != self.explained or (self.sobol is None and self.shapley is None):
            return ""
        return (
            f"Sobol indices and Shapley effects are those of the outcome as learned from single networks, of whose variance it "
            f"explains {self.explained:.0%}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that have to be known to read the numbers."""
        flat = "" if self.elasticities is None else self.elasticities.note
        return tuple(text for text in (self.learned, flat) if text)

    def __repr__(self) -> str:
        return f"Sensitivity({self.outcome!r})"

    def _card(self) -> Card:
        return Card(
            f"Sensitivity of {self.outcome}",
            dict(self.left_out),
            " ".join(self.notes),
            self.table().rename_axis("coefficient") if self.effects() else None,
        )

    def __str__(self) -> str:
        numbers = [self.table().round(3).to_string(na_rep="-")] if self.effects() else []
        lines = [f"Sensitivity of {self.outcome}", *numbers, *self.notes]
        lines += [str(part) for part in (self.stiff, self.active) if part is not None]
        if self.compensation is not None:
            lines.append("Pairs that compensate for each other\n" + self.compensation.head(6).round(2).to_string())
        lines += [f"left out: {name}: {why}" for name, why in self.left_out.items()]
        return "\n\n".join(lines)


@typed
def sensitivity(
    posterior: Posterior,
    simulator: Simulator,
    *,
    store: SimulationStore | Sequence[SimulationStore] | None = None,
    outcome: str | Mapping[str, object] | Constraints | None = None,
    parts: Sequence[str] = PARTS,
    num_rules: int = 48,
    networks: int = 8,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Sensitivity:
    """Which coefficients and combinations matter for what rules lead to.

    Arguments:
        posterior: With draws, or some are made.
        simulator: The simulator of the fit.
        store: The simulations of the fit, to learn the outcome from; without it Sobol indices, Shapley effects and the
            active subspace are left out.
        outcome: A summary's name, or constraints. By default the constraints of the fit, else `"final_error"`, or
            whatever the simulator's first summary is.
        parts: Which of `PARTS`.
        num_rules: Posterior rules that are simulated.
        networks: Fresh networks for each.
        seed: Of everything.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Examples:
        >>> found = sr.sensitivity(posterior, simulator, store=store)
        >>> print(found)
        >>> found.knock_outs.figure()
    """
    for part in parts:
        arguments.known("parts", part, PARTS)
    if posterior.names != simulator.names:
        mine, theirs = arguments.listed(posterior.names), arguments.listed(simulator.names)
        raise ValueError(f"the posterior is over {mine}, the simulator's rules have {theirs}.")
    if posterior.question is not None:
        simulator = posterior.question.suited(simulator)
    if outcome is None and posterior.question is not None:
        outcome = posterior.question.outcome
    if outcome is None:
        if not simulator.summary_names:
            raise ValueError("outcome is needed where the simulator has no summaries.")
        outcome = "final_error" if "final_error" in simulator.summary_names else simulator.summary_names[0]
    _check_outcome(outcome, simulator.summary_names)
    name = outcome if isinstance(outcome, str) else " and ".join(Constraints.of(outcome).intervals)
    draws = posterior.spread_out(2000)
    found: dict[str, Any] = {"outcome": name.replace("_", " "), "explained": float("nan")}
    left: dict[str, str] = {}

    work: dict[str, Callable[[], Any]] = {}
    wanted = [p for p in NEEDS_STORE if p in parts]
    if wanted and store is None:
        simulated = posterior.question is None or posterior.question.simulated
        which = (
            "the simulations of the fit" if simulated else "simulations of rules of the prior, as the fit needed none"
        )
        left |= dict.fromkeys(wanted, f"pass store=, {which}.")
    elif wanted and store is not None:
        stores = [store] if isinstance(store, SimulationStore) else list(store)
        try:
            learned = learn_outcome(stores, outcome, seed=seed)
        except ValueError as error:
            left |= dict.fromkeys(wanted, str(error))
        else:
            found["explained"] = learned.explained
            low, high = (torch.quantile(draws.double(), q, dim=0) for q in (0.025, 0.975))
            if learned.explained < LEAST:
                why = f"rules predict only {learned.explained:.1%} of the variance of held-out networks; simulate more."
                left |= {part: why for part in ("sobol", "shapley") if part in parts}
                parts = [part for part in parts if part not in ("sobol", "shapley")]
            theta, y = _simulated(stores, outcome)
            work["active_subspace"] = partial(active_subspace, posterior, theta, y, label=found["outcome"], seed=seed)
            work["sobol"] = partial(_sobol_in_box, learned, low, high, posterior.names, seed)
            work["shapley"] = partial(shapley, learned, draws, posterior.names, seed=seed)
    # what takes longest first
    work["elasticities"] = partial(elasticities, posterior, simulator, seed=seed)
    work["compensation"] = partial(compensation, posterior, seed=seed)
    work["stiff"] = partial(stiff_and_sloppy, posterior, seed=seed)
    asked = [part for part in work if part in parts]
    # processes take seconds to start, which only knock-outs need anyway; on a GPU those need none
    alone = "knock_outs" not in parts or on_gpu(simulator)
    results = side_by_side([partial(_tried, work[part]) for part in asked], 1 if alone else num_workers)
    done = dict(zip(asked, results, strict=True))
    if "knock_outs" in parts:
        done["knock_outs"] = _tried(
            partial(
                knock_outs,
                posterior,
                simulator,
                outcome=outcome,
                num_rules=num_rules,
                networks=networks,
                seed=seed,
                num_workers=num_workers,
                progress=progress,
            )
        )
    for part in PARTS:
        if isinstance(done.get(part), _Failed):
            left[part] = done[part].why
        elif part in done:
            found["active" if part == "active_subspace" else part] = done[part]
    return Sensitivity(**found, left_out=left)


@dataclass(frozen=True)
class _Failed:
    why: str


def _tried(make: Callable[[], Any]) -> Any:
    """What it gives, or why it does not: one part leaves the others."""
    try:
        return make()
    except (ValueError, ImportError, RuntimeError, ArithmeticError) as error:
        return _Failed(str(error))


def _check_outcome(outcome: str | Mapping[str, object] | Constraints, names: Sequence[str]) -> None:
    """Raises ValueError where the simulator has no such summary: no part could be had."""
    if isinstance(outcome, str):
        arguments.known("outcome", outcome, names)
    else:
        for name in Constraints.of(outcome).intervals:
            arguments.known("outcome", name, names)


def _sobol_in_box(
    learned: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, names: Sequence[str], seed: int
) -> Sobol:
    """Over the coefficients that vary; the others, such as terms that are nearly always absent, stay where they are."""
    free = [k for k in range(len(names)) if float(high[k]) > float(low[k])]
    if not free:
        raise ValueError("no coefficient varies over the posterior's 95 % intervals; leave 'sobol' out of parts.")

    def outcome(values: Tensor) -> Tensor:
        theta = low.float().repeat(len(values), 1)
        theta[:, free] = values.float()
        return learned(theta)

    return sobol(outcome, low[free], high[free], [names[k] for k in free], seed=seed)


def _simulated(
    stores: Sequence[SimulationStore], outcome: str | Mapping[str, object] | Constraints
) -> tuple[Tensor, Tensor]:
    x = torch.cat([s.x for s in stores])
    return torch.cat([s.theta for s in stores]), outcome_of(x, stores[0].summary_names, outcome)[0]
