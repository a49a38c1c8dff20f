"""Learners: which rule could have made the trials of several learners that share it, each in a network of its own?"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.estimators import ESTIMATORS, Job, Rows
from sbirules.inference.potentials import Observed
from sbirules.inference.questions.base import Asked, Fitted, Predictive, Question
from sbirules.inference.questions.fresh import Fresh, FreshData
from sbirules.inference.questions.learning import TrialsCheck, curve_verdict, try_learners
from sbirules.inference.questions.reach import beyond_reach
from sbirules.inference.questions.sessions import learners_of, rows_like_learners, summaries_of
from sbirules.inference.questions.variety import variety_verdict
from sbirules.inference.reach import looked_at
from sbirules.inference.record import FitRecord
from sbirules.model.fields import Layout
from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import (
    Summary,
    default_summaries,
    of_recordings,
    rebuild,
    resolve,
    summarise,
    summary_names,
    written,
)
from sbirules.model.tables import Trials
from sbirules.model.verdicts import Verdict
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.files import Plain
from sbirules.support.streams import Stream, child

__all__ = ["LearnersQuestion"]

FEWEST = 50  # rules that calibration can be judged by


class LearnersQuestion(Question):
    """The trials of learners that share one rule.

    Arguments:
        table: The learners; None where only what was learned from them is known.
        summaries: What of a learner enters.
        layout: What runs consist of.
        known: Without a table: how many `learners` and `trials`, and the shortest and longest session (`lengths`).
    """

    kind, section = "trials", "data"
    estimators = ("ratio", "likelihood", "npe")
    section_keys = ("trials",)
    fit_keys = ("summaries",)
    repeatable = True

    def __init__(
        self, table: Trials | None, summaries: Sequence[Summary], layout: Layout, known: Plain | None = None
    ) -> None:
        self.table, self.layout = table, layout
        self.summaries: Sequence[Summary] | None = tuple(summaries)
        self.names = summary_names(summaries, layout.type_names)
        self._written = [written(s) for s in summaries]
        self._note(known)

    def _note(self, known: Plain | None) -> None:
        if self.table is not None:
            trials = self.table.num_trials
            known = {
                "learners": len(self.table),
                "trials": int(trials.sum()),
                "lengths": [int(trials.min()), int(trials.max())],
            }
        facts: Plain = known or {}
        self.learners, self.trials = int(facts.get("learners", 0)), int(facts.get("trials", 0))
        low, high = facts.get("lengths", (0, 0))
        self.lengths = (int(low), int(high))

    # Plain form -----------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        return {
            "learners": self.learners,
            "trials": self.trials,
            "lengths": list(self.lengths),
            "summaries": list(self.names),
            "summary_settings": self._written,
            "layout": self.layout.config(),
        }

    @classmethod
    def from_config(cls, config: Plain) -> LearnersQuestion:
        out = cls(None, (), Layout.from_config(config["layout"]), config)
        out.names, out._written, out.summaries = tuple(config["summaries"]), list(config["summary_settings"]), None
        return out

    def digest(self) -> str:
        return super().digest() + ("" if self.table is None else self.table.digest())

    @classmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> LearnersQuestion:
        table = Trials.read(value, layout)
        chosen, best = options.get("summaries"), layout.performance
        if chosen is None:
            run = table.trajectory
            found = (
                default_summaries(tuple(run.per_trial), None if best is None else best.name, table.meaning, run)
                if run.per_trial
                else ()
            )
            found = (*found, *of_recordings(run))
        else:
            cls.check_options(options)
            found = tuple(resolve(s) for s in chosen)
        return cls(table, found, layout)

    @classmethod
    def check_options(cls, options: Mapping[str, Any], where: str = "") -> None:
        chosen = options.get("summaries")
        if chosen is not None and (isinstance(chosen, str) or not isinstance(chosen, Sequence)):
            raise ValueError(f"{where}summaries must be a list of names or Summary objects, got {chosen!r}.")

    @classmethod
    def from_study(cls, section: Plain, fit: Plain, simulator: Simulator, folder: Path) -> Question:
        for key in section:
            arguments.known("key in [data]", key, cls.section_keys)
        if "trials" not in section:
            raise ValueError('[data] lacks trials, the file of the table, such as trials = "learners.csv".')
        path = (folder / str(section["trials"])).resolve()
        asked = cls.ask(path, simulator.layout, simulator.summary_names, summaries=fit.get("summaries"))
        if asked.table is not None:
            summarise(asked.table.trajectory, asked.summaries or ())  # says which column is missing
        return asked

    def resolved(self, section: Plain, folder: Path) -> dict[str, Any]:
        return {**section, "trials": str((folder / str(section["trials"])).resolve())}

    def costs(self, rules: int, networks: int | None, calibration: int, variants: int) -> dict[str, int]:
        more = variants * min(rules, 64) * self.learners
        return {"check": rules * self.learners, "calibration": calibration * self.learners, "variants": more}

    def fill_in(self, sections: MutableMapping[str, dict[str, Any]], given: Mapping[str, Plain]) -> None:
        sections["simulator"].setdefault("num_trials", self.lengths[1])
        sections["simulate"] = {**sections["simulate"], "num_simulations": 8192, **given.get("simulate", {})}
        asked = sections["simulate"]["num_simulations"]
        share = max(1, 3 * asked // 8) if isinstance(asked, int) else 1
        defaults = {"rounds": 3, "round_simulations": share, "estimator": "ratio"}
        sections["fit"] = {**sections["fit"], **defaults, **given.get("fit", {})}
        if sections["check"].get("networks_per_rule", self.learners) != self.learners:
            raise ValueError(
                "[check] networks_per_rule is the number of learners in a study with [data]; leave it out."
            )
        if sections["fit"]["estimator"] == "npe":
            raise ValueError(
                '[fit] estimator = "npe" learns from several networks of each rule, which a study of [data] does not '
                'simulate; use "ratio" or "likelihood", or fit(..., estimator="npe") in Python.'
            )

    # The fit --------------------------------------------------------------------------------------

    def fit(self, stores: Sequence[SimulationStore], job: Job, estimator: str) -> Fitted:
        if self.table is None or self.summaries is None:
            raise ValueError(self.lacking())
        if not self.layout.named("trial"):
            raise ValueError("this store keeps no trials, as one made from arrays; give x_o or constraints instead.")
        runs = Trajectory.cat([s.trajectory for s in stores])
        theta = torch.cat([s.theta for s in stores])
        rows = Rows(*rows_like_learners(theta, runs, self.table, self.summaries, job.seed), grouped=True)
        x_o = summaries_of(self.table, self.summaries).to(rows.x.dtype)
        observed = Observed(x_o, self.table.num_trials)
        ok, reach, cautions = looked_at(rows.x, rows.ok, x_o, self.names, self.table.learners)
        cautions += beyond_reach(self.table, runs, self.summaries)
        at, atoms = 0, []
        for s in self.summaries:
            width = len(s.columns(self.layout.type_names))
            atoms += list(range(at, at + width)) if s.atoms else []
            at += width
        learned = ESTIMATORS[estimator].learn(replace(rows, ok=ok, atoms=tuple(atoms)), observed, job)
        record = FitRecord(
            estimator,
            len(rows.theta),
            int(ok.sum()),
            cautions=cautions,
            training=learned.curves,
            details=learned.details,
            reach=reach,
        )
        return Fitted(self, learned.potential, record)

    def again(self, observation: Any) -> tuple[Question, Observed]:
        table = Trials.read(observation, self.layout)
        types = self.layout.type_names
        if table.trajectory.type_names != types:
            raise ValueError(
                f"the trials have the types {arguments.listed(table.trajectory.type_names)}, but this posterior learned from "
                f"{arguments.listed(types)}."
            )
        low, high = self.lengths
        if int(table.num_trials.min()) < low or int(table.num_trials.max()) > high:
            raise ValueError(
                f"sessions of {int(table.num_trials.min())} to {int(table.num_trials.max())} trials are given, but this "
                f"posterior learned from sessions of {low} to {high}; fit again with them."
            )
        chosen = self.summaries if self.summaries is not None else [rebuild(config) for config in self._written]
        asked = LearnersQuestion(table, chosen, self.layout)
        asked.lengths = self.lengths
        return asked, Observed(summaries_of(table, chosen), table.num_trials)

    def lacking(self) -> str:
        if self.table is not None:
            return ""
        return "check needs the table that fit was given, trials=...: a posterior keeps its summaries only."

    def forgotten(self) -> str:
        own = [str(config.get("name")) for config in self._written if config.get("own")]
        if self.summaries is not None or not own:
            return ""
        return (
            f"code of one's own does not come back from files, here of the summaries {arguments.listed(own)}: the posterior "
            f"can be drawn from, but given() cannot be asked about other learners; fit again for that."
        )

    # Fresh networks -------------------------------------------------------------------------------

    def refuse(self, simulator: Simulator, networks: int | None) -> None:
        super().refuse(simulator, networks)
        if networks not in (None, self.learners):
            raise ValueError(
                f"networks_per_rule must be the number of learners ({self.learners}), or left out; got {networks}."
            )

    def refuse_variants(self, variants: Mapping[str, Any]) -> None:
        for name, pair in variants.items():
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ValueError(
                    f"held_out[{name!r}] needs the trials observed there: pass (simulator, trials), or leave it out."
                )
            Trials.read(pair[1], pair[0].layout)

    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> TrialsCheck:
        if self.table is None:
            raise ValueError(self.lacking())
        theta = posterior.spread_out(arguments.whole("rules", fresh.rules, 2))
        return try_learners(theta, simulator, self.table, fresh)

    def verdicts(self, found: TrialsCheck, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        vary = [] if found.variety is None else variety_verdict(found.variety, found.networks_per_rule)
        curve = [] if found.curve.observed is None else [curve_verdict(found, simulator)]
        return [*curve, *vary, *([] if found.activity is None else found.activity.verdicts(found.networks_per_rule))]

    def held_out(
        self, posterior: Asked, simulator: Simulator, variants: Mapping[str, Any], fresh: Fresh
    ) -> list[Verdict]:
        raw = simulator.to_raw(posterior.spread_out(fresh.rules).double())
        out = []
        for k, (name, pair) in enumerate(variants.items()):
            other, data = pair
            place = None if fresh.folder is None else fresh.folder / f"held-out-{k}"
            there = replace(fresh, networks=None, folder=place, seed=child(fresh.seed, Stream.HELD_OUT, k))
            table = Trials.read(data, other.layout)
            found = try_learners(other.to_natural(raw).float(), other, table, there)
            out.append(curve_verdict(found, other, f"held out: {name}"))
        return out

    def variant(self, changes: Plain, simulator: Simulator, folder: Path) -> tuple[Any, dict[str, Any]]:
        if "trials" not in changes:
            raise ValueError("needs trials, a CSV file of what was observed there.")
        path = (folder / str(changes["trials"])).resolve()
        return (simulator, Trials.read(path, simulator.layout)), {**changes, "trials": str(path)}

    def fresh_data(
        self, simulator: Simulator, prior: Distribution, rules: int, fresh: Fresh, trial_types: Any = None
    ) -> FreshData:
        truth, tables = learners_of(
            simulator,
            prior,
            rules,
            self.learners,
            folder=fresh.folder,
            seed=child(fresh.seed, Stream.CALIBRATION),
            trial_types=self.trial_types if trial_types is None else trial_types,
            fewest=FEWEST,
            like=self.table,
            num_workers=fresh.num_workers,
            progress=fresh.progress,
        )
        features = torch.stack([self.again(table)[1].x.mean(dim=0) for table in tables])
        return FreshData(truth, tables, features)

    @property
    def size(self) -> int:
        return self.learners

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.names

    @property
    def trial_types(self) -> Tensor | None:
        return None if self.table is None else self.table.trial_types

    # Words ----------------------------------------------------------------------------------------

    def words(self, subject: str, setting: str) -> str:
        return (
            f"{subject} could have produced the trials of {self.learners} learners ({self.trials} trials in all){setting}, if "
            f"all of them share one rule?"
        )

    def facts(self) -> dict[str, Any]:
        return {
            "learners": self.learners,
            "trials": self.trials,
            "summaries": list(self.names),
            "trial types": list(self.layout.type_names),
        }

    def numbers(self, found: TrialsCheck) -> dict[str, dict[str, Any]]:
        coverage = {} if found.curve.observed is None else {"predictive_coverage": found.curve.coverage}
        return {"data": {"learners": self.learners, "trials": self.trials, **coverage}}

    def predictive(self, found: TrialsCheck | None) -> Predictive:
        shown: dict[str, Tensor] = {}
        seen: dict[str, Tensor] = {}
        coords: dict[str, list[Any]] = {}
        dims = {"learning_curve": ["bin"]}
        if found is not None:
            shown, coords["bin"] = {"learning_curve": found.mean_curves}, list(found.curve.names)
            if found.curve.observed is not None:
                seen["learning_curve"] = found.curve.observed
        if self.table is not None:
            kept = {n: v for n, v in self.table.trajectory.per_trial.items() if n not in ("output", "reward")}
            seen |= kept | {"trial_type": self.table.trial_types}
            dims |= {name: ["learner", "trial"] for name in (*kept, "trial_type")}
            coords["learner"] = list(self.table.learners)
        return Predictive(shown, seen, dims, coords)
