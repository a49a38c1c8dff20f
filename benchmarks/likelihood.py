"""Value and gradient of the exact likelihood of choices, beside JAX; and how long whole fits of a table take.

    python benchmarks/likelihood.py [--quick] [--json FILE]

Both sides in one run on the same table: 18 simulated animals x 240 trials, two options, a contrast and a constant, eight terms.

    numba     the package: the gradient is carried along with the weights
    jax       jit(value_and_grad(scan)) over trials, vmapped over animals, as one would write it down; float64

Fits: 4000 draws with the evidence of one rule that all animals share.
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

import numpy as np
import torch

import sbirules as sr
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork

TERMS = ["d x rd", "d x r", "c x r", "c x rd", "c x w", "w", "y x r", "c x"]
ANIMALS, TRIALS = 18, 240


def table() -> tuple[PolicyNetwork, sr.Trials]:
    """A policy of eight terms, and simulated animals that learn by one of them."""
    task = ChoiceTask(
        options=("left", "right"),
        reward="contrast",
        stimuli={"contrast": [-0.5, -0.25, -0.12, 0.0, 0.12, 0.25, 0.5]},
        num_trials=TRIALS,
    )
    simulator = PolicyNetwork(sr.TaylorRule(TERMS), task, nuisance=())
    theta = torch.zeros(ANIMALS, len(simulator.names), dtype=torch.float64)
    theta[:, 0] = 0.6
    trials = simulator.animals(theta, seed=0)
    return simulator.suited(trials), trials


def best_of(call, repeats: int) -> float:
    """Seconds of the fastest of several calls."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def of_package(repeats: int) -> dict[str, float]:
    simulator, trials = table()
    likelihood = simulator.likelihood(trials)
    torch.manual_seed(0)
    theta = 0.05 * torch.randn(1, len(simulator.names), dtype=torch.float64)
    value, slope = likelihood.value_and_slope(theta)
    many = 0.05 * torch.randn(512, len(simulator.names), dtype=torch.float64)
    return {
        "gradient": best_of(lambda: likelihood.value_and_slope(theta), repeats),
        "value of one of 512": best_of(lambda: likelihood.log_prob(many), max(2, repeats // 10)) / 512,
        "log_likelihood": float(value.sum()),
        "slope": float(slope.sum(dim=1).norm()),
    }


def of_jax(repeats: int) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    simulator, trials = table()
    fields = trials.trajectory.per_trial
    x = np.stack([fields["contrast"].numpy(), np.ones((ANIMALS, TRIALS))], axis=2)
    data = tuple(jnp.asarray(v) for v in (x, fields["choice"].numpy().astype(int), fields["reward"].numpy()))

    def of_animal(theta, x, choice, reward):
        def step(state, now):
            w, expected = state
            x, chosen, r = now
            y = w @ x
            log_s = jax.nn.log_softmax(y)
            known = ~jnp.isnan(r)
            r = jnp.where(known, r, 0.0)
            c = jax.nn.one_hot(chosen, 2)[:, None]
            d, rd, xj, yi = c - jnp.exp(log_s)[:, None], r - expected, x[None], y[:, None]
            terms = (d * xj * rd, d * xj * r, c * xj * r, c * xj * rd, c * xj * w, w, yi * xj * r, c * xj)
            change = sum(t * term for t, term in zip(theta, terms, strict=True))
            w = jnp.where(known, w + change, w)
            expected = jnp.where(known, expected + 0.1 * (r - expected), expected)
            return (w, expected), log_s[chosen]

        _, found = jax.lax.scan(step, (jnp.zeros((2, 2)), 0.0), (x, choice, reward))
        return found.sum()

    def total(theta):
        return jax.vmap(of_animal, in_axes=(None, 0, 0, 0))(theta, *data).sum()

    gradient = jax.jit(jax.value_and_grad(total))
    torch.manual_seed(0)
    theta = jnp.asarray(0.05 * torch.randn(1, len(simulator.names), dtype=torch.float64)[0].numpy())
    value, slope = gradient(theta)
    return {
        "gradient": best_of(lambda: jax.block_until_ready(gradient(theta)), repeats),
        "log_likelihood": float(value),
        "slope": float(jnp.linalg.norm(slope)),
    }


def of_fit() -> dict[str, float]:
    """Seconds of a whole fit of a table as of flies: two options, no stimulus, three terms."""
    task = ChoiceTask(reward="baited", probabilities=[[0.3, 0.1], [0.1, 0.3]], block=80, num_trials=TRIALS)
    family = sr.TaylorRule(["c rd", "c", "w"])
    simulator = PolicyNetwork(family, task, nuisance=())
    trials = simulator.animals(torch.tensor([[0.16, 0.17, -0.12]] * ANIMALS), seed=0)
    start = time.perf_counter()
    posterior = sr.fit(simulator, uniform(family, -0.6, 0.6, w=(-0.6, 0.0)), trials=trials)
    chains = posterior.draw(4000, seed=0)
    return {"seconds": time.perf_counter() - start, "r_hat": chains.r_hat, "log_evidence": chains.log_evidence[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, no fit")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--side", choices=("jax",), help=argparse.SUPPRESS)
    args = parser.parse_args()
    repeats = 20 if args.quick else 200
    if args.side == "jax":
        print(json.dumps(of_jax(repeats)))
        return
    found: dict[str, object] = {
        "date": date.today().isoformat(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    found["numba"] = mine = of_package(repeats)
    print(
        f"numba  value and gradient {1e3 * mine['gradient']:.3f} ms, {1e6 * mine['value of one of 512']:.0f} us a value of many"
    )
    if find_spec("jax"):
        command = [sys.executable, __file__, "--side", "jax", *(["--quick"] if args.quick else [])]
        other = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        again = of_package(repeats)["gradient"]  # before and after the other side
        mine["gradient"] = min(mine["gradient"], again)
        found["jax"] = other
        found["ratio"] = other["gradient"] / mine["gradient"]
        if (
            abs(other["log_likelihood"] - mine["log_likelihood"]) > 1e-6
            or abs(other["slope"] / mine["slope"] - 1) > 1e-6
        ):
            raise SystemExit("the two sides do not compute the same thing")
        print(f"jax    value and gradient {1e3 * other['gradient']:.3f} ms: {found['ratio']:.1f} times as long")
    else:
        print("jax    not installed: pip install 'sbirules[benchmarks]'")
    if not args.quick:
        found["fit"] = fit = of_fit()
        print(f"fit    {ANIMALS} animals x {TRIALS} trials to 4000 draws with evidence: {fit['seconds']:.1f} s")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
