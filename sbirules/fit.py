"""From simulations to a posterior: one function, two kinds of question."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules import _check
from sbirules.classifier import fit_event_probability
from sbirules.constraints import Constraints
from sbirules.ensemble import EnsembleSettings
from sbirules.features import Standardiser
from sbirules.fit_observation import observation_potential
from sbirules.fit_sets import sets_posterior
from sbirules.fit_trials import trials_potential
from sbirules.posterior import Posterior
from sbirules.potentials import SuccessPotential, training_curves
from sbirules.smc import SamplerSettings
from sbirules.store import SimulationStore
from sbirules.streams import seeded
from sbirules.summaries import SummaryLike
from sbirules.trajectory import Trajectory
from sbirules.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fit", "nearest"]

BEYOND = 0.05  # share of the prior beyond all simulated rules, of any coefficient, that a fit refuses
FEW = 25  # networks that satisfy the constraints below which a fit comes with a warning


def fit(
    store: SimulationStore | Sequence[SimulationStore],
    prior: Distribution,
    *,
    constraints: Mapping[str, Any] | Constraints | None = None,
    trials: str | Path | pd.DataFrame | Trials | None = None,
    x_o: Any = None,
    all_of_networks: int | None = None,
    reliability: float | None = None,
    summaries: Sequence[SummaryLike] | None = None,
    classifier: EnsembleSettings | None = None,
    estimator: str | None = None,
    settings: Any = None,
    sampler: SamplerSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Posterior:
    """The posterior over rules given constraints or observed trials.

    Arguments:
        store: Simulations of rules drawn from `prior`, one network each. Further stores may hold rules
            from anywhere inside the prior, such as an earlier posterior: what is learned is a probability
            or a likelihood given the rule, which does not depend on where rules came from.
        prior: The prior, in natural units.
        constraints: Intervals by summary name, e.g. `{"learned": (1, 1), "mean_rate": (0.05, 0.6)}`.
        trials: Or a table of learners that share one rule, each in a network of its own.
        x_o: Or the summaries of one network: values by summary name, all or some of the store's, or a row of all.
        all_of_networks: With constraints: they hold in all of so many networks of the same rule
            (default 1), p(theta) P(A | theta)^n.
        reliability: Or: rules under which they hold with at least this probability.
        summaries: With trials: what of a learner enters its likelihood; by default its learning curve
            per trial type and the volatility of its error.
        classifier: Settings of the classifier of success, or of failures.
        estimator: With trials: `"ratio"` (default) for contrastive ratio estimation, or `"likelihood"` for sbi's
            neural likelihood estimation with zuko's spline flows. The ratio needs fewer simulations for
            many learners, since it need not model how networks differ under one rule. Or `"npe"`, the amortised
            posterior given sets of learners, for a store with several networks of each rule:
            `simulate(simulator, prior.sample((2000,)).repeat_interleave(24, dim=0))`. With x_o: `"likelihood"`
            (default), or `"npe"` for neural posterior estimation, whose density is normalised and which draws
            without a sampler, but needs more simulations.
        settings: Of the estimator: `EnsembleSettings`, `LikelihoodSettings` or `NPESettings`.
        sampler: Settings of the sampler.
        seed: Makes the fit repeatable.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If not exactly one of `constraints`, `trials` and `x_o` is given, or they do not fit the store.
    """
    if sum(v is not None for v in (constraints, trials, x_o)) != 1:
        raise ValueError("fit needs exactly one of constraints, trials and x_o.")
    if constraints is None and (all_of_networks is not None or reliability is not None):
        raise ValueError("all_of_networks and reliability belong to constraints; leave them out.")
    if trials is None and summaries is not None:
        raise ValueError("summaries belong to trials; leave them out.")
    if constraints is not None and (settings is not None or estimator is not None):
        raise ValueError("estimator and settings belong to trials and x_o, not to constraints; leave them out.")
    potential: Any
    stores = [store] if isinstance(store, SimulationStore) else list(store)
    _check_stores(stores, prior)
    first = stores[0]
    theta = torch.cat([s.theta for s in stores])
    standardiser = Standardiser.of(first.theta, getattr(prior, "log_scale", None))
    if constraints is not None:
        x, asked = torch.cat([s.x for s in stores]), Constraints.of(constraints)
        potential, facts = _success(
            theta, x, first.summary_names, standardiser, asked, all_of_networks, reliability, classifier, seed
        )
    elif trials is not None:
        if "criterion" not in first.manifest:
            raise ValueError("this store keeps no trials, as one made from arrays; give x_o or constraints instead.")
        table = Trials.read(trials, tuple(first.manifest["type_names"]), first.manifest["criterion"])
        runs = Trajectory.cat([s.trajectory for s in stores])
        keep: dict[str, Any] = {
            "criterion": first.manifest["criterion"], "summaries": summaries, "settings": settings, "seed": seed,
            "progress": progress,
        }  # fmt: skip
        if estimator == "npe":
            _one_store_of_the_prior(stores)
            potential, facts = sets_posterior(theta, runs, prior, table, **keep)
        else:
            potential, facts = trials_potential(
                theta, runs, standardiser, table, estimator=estimator or "ratio", classifier=classifier, **keep
            )
    else:
        if estimator == "npe":
            _one_store_of_the_prior(stores)
        x = torch.cat([s.x for s in stores])
        potential, facts = observation_potential(
            theta, x, first.summary_names, x_o, prior, standardiser, estimator=estimator or "likelihood",
            settings=settings, classifier=classifier, seed=seed, progress=progress,
        )  # fmt: skip
    flows = facts.pop("losses", {})
    facts["training"] = training_curves(potential) | {name: curve["validation"] for name, curve in flows.items()}
    posterior = Posterior(prior, first.names, potential, facts, sampler)
    if "raw_per_unit" in first.manifest:  # simulations made elsewhere have no units of ours
        posterior.raw_per_unit = torch.tensor(first.manifest["raw_per_unit"], dtype=torch.float64)
    return posterior


def _one_store_of_the_prior(stores: Sequence[SimulationStore]) -> None:
    if len(stores) > 1:
        raise ValueError('estimator="npe" needs one store of rules drawn from the prior; the others take more.')


def _check_stores(stores: Sequence[SimulationStore], prior: Distribution) -> None:
    """Raises ValueError unless the stores hold simulations of one simulator, of rules inside the prior."""
    if not stores or not all(isinstance(s, SimulationStore) for s in stores):
        raise ValueError('fit needs a SimulationStore, from simulate(...) or SimulationStore("folder"), or several.')
    names = tuple(getattr(prior, "names", stores[0].names))
    if names != stores[0].names:
        raise ValueError(
            f"the prior is over {_check.listed(names)}, but the store holds {_check.listed(stores[0].names)}."
        )
    for other in stores[1:]:
        if other.simulator_hash != stores[0].simulator_hash:
            raise ValueError(f"{other.path} and {stores[0].path} hold simulations of different simulators.")
    _check_reach(torch.cat([s.theta for s in stores]), prior, names)
    for s in stores:
        outside = torch.isinf(prior.log_prob(s.theta))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {len(s)} simulated rules in {s.path} lie outside the prior; "
                f"pass the prior that they were drawn from."
            )


def _check_reach(theta: Tensor, prior: Distribution, names: Sequence[str]) -> None:
    """Raises ValueError where the prior reaches far beyond the rules that were simulated."""
    if len(theta) < 100:
        return
    with seeded(0):
        draws = prior.sample(Size((2000,))).float()
    beyond = ((draws < theta.min(dim=0).values) | (draws > theta.max(dim=0).values)).float().mean(dim=0)
    worst = int(beyond.argmax())
    if float(beyond[worst]) > BEYOND:
        low, high = float(theta[:, worst].min()), float(theta[:, worst].max())
        raise ValueError(
            f"the prior reaches beyond the simulations: {100 * float(beyond[worst]):.0f} % of its {names[worst]} lies "
            f"outside [{low:.3g}, {high:.3g}], where they were; pass the prior they were drawn from, or simulate more."
        )


def _success(
    theta: Tensor,
    x: Tensor,
    names: Sequence[str],
    standardiser: Standardiser,
    constraints: Constraints,
    all_of_networks: int | None,
    reliability: float | None,
    settings: EnsembleSettings | None,
    seed: int,
) -> tuple[SuccessPotential, dict[str, Any]]:
    if all_of_networks is not None and reliability is not None:
        raise ValueError("give all_of_networks or reliability, not both.")
    if all_of_networks is not None:
        _check.whole("all_of_networks", all_of_networks, 1)
    if reliability is not None:
        _check.share("reliability", reliability)
    happened = constraints.satisfied(x, names)
    if not happened.any():
        raise ValueError(
            f"none of {len(x)} simulated networks satisfies all constraints ({nearest(x, names, constraints)}); "
            f"loosen the constraints, change the prior or simulate more."
        )
    event = fit_event_probability(theta, happened, standardiser, settings=settings, seed=seed)
    if reliability is None and all_of_networks is None:
        all_of_networks = 1
    cautions = []
    if int(happened.sum()) < FEW:
        cautions.append(
            f"Only {int(happened.sum())} of {len(x)} simulated networks satisfy the constraints, "
            f"too few to learn from: simulate more, or loosen the constraints."
        )
        warnings.warn(cautions[0])
    facts = {
        "kind": "constraints",
        "constraints": constraints.config(),
        "all_of_networks": all_of_networks,
        "reliability": reliability,
        "simulations": len(x),
        "satisfied": int(happened.sum()),
        **({"cautions": cautions} if cautions else {}),
    }
    return SuccessPotential(event, all_of_networks, reliability).eval(), facts


def nearest(x: Tensor, names: Sequence[str], constraints: Constraints) -> str:
    """How often each constraint holds alone: tells which one is the obstacle."""
    alone = {
        name: int(Constraints({name: pair}).satisfied(x, names).sum()) for name, pair in constraints.intervals.items()
    }
    return "alone: " + ", ".join(f"{name} in {n}" for name, n in alone.items())
