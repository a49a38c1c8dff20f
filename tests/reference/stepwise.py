"""One learning network in plain float64 loops, written from the equations and sharing no code with the package.

dx/dt = -x + W r + W_in u, r = phi(x), trace and weight update as in Eq. 4 and 5, one synapse at a time.
"""

import math

import numpy as np

PHI = {
    "tanh": math.tanh,
    "threshold_linear": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
}


def learn(
    theta,  # {(k, l, m): raw coefficient of r_j^k (xbar_i - x_i)^l w_ij^m}
    weights,  # (N, N), post, pre
    input_weights,  # (N, I)
    initial_states,  # (trials, N)
    kicks,  # (trials, T, N)
    inputs,  # (trials, T, I)
    targets,  # (trials,)
    types,  # (trials,)
    response_start,
    *,
    dt=5.0,
    tau=30.0,
    tau_e=math.inf,
    tau_w=math.inf,
    tau_xbar=0.0,
    warm_up=2,
    clamped=None,
    readout=0,
    phi="tanh",
    mask=None,
    signs=None,
    max_change=math.inf,
    error_factor=False,
    initial_expectation=None,
    reset_xbar=True,
    trace_start=0,
):
    """Weights after the last trial and the error of each trial."""
    clamped = {1: 1.0, 10: 1.0, 11: -1.0} if clamped is None else clamped
    f = PHI[phi]
    w = np.array(weights, dtype=np.float64)
    n = len(w)
    exists = np.ones((n, n), dtype=bool) if mask is None else np.asarray(mask)
    expectation = {}
    if initial_expectation is not None:
        expectation = {int(c): initial_expectation for c in np.unique(types)}
    errors = []
    xbar = [0.0] * n
    for k in range(len(types)):
        x = [float(v) for v in initial_states[k]]
        for unit, value in clamped.items():
            x[unit] = value
        if reset_xbar:
            xbar = list(x)
        r = [f(v) for v in x]
        e = np.zeros((n, n))
        deviations = []
        for t in range(len(inputs[k])):
            new = []
            for i in range(n):
                total = -x[i]
                for j in range(n):
                    total += w[i, j] * r[j]
                for c in range(inputs.shape[2]):
                    total += input_weights[i, c] * inputs[k, t, c]
                new.append(x[i] + dt / tau * total + kicks[k, t, i])
            for unit, value in clamped.items():
                new[unit] = value
            if not math.isinf(tau_e):
                e *= math.exp(-dt / tau_e)
            if t >= trace_start:
                for i in range(n):
                    d = xbar[i] - new[i]
                    for j in range(n):
                        growth = 0.0
                        for (a, b, c), value in theta.items():
                            growth += value * r[j] ** a * d**b * w[i, j] ** c
                        e[i, j] += dt * growth
            keep = math.exp(-dt / tau_xbar) if tau_xbar > 0 else 0.0
            xbar = [keep * m + (1 - keep) * v for m, v in zip(xbar, new, strict=True)]
            x = new
            r = [f(v) for v in x]
            if t >= response_start:
                deviations.append(abs(r[readout] - targets[k]))
        error = sum(deviations) / len(deviations)
        errors.append(error)
        c = int(types[k])
        if k >= warm_up:
            surprise = -error - expectation[c] if c in expectation else 0.0
            if error_factor:
                surprise *= -expectation[c]
            for i in range(n):
                for j in range(n):
                    if not exists[i, j]:
                        continue
                    change = min(max(e[i, j] * surprise, -max_change), max_change)
                    value = (w[i, j] if math.isinf(tau_w) else (1 - 1 / tau_w) * w[i, j]) + change
                    if signs is not None and value * signs[j] < 0:
                        value = 0.0
                    w[i, j] = value
        expectation[c] = -error if c not in expectation else 0.75 * expectation[c] - 0.25 * error
    return w, np.array(errors)
