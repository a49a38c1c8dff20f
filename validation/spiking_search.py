"""fSBI's search for rules that keep a network plausible, from a folder of rounds that goes on where it stopped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from result_rows import Row, row
from torch import Tensor

import sbirules as sr
from sbirules.model.constraints import Constraints
from sbirules.model.rules import SpikePairRule
from sbirules.simulators import SpikingNetwork

__all__ = ["search_rows", "simulate_search"]

SEED = 20261128
FOLDER = Path("runs/validation/spiking")
SEARCHES = {"EE and IE": ("EE", "IE"), "all four": ("EE", "EI", "IE", "II")}
PRIOR = (-2.0, 2.0)  # of gains; time constants from 10 to 100 ms
RULES, NETWORKS = 200, 4  # of the posterior, and networks of each


def plausible(synapses: tuple[str, ...]) -> list[dict[str, tuple[float, float]]]:
    """What is asked, in stages: rates, then irregular and asynchronous firing, then weights that stay."""
    weights = {f"weight_drift_{s}": (-0.05, 0.05) for s in synapses}
    # of four kinds nearly all rules leave one at a bound: less is asked at first
    shares = (0.1,) if len(synapses) < 4 else (0.6, 0.3, 0.1)
    return [
        {"rate_E": (1.0, 50.0), "rate_I": (1.0, 50.0)},
        {"cv_E": (0.7, 1.5), "correlation_E": (-0.05, 0.1)},
        {**weights, "rate_drift_E": (-0.5, 0.5)},
        *({f"weight_at_bounds_{s}": (0.0, share) for s in synapses} for share in shares),
    ]


def problem(synapses: tuple[str, ...], **settings: Any) -> tuple[SpikingNetwork, Any]:
    family = SpikePairRule(list(synapses))
    return SpikingNetwork(family, **settings), sr.priors.uniform(family, *PRIOR)


def simulate_search(name: str, budget: int, quick: bool, jobs: int) -> Any:
    """All rounds up to a budget; what the folder holds is not simulated again."""
    settings: dict[str, Any] = (
        {"duration": 4.0, "judged": 2.0, "num_excitatory": 400, "num_inhibitory": 100} if quick else {}
    )
    simulator, prior = problem(SEARCHES[name], **settings)
    folder = FOLDER / (name.replace(" ", "-") + f"-{budget}" + ("-quick" if quick else ""))
    return sr.filter_rules(
        simulator,
        prior,
        plausible(SEARCHES[name]),
        budget=budget,
        num_simulations=250 if quick else 1000,
        folder=folder,
        seed=SEED,
        num_workers=jobs,
    )


def share(simulator: SpikingNetwork, theta: Tensor, asked: Constraints, seed: int, jobs: int) -> tuple[float, float]:
    """Share of networks that are plausible, with its standard error over rules; so many fresh networks of each."""
    rows = theta.repeat_interleave(NETWORKS, dim=0)
    store = sr.simulate(simulator, rows, seed=seed, num_workers=jobs)
    good = asked.satisfied(store.x, store.summary_names).float().reshape(-1, NETWORKS).mean(dim=1)
    return float(good.mean()), float(good.std() / math.sqrt(len(good)))


def spread(theta: Tensor, prior_sd: Tensor) -> tuple[float, float]:
    """S.d. over the prior's, mean over coefficients; and effective number of dimensions of the scatter."""
    z = (theta - theta.mean(dim=0)) / prior_sd
    values = torch.linalg.eigvalsh(torch.cov(z.T.double())).clamp(min=0)
    return float(z.std(dim=0).mean()), float(values.sum() ** 2 / (values**2).sum())


BUDGETS = {"EE and IE": (5000, 20_000), "all four": (5000,)}


def search_rows(name: str, quick: bool, jobs: int) -> list[Row]:
    """Of one of `SEARCHES`; what takes hours only where its folder was made beforehand, and else said to be missing."""
    if quick:
        return _rows_of(name, 500, quick, jobs)
    out = []
    for budget in BUDGETS[name]:
        if budget > 5000 and not (FOLDER / f"{name.replace(' ', '-')}-{budget}").exists():
            out.append(row(f"{name}, {budget:,} simulations", "at least 0.2, aim 0.5", "not run", None))
        else:
            out += _rows_of(name, budget, quick, jobs)
    return out


def _rows_of(name: str, budget: int, quick: bool, jobs: int) -> list[Row]:
    synapses = SEARCHES[name]
    found = simulate_search(name, budget, quick, jobs)
    simulator, prior = found.simulator, found.prior
    asked = Constraints.of(plausible(synapses)[0])
    for stage in plausible(synapses)[1:]:
        asked = asked.narrowed_by(Constraints.of(stage))
    held = sum(map(len, found.stores))
    first = found.stores[0]
    of_prior = float(asked.satisfied(first.x, first.summary_names).float().mean())
    title = f"{name}, {held:,} simulations of {budget:,}"
    rounds = [f"{r.accepted:.3f} of {r.simulations} ({', '.join(r.constraints)[:40]}...)" for r in found.rounds]
    at_end = [float(asked.satisfied(s.x, s.summary_names).float().mean()) for s in found.stores]
    posterior = found.posterior(all_of_networks=NETWORKS)
    theta = posterior.sample((40 if quick else RULES,), seed=SEED)
    reached, error = share(simulator, theta, asked, SEED + 1, jobs)
    zero = torch.tensor([[20.0 if n.startswith("tau") else 0.0 for n in simulator.names]]).repeat(10, 1)
    of_zero, _ = share(simulator, zero, asked, SEED + 2, jobs)
    prior_sd = torch.as_tensor(prior.variance).sqrt().float()
    width, dimensions = spread(theta, prior_sd)
    good = found.theta
    wide, many = spread(good, prior_sd) if len(good) > 2 else (math.nan, math.nan)
    s = simulator.settings
    sizes = ("num_excitatory", "num_inhibitory", "num_inputs")
    larger = simulator.with_settings(**{size: 2 * getattr(s, size) for size in sizes})
    at_larger, larger_error = share(larger, theta[:50], asked, SEED + 3, jobs)
    wanted = "at least 0.2, aim 0.5" if name == "EE and IE" and budget == 20_000 else "listed"
    met = reached >= 0.2 if wanted.startswith("at") else None
    return [
        row(f"{title}: plausible in the prior (first round)", "listed", f"{of_prior:.4f}", None),
        row(f"{title}: rounds, share that met what was asked of them", "listed", "; ".join(rounds), None),
        row(f"{title}: rounds, share that is plausible", "listed", ", ".join(f"{x:.3f}" for x in at_end), None),
        row(f"{title}: plausible under the posterior, fresh networks", wanted, f"{reached:.3f} +- {error:.3f}", met),
        row(f"{title}: plausible without plasticity", "beside it", f"{of_zero:.3f}", None),
        row(
            f"{title}: spread of the posterior over the prior's; effective dimensions",
            "beside it",
            f"{width:.2f}, {dimensions:.1f} of {len(simulator.names)}; of the {len(good)} plausible rules simulated {wide:.2f}, "
            f"{many:.1f}",
            None,
        ),
        row(
            f"{title}: the same rules in networks twice as large",
            "beside it",
            f"{at_larger:.3f} +- {larger_error:.3f} of 50 rules",
            None,
        ),
    ]


if __name__ == "__main__":
    import sys

    simulate_search(sys.argv[1], int(sys.argv[2]), False, int(sys.argv[3]) if len(sys.argv) > 3 else 2)
