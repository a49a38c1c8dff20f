"""Time and peak memory of each estimator on 20000 simulations, each in a process of its own; and of sbi's own loop."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from section import Row, Section, main

import sbirules as sr
from sbirules.inference.estimators.likelihood import LikelihoodSettings
from sbirules.inference.estimators.npe import NPESettings
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.neural_nets.flows import train_flow
from sbirules.priors import uniform
from sbirules.simulators import LinearGaussian, RateRNN
from sbirules.support.streams import seeded

SIMULATIONS = 20_000
TRAINED = 10_000
TRIALS = 150
DRAWS = 2000
KINDS = {
    "constraints": "success classifier",
    "ratio": "contrastive ratio, 24 learners",
    "likelihood": "likelihood, one observation",
    "npe": "NPE, one observation",
}


def network() -> tuple[RateRNN, torch.distributions.Distribution]:
    family = sr.PolynomialRule(degree=2)
    simulator = RateRNN(family, DelayedDiscrimination(), num_trials=TRIALS, summaries=["final_error", "mean_rate"])
    return simulator, uniform(family, -1, 1)


def peak() -> float:
    """Peak resident memory of this process in GiB. Not `ru_maxrss`, which starts at that of the parent."""
    (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def measure(kind: str, folder: Path) -> None:
    """Fits and samples in this process, and prints seconds and peak memory above that before."""
    torch.set_num_threads(1)
    if kind in ("constraints", "ratio"):
        simulator, prior = network()
        store = sr.SimulationStore(folder / "network")
        options = {"constraints": {"final_error": (0, 0.7)}}
        if kind == "ratio":
            runs = simulator.run(torch.zeros(24, 9), seed=5)
            options = {"trials": sr.Trials(tuple(map(str, range(24))), runs)}
    else:
        known = LinearGaussian()
        prior = uniform(known.family, -1, 1)
        store = sr.SimulationStore(folder / "known")
        with seeded(99):
            options = {"x_o": known(prior.sample((1,)))[0], "estimator": kind}
    before = peak()
    clock = time.perf_counter()
    posterior = sr.fit(store, prior, **options)
    fitted = time.perf_counter() - clock
    clock = time.perf_counter()
    posterior.sample((DRAWS,))
    drawn = time.perf_counter() - clock
    print(json.dumps({"fit": fitted, "sample": drawn, "peak": peak(), "grown": peak() - before}))


def training(kind: str) -> tuple[float, float, float, float]:
    """Seconds of a training and loss on fresh rows: ours, then sbi's own loop, each with its own defaults.

    The same spline flow on the same rows: of the likelihood (two transforms), or of the posterior (five).
    """
    from sbi.inference import NLE, NPE
    from sbi.neural_nets import likelihood_nn, posterior_nn
    from sbi.utils import mcmc_transform

    simulator = LinearGaussian()
    prior = uniform(simulator.family, -1, 1)
    with seeded(3):
        theta = prior.sample((2 * TRAINED,))
        x = simulator(theta)
    theta = mcmc_transform(prior)(theta)  # on the real line, as a density estimator needs it
    if kind == "likelihood":
        maker, trainer, settings = likelihood_nn, NLE, LikelihoodSettings()
        target, condition = x, theta
    else:
        maker, trainer, settings = posterior_nn, NPE, NPESettings()
        target, condition = theta, x
    shape = {name: getattr(settings, name) for name in ("hidden_features", "num_transforms", "num_bins")}
    builder = maker("zuko_nsf", **shape)
    old, new = slice(None, TRAINED), slice(TRAINED, None)

    def fresh(flow: Any) -> float:
        with torch.no_grad():
            return float(flow.loss(target[new], condition[new]).mean())

    with seeded(4), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clock = time.perf_counter()
        flow = train_flow(builder(theta[old], x[old]), target[old], condition[old], settings)[0]
        ours, our_loss = time.perf_counter() - clock, fresh(flow)
        loop = trainer(prior=None, density_estimator=builder, show_progress_bars=False)
        loop.append_simulations(theta[old], x[old])
        clock = time.perf_counter()
        with redirect_stdout(io.StringIO()):  # it prints a line
            flow = loop.train()
        theirs = time.perf_counter() - clock
    return ours, our_loss, theirs, fresh(flow)


def section(folder: Path) -> Section:
    out = Section(
        "Time and memory",
        f"{SIMULATIONS} simulations, one core and one process for each; {DRAWS} draws. Memory: peak of the process, "
        f"and by how much fitting and sampling raised it. Training: the same spline flow on the same {TRAINED} "
        f"rows, by our loop and by sbi's, each with its own defaults and to its own end.",
    )
    simulator, prior = network()
    sr.simulate(simulator, prior, SIMULATIONS, store=folder / "network", seed=1, num_workers=1, progress=False)
    known = LinearGaussian()
    box = uniform(known.family, -1, 1)
    sr.simulate(known, box, SIMULATIONS, store=folder / "known", seed=1, num_workers=1, progress=False)
    lines = [f"{'':34s}{'fit (s)':>9s}{'sample (s)':>12s}{'peak (GiB)':>12s}{'grown (GiB)':>13s}"]
    for kind, name in KINDS.items():
        run = [sys.executable, __file__, "--measure", kind, str(folder)]
        found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        lines.append(f"{name:34s}{found['fit']:9.1f}{found['sample']:12.1f}{found['peak']:12.2f}{found['grown']:13.2f}")
    out.tables.append("\n".join(lines))
    for kind in ("likelihood", "posterior"):
        ours, our_loss, theirs, their_loss = training(kind)
        text = (
            f"{theirs / ours:.1f}x ({ours:.0f} s against {theirs:.0f} s; loss on fresh rows {our_loss:.3f} against "
            f"{their_loss:.3f})"
        )
        met = theirs / ours >= 3 and our_loss <= their_loss + 0.02
        out.rows.append(Row(f"training a flow of the {kind} against sbi's loop, CPU", ">= 3x, equal loss", text, met))
    return out


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main(section)
