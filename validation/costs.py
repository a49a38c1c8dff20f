"""Time and peak memory of each estimator on 20000 simulations, each in a process of its own; and of sbi's own loop."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from section import Row, Section, main

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import LinearGaussian, RateRNN
from sbirules.streams import seeded
from sbirules.tasks import DelayedDiscrimination

SIMULATIONS = 20_000
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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = time.perf_counter()
    posterior = sr.fit(store, prior, **options)
    fitted = time.perf_counter() - clock
    clock = time.perf_counter()
    posterior.sample((DRAWS,))
    drawn = time.perf_counter() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"fit": fitted, "sample": drawn, "peak": peak / 2**20, "grown": (peak - before) / 2**20}))


def training(epochs: int = 10) -> tuple[float, float, float, float]:
    """Seconds per epoch and validation loss: ours, then sbi's own loop, on the same rows, network and batches."""
    from sbi.inference import NLE
    from sbi.neural_nets import likelihood_nn

    from sbirules.flows import FlowSettings, _Silent, train_flow

    simulator = LinearGaussian()
    prior = uniform(simulator.family, -1, 1)
    with seeded(3):
        theta = prior.sample((SIMULATIONS,))
        x = simulator(theta)
    settings = FlowSettings(max_epochs=epochs, patience=epochs + 1, batch_size=500)
    builder = likelihood_nn("zuko_nsf", hidden_features=50, num_transforms=2, num_bins=6)
    with seeded(4):
        clock = time.perf_counter()
        _, losses, _ = train_flow(NLE, builder, theta, x, settings)
        ours = (time.perf_counter() - clock) / epochs
    with seeded(4):
        trainer = NLE(prior=None, density_estimator=builder, tracker=_Silent(), show_progress_bars=False)
        trainer.append_simulations(theta, x)
        clock = time.perf_counter()
        trainer.train(
            training_batch_size=500, learning_rate=settings.learning_rate, stop_after_epochs=epochs + 1,
            max_num_epochs=epochs,
        )  # fmt: skip
        theirs = (time.perf_counter() - clock) / epochs
    return ours, min(losses), theirs, min(trainer.summary["validation_loss"])


def section(folder: Path) -> Section:
    out = Section(
        "Time and memory",
        f"{SIMULATIONS} simulations, one core and one process for each; {DRAWS} draws. Memory: peak of the process, "
        f"and by how much fitting and sampling raised it. Training: the same spline flow, rows and batches as in sbi's "
        f"own loop, seconds per epoch.",
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
    ours, our_loss, theirs, their_loss = training()
    text = (
        f"{theirs / ours:.1f}x ({ours:.2f} s against {theirs:.2f} s per epoch; "
        f"validation loss {our_loss:.3f} against {their_loss:.3f})"
    )
    equal = our_loss <= their_loss + 0.05
    out.rows.append(Row("training against sbi's loop, CPU", ">= 3x, equal loss", text, theirs / ours >= 3 and equal))
    return out


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main(section)
