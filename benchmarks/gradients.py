"""Gradients of learning: error, direction, time and memory of the three modes, and where chaos ends exactness.

    python benchmarks/gradients.py [--json FILE]

Error: against float64 central finite differences of the same run (frozen networks and kicks; best of steps 1e-3 to 1e-7
per coefficient), relative to the gradient's length. Cosine: of the paper's estimate (Eq. 9) with the exact gradient,
by network and of the means over networks, at the start of an optimisation and along it. Every row of time and memory
is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.simulators import RateRNN

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
NETWORKS = 16


def degree_3(**options: object) -> RateRNN:
    return RateRNN(sr.PolynomialRule(degree=3), DelayedDiscrimination(), **options)


def against_differences(size: float, trials: int, networks: int = 4) -> tuple[float, float, float]:
    """Largest relative error over networks of reverse against differences, of forward against reverse; and the length.

    The rule is theta_33 at minus that size, every other coefficient at a hundredth of it.
    """
    simulator = degree_3(num_units=24, dtype=torch.float64)
    theta = torch.full((networks, 16), 0.01 * size, dtype=torch.float64)
    theta[:, -1] = -size
    types = torch.arange(trials) % 2
    options = {"seed": 7, "trial_types": types}
    exact = simulator.value_and_grad(theta, gradient="reverse", **options)
    ahead = simulator.value_and_grad(theta, gradient="forward", **options)
    length = exact.gradient.norm(dim=1)
    best = torch.full_like(theta, torch.inf)
    start = simulator.settings.warm_up
    for step in STEPS:
        moves = step * torch.eye(16, dtype=torch.float64)
        for column, move in enumerate(moves):
            up, down = (simulator.run(theta + sign * move, **options).reward[:, start:].mean(dim=1) for sign in (1, -1))
            error = ((up - down) / (2 * step) - exact.gradient[:, column]).abs()
            best[:, column] = torch.minimum(best[:, column], error)
    between = (ahead.gradient - exact.gradient).norm(dim=1) / length
    return float((best.norm(dim=1) / length).max()), float(between.max()), float(length.median())


def under_chaos(width: float, trials: int, networks: int = 64) -> dict[str, float]:
    """Random rules of uniform(-width, width), one network each: how long gradients get, and whether differences still agree.

    Differences are along one random direction, best of the steps; error relative to the exact derivative along it.
    """
    simulator = degree_3(num_units=24, dtype=torch.float64)
    draw = torch.Generator().manual_seed(trials)
    theta = width * (2 * torch.rand(networks, 16, generator=draw, dtype=torch.float64) - 1)
    way = torch.randn(networks, 16, generator=draw, dtype=torch.float64)
    way = way / way.norm(dim=1, keepdim=True)
    options = {"seed": 9, "trial_types": torch.arange(trials) % 2}
    exact = simulator.value_and_grad(theta, gradient="reverse", **options)
    slope = (exact.gradient * way).sum(dim=1)
    best = torch.full_like(slope, torch.inf)
    start = simulator.settings.warm_up
    for step in STEPS:
        up, down = (
            simulator.run(theta + sign * step * way, **options).reward[:, start:].mean(dim=1) for sign in (1, -1)
        )
        best = torch.fmin(best, ((up - down) / (2 * step) - slope).abs() / slope.abs())
    ok, length = exact.ok, exact.gradient.norm(dim=1)[exact.ok]
    return {
        "width": width,
        "trials": trials,
        "finite": float(ok.double().mean()),
        "agree": float((best[ok] < 1e-5).double().mean()),
        "median length": float(length.median()),
        "90 % length": float(length.quantile(0.9)),
    }


def direction(theta: torch.Tensor, trials: int = 100, networks: int = 64) -> tuple[float, float]:
    """Median cosine of the estimate with the exact gradient over networks, and that of their means."""
    simulator = degree_3()
    rows = theta.float().expand(networks, -1)
    types = torch.arange(trials) % 2
    found = [simulator.value_and_grad(rows, gradient=g, seed=11, trial_types=types) for g in ("reverse", "reinforce")]
    ok = found[0].ok & found[1].ok
    exact, estimate = (f.gradient[ok].double() for f in found)
    exact = exact / exact.norm(dim=1, keepdim=True).clamp(min=exact.norm(dim=1).median())  # none may drown the others
    each = torch.cosine_similarity(exact, estimate, dim=1)
    return float(each.median()), float(torch.cosine_similarity(exact.mean(dim=0), estimate.mean(dim=0), dim=0))


def cost(gradient: str, trials: int) -> tuple[float, float]:
    """Seconds, and GiB above what the process held before, in a process of its own."""
    run = [sys.executable, __file__, "--cost", gradient, str(trials)]
    out = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    return out["seconds"], out["grown"]


def peak() -> float:
    """Peak resident memory of this process in GiB. Not `ru_maxrss`, which starts at that of the parent."""
    (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def measure(gradient: str, trials: int) -> None:
    torch.set_num_threads(1)
    simulator = degree_3(backend="torch")
    theta = torch.zeros(NETWORKS, 16)
    theta[:, -1] = -0.4
    types = torch.arange(trials) % 2

    def once(types: torch.Tensor) -> None:
        if gradient == "none":
            simulator.run(theta, seed=1, trial_types=types)
        else:
            simulator.value_and_grad(theta, gradient=gradient, seed=1, trial_types=types)

    once(types[:24])  # what is only paid once
    before = peak()
    clock = time.perf_counter()
    once(types)
    seconds = time.perf_counter() - clock
    print(json.dumps({"seconds": seconds, "grown": peak() - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cost", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cost:
        measure(args.cost[0], int(args.cost[1]))
        return
    torch.set_num_threads(1)
    rows: dict[str, list[dict[str, float]]] = {"error": [], "direction": [], "cost": []}
    print("theta_33 = -s, 24 units, float64")
    print(f"{'s':>6s}{'trials':>8s}{'reverse - differences':>24s}{'forward - reverse':>20s}{'gradient':>12s}")
    for size, trials in ((0.1, 100), (0.8, 100), (3.0, 100)):
        error, between, length = against_differences(size, trials)
        rows["error"].append({"s": size, "trials": trials, "differences": error, "forward": between, "length": length})
        print(f"{size:6.1f}{trials:8d}{error:24.1e}{between:20.1e}{length:12.2g}")

    print(
        "\nwhere chaos ends it: 64 random rules of uniform(-a, a), 24 units, float64, differences along one direction"
    )
    print(f"{'a':>5s}{'trials':>8s}{'finite':>9s}{'agree to 1e-5':>16s}{'median length':>16s}{'90 % length':>14s}")
    rows["chaos"] = []
    for width, trials in ((0.6, 100), (0.6, 400), (1.5, 50), (1.5, 100), (1.5, 400), (3.0, 100)):
        found = under_chaos(width, trials)
        rows["chaos"].append(found)
        print(
            f"{width:5.1f}{trials:8d}{found['finite']:9.0%}{found['agree']:16.0%}{found['median length']:16.2g}"
            f"{found['90 % length']:14.2g}",
            flush=True,
        )

    print("\ncosine of the estimate of Eq. 9 with the exact gradient, 64 units, 100 trials, 64 networks")
    point = sr.BPTL(degree_3(), restarts=1, iterations=24).fit(seed=0, evaluate=0)
    print(f"{'iteration':>10s}{'mean reward':>13s}{'median over networks':>23s}{'of the means':>14s}")
    for k in (0, 3, 8, 15, 23):
        each, mean = direction(point.trace["theta"][k, 0])
        reward = float(point.trace["value"][k, 0])
        rows["direction"].append({"iteration": k, "reward": reward, "network": each, "mean": mean})
        print(f"{k:10d}{reward:13.3f}{each:23.2f}{mean:14.2f}")

    print(f"\n{NETWORKS} networks of 64 units, degree 3, one core")
    print(f"{'mode':12s}{'trials':>8s}{'seconds':>10s}{'memory (GiB)':>14s}")
    for gradient in ("none", "reinforce", "reverse", "forward"):
        for trials in (50, 100, 200):
            seconds, grown = cost(gradient, trials)
            rows["cost"].append({"mode": gradient, "trials": trials, "seconds": seconds, "grown": grown})
            print(f"{gradient:12s}{trials:8d}{seconds:10.2f}{grown:14.3f}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
