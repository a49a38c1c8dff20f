"""One network's summaries: which rules could have led to them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules import figures
from sbirules.inference.estimators import ESTIMATORS, Job, Rows
from sbirules.inference.potentials import Observed, Potential
from sbirules.inference.questions.base import Asked, Fitted, Predictive, Question
from sbirules.inference.questions.fresh import Fresh, FreshData, failures_of
from sbirules.inference.reach import looked_at
from sbirules.inference.record import FitRecord
from sbirules.model.fields import Layout
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import NAMED
from sbirules.model.verdicts import Verdict, by_p_value
from sbirules.stores.filling import simulate
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.files import Plain
from sbirules.support.streams import Stream, child, seeded
from sbirules.support.typed import typed_class

__all__ = ["ObservationCheck", "ObservationQuestion", "observed_row"]

FEWEST = 100  # simulations to learn from
ATOMS = 0.02  # share of all rows that may have one value before a summary counts as having atoms


@typed_class
@dataclass(frozen=True)
class ObservationCheck:
    """Whether posterior rules reproduce the observed summaries of one network.

    Arguments:
        rules: Posterior rules tried, each in `networks_per_rule` fresh networks.
        networks_per_rule: Networks for each.
        names: Names of the observed summaries.
        x_o: Their observed values, `(S,)`.
        x: Those of the fresh networks, `(rules * networks, S)`; NaN where one failed.
        theta: The posterior rules, `(rules, D)`.
        failures: Failed networks by status.
    """

    rules: int
    networks_per_rule: int
    names: tuple[str, ...]
    x_o: Tensor
    x: Tensor
    theta: Tensor
    failures: Mapping[str, int]

    @property
    def p_values(self) -> dict[str, float]:
        """Two-sided posterior predictive p-value of each summary: small where the observation lies in a tail."""
        x = self.x[torch.isfinite(self.x).all(dim=1)].double()
        if not len(x):  # all networks failed
            return {}
        own = self.x_o.double()
        below = ((x < own).double().mean(dim=0) + 0.5 * (x == own).double().mean(dim=0)).clamp(0, 1)
        two_sided = 2 * torch.minimum(below, 1 - below)
        return dict(zip(self.names, torch.maximum(two_sided, torch.tensor(1.0 / max(len(x), 1))).tolist(), strict=True))


def observed_row(x_o: Any, names: Sequence[str]) -> tuple[Tensor, list[int]]:
    """An observation as a row `(S,)`, and the columns of x that it is about.

    Arguments:
        x_o: Values by summary name, all or some of them, or a row of all.
        names: Names of the columns of x.

    Raises:
        ValueError: If a name is unknown, a value is not finite, or the length is wrong.
    """
    if callable(getattr(x_o, "to_dict", None)):  # a pandas Series, or a table of one row
        x_o = x_o.iloc[0].to_dict() if getattr(x_o, "ndim", 1) == 2 and len(x_o) == 1 else x_o.to_dict()
    if isinstance(x_o, Mapping):
        for name in x_o:
            arguments.known("x_o", name, tuple(names))
        columns = [i for i, name in enumerate(names) if name in x_o]
        row = arguments.numbers("x_o", [x_o[names[i]] for i in columns], torch.float64)
    else:
        row, columns = arguments.numbers("x_o", x_o, torch.float64), list(range(len(names)))
        row = row[0] if row.ndim == 2 and len(row) == 1 else row.reshape(1) if row.ndim == 0 else row
    if tuple(row.shape) != (len(columns),) or not columns:
        raise ValueError(
            f"x_o must be one observation of {len(names)} summaries ({arguments.listed(tuple(names))}), or a table "
            f"of some of them by name; got shape {tuple(row.shape)}. Several learners go into trials."
        )
    if not torch.isfinite(row).all():
        wrong = names[columns[int((~torch.isfinite(row)).nonzero()[0])]]
        raise ValueError(f"x_o must be finite, got {wrong} = {float(row[~torch.isfinite(row)][0])}.")
    return row, columns


class ObservationQuestion(Question):
    """Observed summaries of one network.

    Arguments:
        names: Names of the summaries.
        x_o: Their values, `(S,)`.
    """

    kind, section = "x_o", "observation"
    estimators = ("likelihood", "npe")
    repeatable = True

    def __init__(self, names: Sequence[str], x_o: ArrayLike) -> None:
        self.names = tuple(names)
        self.x_o = observed_row(x_o, self.names)[0]

    def config(self) -> dict[str, Any]:
        return {"summaries": list(self.names), "x_o": self.x_o.tolist()}

    @classmethod
    def from_config(cls, config: Plain) -> ObservationQuestion:
        return cls(config["summaries"], torch.tensor([float(v) for v in config["x_o"]], dtype=torch.float64))

    @classmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> ObservationQuestion:
        row, columns = observed_row(value, summary_names)
        return cls([summary_names[i] for i in columns], row)

    @classmethod
    def summaries_for(cls, section: Plain) -> list[str]:
        stems = list(dict.fromkeys(name.split("[")[0] for name in section))
        return [stem for stem in stems if stem in NAMED]

    def costs(self, rules: int, networks: int | None, calibration: int, variants: int) -> dict[str, int]:
        return {"check": rules * (networks or 1), "calibration": 2 * calibration}

    # The fit --------------------------------------------------------------------------------------

    def fit(self, stores: Sequence[SimulationStore], job: Job, estimator: str) -> Fitted:
        every = stores[0].summary_names
        columns = [every.index(name) for name in self.names]
        theta, x = torch.cat([s.theta for s in stores]), torch.cat([s.x for s in stores])[:, columns]
        ok = torch.isfinite(x).all(dim=1)
        if estimator != "npe" and int(ok.sum()) < FEWEST:
            counts = ", ".join(f"{n} in {int(torch.isfinite(x[:, k]).sum())}" for k, n in enumerate(self.names))
            raise ValueError(
                f"only {int(ok.sum())} of {len(x)} simulated networks have all of the observed summaries (defined: "
                f"{counts}); at least {FEWEST} are needed."
            )
        x_o = self.x_o.to(x.dtype)
        ok, reach, cautions = looked_at(x, ok, x_o[None], self.names)
        atoms = [
            k
            for k in range(x.shape[1] if estimator != "npe" else 0)  # which knows no density of x
            if int(torch.unique(x[ok][:, k], return_counts=True)[1].max()) > ATOMS * int(ok.sum())
        ]
        rows = Rows(theta, x, torch.zeros(len(x), dtype=torch.long), ok, tuple(atoms))
        learned = ESTIMATORS[estimator].learn(rows, Observed.of_one(x_o), job)
        record = FitRecord(
            estimator,
            len(x),
            int(ok.sum()),
            cautions=cautions,
            training=learned.curves,
            details=learned.details,
            reach=reach,
        )
        return Fitted(ObservationQuestion(self.names, x_o), learned.potential, record)

    def again(self, observation: Any) -> tuple[Question, Observed]:
        row, columns = observed_row(observation, self.names)
        if len(columns) < len(self.names):
            raise ValueError(f"x_o must hold all of {arguments.listed(self.names)}.")
        return ObservationQuestion(self.names, row), Observed.of_one(row)

    # Fresh networks -------------------------------------------------------------------------------

    def refuse(self, simulator: Simulator, networks: int | None) -> None:
        for name in self.names:
            arguments.known("x_o", name, simulator.summary_names)

    def refuse_variants(self, variants: Mapping[str, Any]) -> None:
        raise ValueError("held_out belongs to constraints and trials, not to x_o; leave it out.")

    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> ObservationCheck:
        theta = posterior.spread_out(arguments.whole("rules", fresh.rules, 2))
        networks = fresh.networks or 1
        store = fresh.simulate(theta, networks, simulator, "posterior")
        columns = [store.summary_names.index(name) for name in self.names]
        return ObservationCheck(
            len(theta), networks, self.names, self.x_o.to(store.x.dtype), store.x[:, columns], theta, failures_of(store)
        )

    def verdicts(self, found: ObservationCheck, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        return [summaries_verdict(found)]

    def fresh_data(
        self, simulator: Simulator, prior: Distribution, rules: int, fresh: Fresh, trial_types: Any = None
    ) -> FreshData:
        """Networks that lack a summary are left out, as data would be."""
        with seeded(fresh.seed, Stream.CALIBRATION):
            theta = prior.sample(Size((2 * rules,))).float()
        store = simulate(
            simulator,
            theta,
            seed=child(fresh.seed, Stream.CALIBRATION),
            label="calibration",
            num_workers=fresh.num_workers,
            progress=fresh.progress,
        )
        return self.kept_data(store, rules)

    def kept_data(self, store: SimulationStore, rules: int) -> FreshData:
        for name in self.names:
            arguments.known("x_o", name, store.summary_names)
        x = store.x[:, [store.summary_names.index(name) for name in self.names]]
        ok = torch.isfinite(x).all(dim=1).nonzero()[:rules, 0]
        if len(ok) < 50:
            raise ValueError(f"only {len(ok)} of {len(x)} networks of prior rules did not fail; narrow the prior.")
        return FreshData(store.theta[ok], list(x[ok]), x[ok])

    def features(self, potential: Potential) -> Tensor:
        return self.x_o

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.names

    @classmethod
    def from_study(cls, section: Plain, fit: Plain, simulator: Simulator, folder: Path) -> Question:
        if not section:
            raise ValueError("[observation] must name at least one summary, e.g. mean_rate = 0.3.")
        return super().from_study(section, fit, simulator, folder)

    # Words ----------------------------------------------------------------------------------------

    def words(self, subject: str, setting: str) -> str:
        return f"{subject} could have led to what was observed in one network{setting}?"

    def facts(self) -> dict[str, Any]:
        return {"observed": ", ".join(f"{n} {v:.4g}" for n, v in zip(self.names, self.x_o.tolist(), strict=True))}

    def numbers(self, found: ObservationCheck) -> dict[str, dict[str, Any]]:
        return {
            "observation": {"x_o": dict(zip(self.names, self.x_o.tolist(), strict=True)), "p_values": found.p_values}
        }

    def predictive(self, found: ObservationCheck | None) -> Predictive:
        if found is None:
            return Predictive()
        return Predictive(
            {"summaries": found.x}, {"summaries": found.x_o}, {"summaries": ["summary"]}, {"summary": list(found.names)}
        )


def summaries_verdict(c: ObservationCheck) -> Verdict:
    """Are the observed summaries such as posterior rules make?"""
    p = c.p_values
    if not p:
        finding = f"All of {len(c.x)} fresh networks under posterior rules failed: nothing can be predicted."
        return Verdict("summaries", "fail", finding, "Narrow the prior, or lower the step dt of the simulator.")
    worst = min(p, key=lambda name: p[name])
    level = by_p_value(p[worst], len(p))
    finding = (
        f"Posterior predictive p-values of {len(p)} summaries: smallest {p[worst]:.2g} ({worst}), {c.rules} rules in "
        f"{c.networks_per_rule} fresh network(s) each."
    )
    advice = (
        "" if level == "pass" else f"Posterior rules do not make such a {worst}: check the simulator, or simulate more."
    )
    caption = "Posterior predictive of each observed summary (50 % and 95 %), the observation in orange."
    return Verdict("summaries", level, finding, advice, p, lambda: figures.summaries(c), caption)
