"""The settings of [simulate], [fit], [check] and [sensitivity], checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from sbirules import _check
from sbirules.catalogue import check_key
from sbirules.ensemble import EnsembleSettings
from sbirules.fit_trials import ESTIMATORS
from sbirules.likelihood import LikelihoodSettings
from sbirules.sensitivity.overview import PARTS
from sbirules.smc import SamplerSettings
from sbirules.summaries import resolve, summarise
from sbirules.trials import Trials

__all__ = ["check_numbers"]

WHOLE = {  # smallest legal value
    "simulate": {"num_simulations": 1, "seed": 0, "shard_size": 1},
    "fit": {"num_samples": 1, "rounds": 0, "round_simulations": 1, "seed": 0, "all_of_networks": 1},
    "check": {"rules": 2, "networks_per_rule": 1, "seed": 0, "calibration": 0},
    "sensitivity": {"rules": 2, "networks": 1, "seed": 0},
}
SETTINGS = {
    "classifier": EnsembleSettings, "ratio": EnsembleSettings, "likelihood": LikelihoodSettings,
    "sampler": SamplerSettings,
}  # fmt: skip
OF_DATA, OF_CONSTRAINTS = ("summaries", "estimator", "ratio", "likelihood"), ("all_of_networks", "reliability")


def check_numbers(
    sections: Mapping[str, Mapping[str, Any]], of_constraints: bool, trials: Trials | None,
    attempt: Callable[[Callable[[], Any]], Any],
) -> None:  # fmt: skip
    """Calls `attempt` with a check of every setting.

    Arguments:
        sections: The study's settings.
        of_constraints: Whether it is a study of constraints.
        trials: The observed learners, if there are.
        attempt: Calls what it is given, and notes a ValueError.
    """
    fit, check = sections["fit"], sections["check"]
    for section, bounds in WHOLE.items():
        for key, bound in bounds.items():
            if key in sections[section]:
                value = sections[section][key]
                attempt(lambda s=section, k=key, v=value, b=bound: _check.whole(f"[{s}] {k}", v, b))  # type: ignore[misc]
    for key, kind in SETTINGS.items():
        attempt(lambda key=key, kind=kind: _settings(fit, key, kind))  # type: ignore[misc]
    if "reliability" in fit:
        attempt(lambda: _check.share("[fit] reliability", fit["reliability"]))
    attempt(lambda: _parts(sections["sensitivity"]["parts"]))
    for key in OF_DATA if of_constraints else OF_CONSTRAINTS:
        if key in fit:
            attempt(lambda key=key: _misplaced(key, of_constraints))  # type: ignore[misc]
    if of_constraints:
        if all(key in fit for key in OF_CONSTRAINTS):
            attempt(lambda: _both())
        return
    if 0 < (check["calibration"] if isinstance(check["calibration"], int) else 0) < 50:
        attempt(lambda: _check.whole("[check] calibration, unless it is 0,", check["calibration"], 50))
    if "estimator" in fit:
        attempt(lambda: _check.known("[fit] estimator", fit["estimator"], ESTIMATORS))
    if trials is not None:
        attempt(lambda: _summaries(fit.get("summaries"), trials))
        if "networks_per_rule" in check and check["networks_per_rule"] != len(trials):
            attempt(_one_per_learner)


def _misplaced(key: str, of_constraints: bool) -> None:
    here, there = ("data", "constraints") if of_constraints else ("constraints", "data")
    raise ValueError(f"[fit] {key} belongs to studies with [{here}], not with [{there}].")


def _both() -> None:
    raise ValueError("[fit] takes all_of_networks or reliability, not both.")


def _one_per_learner() -> None:
    raise ValueError("[check] networks_per_rule is the number of learners in a study with [data]; leave it out.")


def _parts(parts: Any) -> None:
    if not isinstance(parts, list):
        raise ValueError(f"[sensitivity] parts must be a list of names ({_check.listed(PARTS)}), got {parts!r}.")
    for part in parts:
        _check.known("[sensitivity] parts", part, PARTS)


def _settings(fit: Mapping[str, Any], key: str, kind: type[Any]) -> None:
    given = fit.get(key)
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ValueError(f"[fit.{key}] must be a table of settings, got {given!r}.")
    for name in given:
        check_key(f"key in [fit.{key}]", name, tuple(f.name for f in fields(kind)))
    kind(**given)


def _summaries(chosen: Any, trials: Trials) -> None:
    """Raises ValueError unless the table's columns allow the chosen summaries."""
    if chosen is None:
        return
    if not isinstance(chosen, list):
        raise ValueError(f"[fit] summaries must be a list of names, got {chosen!r}.")
    summarise(trials.trajectory, [resolve(name) for name in chosen])
