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

from ._contract import check_law
from ._likelihood import LawLikelihood, Units

__all__ = ["SESSION_SETTINGS", "SessionLaw"]

SESSION_SETTINGS = ("initial", "timed", "errors", "centre", "scale", "strength", "summaries")
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
ERROR_SCALE = Coefficient(
    "error_scale",
    low=0.0,
    linear=False,
    log=True,
    default=1.0,
    symbol=r"\epsilon",
    prior=LogNormal(0.0, 0.5, validate_args=False),
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
        errors: `"known"`; or `"scaled"`: known up to a factor `error_scale` of all standard errors, which is inferred, as where
            scales come from a fitted network that is not the truth.
        centre: Mean of the scales, from which those of a relative law count and around which all begin; by default that of the
            sessions.
        scale: Their spread, in which `walk`, `initial` and the scales of a relative law are measured; likewise.
        strength: Of stimulation, in which that of a relative law is measured: its root mean square by default.
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
        errors: str = "known",
        centre: float | Sequence[float] | None = None,
        scale: float | None = None,
        strength: float | None = None,
        summaries: Sequence[SummaryLike] = ("response_distribution",),
    ) -> None:
        if not isinstance(family, Law):
            raise ValueError(
                f"family must be a Law, such as LatentLaw(2, 1) or DriftLaw(2), got {type(family).__name__}."
            )
        check_law(family)
        self.law: Law = family
        self.initial, self.timed = arguments.above("initial", initial, 0.0), bool(timed)
        self.plastic = True
        arguments.known("errors", errors, ("known", "scaled"))
        self.errors, self.unit = errors, ""
        self.given = (_centre(centre, family.latents), scale, strength)
        for name, value in (("scale", scale), ("strength", strength)):
            if value is not None:
                arguments.above(name, value, 0.0)
        known = self.given[0] is not None and scale is not None and (strength is not None or not family.stimulations)
        self.units: Units | None = None
        if known and not self.timed:
            self.units = Units(self.given[0] or (), float(scale or 1.0), float(strength or 1.0))
        self.protocol: SessionScales | None = None
        super().__init__(family, None, summaries)
        taken = next((c.name for c in (WALK, ERROR_SCALE) if c.name in family.names), None)
        if taken is not None:
            raise ValueError(f"a law cannot have a coefficient {taken!r}: that is one of every law.")

    def suited(self, sessions: SessionScales) -> SessionLaw:
        """The same with mean and spread of session scales, and the strength of their stimulation, where these were not given.

        Raises:
            ValueError: If the law is of other scales or channels.
        """
        out = copy.copy(self)
        out.units, out.unit, out.protocol = self._units(sessions), sessions.unit, sessions
        return out

    def _units(self, sessions: SessionScales) -> Units:
        self._check(sessions)
        centre, scale, strength = self.given
        known = sessions.scales[sessions.measured]
        own = known.mean(dim=0) if len(known) else known.new_zeros(self.law.latents)
        middle = own if centre is None else torch.tensor(centre, dtype=torch.float64)
        if scale is None:
            spread = float((known - middle).square().mean().sqrt()) if len(known) else 0.0
            scale = float(f"{spread:.3g}") if spread > 0 else 1.0
        if strength is None:
            u = sessions.stimulation[sessions.there]
            power = float(u.square().mean().sqrt()) if u.numel() else 0.0
            strength = float(f"{power:.3g}") if power > 0 else 1.0
        gap = float(sessions.time.diff(dim=1)[sessions.there[:, 1:]].median()) if self.timed else None
        return Units(tuple(middle.tolist()), scale, strength, gap)

    def _check(self, sessions: SessionScales) -> None:
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
        return (*(self.family.parameters if self.plastic else ()), *self.nuisance_parameters)

    @property
    def nuisance_parameters(self) -> tuple[Coefficient, ...]:
        """The noise of the law, and what errors are multiplied with where that is inferred."""
        return (WALK, ERROR_SCALE) if self.errors == "scaled" else (WALK,)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def nuisances(self) -> Mapping[str, Distribution]:
        """Coefficients that are not of the law, and their usual priors."""
        return {c.name: c.prior for c in self.nuisance_parameters if c.prior is not None}

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
            "errors": self.errors,
            "plastic": self.plastic,
            "units": None
            if self.units is None
            else {**dataclasses.asdict(self.units), "centre": list(self.units.centre)},
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
            out = cls(made, initial=float(config["initial"]), timed=bool(config["timed"]), errors=str(config["errors"]))
            out.plastic, out.unit, units = bool(config["plastic"]), str(config["unit"]), config["units"]
            if units is not None:
                out.units = Units(**{**units, "centre": tuple(float(c) for c in units["centre"])})
            return out

    # Likelihood and simulations -------------------------------------------------------------------

    def likelihood(self, sessions: SessionScales) -> LawLikelihood:
        """The likelihood of session scales, for laws in any number; in units of these sessions where it is not suited to any."""
        self._check(sessions)
        law, units = self.law if self.plastic else None, self.units or self._units(sessions)
        return LawLikelihood(self.names, law, sessions, units=units, initial=self.initial)

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
        self._check(like)
        if self.units is None:
            raise ValueError(
                "units of scales and stimulation are not known: simulator.suited(sessions), or give them, "
                "SessionLaw(..., centre=0, scale=1, strength=1)."
            )
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


def _centre(given: float | Sequence[float] | None, latents: int) -> tuple[float, ...] | None:
    if given is None:
        return None
    if isinstance(given, (int, float)):
        return (arguments.finite("centre", given),) * latents
    each = tuple(arguments.finite("centre", c) for c in given)
    if len(each) != latents:
        raise ValueError(f"centre must be a number, or one for each of {latents} scales, got {len(each)}.")
    return each
