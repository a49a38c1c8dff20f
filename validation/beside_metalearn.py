"""MetaLearnPlasticity's program beside `PolicyNetwork`, on flies that it simulates; used by peers_of_behaviour.py."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from behaviour import COIN
from peer_runs import SEED, Row, between, row, run
from scipy.optimize import minimize

import sbirules as sr
from sbirules.priors import spike_and_slab
from sbirules.samplers.smc import SamplerSettings
from sbirules.simulators import PolicyNetwork

FLIES = {"learner": "fly", "trial": "trial", "step": "step", "stimulus": ["a", "b"], "accept": "accept"}
POWERS = [(i, j, k) for k in range(2) for i in range(3) for j in range(3)]  # of x, r - rbar and w, as its run.py trains
NETWORKS = {"no hidden units": "[2,1]", "ten hidden units": "[2,10,1]"}
SAMPLER = SamplerSettings(max_doublings=0)  # else the usual; R-hat is among the rows
L1 = 1e-2  # its run.py's


def flies(found: dict[str, np.ndarray], folder: Path, experiments: list[str]) -> sr.Trials:
    """A table of its simulated flies, by way of a file."""
    out = []
    for k, which in enumerate(experiments):
        xs, decisions, rewards = (found[f"{which}/{name}"] for name in ("xs", "decisions", "rewards"))
        trial, step = np.nonzero(~np.isnan(decisions))
        accept = decisions[trial, step].astype(int)
        a, b = xs[trial, step].astype(float).T
        reward = np.where(accept == 1, rewards[trial], np.nan)
        columns = {"trial": trial, "step": step, "a": a, "b": b, "accept": accept, "reward": reward}
        out.append(pd.DataFrame({"fly": f"fly{k + 1:02d}", **columns}))
    pd.concat(out).to_csv(folder / "flies.csv", index=False)
    return sr.Trials.read(folder / "flies.csv", columns={**FLIES, "reward": "reward"})


def term(powers: tuple[int, int, int]) -> str:
    named = zip(("x", "rd", "w"), powers, strict=True)
    return " ".join(v + (f"^{k}" if k > 1 else "") for v, k in named if k) or "1"


def point(likelihood: Any, padded: list[int], scale: np.ndarray) -> np.ndarray:
    """The minimum of its own loss, mean cross-entropy over padded trials and L1, with our gradient."""
    size, price = len(POWERS), L1 * len(padded) / scale
    weight = 1.0 / torch.tensor(padded, dtype=torch.float64)

    def loss(parts: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.as_tensor(parts[:size] - parts[size:])[None]
        value, slope = likelihood.value_and_slope(theta)
        if not torch.isfinite(value).all():
            return 1e10, np.zeros(2 * size)
        g = -(slope[0] * weight[:, None]).sum(dim=0).numpy()
        cost = float((price * (parts[:size] + parts[size:])).sum())
        return float(-(value[0] * weight).sum()) + cost, np.concatenate([g + price, price - g])

    start = np.full(2 * size, 1e-3)
    best = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * size), options={"maxiter": 2000}
    )
    return np.asarray(best.x[:size] - best.x[size:])


def metalearn(python: str, repo: Path, name: str, seeds: range) -> list[Row]:
    """Its program's own example with one kind of network, and ours (a network without hidden units) on the tables it made."""
    hidden = NETWORKS[name] != "[2,1]"
    gain = 5.0 if hidden else 1.0  # of its read-out: our weights are logits, and near 0 tanh is straight
    scale = np.array(
        [gain ** (1 - k) / 2 for _, _, k in POWERS]
    )  # of its coefficients in ours; it divides by the two inputs
    sums: dict[str, list[float]] = {}
    family = sr.TaylorRule([term(p) for p in POWERS], baseline="last", last=10)
    simulator = PolicyNetwork(family, nuisance=(), constant=False)
    slabs = {name: (-2 * v, 2 * v) for name, v in zip(family.names, scale.tolist(), strict=True)}
    prior = spike_and_slab(family, 0.2, **slabs)

    def add(what: str, value: float) -> None:
        sums.setdefault(what, []).append(float(value))

    for seed in seeds:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            told = {"layer_sizes": NETWORKS[name], "num_eval": 12, "flyid": seed, "log_expdata": "False"}
            (folder / "settings.json").write_text(json.dumps(told))
            script = Path(__file__).with_name("peer_metalearn.py").resolve()
            run(python, script, folder / "settings.json", folder / "out.npz", folder=repo)
            found = dict(np.load(folder / "out.npz"))
            train = [f"train/{k}" for k in range(len(found["train/fitted"]))]
            known = [found[f"{which}/decisions"] for which in train]
            fresh = [k for k in range(len(found["eval/fitted"]))
                     if not any(np.array_equal(found[f"eval/{k}/decisions"], v, equal_nan=True) for v in known)]  # fmt: skip
            add("repeated", len(found["eval/fitted"]) - len(fresh))
            table = flies(found, folder, train)
            other = flies(found, folder, [f"eval/{k}" for k in fresh])
        policy = simulator.suited(table)
        likelihood, judged = policy.likelihood(table), policy.likelihood(other)
        likelihood.log_prob(torch.zeros(1, len(POWERS)).double())  # compiles
        start = time.process_time()
        best = point(likelihood, [found[f"{which}/decisions"].size for which in train], scale)
        add("point s", time.process_time() - start)
        start = time.process_time()
        posterior = sr.fit(policy, prior, trials=table, sampler=SAMPLER)
        draws = posterior.draw(400, seed=SEED)
        add("posterior s", time.process_time() - start)
        rules = draws.draws.flatten(0, 1)[:400].double()
        add("R-hat", draws.r_hat)
        add("peer s", float(found["seconds"]))
        add("x rd", posterior.with_draws(draws).inclusion_probabilities()["x_rd"])
        given = found["coefficients"]
        add("peer x rd", given[1, 1, 0])
        add("our x rd", (best / scale)[POWERS.index((1, 1, 0))])
        theirs = torch.tensor([[v * float(given[p]) for v, p in zip(scale, POWERS, strict=True)]], dtype=torch.float64)
        # with hidden units coefficients are its own, but for its division by the two inputs
        theirs_hidden = torch.tensor([[0.5 * float(given[p]) for p in POWERS]], dtype=torch.float64)
        for part, of, one, at in (("train", likelihood, table, range(len(train))), ("eval", judged, other, fresh)):
            coin = int(one.num_trials.sum()) * COIN
            choice = torch.cat([c[torch.isfinite(c)] for c in one.trajectory.per_trial["choice"]]).long()
            mean = of.probabilities(rules[:, None].expand(-1, len(one), -1)).mean(dim=0)
            value = {
                "peer": found[f"{part}/fitted"][list(at)].sum(),
                "true": found[f"{part}/true"][list(at)].sum(),
                "point": of.log_prob(torch.as_tensor(best)[None]).sum(),
                "posterior": mean.gather(1, choice[:, None]).log().sum(),
            }
            for what, v in value.items():
                add(f"{part} {what}", 100 * (1 - float(v) / coin))
            exact = of.log_prob(theirs)[0].numpy()
            if hidden:  # the same policy, averaged over first weights
                layered = PolicyNetwork(family, nuisance=(), constant=False, hidden=10, weight_draws=8).suited(one)
                exact = layered.likelihood(one).log_prob(theirs_hidden)[0].numpy()
            add("same", np.abs(exact - found[f"{part}/fitted"][list(at)]).max())

    def mean(what: str) -> float:
        return float(np.mean(sums[what]))

    group = f"MetaLearnPlasticity, {name}"

    def both(quantity: str, peer: str | None, ours: str | None, digits: int = 4) -> Row:
        return row(group, quantity, None if peer is None else mean(peer), None if ours is None else mean(ours), digits)

    apart = "largest difference of the log-probabilities of one fly under its rule (nats)"
    return [
        both("flies it is judged on that it was trained on, of 12 (left out below)", "repeated", None),
        between(group, apart + (", ours with ten hidden units, too" if hidden else ""), max(sums["same"])),
        both("deviance explained, flies trained on (%): its rule; our point", "train peer", "train point"),
        both("deviance explained, other flies (%): its rule; our point", "eval peer", "eval point"),
        both("deviance explained, other flies (%): its rule; our posterior", "eval peer", "eval posterior"),
        both("the same by the rule that made the flies, given the inputs recorded", "eval true", None),
        both("coefficient of x rd (true 1): its rule; our point", "peer x rd", "our x rd"),
        both("inclusion probability of x rd", None, "x rd"),
        both("R-hat of our posterior", None, "R-hat", 3),
        both("fitting (processor s): its loop; our point", "peer s", "point s", 3),
        both("fitting (processor s): its loop; our posterior and evidence", "peer s", "posterior s", 3),
    ]
