r"""`SessionLaw`: how the scales of a circuit move from session to session under a law, and how they are measured."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, LogNormal

from sbirules.model.fields import Field, Layout
from sbirules.model.rules import (
    BCMLaw,
    Coefficient,
    DriftLaw,
    HebbianLaw,
    LatentLaw,
    Law,
    MotifCircuit,
    OjaLaw,
    RuleFamily,
    RuleText,
)
from sbirules.model.rules.motif_laws import MotifLaw
from sbirules.model.runs import Status, Trajectory
from sbirules.model.session_scales import SessionScales
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Key, Stream, global_seed, seeded
from sbirules.support.typed import typed_class

from ._likelihood import LawLikelihood

__all__ = ["SESSION_SETTINGS", "SessionLaw"]

SESSION_SETTINGS = ("initial", "timed", "summaries")
BLOCK = 64  # animals that share random streams
WALK = Coefficient(
    "walk",
    low=0.0,
    linear=False,
    unit="scales",
    log=True,
    default=0.1,
    symbol=r"\sigma",
    prior=LogNormal(-2.0, 1.2, validate_args=False),
)
LAWS: dict[str, type[Law]] = {law.__name__: law for law in (LatentLaw, DriftLaw, HebbianLaw, OjaLaw, BCMLaw)}


@typed_class
class SessionLaw(Simulator):
    r"""A law moves the scales of a circuit's connectivity from session to session; each is measured with a known error.

        z^(k+1) = law(z^k, u^k) + walk xi^k,      scales^k = centre + scale z^k + error^k

    z^0 is normal around 0 with s.d. `initial` and integrated out, as all z are: what is inferred is the law and its noise. The
    likelihood is exact for linear laws (Kalman) and by cubature for others: `fit(simulator, prior, sessions=...)` needs no
    simulations. A law that is `relative` acts on scales around their mean (`centre`) in units of their spread (`scale`), and on
    stimulation in units of its root mean square; others act on both as they are, without a centre.

    Arguments:
        family: The law: `LatentLaw`, `DriftLaw`, `HebbianLaw`, `OjaLaw`, `BCMLaw`, or a `Law` of one's own.
        initial: S.d. of the first session's scales around `centre`, in units of `scale`.
        timed: Whether the noise of the law grows with the time between sessions, or is the same for all.
        summaries: Named summaries of simulated animals, as for any simulator.

    Examples:
        >>> simulator = SessionLaw(LatentLaw(2, 1))
        >>> simulator.names[-1]
        'walk'
    """

    tables = "sessions"
    rule_unit = "spreads"
    success: Mapping[str, tuple[float, float]] = {}

    def __init__(
        self,
        family: RuleFamily,
        *,
        initial: float = 3.0,
        timed: bool = False,
        summaries: Sequence[SummaryLike] = ("response_distribution",),
    ) -> None:
        if not isinstance(family, Law):
            raise ValueError(
                f"family must be a Law, such as LatentLaw(2, 1) or DriftLaw(2), got {type(family).__name__}."
            )
        self.law: Law = family
        self.initial, self.timed = arguments.above("initial", initial, 0.0), bool(timed)
        self.plastic = True
        self.centre, self.scale, self.strength, self.unit = (0.0,) * family.latents, 1.0, 1.0, ""
        self.protocol: SessionScales | None = None
        super().__init__(family, None, summaries)
        if WALK.name in family.names:
            raise ValueError(f"a law cannot have a coefficient {WALK.name!r}: that is the noise of every law.")

    def suited(self, sessions: SessionScales) -> SessionLaw:
        """The same with mean and spread of session scales, and the strength of their stimulation.

        Raises:
            ValueError: If the law is of other scales or channels.
        """
        law = self.law
        if len(sessions.names) != law.latents:
            raise ValueError(
                f"the law is of {law.latents} scales, the sessions have {len(sessions.names)} "
                f"({arguments.listed(sessions.names)}): make it with as many, LatentLaw({len(sessions.names)}, ...)."
            )
        if law.stimulations not in (0, len(sessions.channels)):
            raise ValueError(
                f"the law has {law.stimulations} channels of stimulation, the sessions have {len(sessions.channels)}: make it "
                f"with as many, or with 0 to leave stimulation out."
            )
        out = copy.copy(self)
        known = sessions.scales[sessions.measured]
        out.centre, out.scale, out.strength = (0.0,) * law.latents, 1.0, 1.0
        if law.relative:
            out.centre = tuple(float(f"{c:.3g}") for c in known.mean(dim=0))
            spread = float((known - torch.tensor(out.centre, dtype=known.dtype)).square().mean().sqrt())
            out.scale = float(f"{spread:.3g}") if spread > 0 else 1.0
        if law.relative and law.stimulations:
            power = float(sessions.stimulation[sessions.there].square().mean().sqrt())
            out.strength = float(f"{power:.3g}") if power > 0 else 1.0
        out.unit, out.protocol = sessions.unit, sessions
        return out

    def without_plasticity(self) -> SessionLaw:
        """No law: scales that wander. Its theta has the noise only."""
        out = copy.copy(self)
        out.plastic = False
        return out

    def cautions(self, sessions: SessionScales) -> tuple[str, ...]:
        """What session scales cannot tell, whatever their number, a sentence each."""
        out = []
        if self.law.latents + self.law.stimulations + 1 > int(sessions.measured.sum()) - len(sessions):
            out.append(
                f"{int(sessions.measured.sum()) - len(sessions)} changes were seen, of {self.law.dim} coefficients: most "
                f"of the law stays as the prior has it."
            )
        if sessions.channels and not self.law.stimulations and self.plastic:
            out.append("the law does not look at stimulation, which there is.")
        return tuple(out)

    # What is declared -----------------------------------------------------------------------------

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        return (*(self.family.parameters if self.plastic else ()), WALK)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def nuisances(self) -> Mapping[str, Distribution]:
        """The noise of the law, and its usual prior."""
        return {} if WALK.prior is None else {WALK.name: WALK.prior}

    @property
    def raw_per_unit(self) -> Tensor:
        return torch.ones(len(self.names), dtype=torch.float64)

    @property
    def layout(self) -> Layout:
        units = self.law.latents
        return Layout((Field("responses", "measured scales of a session", self.unit, per="unit", units=units),), ())

    def rule_text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values = arguments.one_rule("theta", theta, self.names)
        own = torch.tensor([values.get(name, 0.0) for name in self.family.names])
        return self.family.text(own, digits)

    def config(self) -> dict[str, object]:
        return {
            "simulator": "session_law",
            "family": self.family.config(),
            "initial": self.initial,
            "timed": self.timed,
            "plastic": self.plastic,
            "centre": list(self.centre),
            "scale": self.scale,
            "strength": self.strength,
            "unit": self.unit,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SessionLaw | None:
        """The simulator that gave this `config()`; None where its law is code of one's own."""
        with arguments.plain_form("a law of sessions"):
            family = dict(config["family"])
            module, _, name = str(family.pop("family")).partition(":")
            law = LAWS.get(name)
            if law is None or law.__module__ != module:
                return None
            family.pop("names")
            if issubclass(law, MotifLaw):
                made: Law = law(
                    MotifCircuit(**{k: torch.tensor(v, dtype=torch.float64) for k, v in family["circuit"].items()})
                )
            else:
                made = law(**family)
            out = cls(made, initial=float(config["initial"]), timed=bool(config["timed"]))
            out.plastic, out.scale = bool(config["plastic"]), float(config["scale"])
            out.centre = tuple(float(c) for c in config["centre"])
            out.strength, out.unit = float(config["strength"]), str(config["unit"])
            return out

    # Likelihood and simulations -------------------------------------------------------------------

    def likelihood(self, sessions: SessionScales) -> LawLikelihood:
        """The likelihood of session scales, for laws in any number."""
        return LawLikelihood(
            self.names,
            self.law if self.plastic else None,
            sessions,
            centre=self.centre,
            scale=self.scale,
            strength=self.strength,
            initial=self.initial,
            timed=self.timed,
        )

    def log_likelihood(self, theta: ArrayLike, sessions: SessionScales) -> Tensor:
        """log p(sessions | theta) `(batch,)` of laws `(batch, D)`, summed over animals. Gradients flow."""
        return self.likelihood(sessions).log_prob(arguments.theta_matrix(theta, self.names)).sum(dim=1)

    def measured(
        self, theta: ArrayLike, sessions: SessionScales | None = None, *, seed: Key | None = None
    ) -> SessionScales:
        """Session scales of simulated animals, which are stimulated and measured as those of `sessions` were.

        Arguments:
            theta: Laws `(D,)` of all animals, or one of each, `(animals, D)`: animal k is stimulated as `k % len(sessions)` was.
            sessions: What they are given; by default those that the simulator is suited to.
            seed: Names the random streams.
        """
        like = self._protocol(sessions)
        rows = arguments.theta_matrix(theta, self.names).double()
        rows = rows.expand(len(like), -1) if len(rows) == 1 else rows
        key, parts = global_seed() if seed is None else seed, []
        whole = like if len(rows) == len(like) else like.subset([k % len(like) for k in range(len(rows))])
        for k, begin in enumerate(range(0, len(rows), BLOCK)):  # blocks have streams of their own, and are drawn whole
            at = torch.arange(begin, begin + BLOCK).clamp(max=len(rows) - 1)
            with seeded(key, Stream.RUN, k), torch.no_grad():
                parts.append(self.likelihood(whole.subset(at.tolist())).drawn(rows[at]))
        longest = whole.scales.shape[1]
        pad = [torch.nn.functional.pad(p, (0, 0, 0, longest - p.shape[1]), value=torch.nan) for p in parts]
        same = len(set(whole.learners)) == len(whole)
        names = whole.learners if same else tuple(f"animal {k + 1}" for k in range(len(rows)))
        return dataclasses.replace(whole, learners=names, scales=torch.cat(pad)[: len(rows)])

    def _protocol(self, sessions: SessionScales | None) -> SessionScales:
        like = self.protocol if sessions is None else sessions
        if like is None:
            raise ValueError(
                "it is not known how animals are stimulated: simulator.suited(sessions), or measured(theta, sessions)."
            )
        return like

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        if options:
            arguments.known("SessionLaw.run's argument", next(iter(options)), ("seed",))
        rows, like = arguments.theta_matrix(theta, self.names), self._protocol(None)
        if trial_types is not None:  # a session is of one type
            self.sequence_matrix(trial_types, len(rows))
        whole = like.subset([k % len(like) for k in range(len(rows))])
        made = self.measured(rows, dataclasses.replace(whole, learners=tuple(map(str, range(len(rows))))), seed=seed)
        failed = (~torch.isfinite(made.scales) & whole.measured[..., None]).flatten(1).any(dim=1)
        status = torch.where(failed, int(Status.DIVERGED), int(Status.OK)).to(torch.int8)
        types = torch.where(made.there, 0, -1)
        return Trajectory(status, types, {}, per_unit={"responses": made.scales.float()})
