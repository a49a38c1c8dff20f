"""A study from start to end: simulate, fit, check, sensitivity, report. Each stage picks up where it stopped."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from sbirules.checks.checking import check
from sbirules.checks.collected import Checks
from sbirules.importance.overview import Sensitivity, sensitivity
from sbirules.inference.arviz_data import inference_data
from sbirules.inference.choice_families import ChoiceComparison, compare_choices
from sbirules.inference.fitting import fit
from sbirules.inference.posterior import Posterior
from sbirules.inference.rounds.refining import refine
from sbirules.priors import written_down
from sbirules.reporting.figures import drawable, make_figures, write_figures
from sbirules.reporting.numbers import summary
from sbirules.reporting.writing import report
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.studies.baselines import RULE, TABLE, table_of, write_table
from sbirules.studies.expected_room import expected_room
from sbirules.studies.folders import STORE, keep_study, plain_toml, refuse_other_simulations, replaced
from sbirules.studies.kept import remembered
from sbirules.studies.sections import table
from sbirules.studies.study import Study
from sbirules.support.durations import in_words
from sbirules.support.files import (
    digest,
    make_folder,
    read_json,
    remove_unfinished,
    write_atomically,
    write_json,
)
from sbirules.support.locks import locked

__all__ = ["STAGES", "run_study", "simulate_stage"]

STAGES = ("fit", "check", "report")  # those that run on a folder of results
ASKED = "asked.json"  # beside a posterior: what it was fitted to


def run_study(
    study: Study,
    folder: str | Path,
    *,
    until: str = "report",
    num_workers: int | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Runs a study into a folder and returns the content of its summary.json, as far as it is known.

    Arguments:
        study: The study.
        folder: Where results go.
        until: The last stage to run, of `STAGES`.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.
        say: Called with a line of text as each stage starts, and with one that tells how long it took when it has ended.
    """
    expected_room(study, Path(folder), num_workers)
    folder = make_folder(Path(folder))
    with locked(folder):
        for place in (folder, *(folder / name for name in ("posterior", "figures"))):
            remove_unfinished(place)
        return _run(study, folder, until, num_workers, progress, say)


def _run(
    study: Study, folder: Path, until: str, num_workers: int | None, progress: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    refuse_other_simulations(study, folder)
    told = replaced(study, folder)
    if told:
        say(told)
    store = None
    if not study.exact:
        with _stage(say, "simulate: rules from the prior, one fresh network each"):
            store = simulate_stage(study, folder, num_workers, progress)
    text = tomli_w.dumps(plain_toml(study.resolved()))
    keep_study(study, folder, text)
    with _stage(say, "fit: the posterior over rules"):
        posterior, key = fit_stage(study, store, folder, num_workers, progress)
    if until == "fit":
        return summary(store, posterior, simulator=study.simulator)
    with _stage(say, f"check: {study.question.checked_by}"):
        checked = check_stage(study, store, posterior, key, folder, num_workers, progress)
    compared = None
    if study.check.baselines:
        with _stage(say, "baselines: does the rule predict better than models without one?"):
            compared = baselines_stage(study, key, folder, progress)
    else:
        (folder / TABLE).unlink(missing_ok=True)  # of another study here before
    if until == "check":
        return summary(store, posterior, checked, simulator=study.simulator, compared=compared)
    found = None
    if store is not None:
        with _stage(say, "sensitivity: which coefficients matter"):
            found = sensitivity_stage(study, store, posterior, key, folder, num_workers, progress)
    with _stage(say, "report: page, figures and numbers"):
        return report_stage(study, store, posterior, checked, found, compared, folder, text)


@contextmanager
def _stage(say: Callable[[str], None], line: str) -> Iterator[None]:
    """Says that a stage begins, and how long it took."""
    say(f"{line} ...")
    start = time.monotonic()
    yield
    say(f"{line} ({in_words(time.monotonic() - start)})")


def simulate_stage(
    study: Study, folder: Path, num_workers: int | None, progress: bool, shards: tuple[int, int] | None = None
) -> SimulationStore:
    """Simulates a study's rules into `store/`, all or a range of shards."""
    if study.exact:
        raise ValueError(f"{study.name} needs no simulations: the likelihood of its table is known exactly; run it.")
    s = study.simulate
    return simulate(
        study.simulator,
        study.prior,
        s.num_simulations,
        store=folder / STORE,
        seed=s.seed,
        shard_size=s.shard_size,
        trial_types=study.question.trial_types,
        shards=shards,
        num_workers=num_workers,
        progress=progress,
    )


def fit_stage(
    study: Study, store: SimulationStore | None, folder: Path, num_workers: int | None, progress: bool
) -> tuple[Posterior, str]:
    """Fits and samples the posterior, unless the folder holds it already; and what tells it from others."""
    s, place = study.fit, folder / "posterior"
    made_by: dict[str, Any] = {"simulator": study.simulator.config(), "prior": written_down(study.prior)}
    if store is not None:
        seed = store.manifest["seed"]
        made_by = {"store": store.manifest["hash"], "simulations": len(store), "seed": seed}
    asked = {"fit": table(s), "question": study.question.digest(), **made_by}
    key = digest(asked)
    before = _fitted_before(place, key, study)
    if before is not None:
        return before, key
    if store is None:
        chosen = {key: s.options[key] for key in ("varies", "spread") if key in s.options}
        asked_of = {"question": study.question, "sampler": s.sampler, "seed": s.seed, "progress": progress, **chosen}
        posterior = fit(study.simulator, study.prior, **asked_of)
        if posterior.of_animals is None:
            posterior = posterior.with_draws(posterior.draw(s.num_samples, seed=s.seed, progress=progress))
        return _kept(posterior, place, key), key
    options: dict[str, Any] = {
        "question": study.question,
        "classifier": s.classifier,
        "sampler": s.sampler,
        "estimator": s.estimator,
        "settings": s.settings,
    }
    posterior = fit(store, study.prior, seed=s.seed, progress=progress, **options)
    posterior, _ = refine(
        posterior,
        study.simulator,
        store,
        study.prior,
        rounds=s.rounds,
        num_simulations=s.round_simulations,
        recalibration=s.recalibration,
        minutes=s.minutes,
        folder=folder / "rounds" / key[:12],
        trial_types=study.question.trial_types,
        seed=s.seed,
        num_workers=num_workers,
        progress=progress,
        **options,
    )
    posterior = posterior.with_draws(posterior.draw(s.num_samples, seed=s.seed, progress=progress))
    return _kept(posterior, place, key), key


def _kept(posterior: Posterior, place: Path, key: str) -> Posterior:
    """The posterior, once it is in its folder."""
    (place / ASKED).unlink(missing_ok=True)
    posterior.save(place)
    write_json(place / ASKED, {"key": key})
    return posterior


def _fitted_before(place: Path, key: str, study: Study) -> Posterior | None:
    """The posterior that a folder holds, if it is that of this key and not damaged."""
    if not (place / ASKED).is_file():
        return None
    try:
        return Posterior.load(place, study.prior) if read_json(place / ASKED) == {"key": key} else None
    except ValueError as error:
        warnings.warn(f"{error} It is fitted anew.")
        return None


def check_stage(
    study: Study,
    store: SimulationStore | None,
    posterior: Posterior,
    key: str,
    folder: Path,
    num_workers: int | None,
    progress: bool,
) -> Checks:
    """All checks; their simulations go into `check/`, in a folder of its own for each posterior and set of settings."""
    s = study.check
    tables = {name: v[1].digest() for name, v in study.variants.items() if isinstance(v, tuple)}
    own = {name: value for name, value in table(s).items() if not name.startswith("baselines")}
    place = folder / "check" / digest([key, own, tables])[:12]
    return check(
        posterior,
        study.simulator,
        store=store,
        question=study.question,
        rules=s.rules,
        networks_per_rule=s.networks_per_rule,
        calibration=s.calibration,
        held_out=study.variants,
        folder=place,
        seed=s.seed,
        num_workers=num_workers,
        progress=progress,
    )


def baselines_stage(study: Study, key: str, folder: Path, progress: bool) -> ChoiceComparison:
    """The study's rule beside baselines, on choices that were held out; the table goes into the folder."""
    s, trials = study.check, table_of(study.question)
    pooled = getattr(study.question, "animals", None)
    animals = None if pooled == "partial" else pooled  # the table then says whether each has a rule of its own
    how: dict[str, Any] = {"animals": animals, "held_out": s.baselines_held_out or "sessions", "seed": s.seed}

    def make() -> ChoiceComparison:
        families: dict[str, Any] = {RULE: (study.simulator, study.prior), **{name: name for name in s.baselines}}
        return compare_choices(families, trials, **how, sampler=study.fit.sampler, progress=progress)

    found = remembered(folder / "check" / "baselines.json", [key, list(s.baselines), how], make)
    write_table(found, folder)
    return found


def sensitivity_stage(
    study: Study,
    store: SimulationStore,
    posterior: Posterior,
    key: str,
    folder: Path,
    num_workers: int | None,
    progress: bool,
) -> Sensitivity:
    """Which coefficients matter; parts that a family or machine cannot have are left out, and said."""
    s = study.sensitivity

    def make() -> Sensitivity:
        return sensitivity(
            posterior,
            study.simulator,
            store=store,
            parts=s.parts,
            num_rules=s.rules,
            networks=s.networks,
            seed=s.seed,
            num_workers=num_workers,
            progress=progress,
        )

    found = remembered(folder / "sensitivity" / "sensitivity.json", [key, table(s)], make)
    for name, why in found.left_out.items():
        warnings.warn(f"sensitivity: {name} is left out: {why}")
    return found


def report_stage(
    study: Study,
    store: SimulationStore | None,
    posterior: Posterior,
    checked: Checks,
    found: Sensitivity | None,
    compared: ChoiceComparison | None,
    folder: Path,
    text: str,
) -> dict[str, Any]:
    """Writes posterior.nc, summary.json, figures/ and report.html."""
    data = inference_data(posterior, checked=checked.resimulation)
    write_atomically(folder / "posterior.nc", lambda path: data.to_netcdf(str(path), engine="h5netcdf"))
    made = drawable(make_figures(posterior, study.simulator, checked, found, compared=compared))
    write_figures(made, folder / "figures")
    title = f"Posterior over plasticity rules: {study.name}"
    report(
        folder / "report.html",
        posterior,
        study.simulator,
        checked=checked,
        sensitivity=found,
        compared=compared,
        store=store,
        study=text,
        title=title,
        made=made,
    )
    content = summary(store, posterior, checked, found, study.simulator, compared)
    write_json(folder / "summary.json", content)
    return content
