"""summary.json: the numbers of a study, for programs."""

from __future__ import annotations

from typing import Any

from sbirules.checks.collected import Checks
from sbirules.importance import Sensitivity
from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.parts import clear_of_zero
from sbirules.inference.posterior import Posterior
from sbirules.model.simulator import Simulator
from sbirules.stores.store import SimulationStore

__all__ = ["SCHEMA_VERSION", "parameter_table", "question_words", "summary"]

SCHEMA_VERSION = 1


def parameter_table(posterior: Posterior) -> dict[str, dict[str, float]]:
    """Mean, s.d., median, 95 % interval and contraction of each coefficient, and whether the data alone exclude zero.

    Contraction is 1 - (posterior s.d. / prior s.d.)^2: 0 where nothing was learned, 1 where all was.
    """
    clear = clear_of_zero(posterior)
    return {
        str(name): {
            "mean": float(row["mean"]),
            "sd": float(row["sd"]),
            "q025": float(row["2.5%"]),
            "median": float(row["median"]),
            "q975": float(row["97.5%"]),
            "contraction": float(1 - (row["sd"] / max(row["prior_sd"], 1e-300)) ** 2),  # under any prior
            "excludes_zero": name in clear,
        }
        for name, row in posterior.marginals().iterrows()
    }


def question_words(posterior: Posterior, simulator: Simulator) -> str:
    """What was asked, as a sentence."""
    subject = f"Which plasticity rules ({type(simulator.family).__name__}, {len(posterior.names)} coefficients)"
    setting = f" on {simulator.setting}" if simulator.setting else ""
    if posterior.question is None:
        return f"{subject} could have led to what was observed{setting}?"
    return posterior.question.words(subject, setting)


def summary(
    store: SimulationStore | None,
    posterior: Posterior,
    checked: Checks | None = None,
    sensitivity: Sensitivity | None = None,
    simulator: Simulator | None = None,
    compared: ChoiceComparison | None = None,
) -> dict[str, Any]:
    """The content of summary.json.

    Arguments:
        store: The simulations; None where there were none.
        posterior: With draws.
        checked: All checks, once they were made.
        sensitivity: Which coefficients matter, once that is known.
        simulator: As the question needs it; its setting and family stand in the question's words.
        compared: The rule beside baselines, once they were compared.
    """
    chains = posterior.chains
    out: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **({} if simulator is None else {"question": question_words(posterior, simulator)}),
        "simulations": {"count": 0, "status": {}, "seconds": 0.0}
        if store is None  # where the likelihood is known exactly
        else {
            "count": len(store),
            "status": {name: n for name, n in store.status_counts().items() if n},
            "seconds": store.seconds,
        },
        "parameters": parameter_table(posterior),
        "sampling": {"draws": len(posterior.draws), "r_hat": chains.r_hat, "ess": chains.ess},
    }
    if checked is not None:
        if checked.question is not None and checked.resimulation is not None:
            out |= checked.question.numbers(checked.resimulation)
        out["checks"] = checked.to_dict()
    if compared is not None:
        out["baselines"] = _baselines(compared)
    if sensitivity is not None:
        out["sensitivity"] = _sensitivity(sensitivity)
    return out


def _baselines(found: ChoiceComparison) -> dict[str, Any]:
    """Whether a rule is needed, and the scores of each family."""
    rows = {str(name): dict(row) for name, row in found.table().to_dict("index").items()}
    return {"plasticity": found.plasticity, "best": found.best, "animals": found.animals, "families": rows}


def _sensitivity(found: Sensitivity) -> dict[str, Any]:
    """Each effect by coefficient, `[value, standard error]`, and the share of variance that the learned outcome explains."""
    effects = {
        name: {n: [v, s] for n, v, s in zip(e.names, e.value.tolist(), e.se.tolist(), strict=True)}
        for name, e in found.effects().items()
    }
    explained = {} if found.explained != found.explained else {"explained": found.explained}
    return {"outcome": found.outcome, **explained, **effects}
