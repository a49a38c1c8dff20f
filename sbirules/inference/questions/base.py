"""The contract of a question: what is asked of the rules.

One class and one file for each kind. A question knows its plain form, how its potential is learned, how to try rules on
fresh networks, the verdicts that only it can give, and how it reads. Nothing else branches on what was asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.estimators import Job
from sbirules.inference.potentials import Observed, Potential
from sbirules.inference.questions.fresh import Fresh, FreshData
from sbirules.inference.record import FitRecord
from sbirules.model.fields import Layout
from sbirules.model.simulator import Simulator
from sbirules.model.verdicts import Verdict
from sbirules.stores.store import SimulationStore
from sbirules.support.files import Plain, digest

__all__ = ["Asked", "FigureOf", "Fitted", "Predictive", "Question"]

FigureOf = tuple[str, Callable[[], Any], str]  # name, what draws it, caption


@dataclass(frozen=True)
class Fitted:
    """A question with what was learned about it."""

    question: Question
    potential: Potential
    record: FitRecord


class Asked(Protocol):
    """What a question needs of a posterior: who asks it and with which prior, and draws."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def prior(self) -> Distribution: ...

    @property
    def record(self) -> FitRecord: ...

    def spread_out(self, n: int) -> Tensor: ...

    def rules_of_animals(self, n: int, animals: int) -> Tensor: ...

    def predicted_success(self, theta: Tensor) -> Tensor | None: ...


@dataclass(frozen=True)
class Predictive:
    """What ArviZ is to keep of a question: arrays by name, with their dimensions and coordinates."""

    posterior_predictive: Mapping[str, Tensor] = field(default_factory=dict)
    observed_data: Mapping[str, Tensor] = field(default_factory=dict)
    dims: Mapping[str, list[str]] = field(default_factory=dict)
    coords: Mapping[str, list[Any]] = field(default_factory=dict)


class Question(ABC):
    """What is asked of the rules.

    A subclass is registered by one line in `sbirules.inference.questions.QUESTIONS`.
    """

    kind: ClassVar[str]  # its name: in files, in `fit(..., kind=value)`, as a section of study files
    section: ClassVar[str]  # of study files, where that is another word
    estimators: ClassVar[tuple[str, ...]] = ()  # that can learn its potential, the default first
    section_keys: ClassVar[tuple[str, ...] | None] = None  # keys of that section; None where they name summaries
    fit_keys: ClassVar[tuple[str, ...]] = ()  # keys of a study's [fit] that belong to it
    units: ClassVar[str] = "natural units"  # of coefficients, in words
    checked_by: ClassVar[str] = (
        "posterior rules on fresh networks, calibration, variants"  # what its checks do, in words
    )
    simulated: ClassVar[bool] = True  # whether a fit needs simulations, and not only the simulator
    repeatable: ClassVar[bool] = False  # whether other data of its kind can be asked about
    potentials: ClassVar[Mapping[str, type[Potential]]] = {}  # of its own, by their name in files

    # Plain form -----------------------------------------------------------------------------------

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Its plain form."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Plain) -> Question:
        """The question that gave this `config()`."""

    def digest(self) -> str:
        """Tells this question, with its data, from another."""
        return digest([self.kind, self.config()])

    # From what users give -------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def ask(cls, value: Any, layout: Layout, summary_names: Sequence[str], **options: Any) -> Question:
        """From the value that `fit` or `check` was given under the question's kind, and options named in `fit_keys`."""

    @classmethod
    def check_options(cls, options: Mapping[str, Any], where: str = "") -> None:
        """Raises ValueError unless options named in `fit_keys` are right; `where` stands before their names."""
        return

    @classmethod
    def summaries_for(cls, section: Plain) -> list[str]:
        """Names of summaries of the catalogue that a study's section asks for."""
        return []

    @classmethod
    def from_study(cls, section: Plain, fit: Plain, simulator: Simulator, folder: Path) -> Question:
        """From a study file's section and [fit]; relative paths are relative to the folder."""
        options = {key: fit[key] for key in cls.fit_keys if key in fit}
        return cls.ask(section, simulator.layout, simulator.summary_names, **options)

    def resolved(self, section: Plain, folder: Path) -> dict[str, Any]:
        """A study's section with whole paths."""
        return dict(section)

    def costs(self, rules: int, networks: int | None, calibration: int, variants: int) -> dict[str, int]:
        """How many networks the checks of a study will simulate, by check."""
        return {"check": rules * (networks or 1)}

    def fill_in(  # noqa: B027 - most questions have nothing to fill in
        self, sections: MutableMapping[str, dict[str, Any]], given: Mapping[str, Plain]
    ) -> None:
        """Fills in a study's sections what this question has as defaults; `given` is what the file says."""

    def restored(self, potential: Potential) -> Question:
        """Itself, with what files keep in the potential and not in the question."""
        return self

    # The fit --------------------------------------------------------------------------------------

    def suited(self, simulator: Simulator) -> Simulator:
        """The simulator as this question needs it: one that knows the stimuli of its table, say."""
        return simulator

    @abstractmethod
    def fit(self, stores: Sequence[SimulationStore], job: Job, estimator: str) -> Fitted:
        """Learns the potential from simulations."""

    def again(self, observation: Any) -> tuple[Question, Observed]:
        """The same question about other data.

        Raises:
            ValueError: If there is no such thing, or the data do not suit what was learned.
        """
        raise ValueError("given() needs a posterior made by fit(store, prior, x_o=...) or fit(..., trials=...).")

    def lacking(self) -> str:
        """What must be given again before rules can be held against it, in a sentence; empty if nothing."""
        return ""

    def forgotten(self) -> str:
        """What of it a file could not bring back, in a sentence; empty if nothing."""
        return ""

    # Fresh networks -------------------------------------------------------------------------------

    def refuse(self, simulator: Simulator, networks: int | None) -> None:
        """Raises ValueError if rules cannot be held against it in so many networks each; before anything is simulated."""
        if self.lacking():
            raise ValueError(self.lacking())

    def refuse_variants(self, variants: Mapping[str, Any]) -> None:  # noqa: B027 - a question may take any
        """Raises ValueError if `held_out` cannot use these; before anything is simulated."""

    @abstractmethod
    def resimulate(self, posterior: Asked, simulator: Simulator, fresh: Fresh) -> Any:
        """Posterior rules in fresh networks, held against what was asked: a `Resimulation`."""

    @abstractmethod
    def verdicts(self, found: Any, posterior: Asked, simulator: Simulator) -> list[Verdict]:
        """What a `Resimulation` of its own says."""

    def held_out(
        self, posterior: Asked, simulator: Simulator, variants: Mapping[str, Any], fresh: Fresh
    ) -> list[Verdict]:
        """Posterior rules where inference never looked, by name: a simulator, or with the data observed in it."""
        name = next(iter(variants))
        raise ValueError(
            f"held_out[{name!r}] needs the trials observed there: pass (simulator, trials), or leave it out."
        )

    def variant(self, changes: Plain, simulator: Simulator, folder: Path) -> tuple[Any, dict[str, Any]]:
        """A study's [check.held_out.NAME] as `held_out` takes it, and the changes with whole paths."""
        if "trials" in changes:
            raise ValueError("trials belongs to studies with [data].")
        return simulator, dict(changes)

    def fresh_data(
        self, simulator: Simulator, prior: Distribution, rules: int, fresh: Fresh, trial_types: Any = None
    ) -> FreshData:
        """Rules of the prior and data of each, for calibration."""
        raise ValueError(
            f"a posterior of {self.kind} answers one question; calibration needs data that can be drawn anew."
        )

    def kept_data(self, store: SimulationStore, rules: int) -> FreshData:
        """The same from a store of fresh simulations of the prior."""
        raise ValueError(f"calibration of a posterior of {self.kind} needs the simulator, not a store of simulations.")

    def features(self, potential: Potential) -> Tensor | None:
        """What was observed, as a row of `FreshData.features`, `(S,)`; None where nothing was."""
        observed = potential.observed
        return None if observed is None else observed.x.mean(dim=0)

    @property
    def size(self) -> int:
        """How many learners, or whatever is independent given the rule, it is about."""
        return 1

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of `FreshData.features`."""
        return ()

    @property
    def trial_types(self) -> Tensor | None:
        """Sequences of trial types that networks should get, `(sequences, trials)`; None for the task's own."""
        return None

    @property
    def outcome(self) -> Any:
        """What sensitivity analysis looks at by default: constraints, or None for the simulator's own measure."""
        return None

    # Words ----------------------------------------------------------------------------------------

    @abstractmethod
    def words(self, subject: str, setting: str) -> str:
        """The question as a sentence, from its subject ("Which plasticity rules ...") and the setting (" on ...")."""

    def __str__(self) -> str:
        return self.words("Which plasticity rules", "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def facts(self) -> dict[str, Any]:
        """What a reader wants to know of it, by name."""
        return self.config()

    def headline(self, found: Any) -> str:
        """What was asked for and what a `Resimulation` reached, for the first line of a report; empty for none."""
        return ""

    def findings(self, found: Any) -> list[str]:
        """Sentences on a `Resimulation` that stand beside the verdicts."""
        return []

    def figures(self, found: Any, simulator: Simulator) -> list[FigureOf]:
        """Figures of a `Resimulation` beside those of its verdicts."""
        return []

    def numbers(self, found: Any) -> dict[str, dict[str, Any]]:
        """What summary.json keeps of a `Resimulation`, by section."""
        return {}

    def predictive(self, found: Any) -> Predictive:
        """What ArviZ is to keep of a `Resimulation` and of what was observed; `found` may be None."""
        return Predictive()
