"""Are posteriors of many learners right, and how much do they learn? Fresh rules of the prior, 1, 4 and 24 learners of each.

    python validation/many_learners.py [--quick] [--part NAME ...] [--pipelines N] [--folder DIR] [--jobs N]
        [--json validation/results/many_learners.json]

Delayed discrimination, 300 trials, uniform(-1, 1), degree 2 and 3.

- *amortised*: one estimator from 17 408 networks of the prior, asked about 120 rules; its sum over learners as it is,
  recalibrated, and beside it the estimator as it was before (`BEFORE`), recalibrated on the same sets: the best power of the
  sum, chosen on other rules.
- *alarms*: how often the checks of a refined posterior fail it where it is right, and where it is too narrow or shifted.
- *pipelines*: the default study's fit, 3 rounds and recalibration, each rule on its own data, against the same with what there
  was before.
- *cubic*: the same pipelines with degree 3, without what there was before.

Log score: log posterior density of the true rule above the prior's, mean over rules. Coverage: mean over coefficients, errors
between rules. Seeds are fixed below. On two cores the amortised part takes about 10 minutes, a pipeline about 5.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from refined_alarms import alarm_rows
from result_rows import row, write_rows
from torch import Tensor

import sbirules as sr
from sbirules.checks.recovery import Recovery
from sbirules.inference.estimators.base import ProductPotential
from sbirules.inference.questions.sessions import learners_of
from sbirules.model.summaries import learning_curve, volatility
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

SEED = 20261127
PARTS = ("amortised", "pipelines", "cubic", "alarms")
COUNTS = (1, 4, 24)
BASE, DRAWS = 32_768, 500
KEEP: dict[str, Any] = {"num_workers": 1, "progress": False}
BEFORE: dict[str, Any] = {
    "settings": sr.EnsembleSettings(learning_rate=1e-3, weight_decay=1e-2, batch_size=128, patience=15),
    "summaries": [learning_curve(6), volatility(3)],
}


@dataclass(frozen=True)
class Sizes:
    """How much is simulated; pipelines by degree."""

    networks: int
    rules: int
    sets: int
    pipelines: tuple[int, int]


FULL, QUICK = Sizes(17_408, 120, 64, (40, 16)), Sizes(3072, 30, 24, (1, 1))


def simulator_of(degree: int) -> RateRNN:
    return RateRNN(sr.PolynomialRule(degree), DelayedDiscrimination(), num_trials=300)


def judged(posterior: sr.Posterior, truth: Tensor, tables: Sequence[sr.Trials]) -> tuple[Tensor, Recovery]:
    """Log score of each rule given its learners, and draws: rules of the prior, weighed by their likelihoods."""
    torch.manual_seed(SEED)
    base = posterior.prior.sample((BASE,)).float()
    scores, draws = [], []
    for rule, table in zip(truth, tables, strict=True):
        potential = posterior.asked(table)[0].potential_net
        with torch.no_grad():
            value = potential.log_likelihood(base).double()
            own = potential.log_likelihood(rule[None]).double()
        scores.append(float(own - torch.logsumexp(value, dim=0)) + math.log(BASE))
        draws.append(base[torch.multinomial(torch.softmax(value, dim=0), DRAWS, replacement=True)])
    learners = len(tables[0].learners)
    found = Recovery(posterior.names, truth, torch.stack(draws), learners, base.std(dim=0), posterior)
    return torch.tensor(scores), found


def amortised(degree: int, sizes: Sizes) -> dict[str, Any]:
    """By method and number of learners: scores, coverage and TARP; and seconds."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    simulator = simulator_of(degree)
    prior = uniform(simulator.family, -1, 1)
    store = sr.simulate(simulator, prior, sizes.networks, seed=SEED + degree, **KEEP)
    # rules of their own for each number of learners: that 24 networks ran through tells more of a rule than that one did
    fresh = {}
    for learners in COUNTS:  # with degree 3 four of five rules lose one of 24 networks
        drawn = {"folder": None, "seed": SEED + 10 * learners + degree, "fewest": sizes.rules // 2, **KEEP}
        fresh[learners] = learners_of(simulator, prior, sizes.rules, learners, **drawn)
    tables = fresh[COUNTS[-1]][1]
    out: dict[str, Any] = {}
    for name, options in (("now", {}), ("before", BEFORE)):
        start = time.perf_counter()
        raw = sr.fit(store, prior, trials=tables[0], **options)
        seconds = time.perf_counter() - start
        worth = sr.recalibrate(raw, simulator, rules=sizes.sets, seed=SEED, num_workers=1)
        for kind, posterior in ((f"{name}, as it is", raw), (name, worth)):
            for learners in COUNTS:
                score, found = judged(posterior, *fresh[learners])
                inside = [found.inside(level).double().mean(dim=1) for level in (0.95, 0.5)]
                out[f"{kind}, {learners}"] = {
                    "score": score.tolist(),
                    "c95": (float(inside[0].mean()), float(inside[0].std()) / math.sqrt(len(score))),
                    "c50": (float(inside[1].mean()), float(inside[1].std()) / math.sqrt(len(score))),
                    "tarp": found.tarp[1],
                }
        out[f"{name}, fit"] = {"seconds": seconds, "worth": worth.record.details["worth"]}
    return out


def pipeline(k: int, degree: int, store: sr.SimulationStore, folder: Path) -> dict[str, Any]:
    """One rule of the prior and its 24 learners, fitted with rounds as default studies do, now and (degree 2) as before.

    What was found is kept in `folder` and read from there if the script was stopped.
    """
    kept = folder / (f"{len(store)}-{k}.json" if degree == 2 else f"{len(store)}-degree-{degree}-{k}.json")
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    simulator = simulator_of(degree)
    prior = uniform(simulator.family, -1, 1)
    several = 1 if degree == 2 else 8  # with degree 3 four of five rules lose one of 24 networks
    truth, tables = learners_of(simulator, prior, several, 24, folder=None, seed=SEED + 100 + k, fewest=1, **KEEP)
    truth, tables = truth[:1], tables[:1]
    out: dict[str, Any] = {}
    methods: dict[str, dict[str, Any]] = {"now": {}}
    if degree == 2:
        methods["before"] = {**BEFORE, "recalibration": 0}
    for name, options in methods.items():
        start = time.perf_counter()
        of_fit = {key: value for key, value in options.items() if key != "recalibration"}
        first = sr.fit(store, prior, trials=tables[0], seed=k, **of_fit)
        share = 3 * len(store) // 8
        posterior, _ = sr.refine(
            first, simulator, store, prior, num_simulations=share, trials=tables[0], seed=k, **options, **KEEP
        )
        chains = posterior.draw(2000, seed=k)
        draws = chains.draws.flatten(0, 1)
        found = Recovery(posterior.names, truth, draws[None], 24, torch.ones(truth.shape[1]), posterior)
        score = float(posterior.log_likelihood(truth)) - chains.log_evidence[0]
        inside = [float(found.inside(level).double().mean()) for level in (0.95, 0.5)]
        out[name] = {"score": score, "inside": inside, "seconds": time.perf_counter() - start}
        net = posterior.potential_net
        out[name]["share"] = net.share if isinstance(net, ProductPotential) else 1.0
        print(f"pipeline {k}, degree {degree}, {name}: {out[name]}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(out))
    return out


def rows_of_amortised(found: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    out, tarp, every = [], [], []
    for degree, methods in found.items():
        for kind in ("now", "now, as it is", "before", "before, as it is"):
            for learners in COUNTS:
                m = methods[f"{kind}, {learners}"]
                (a, ea), (b, eb) = m["c95"], m["c50"]
                score = torch.tensor(m["score"])
                said = (
                    f"{a:.3f} ± {ea:.3f} / {b:.3f} ± {eb:.3f}; {float(score.mean()):.2f} ± "
                    f"{float(score.std()) / math.sqrt(len(score)):.2f} nats; TARP p {m['tarp']:.2g}"
                )
                good = None
                if kind == "now":
                    tarp.append(m["tarp"])
                    every.append((a, b))
                    right = abs(a - 0.95) <= 2.5 * ea and abs(b - 0.5) <= 2.5 * eb
                    good = right and a >= 0.92 and float(score.mean()) > -2 * float(score.std()) / math.sqrt(len(score))
                wanted = "95 / 50 % within 2.5 s.e., not below .92; score not below 0" if good is not None else ""
                out.append(row(f"degree {degree}, {learners} learners, {kind}", wanted, said, good))
        gap = torch.tensor(methods["now, 24"]["score"]) - torch.tensor(methods["before, 24"]["score"])
        se = float(gap.std()) / math.sqrt(len(gap))
        out.append(
            row(
                f"degree {degree}, 24 learners: above the estimator before at its best power",
                "by 3 s.e. of the paired difference",
                f"{float(gap.mean()):.2f} ± {se:.2f} nats",
                float(gap.mean()) > 3 * se,
            )
        )
        fits = {name: methods[f"{name}, fit"] for name in ("now", "before")}
        said = ", ".join(
            f"{name} {f['seconds']:.0f} s, 24 count as {f['worth']['counted']:.3g}" for name, f in fits.items()
        )
        out.append(row(f"degree {degree}: fit", "", said, None))
    score = torch.tensor(found[2]["now, 24"]["score"])
    out.append(
        row(
            "degree 2, 24 learners: nats over the prior",
            "2.9 (aim)",
            f"{float(score.mean()):.2f}",
            float(score.mean()) >= 2.9,
        )
    )
    a, b = (sum(v) / len(every) for v in zip(*every, strict=True))
    out.append(
        row(
            "mean over the six cells",
            "94-96 % and 48-52 %",
            f"{a:.1%} and {b:.1%}",
            0.94 <= a <= 0.96 and 0.48 <= b <= 0.52,
        )
    )
    least = min(1.0, min(tarp) * len(tarp))
    out.append(row("smallest TARP p-value of six, Holm", "above .05", f"{least:.3f}", least > 0.05))
    return out


def rows_of_pipelines(found: list[dict[str, Any]], degree: int) -> list[dict[str, Any]]:
    out = []
    for name in found[0]:
        score = torch.tensor([f[name]["score"] for f in found])
        inside = torch.tensor([f[name]["inside"] for f in found])
        se = inside.std(dim=0) / math.sqrt(len(found))
        seconds = sum(f[name]["seconds"] for f in found) / len(found)
        counted = 24 * sum(f[name]["share"] for f in found) / len(found)
        said = (
            f"{float(inside[:, 0].mean()):.3f} ± {float(se[0]):.3f} / {float(inside[:, 1].mean()):.3f} ± {float(se[1]):.3f}; "
            f"{float(score.mean()):.2f} ± {float(score.std()) / math.sqrt(len(score)):.2f} nats; {seconds:.0f} s; 24 count as "
            f"{counted:.3g}"
        )
        good = None
        if name == "now":
            good = all(
                abs(float(inside[:, j].mean()) - want) <= 2.5 * max(float(se[j]), 1e-3)
                for j, want in enumerate((0.95, 0.5))
            )
        wanted = "95 / 50 % within 2.5 s.e." if name == "now" else ""
        out.append(row(f"{len(found)} pipelines, degree {degree}, 24 learners, {name}", wanted, said, good))
    if "before" not in found[0]:
        return out
    gap = torch.tensor([f["now"]["score"] - f["before"]["score"] for f in found])
    se = float(gap.std()) / math.sqrt(len(gap)) if len(gap) > 1 else math.nan
    ahead = float(gap.mean()) > 3 * se
    out.append(row("pipelines: gain, paired", "3 s.e., aim 1 nat", f"{float(gap.mean()):.2f} ± {se:.2f} nats", ahead))
    speed = sum(f["before"]["seconds"] for f in found) / sum(f["now"]["seconds"] for f in found)
    out.append(row("pipelines: time before over now", "3", f"{speed:.2f}", speed >= 3))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pipelines", type=int)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/validation/pipelines"), help="keeps finished pipelines"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes, start = (QUICK if args.quick else FULL), time.monotonic()
    before = json.loads(args.json.read_text())["rows"] if args.json and args.json.is_file() else []
    rows = [r for r in before if r["part"] not in args.part]
    if "amortised" in args.part:
        both = Parallel(n_jobs=args.jobs)(delayed(amortised)(degree, sizes) for degree in (2, 3))
        rows += [{**r, "part": "amortised"} for r in rows_of_amortised(dict(zip((2, 3), both, strict=True)))]
    if "alarms" in args.part:
        rows += [{**r, "part": "alarms"} for r in alarm_rows(20 if args.quick else 200, args.jobs)]
    for part, degree, count in (("pipelines", 2, sizes.pipelines[0]), ("cubic", 3, sizes.pipelines[1])):
        if part not in args.part:
            continue
        simulator = simulator_of(degree)
        first = 8 * sizes.networks // 17
        store = sr.simulate(simulator, uniform(simulator.family, -1, 1), first, seed=SEED, num_workers=args.jobs)
        each = range(args.pipelines or count)
        found = Parallel(n_jobs=args.jobs)(delayed(pipeline)(k, degree, store, args.folder) for k in each)
        rows += [{**r, "part": part} for r in rows_of_pipelines(list(found), degree)]
    for r in rows:
        mark = {True: "met ", False: "MISS", None: "    "}[r["met"]]
        print(f"{mark} {r['goal']}: {r['found']}" + (f" (wanted {r['wanted']})" if r["wanted"] else ""))
    print(f"{(time.monotonic() - start) / 60:.0f} minutes")
    write_rows(args.json, rows, quick=args.quick)


if __name__ == "__main__":
    main()
