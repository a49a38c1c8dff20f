"""The fish's circuit: what models predict, in and out of distribution, and which connections they find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from result_rows import Row, row
from torch import Tensor

from sbirules.simulators.zebrafish import (
    ActivityModel,
    CircuitActivity,
    CircuitModel,
    LinearAutoregression,
    MeanActivity,
    NLinear,
    OptomotorCircuit,
    Persistence,
    RecurrentModel,
    TrueModel,
    circuit_posterior,
    closed_loop,
    impulse_responses,
    jacobian,
    one_step_error,
    sign_accuracy,
)

__all__ = ["fish_rows"]

TRAINED = ("inward", "leftward", "rightward")
HELD_OUT = "outward"
SHUFFLES = 200
AUTOREGRESSIONS = ("autoregression of 1 step", "autoregression of 3 steps", "autoregression of 8 steps")
BASELINES = ("persistence", "mean", *AUTOREGRESSIONS, "NLinear")
FREE = ("recurrent network", "circuit's equation, all connections")
MASKED = "circuit's equation, its connections"


def models(circuit: OptomotorCircuit, quick: bool) -> dict[str, ActivityModel]:
    steps = 200 if quick else 1000
    return {
        "persistence": Persistence(),
        "mean": MeanActivity(),
        **{name: LinearAutoregression(lags) for name, lags in zip(AUTOREGRESSIONS, (1, 3, 8), strict=True)},
        "NLinear": NLinear(),
        "recurrent network without drive": RecurrentModel(drive=False, steps=200 if quick else 800),
        "recurrent network": RecurrentModel(steps=200 if quick else 800),
        "circuit's equation, all connections": CircuitModel(steps=steps),
        MASKED: CircuitModel(circuit.mask, circuit.input_mask, steps=steps),
    }


def alike(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


def shuffled_accuracy(j: Tensor, signs: Tensor, seed: int) -> tuple[float, float]:
    """Sign accuracy of a Jacobian whose entries off the diagonal are shuffled: mean and s.d."""
    gen = torch.Generator().manual_seed(seed)
    off = ~torch.eye(len(j), dtype=torch.bool)
    values = j[off]
    out = []
    for _ in range(SHUFFLES):
        other = j.clone()
        other[off] = values[torch.randperm(len(values), generator=gen)]
        out.append(sign_accuracy(other, signs))
    return float(np.mean(out)), float(np.std(out, ddof=1))


def f1(found: Tensor, truth: Tensor) -> float:
    off = ~torch.eye(len(truth), dtype=torch.bool)
    both = float((found & truth & off).sum())
    return 2 * both / float((found & off).sum() + (truth & off).sum())


def by_sindy(data: CircuitActivity, mask: Tensor) -> float | None:
    """F1 of connections that pysindy finds, at the threshold that predicts the last fifth of the trials best."""
    try:
        import pysindy as ps
    except ImportError:
        return None
    x, u = data.activity.numpy(), data.drive.numpy()
    rows = np.random.default_rng(0).permutation(len(x))
    fitted, held = rows[: len(x) * 4 // 5], rows[len(x) * 4 // 5 :]
    best: tuple[float, Any] = (math.inf, None)
    for threshold in (0.003, 0.01, 0.03, 0.1, 0.3):
        model = ps.DiscreteSINDy(
            optimizer=ps.STLSQ(threshold=threshold, alpha=1e-6),
            feature_library=ps.PolynomialLibrary(degree=1),
        )
        model.fit([x[k] for k in fitted], t=1, u=[u[k] for k in fitted])
        c = model.coefficients()
        error = np.mean((c[:, :1].T + x[held, :-1] @ c[:, 1:29].T + u[held, :-1] @ c[:, 29:].T - x[held, 1:]) ** 2)
        if error < best[0]:
            best = (float(error), c)
    return f1(torch.from_numpy(best[1][:, 1:29] != 0), mask)


def one_circuit(seed: int, quick: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    circuit = OptomotorCircuit(seed)
    data = circuit.simulate(TRAINED, num_trials=10 if quick else 40, seed=10 * seed + 1)
    fresh = circuit.simulate(num_trials=10 if quick else 20, seed=10 * seed + 2)
    inside, outside = fresh.of(*TRAINED), fresh.of(HELD_OUT)
    true = TrueModel(circuit).fit(data)
    floor = one_step_error(true, inside), one_step_error(true, outside)
    truth, answers = jacobian(true, inside), impulse_responses(true, inside)
    motor = circuit.motor_drive(outside.activity)
    off = ~torch.eye(len(circuit.units), dtype=torch.bool)
    blind = TrueModel(circuit, drive=False).fit(data)
    out: dict[str, Any] = {"blind": (one_step_error(blind, inside), one_step_error(blind, outside)), "floor": floor}
    told: dict[str, dict[str, Any]] = {}
    for name, model in models(circuit, quick).items():
        model.fit(data)
        each: dict[str, Any] = {
            "inside": one_step_error(model, inside) - floor[0],
            "outside": one_step_error(model, outside) - floor[1],
        }
        if name not in ("persistence", "mean", "NLinear"):
            j = jacobian(model, inside)
            rolled = circuit.motor_drive(closed_loop(model, outside))
            each |= {
                "signs": sign_accuracy(j, circuit.signs),
                "shuffled": shuffled_accuracy(j, circuit.signs, seed),
                "rank": alike(ranks(j[off]), ranks(truth[off])),
                "impulse": alike(impulse_responses(model, inside), answers),
                "behaviour": 1 - float((rolled - motor)[:, 10:].square().mean() / motor[:, 10:].var()),
            }
        told[name] = each
    out["models"] = told
    posterior = circuit_posterior(
        data.trials(range(0, len(data), 2 if quick else 10)), num_draws=100 if quick else 400, seed=seed
    )
    chance = torch.stack([posterior.inhibitory, 1 - posterior.connected, posterior.excitatory])
    right = (circuit.signs + 1).long()
    low, high = torch.quantile(posterior.weights, torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0)
    inside_band = (circuit.weights >= low) & (circuit.weights <= high)
    out["posterior"] = {
        "top": chance.max(dim=0).values[off],
        "hit": (chance.argmax(dim=0) == right)[off].double(),
        "band": inside_band[circuit.mask].double(),
        "f1": f1(posterior.connected > 0.5, circuit.mask),
        "signs": sign_accuracy(posterior.excitatory - posterior.inhibitory, circuit.signs),
    }
    out["sindy"] = by_sindy(data, circuit.mask)
    return out


def mean_error(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def fish_rows(quick: bool, jobs: int) -> list[Row]:
    count = 1 if quick else 5
    found = Parallel(n_jobs=jobs)(delayed(one_circuit)(seed, quick) for seed in range(count))

    def errors(name: str, where: str) -> Tensor:
        return torch.cat([f["models"][name][where] for f in found])

    def listed(name: str, what: str) -> np.ndarray:
        return np.array([f["models"][name][what] for f in found])

    where = ("inside", "outside")
    out = []
    best = min(AUTOREGRESSIONS, key=lambda n: float(errors(n, "inside").mean()))
    gap = torch.cat([f["blind"][0] - f["floor"][0] for f in found]) - errors(best, "inside")
    mean, se = mean_error(gap)
    out.append(
        row(
            f"the true circuit without its drive, error above that of {best}",
            "not below by more than 2 s.e.",
            f"{mean:.3g} +- {se:.1g}",
            mean > -2 * se,
        )
    )
    best_of = {w: min(float(errors(n, w).mean()) for n in BASELINES) for w in where}
    for name in FREE:
        ratio = [best_of[w] / float(errors(name, w).mean()) for w in where]
        out.append(
            row(
                f"{name}: excess of the best baseline over its own, in distribution (held out)",
                "at least 5, and lost",
                f"{ratio[0]:.1f} ({ratio[1]:.1f})",
                ratio[0] >= 5 and ratio[1] < 5,
            )
        )
    ((a, sa), (b, sb)) = (mean_error(errors(MASKED, w)) for w in where)
    out.append(
        row(
            f"{MASKED}: excess held out over that in distribution",
            "at most 1.5",
            f"{b / a:.2f} ({b:.2g} +- {sb:.1g} over {a:.2g} +- {sa:.1g})",
            b - 2 * sb <= 1.5 * (a + 2 * sa),
        )
    )
    out.append(
        row(
            f"{MASKED}: balanced accuracy of signs",
            "at least .9",
            f"{listed(MASKED, 'signs').mean():.2f}",
            bool(listed(MASKED, "signs").mean() >= 0.9),
        )
    )
    for name in FREE:
        own, other = listed(name, "signs"), listed(name, "shuffled")
        mean, sd = float(other[:, 0].mean()), float(np.sqrt((other[:, 1] ** 2).mean() / count))
        out.append(
            row(
                f"{name}: balanced accuracy of signs",
                "within 2 s.e. of a shuffled Jacobian",
                f"{own.mean():.2f}, shuffled {mean:.2f} +- {sd:.2f}",
                bool(abs(own.mean() - mean) <= 2 * sd),
            )
        )
    p = [f["posterior"] for f in found]
    top, hit = torch.cat([q["top"] for q in p]), torch.cat([q["hit"] for q in p])
    mean, se = mean_error(hit - top)
    out.append(
        row(
            "posterior over circuits: signs (excites, inhibits, absent), said and right",
            "within 2 s.e.",
            f"{float(top.mean()):.4f}, {float(hit.mean()):.4f} +- {se:.4f}",
            abs(mean) <= 2 * se,
        )
    )
    band = mean_error(torch.cat([q["band"] for q in p]))
    out.append(
        row(
            "posterior over circuits: true weights within 90 % bands",
            ".9 within 2 s.e.",
            f"{band[0]:.3f} +- {band[1]:.3f}",
            abs(band[0] - 0.9) <= 2 * band[1],
        )
    )
    ours = np.array([q["f1"] for q in p])
    sindy = [f["sindy"] for f in found]
    if None not in sindy:
        gap_f1 = ours - np.array(sindy, dtype=float)
        se = float(gap_f1.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
        text = f"{ours.mean():.3f} against {np.mean(sindy):.3f}, gap {gap_f1.mean():.3f} +- {se:.3f}"
        out.append(row("F1 of connections against pysindy", "ahead by 2 s.e.", text, bool(gap_f1.mean() > 2 * se)))
    for name in found[0]["models"]:
        text = "; ".join(
            f"{title} {m:.3g} +- {s:.1g}"
            for title, (m, s) in zip(("in", "held out"), (mean_error(errors(name, w)) for w in where), strict=True)
        )
        if "signs" in found[0]["models"][name]:
            parts = (("signs", "signs"), ("rank", "ranks"), ("impulse", "pushes"), ("behaviour", "behaviour R2"))
            text += "; " + ", ".join(f"{title} {listed(name, key).mean():.2f}" for key, title in parts)
        out.append(row(f"table: {name}, excess", "listed", text, None))
    text = ", ".join(f"{float(torch.cat([f['floor'][k] for f in found]).mean()):.3g}" for k in (0, 1))
    out.append(row("table: the true circuit, error in and held out", "listed", text, None))
    return out
