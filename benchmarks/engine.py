"""Network-trials per second of the engine's backends, beside peers and beside the machine's own limits.

    python benchmarks/engine.py [--workers 2] [--device cuda] [--quick] [--json FILE]

All in one run, so that the ratios mean something. Sizes are (units, steps); all sides simulate the same model:
tanh units, kicks, reward expectations by trial type, rules of degree 2 and 3.

    numba, triton, torch   the package's backends, in one-thread worker processes (on a GPU one process)
    stepped                plain torch as one would write it down: the trace grows by N x N at every step
    jax                    jit(vmap(scan(scan))), as one process with its own threads
    jax workers            the same in one-thread processes
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import joblib
import torch

from sbirules import PolynomialRule, Task, ThreeFactorRule, TrialTensors
from sbirules.simulators import RateRNN

# units, steps, dt, then networks per worker and trials of a CPU measurement
SIZES = ((64, 50, 5.0, 128, 400), (128, 100, 5.0, 64, 60), (200, 1000, 1.0, 8, 12))
DEGREES = (2, 3)


class Cue(Task):
    """One of two channels for a quarter of the trial, answer in its second half."""

    type_names = ("A", "B")

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def tensors(self, dt: float) -> TrialTensors:
        inputs = torch.zeros(2, self.steps, 2)
        inputs[0, : self.steps // 4, 0] = inputs[1, : self.steps // 4, 1] = 1.0
        return TrialTensors(inputs, torch.tensor([-0.98, 0.98]), torch.arange(self.steps) >= self.steps // 2)


class Stepped(PolynomialRule):
    """The polynomial family with the default trace: an N x N update at every step."""

    trace = ThreeFactorRule.trace


def work(
    engine: str, size: tuple, degree: int, networks: int, trials: int, device: str, seed: int
) -> tuple[float, float]:
    """When one worker began and ended its share; setting up is left out."""
    torch.set_num_threads(1)
    units, steps, dt, *_ = size
    family = (Stepped if engine == "stepped" else PolynomialRule)(degree)
    backend = "torch" if engine == "stepped" else engine
    simulator = RateRNN(
        family, Cue(steps), num_units=units, dt=dt, num_trials=trials, warm_up=2, backend=backend, device=device
    )
    theta = 2e-4 * (torch.rand(networks, family.dim, generator=torch.Generator().manual_seed(seed)) - 0.5)
    simulator.with_settings(num_trials=3).run(theta, seed=seed, units="raw")  # compiles, warms up
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    wait()
    start = time.time()
    simulator.run(theta, seed=seed, units="raw")
    wait()
    return start, time.time()


def ours(engine: str, size: tuple, degree: int, networks: int, trials: int, workers: int, device: str) -> float:
    """Network-trials per second of all workers together."""
    jobs = (joblib.delayed(work)(engine, size, degree, networks, trials, device, k) for k in range(workers))
    if workers == 1:
        spans = [work(engine, size, degree, networks, trials, device, 0)]
    else:
        spans = joblib.Parallel(n_jobs=workers)(jobs)
    # each at its own speed, since they do not start at the same moment
    return sum(networks * trials / (stop - start) for start, stop in spans)


def jax_rate(size: tuple, degree: int, networks: int, trials: int, workers: int, device: str = "cpu") -> float:
    """Network-trials per second of the JAX peer: one process with threads, or one-thread workers."""
    units, steps, dt, *_ = size
    command = [sys.executable, str(Path(__file__).with_name("peer_jax.py"))]
    given = {"units": units, "steps": steps, "dt": dt, "degree": degree, "networks": networks, "trials": trials}
    command += [str(part) for name, value in given.items() for part in (f"--{name}", value)]
    environment = dict(os.environ, JAX_PLATFORMS=device, XLA_PYTHON_CLIENT_PREALLOCATE="false")
    if workers > 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    running = []
    for k in range(workers):
        pin = ["taskset", "-c", str(cores[k % len(cores)])] if workers > 1 and cores else []
        running.append(subprocess.Popen([*pin, *command], env=environment, stdout=subprocess.PIPE, text=True))
    rates = [json.loads(process.communicate()[0])["rate"] for process in running]
    return sum(rates)


def _limits(device: str) -> tuple[float, float]:
    torch.set_num_threads(1)
    n = 1536 if device == "cpu" else 8192
    a, b, c = (torch.randn(n, n, device=device) for _ in range(3))
    source = torch.randn(2**24 if device == "cpu" else 2**28, device=device)
    target = torch.empty_like(source)
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None

    def fastest(call) -> float:
        best = float("inf")
        for _ in range(8):
            wait()
            clock = time.perf_counter()
            call()
            wait()
            best = min(best, time.perf_counter() - clock)
        return best

    product = fastest(lambda: torch.mm(a, b, out=c))
    copy = fastest(lambda: target.copy_(source))
    return 2e-9 * n**3 / product, 8e-9 * source.numel() / copy


def limits(workers: int, device: str) -> dict[str, float]:
    """float32 matrix products (GFLOP/s) and copies (GB/s) that all workers reach together."""
    measured = joblib.Parallel(n_jobs=workers)(joblib.delayed(_limits)(device) for _ in range(workers))
    return {"sgemm_gflops": sum(m[0] for m in measured), "copy_gbytes": sum(m[1] for m in measured)}


def flops(size: tuple, degree: int) -> int:
    """Arithmetic of one trial: W r at each step, and the trace as matrix products over time and powers."""
    units, steps, *_ = size
    return 2 * units**2 * steps * (1 + degree)


def sides(device: str) -> tuple[list[str], list[str]]:
    """The package's backends and the peers that can run here."""
    if device != "cpu":
        return ["triton", "torch"], ["jax"] if find_spec("jax_cuda13_plugin") or find_spec("jax_cuda12_plugin") else []
    return ["numba", "torch", "stepped"], ["jax", "jax workers"] if find_spec("jax") else []


def measure(device: str, workers: int, quick: bool) -> dict:
    """All figures, as plain types."""
    gpu = device != "cpu"
    workers = 1 if gpu else workers
    engines, peers = sides(device)
    machine = {"device": torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine()}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {name: __import__(name).__version__ for name in ("numba", "jax", "triton") if find_spec(name)}
    out = {
        "date": str(date.today()),
        **machine,
        "workers": workers,
        "versions": versions,
        "limits": limits(workers, device),
    }
    rows = out["rows"] = []
    for size in SIZES:
        for degree in DEGREES:
            _, _, _, networks, trials = size
            if gpu:
                networks, trials = {64: (32768, 60), 128: (8192, 40), 200: (1024, 6)}[size[0]]
            if quick:
                networks, trials = max(networks // 8, 8), max(trials // 4, 4)
            rates = {}
            for engine in engines:
                # the slow ones get less to do
                fewer = {"stepped": (max(networks // 16, 4), max(trials // 10, 4))}.get(engine, (networks, trials))
                rates[engine] = ours(engine, size, degree, *fewer, workers, device)
            for peer in peers:
                # half of the networks on a GPU: it keeps more of them in memory at once
                less = (networks // 2, trials) if gpu else (networks, max(trials // 2, 4))
                rates[peer] = jax_rate(size, degree, *less, workers if peer == "jax workers" else 1, device)
            share = rates[engines[0]] * flops(size, degree) * 1e-9 / out["limits"]["sgemm_gflops"]
            rows.append({"units": size[0], "steps": size[1], "degree": degree, "rates": rates, "sgemm_share": share})
            print(line(rows[-1]), flush=True)
    return out


def line(row: dict) -> str:
    """One row of the table: rates, then how often the first is larger than each of the others."""
    rates = row["rates"]
    best = next(iter(rates.values()))
    cells = [f"{rate:>11.0f}" for rate in rates.values()]
    ratios = [f"{best / rate:>11.2f}" for rate in list(rates.values())[1:]]
    head = f"{row['units']:>5}{row['steps']:>6}{row['degree']:>7}"
    return f"{head}{''.join(cells)}{''.join(ratios)}{row['sgemm_share']:>10.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=joblib.cpu_count(), help="one-thread processes on a CPU")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="a few seconds per row: a smoke test, no figures")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    names = [name for group in sides(args.device) for name in group]
    print("network-trials per second, then the first column over the others, then its share of the sgemm rate")
    heads = [*names, *(f"/ {name}"[-10:] for name in names[1:])]
    print(f"units steps degree{''.join(f'{head:>11}' for head in heads)}{'sgemm':>10}")
    result = measure(args.device, args.workers, args.quick)
    bound = result["limits"]
    print(
        f"limits: sgemm {bound['sgemm_gflops']:.0f} GFLOP/s, copy {bound['copy_gbytes']:.0f} GB/s, all workers together"
    )
    print(f"{result['device']}, {result['workers']} workers, {result['versions']}, {result['date']}")
    if not find_spec("jax"):
        print("jax is not installed: pip install 'sbirules[benchmarks]'")
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
