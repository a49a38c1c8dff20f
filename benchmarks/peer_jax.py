"""The same model as a JAX user would write it: jit(vmap(scan over trials(scan over steps))), in one file.

    python benchmarks/peer_jax.py --units 64 --steps 50 --degree 2 --networks 256 --trials 40

Prints network-trials per second as JSON. Used by engine.py, which runs it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import time


def build(units: int, steps: int, dt: float, degree: int, trials: int):
    import jax
    import jax.numpy as jnp

    tau, kick = 30.0, 3.0 * dt / 1000.0
    response = jnp.arange(steps) >= steps // 2
    clamped, held = jnp.array([1, 10, 11]), jnp.array([1.0, 1.0, -1.0])

    def trial(weights_and_mean, key_and_type, theta, w_in):
        weights, expected = weights_and_mean
        key, kind = key_and_type
        start, kicks = jax.random.split(key)
        x = jax.random.uniform(start, (units,), minval=-0.1, maxval=0.1).at[clamped].set(held)
        u = jax.random.uniform(kicks, (steps, units))
        shocks = jnp.where(u < kick, 2.0 * u / kick - 1.0, 0.0)
        inputs = jnp.where(jnp.arange(steps) < steps // 4, 1.0, 0.0)

        def step(state, now):
            x, r, e = state
            u, shock, judged = now
            new = x + (dt / tau) * (-x + weights @ r + w_in[:, kind] * u) + shock
            new = new.at[clamped].set(held)
            # sum_kl theta_kl r_j^k (x_i - x'_i)^l, unrolled, so that XLA fuses it into one pass over the trace
            growth, deviation = 0.0, 1.0
            for level in range(degree + 1):
                polynomial = theta[degree, level]
                for k in range(degree - 1, -1, -1):
                    polynomial = polynomial * r + theta[k, level]
                growth = growth + jnp.outer(deviation * jnp.ones(units), polynomial)
                deviation = deviation * (x - new)
            e = e + dt * growth
            out = jnp.tanh(new)
            return (new, out, e), jnp.where(judged, out[0], 0.0)

        (_, _, trace), z = jax.lax.scan(step, (x, jnp.tanh(x), jnp.zeros((units, units))), (inputs, shocks, response))
        target = jnp.where(kind == 0, -0.98, 0.98)
        reward = -jnp.sum(jnp.where(response, jnp.abs(z - target), 0.0)) / jnp.sum(response)
        before = expected[kind]
        weights = weights + trace * jnp.where(jnp.isnan(before), 0.0, reward - before)
        after = jnp.where(jnp.isnan(before), reward, 0.75 * before + 0.25 * reward)
        return (weights, expected.at[kind].set(after)), -reward

    def network(key, theta):
        keys = jax.random.split(key, trials + 2)
        weights = 1.5 / jnp.sqrt(units) * jax.random.normal(keys[0], (units, units))
        w_in = jax.random.uniform(keys[1], (units, 2), minval=-1.0, maxval=1.0)
        kinds = jnp.arange(trials) % 2
        state = (weights, jnp.full(2, jnp.nan))
        _, errors = jax.lax.scan(lambda s, now: trial(s, now, theta, w_in), state, (keys[2:], kinds))
        return errors

    return jax.jit(jax.vmap(network))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("units", "steps", "degree", "networks", "trials"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--dt", type=float, default=5.0)
    args = parser.parse_args()
    import jax

    run = build(args.units, args.steps, args.dt, args.degree, args.trials)
    theta = 1e-4 * jax.random.uniform(jax.random.key(0), (args.networks, args.degree + 1, args.degree + 1), minval=-1.0)
    keys = jax.random.split(jax.random.key(1), args.networks)
    run(keys, theta).block_until_ready()  # compiles
    clock = time.perf_counter()
    errors = run(keys, theta).block_until_ready()
    seconds = time.perf_counter() - clock
    print(
        json.dumps(
            {"rate": args.networks * args.trials / seconds, "jax": jax.__version__, "error": float(errors.mean())}
        )
    )


if __name__ == "__main__":
    main()
