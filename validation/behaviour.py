"""Are posteriors over rules of choice right? Known figures of flies, a grid, and simulated animals with known rules.

    python validation/behaviour.py [--quick] [--part NAME ...] [--data ../shared/data] [--json validation/results/behaviour.json]

- *flies*: accepted choices of Rajagopalan et al. 2023 (in the folder of data; left out without it), against figures that a
  grid gave: one shared rule and the log evidences of five models.
- *grid*: two coefficients of simulated animals; a classifier between draws and an exact grid (C2ST).
- *coverage*: rules of the prior, animals of each that choose in closed loop, and the posterior that these lead to: coverage of
  95 % and 50 % intervals, ranks of the truth (SBC) and TARP, for animals of a `TaylorRule` and of Q-learning.
- *mice*, *population*, *ratio*: animals that differ, see `behaviour_animals.py`.
- *terms*: under a prior in which terms may be absent, how well inclusion probabilities tell which are present.

Seeds are fixed below. On two cores about an hour, with --quick about 5 minutes. With --part only that is run, and rows of other
parts in the JSON file stay.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from behaviour_animals import Row, mice, population, ratio, row
from joblib import Parallel, delayed
from scipy.optimize import minimize
from scipy.special import betaln
from scipy.stats import wilcoxon

import sbirules as sr
from sbirules.checks.recovery import Recovery
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import spike_and_slab, two_sided, uniform
from sbirules.samplers.smc import SamplerSettings
from sbirules.simulators import PolicyNetwork

SEED = 20261126
COIN = math.log(0.5)
PARTS = ("flies", "mice", "grid", "coverage", "ratio", "population", "terms")
FILES = {"flies": "flies_matching.csv", "mice": "mice_contrast.csv"}
FLIES = {"learner": "fly", "trial": "trial", "choice": "odor", "reward": "reward"}
FAST = SamplerSettings(num_runs=4, num_particles=256, num_moves=8, max_doublings=1)
TASK = {"reward": "baited", "probabilities": [[0.3, 0.1], [0.1, 0.3]], "block": 60, "num_trials": 240}
FAMILIES = {
    "Taylor": (["c rd", "c", "w"], {"low": -0.6, "high": 0.6, "w": (-0.6, 0.0)}),
    "Q-learning": (["c r", "c w"], {"low": 0.0, "high": 1.5, "c_w": (-0.9, 0.0)}),
}

# Flies ------------------------------------------------------------------------------------------------


def flies(data: Path) -> list[Row]:
    trials = sr.Trials.read(data / "flies_matching.csv", columns=FLIES, rows={"accept": 1})
    out = [
        row("flies: choices read", "4283 of 18", f"{int(trials.num_trials.sum())} of {len(trials)}", len(trials) == 18)
    ]
    family, bounds = sr.TaylorRule(["c rd", "c", "w"]), {"low": -0.6, "high": 0.6, "w": (-0.6, 0.0)}
    simulator, prior = PolicyNetwork(family, nuisance=()), uniform(family, **bounds)
    start = time.perf_counter()
    posterior = sr.fit(simulator, prior, trials=trials)
    chains = posterior.draw(4000, seed=0)
    seconds = time.perf_counter() - start
    out.append(row("flies: table to 4000 draws with evidence", "under 20 s", f"{seconds:.1f} s", seconds < 20))
    draws = chains.draws.flatten(0, 1).double()
    for k, (name, mean, sd) in enumerate((("xr", 0.161, 0.024), ("x", 0.173, 0.021), ("decay", -0.121, 0.016))):
        mine, width = float(draws[:, k].mean()), float(draws[:, k].std())
        near = abs(mine - mean) < 0.3 * sd and abs(width - sd) < 0.3 * sd
        out.append(
            row(f"flies, shared rule: {name}", f"{mean} ± {sd}, within .3 s.d.", f"{mine:.4f} ± {width:.4f}", near)
        )
    choice = [c[torch.isfinite(c)].numpy() for c in trials.trajectory.per_trial["choice"]]
    own = sr.fit(simulator, prior, trials=trials, animals="own")
    without = sr.TaylorRule(["c r", "c", "w"])
    raw = sr.fit(PolicyNetwork(without, nuisance=()), uniform(without, **bounds), trials=trials)
    evidence = {
        "coin": (sum(map(len, choice)) * COIN, -2968.7),
        "fixed probability": (sum(_binomial(c) for c in choice), -2955.4),
        "one per block of 80": (sum(_binomial(c[k : k + 80]) for c in choice for k in range(0, len(c), 80)), -2784.1),
        "own rules": (own.chains.log_evidence[0], -2753.1),
        "one shared rule": (chains.log_evidence[0], -2723.4),
        "shared, with r for r - E[r]": (raw.log_evidence()[0], -2726.6),
    }
    for name, (value, known) in evidence.items():
        near = abs(value - known) < 1.0
        out.append(row(f"flies: log evidence, {name}", f"{known} within 1", round(float(value), 2), near))
    return out + _left_out(trials)


def _binomial(c: np.ndarray) -> float:
    """Log of the integral of p^k (1 - p)^(n - k) over a uniform p."""
    return float(betaln(c.sum() + 1, len(c) - c.sum() + 1))


def _left_out(trials: sr.Trials) -> list[Row]:
    """The most likely shared rule of the other flies, on each fly."""
    explained = {}
    for name, terms in (("without decay", ["c rd", "c"]), ("with decay", ["c rd", "c", "w"])):
        likelihood = PolicyNetwork(sr.TaylorRule(terms), nuisance=()).suited(trials).likelihood(trials)
        ends = [(-0.6, 0.6)] * 2 + [(-0.6, 0.0)] * (len(terms) - 2)
        found = []
        for fly in range(len(trials)):
            others = torch.arange(len(trials)) != fly

            def loss(
                theta: np.ndarray, others: torch.Tensor = others, of: Any = likelihood
            ) -> tuple[float, np.ndarray]:
                value, slope = of.value_and_slope(torch.as_tensor(theta)[None])
                return -float(value[0, others].sum()), -slope[0, others].sum(dim=0).numpy()

            starts = [np.array([a, b, -0.1][: len(terms)]) for a in (0.05, 0.3) for b in (0.02, 0.2)]
            best = min(
                (minimize(loss, s, jac=True, method="L-BFGS-B", bounds=ends) for s in starts), key=lambda r: r.fun
            )
            value = float(likelihood.log_prob(torch.as_tensor(best.x)[None])[0, fly])
            found.append(1 - value / (int(trials.num_trials[fly]) * COIN))
        explained[name] = np.array(found)
    a, b = (100 * float(np.median(v)) for v in explained.values())
    p = wilcoxon(explained["with decay"], explained["without decay"]).pvalue
    return [
        row(
            "flies left out: median deviance explained without decay",
            "1.9 % within .5",
            f"{a:.2f} %",
            abs(a - 1.9) < 0.5,
        ),
        row("flies left out: with decay", "8.1 % within .5", f"{b:.2f} % (Wilcoxon p = {p:.1g})", abs(b - 8.1) < 0.5),
    ]


# Simulated animals ------------------------------------------------------------------------------------


def _world(kind: str) -> tuple[PolicyNetwork, Any]:
    terms, bounds = FAMILIES[kind]
    baseline = "exponential" if kind == "Taylor" else "none"
    family = sr.TaylorRule(terms, baseline=baseline)
    return PolicyNetwork(family, ChoiceTask(**TASK), nuisance=()), uniform(family, **bounds)


def grid() -> list[Row]:
    """Draws of two coefficients against a grid of 400 x 400."""
    from sklearn.model_selection import cross_val_score
    from sklearn.neural_network import MLPClassifier

    simulator, prior = _world("Q-learning")
    trials = simulator.animals(torch.tensor([[0.6, -0.3]] * 6), seed=SEED)
    posterior = sr.fit(simulator, prior, trials=trials)
    draws = posterior.draw(4000, seed=0).draws.flatten(0, 1)[:4000].double()
    a, b = torch.linspace(0.0, 1.5, 401).double(), torch.linspace(-0.9, 0.0, 401).double()
    middle = torch.cartesian_prod((a[1:] + a[:-1]) / 2, (b[1:] + b[:-1]) / 2)
    likelihood = simulator.suited(trials).likelihood(trials)
    value = torch.cat([likelihood.log_prob(part).sum(dim=1) for part in middle.split(8000)])
    rng = torch.Generator().manual_seed(SEED)
    weight = torch.softmax(value, dim=0)
    at = torch.multinomial(weight, 4000, replacement=True, generator=rng)
    within = torch.rand(4000, 2, generator=rng, dtype=torch.float64) - 0.5
    exact = middle[at] + within * torch.stack([a[1] - a[0], b[1] - b[0]])
    both = torch.cat([draws, exact])
    both = ((both - exact.mean(dim=0)) / exact.std(dim=0)).numpy()
    label = np.repeat([0, 1], 4000)
    net = MLPClassifier(hidden_layer_sizes=(20, 20), max_iter=300, random_state=0)
    c2st = float(cross_val_score(net, both, label, cv=5).mean())
    area = float((a[1] - a[0]) * (b[1] - b[0]))
    evidence = float(torch.logsumexp(value, dim=0) + math.log(area / (1.5 * 0.9)))
    mine, error = posterior.log_evidence()
    return [
        row("exact posterior against a grid, C2ST", "at most .52", round(c2st, 4), c2st <= 0.52),
        row(
            "log evidence against the grid",
            f"{evidence:.2f} within 3 s.e.",
            f"{mine:.2f} ± {error:.2f}",
            abs(mine - evidence) < max(3 * error, 0.1),
        ),
    ]


def _recovered(kind: str, animals: int, repeats: range) -> tuple[torch.Tensor, torch.Tensor]:
    """Truths `(n, D)`, and draws `(n, 400, D)`."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    simulator, prior = _world(kind)
    truth, draws = [], []
    for k in repeats:
        torch.manual_seed(SEED + k)
        rule = prior.sample((1,))
        trials = simulator.animals(rule.expand(animals, -1), seed=SEED + k)
        posterior = sr.fit(simulator, prior, trials=trials, sampler=FAST)
        posterior.potential_net.likelihood.threads = 1
        truth.append(rule[0])
        draws.append(posterior.sample((400,), seed=k))
    return torch.stack(truth), torch.stack(draws)


def coverage(kind: str, animals: int, repeats: int) -> list[Row]:
    halves = Parallel(n_jobs=2)(delayed(_recovered)(kind, animals, range(k, repeats, 2)) for k in (0, 1))
    truth, draws = (torch.cat([half[k] for half in halves]) for k in (0, 1))
    simulator, prior = _world(kind)
    found = Recovery(simulator.names, truth, draws, animals, prior.stddev, None)  # type: ignore[arg-type]
    place = (found.ranks.double() + 0.5) / (draws.shape[1] + 1)
    out = []
    name = f"{kind}, {animals} animal{'s' if animals > 1 else ''}, {repeats} rules"
    for mass in (0.95, 0.5):
        inside = ((place - 0.5).abs() <= mass / 2).double().mean(dim=1)
        se = max(float(inside.std()) / math.sqrt(repeats), 0.5 / repeats)
        mean = float(inside.mean())
        met = abs(mean - mass) < 2.5 * se
        out.append(
            row(f"{name}: coverage of {mass:.0%} intervals", f"{mass} within 2.5 s.e.", f"{mean:.3f} ± {se:.3f}", met)
        )
    tests = [*found.sbc_p.values(), found.tarp[1]]
    least = min(1.0, len(tests) * min(tests))
    out.append(row(f"{name}: smallest p of SBC and TARP, Holm", "above .05", round(least, 3), least > 0.05))
    return out


TERMS = ["c rd", "c", "w", "c w", "c r", "d rd"]


def _included(repeats: range, animals: int, trials_each: int) -> list[tuple[bool, float, float]]:
    """Of each term of each rule: whether it is there, its inclusion probability, and what its removal costs in nats."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    task = ChoiceTask(**{**TASK, "num_trials": trials_each})
    family = sr.TaylorRule(TERMS)
    simulator = PolicyNetwork(family, task, nuisance=())
    prior = spike_and_slab(family, 0.4, slab=two_sided(0.05, 0.4))
    out = []
    for k in repeats:
        torch.manual_seed(SEED + 7000 + k)
        rule = prior.sample((1,)).double()
        trials = simulator.animals(rule.expand(animals, -1), seed=SEED + 7000 + k)
        posterior = sr.fit(simulator, prior, trials=trials, sampler=FAST)
        likelihood = simulator.suited(trials).likelihood(trials)
        posterior.potential_net.likelihood.threads = likelihood.threads = 1
        if not bool(torch.isfinite(likelihood.log_prob(rule)).all()):
            continue
        chance = posterior.with_draws(posterior.draw(1000, seed=k)).inclusion_probabilities()
        whole = float(likelihood.log_prob(rule).sum())
        for j, name in enumerate(simulator.names):
            less = rule.clone()
            less[0, j] = 0.0
            out.append((bool(rule[0, j] != 0), chance[name], whole - float(likelihood.log_prob(less).sum())))
    return out


def terms(repeats: int, animals: int, trials_each: int) -> list[Row]:
    from sklearn.metrics import roc_auc_score

    halves = Parallel(n_jobs=2)(delayed(_included)(range(k, repeats, 2), animals, trials_each) for k in (0, 1))
    there, chance, cost = (np.array(v) for v in zip(*[one for half in halves for one in half], strict=True))
    brier = (there - chance) ** 2
    promised, se = float((chance * (1 - chance)).mean()), float(brier.std() / math.sqrt(len(brier)))
    clear = ~there | (cost >= 10)
    auc = {
        n: roc_auc_score(there[m], chance[m]) for n, m in (("clear", clear), ("all", np.ones(len(there), dtype=bool)))
    }
    name = f"{repeats} sparse rules, {animals} animals x {trials_each} trials"
    return [
        row(
            f"{name}: Brier score of inclusion",
            f"{promised:.4f} within 2 s.e.",
            f"{brier.mean():.4f} ± {se:.4f}",
            abs(brier.mean() - promised) < 2 * se,
        ),
        row(
            f"{name}: AUC over terms that cost 10 nats",
            "at least .95",
            round(float(auc["clear"]), 3),
            auc["clear"] >= 0.95,
        ),
        row(f"{name}: AUC over all terms", "beside it", round(float(auc["all"]), 3), True),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, no flies of their own rule")
    parser.add_argument("--part", nargs="+", choices=PARTS, help="only these")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with flies_matching.csv")
    parser.add_argument("--json", type=Path, help="where the rows go")
    args = parser.parse_args()
    start = time.perf_counter()
    rows: list[Row] = []
    kept: list[Row] = []
    if args.part and args.json and args.json.is_file():
        kept = [r for r in json.loads(args.json.read_text())["rows"] if r.get("part") not in args.part]
    repeats = 40 if args.quick else 200
    parts: dict[str, Callable[[], list[Row]]] = {
        "flies": lambda: flies(args.data),
        "mice": lambda: mice(args.data),
        "grid": grid,
        "coverage": lambda: [
            r for kind in FAMILIES for n in ((1, 6) if args.quick else (1, 6, 18)) for r in coverage(kind, n, repeats)
        ],
        "ratio": lambda: ratio(2048 if args.quick else 16384),
        "population": lambda: population(8 if args.quick else 24, 12),
        "terms": lambda: terms(12, 6, 150) if args.quick else terms(60, 18, 300),
    }
    for name in args.part or [part for part in parts if part != "mice" or not args.quick]:
        if name in FILES and not (args.data / FILES[name]).is_file():
            continue
        for r in parts[name]():
            print(f"{'met ' if r['met'] else 'MISS'} {r['goal']}: {r['found']} (wanted {r['wanted']})", flush=True)
            rows.append({"part": name, **r})
    print(f"{sum(r['met'] for r in rows)} of {len(rows)} goals met in {(time.perf_counter() - start) / 60:.0f} minutes")
    if args.json:
        versions = {name: version(name) for name in ("sbirules", "torch", "numba", "numpy")}
        about = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": versions,
        }
        args.json.write_text(json.dumps({**about, "quick": args.quick, "rows": kept + rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
