"""MetaLearnPlasticity's own program on its own simulated flies; run by peers_of_behaviour.py, with an interpreter that has JAX.

    PYTHON peer_metalearn.py SETTINGS.json OUT.npz       in a checkout of github.com/yashsmehta/MetaLearnPlasticity

SETTINGS are changes to the configuration of its `run.py`. It is trained as `trainer.train` does; kept are the tables that it was
trained and judged on, the coefficients, its own percent deviance, the log-probability of each table under them and under the
coefficients that made the table (both given the recorded inputs, with first weights 0), and the processor time of its loop.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def configuration(changes: dict[str, Any]) -> Any:
    """That of its `run.py`, changed."""
    import plasticity.trainer as trainer

    held: dict[str, Any] = {}
    original, trainer.train = trainer.train, lambda cfg: held.update(cfg=cfg)
    sys.argv = ["run", *(f"{name}={value}" for name, value in changes.items())]
    runpy.run_module("plasticity.run", run_name="__main__")
    trainer.train = original
    return held["cfg"]


def main() -> None:
    settings, target = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    sys.path.insert(0, ".")
    import plasticity.data_loader as loader
    import plasticity.model as model
    import plasticity.synapse as synapse
    import plasticity.trainer as trainer

    cfg = configuration(settings)
    tables: dict[str, Any] = {}
    at: dict[str, float] = {}
    judged: dict[str, Any] = {}
    load, judge = loader.load_data, model.evaluate

    def loaded(key: Any, cfg: Any, mode: str = "train") -> Any:
        tables[mode] = load(key, cfg, mode)
        at[mode] = time.process_time()
        return tables[mode]

    def evaluated(key: Any, cfg: Any, coefficients: Any, rule: Any) -> Any:
        at["trained"] = time.process_time()
        judged.update(coefficients=coefficients, rule=rule)
        out = judge(key, cfg, coefficients, rule)
        judged["percent"] = out[1]
        return out

    loader.load_data, model.evaluate = loaded, evaluated
    trainer.train(cfg)

    import jax

    key = jax.random.PRNGKey(0)
    nothing = model.initialize_params(key, cfg, scale=0.0)
    truth, true_rule = synapse.init_plasticity(key, cfg, mode="generation_model")

    def log_prob(table: Any, which: str, coefficients: Any, rule: Any) -> float:
        xs, _, decisions, rewards, expected = table
        d = np.asarray(decisions[which])
        lengths = loader.get_trial_lengths(decisions[which])
        _, activations = model.simulate(
            nothing, coefficients, rule, xs[which], rewards[which], expected[which], lengths
        )
        logit = np.asarray(activations[-1])[..., 0].astype(float)
        sign = np.where(d == 1, 1.0, -1.0)
        return float(-np.logaddexp(0.0, -sign * logit)[~np.isnan(d)].sum())

    out: dict[str, Any] = {
        "coefficients": np.asarray(judged["coefficients"]),
        "percent": float(judged["percent"]),
        "seconds": at["trained"] - at["train"],
        "truth": np.asarray(truth),
    }
    for mode, table in tables.items():
        xs, _, decisions, rewards, expected = table
        for which in xs:
            for name, value in (("xs", xs), ("decisions", decisions), ("rewards", rewards), ("expected", expected)):
                out[f"{mode}/{which}/{name}"] = np.asarray(value[which])
        for name, of, rule in (
            ("fitted", judged["coefficients"], judged["rule"]),
            ("true", truth, true_rule),
        ):
            out[f"{mode}/{name}"] = [log_prob(table, which, of, rule) for which in xs]
    np.savez(target, **out)


if __name__ == "__main__":
    main()
