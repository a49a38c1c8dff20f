"""The posterior given the summaries of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules import _check
from sbirules.amortised import AmortisedPosterior, NPESettings, fit_npe
from sbirules.classifier import fit_event_probability
from sbirules.ensemble import EnsembleSettings
from sbirules.features import Standardiser
from sbirules.fit_trials import spread_atoms
from sbirules.likelihood import LikelihoodSettings, fit_likelihood
from sbirules.potentials import TrialsPotential

__all__ = ["ESTIMATORS", "observation_potential", "observed", "observed_again"]

ESTIMATORS = {"likelihood": LikelihoodSettings, "npe": NPESettings}
FEWEST = 100  # simulations to learn from
ATOMS = 0.02  # share of all rows that may have one value before a summary counts as having atoms


def observed(x_o: Any, names: Sequence[str]) -> tuple[Tensor, list[int]]:
    """An observation as a row `(S,)`, and the columns of x that it is about.

    Arguments:
        x_o: Values by summary name, all or some of them, or a row of all.
        names: Names of the columns of x.

    Raises:
        ValueError: If a name is unknown, a value is not finite, or the length is wrong.
    """
    if hasattr(x_o, "to_dict"):  # a pandas Series, or a table of one row
        x_o = x_o.iloc[0].to_dict() if getattr(x_o, "ndim", 1) == 2 and len(x_o) == 1 else x_o.to_dict()
    if isinstance(x_o, Mapping):
        for name in x_o:
            _check.known("x_o", name, tuple(names))
        columns = [i for i, name in enumerate(names) if name in x_o]
        row = _numbers([x_o[names[i]] for i in columns], x_o)
    else:
        row, columns = _numbers(x_o, x_o), list(range(len(names)))
        row = row[0] if row.ndim == 2 and len(row) == 1 else row
    if tuple(row.shape) != (len(columns),) or not columns:
        raise ValueError(
            f"x_o must be one observation of {len(names)} summaries ({_check.listed(tuple(names))}), or a table "
            f"of some of them by name; got shape {tuple(row.shape)}. Several learners go into trials."
        )
    if not torch.isfinite(row).all():
        wrong = names[columns[int((~torch.isfinite(row)).nonzero()[0])]]
        raise ValueError(f"x_o must be finite, got {wrong} = {float(row[~torch.isfinite(row)][0])}.")
    return row, columns


def _numbers(values: Any, given: Any) -> Tensor:
    try:
        return torch.as_tensor(values, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"x_o must hold numbers, got {given!r}.") from error


def observation_potential(
    theta: Tensor,
    x: Tensor,
    names: Sequence[str],
    x_o: Any,
    prior: Distribution,
    standardiser: Standardiser,
    *,
    estimator: str = "likelihood",
    settings: Any = None,
    classifier: EnsembleSettings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[TrialsPotential | AmortisedPosterior, dict[str, Any]]:
    """The learned posterior or likelihood of one network's summaries, and the facts of the fit.

    Arguments:
        theta: Simulated rules, `(n, D)`.
        x: Their summaries, `(n, S)`.
        names: Names of the columns of x.
        x_o: What was observed.
        prior: The prior.
        standardiser: Of theta.
        estimator: `"likelihood"` or `"npe"`.
        settings: Of the estimator.
        classifier: Settings of the classifier of failures.
        seed: Makes the fit repeatable.
        progress: Whether to show a progress bar.
    """
    _check.known("estimator", estimator, tuple(ESTIMATORS))
    wanted: type[Any] = ESTIMATORS[estimator]
    if settings is not None and not isinstance(settings, wanted):
        raise ValueError(f"the settings of estimator={estimator!r} must be {wanted.__name__}, got {settings!r}.")
    row, columns = observed(x_o, names)
    x = x[:, columns]
    ok = torch.isfinite(x).all(dim=1)
    facts: dict[str, Any] = {
        "kind": "observation",
        "estimator": estimator,
        "summaries": [names[i] for i in columns],
        "x_o": row.tolist(),
        "simulations": len(x),
        "valid": int(ok.sum()),
    }
    if estimator == "npe":
        # rules whose networks failed cannot have made x_o: the valid rows already carry p(valid | theta)
        net, more = fit_npe(theta[ok], x[ok], row, prior, settings=settings, seed=seed, progress=progress)
        return net, facts | more
    if int(ok.sum()) < FEWEST:
        counts = ", ".join(f"{names[i]} in {int(torch.isfinite(x[:, k]).sum())}" for k, i in enumerate(columns))
        raise ValueError(
            f"only {int(ok.sum())} of {len(x)} simulated networks have all of the observed summaries (defined: "
            f"{counts}); at least {FEWEST} are needed."
        )
    for k in range(x.shape[1]):
        _, counts = torch.unique(x[ok][:, k], return_counts=True)
        if int(counts.max()) > ATOMS * int(ok.sum()):
            x[:, k], spread = spread_atoms(x[:, k], row[k : k + 1], ok, (seed, k))
            row[k] = spread[0]
    valid = fit_event_probability(theta, ok, standardiser, settings=classifier, seed=seed)
    alike = torch.zeros(int(ok.sum()), dtype=torch.long)
    model = fit_likelihood(
        theta[ok], x[ok], alike, valid, standardiser, settings=settings, seed=seed, progress=progress
    )
    facts["flow_share"] = model.history["flow_share"]
    return TrialsPotential(model, row[None], torch.zeros(1, dtype=torch.long)).eval(), facts


def observed_again(
    net: TrialsPotential | AmortisedPosterior, facts: Mapping[str, Any], x_o: Any
) -> tuple[TrialsPotential | AmortisedPosterior, dict[str, Any]]:
    """A trained estimator given another observation of the same summaries."""
    row, columns = observed(x_o, facts["summaries"])
    if len(columns) < len(facts["summaries"]):
        raise ValueError(f"x_o must hold all of {_check.listed(facts['summaries'])}.")
    again = net.given(row) if isinstance(net, AmortisedPosterior) else net.given(row[None])
    return again, {**facts, "x_o": row.tolist()}
