r"""`MushroomBody`: what an output neuron answers to odours while dopamine changes its synapses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.model.fields import Field, Layout
from sbirules.model.observing import Observation, observation_of
from sbirules.model.recorded import RecordingLikelihood
from sbirules.model.recordings import Recordings
from sbirules.model.rules import Coefficient, PolicyRule, RuleFamily, RuleText, TaylorRule
from sbirules.model.runs import Status, Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Key, global_seed
from sbirules.support.typed import typed_class

from ._columns import NUISANCE, circuit_coefficients, nuisance_coefficients
from ._drawn import drawn_values
from ._given import Conditioning, conditioning, numbered, untold
from ._responses import responses

__all__ = ["SETTINGS", "MushroomBody"]

SETTINGS = ("odour", "dopamine", "delay", "observation", "gains", "nuisance", "summaries")
DEFAULT = ("drive", "overlap", "offset")
NO_CHOICE = {"c": "a choice", "d": "the error of a policy"}


@typed_class
class MushroomBody(Simulator):
    r"""Kenyon cells onto one output neuron; each animal's response is recorded in every trial.

        response of trial t = drive_o sum_j s_j (1 + w_j) x_j
        after it             dw_j = f_theta(x_j, y, w_j, r, rd),      w_j >= -1

    Kenyon cells are those of each odour alone and those that all odours excite (a share `overlap` of an odour's cells); x_j is 1
    where they are active, times exp(-delay / trace_time) when dopamine comes. w_j is by how much a weight is above the naive one,
    which is 1, so that a term `w` with a negative coefficient is recovery; y is the sum of w_j over active cells; r is dopamine,
    `dopamine_gain` times the reinforcement, and rd that above its expectation. The rule is a `TaylorRule`, or any `PolicyRule`,
    of these: `x r` below 0 depresses the synapses of what was punished, `x` those of whatever is smelled, `r` all.

    What is recorded is a gain times the response plus an offset, with noise; see `Recordings` and `sbirules.model.recorded`. The
    likelihood is exact: `fit(simulator, prior, recordings=...)` needs no simulations.

    Arguments:
        family: The rule.
        odour: Name of the event that says which odour a trial has.
        dopamine: Name of the event that dopamine neurons carry: a shock, sugar.
        delay: Seconds from odour to reinforcement, a number or the name of an event; needed for `trace_time` to mean something.
        observation: `"gaussian"`, whose noise grows with the response, `"constant_gaussian"`, `"poisson"`,
            `"negative_binomial"`, or an `Observation`.
        gains: `"own"`: each animal has its gain, log-normal around a common one; or `"shared"`.
        nuisance: What else is inferred: `"drive"` of each odour against the first, `"overlap"`, `"offset"`, `"trace_time"` of
            eligibility, `"dopamine_gain"`.
        summaries: Named summaries of simulated animals, as for any simulator.

    Examples:
        >>> simulator = MushroomBody(TaylorRule(["x r", "w"]), dopamine="shock", odour="odor")
        >>> simulator.names[:2]
        ('x_r', 'w')
    """

    tables = "recordings"
    rule_unit = "naive weights"
    success: Mapping[str, tuple[float, float]] = {}

    def __init__(
        self,
        family: RuleFamily,
        *,
        odour: str = "odour",
        dopamine: str = "dopamine",
        delay: float | str = 0.0,
        observation: str | Observation = "gaussian",
        gains: str = "own",
        nuisance: Sequence[str] = DEFAULT,
        summaries: Sequence[SummaryLike] = ("response_distribution",),
    ) -> None:
        if not isinstance(family, PolicyRule):
            raise ValueError(f"family must be a TaylorRule, or another PolicyRule, got {type(family).__name__}.")
        if isinstance(family, TaylorRule):
            wrong = next(
                ((t, v) for t, p in zip(family.terms, family.powers, strict=True) for v in NO_CHOICE if v in p), None
            )
            if wrong is not None:
                raise ValueError(
                    f"the term {wrong[0]!r} has {wrong[1]}, {NO_CHOICE[wrong[1]]}: animals of recordings make none; take x, y, "
                    f"w, r "
                    f"and rd."
                )
        self.odour, self.dopamine = _text("odour", odour), _text("dopamine", dopamine)
        self.delay = delay if isinstance(delay, str) else arguments.at_least("delay", delay, 0.0)
        self.observation = observation_of(observation)
        arguments.known("gains", gains, ("own", "shared"))
        self.gains = gains
        self.nuisance = arguments.strings("nuisance", nuisance) if len(nuisance) else ()
        for name in self.nuisance:
            arguments.known("nuisance", name, NUISANCE)
        if "trace_time" in self.nuisance and self.delay == 0.0:
            raise ValueError(
                "trace_time needs the delay from odour to reinforcement: delay=4.0 in seconds, or an event's name."
            )
        self.rule: PolicyRule = family
        self.plastic = True
        self.odours: tuple[str, ...] = ("A", "B")
        self.scale, self.unit = 1.0, ""
        self.protocol: Recordings | None = None
        super().__init__(family, None, summaries)
        self._refuse_names_twice()

    def suited(self, recordings: Recordings) -> MushroomBody:
        """The same with the odours of recordings, and their scale: the root mean square of what was recorded.

        Raises:
            ValueError: If they lack the events, or are of several channels.
        """
        for name in (self.odour, self.dopamine, *((self.delay,) if isinstance(self.delay, str) else ())):
            if name not in recordings.events:
                raise ValueError(
                    f"the recordings have no event {name!r}, only {arguments.listed(recordings.events) or 'none'}: name the "
                    f"odour and "
                    f"the reinforcement, MushroomBody(odour=..., dopamine=...)."
                )
        if len(recordings.channels) != 1 or recordings.times:
            raise ValueError(
                f"the model has one output neuron: pick one channel, recordings.pick({recordings.channels[0]!r}), and take "
                f"means over "
                f"bins, recordings.means(); got {len(recordings.channels)} channels, {len(recordings.times)} bins."
            )
        if self.dopamine in recordings.labels:
            raise ValueError(
                f"the event {self.dopamine!r} must be numbers, 1 where dopamine neurons are active, but it is "
                f"{arguments.listed(recordings.labels[self.dopamine])}."
            )
        self.observation.check(recordings)
        out = copy.copy(self)
        out.odours = recordings.labels.get(self.odour) or numbered(recordings, self.odour)
        known = recordings.values[torch.isfinite(recordings.values)]
        if not len(known) or float(known.square().mean()) == 0:
            raise ValueError("recordings must hold at least one value that is not 0.")
        out.scale, out.unit = float(f"{float(known.square().mean().sqrt()):.3g}"), recordings.unit
        out.protocol = recordings
        return out

    def without_plasticity(self) -> MushroomBody:
        """The same circuit and measurement, whose synapses never change; its theta has no coefficients of a rule."""
        out = copy.copy(self)
        out.plastic = False
        return out

    def cautions(self, recordings: Recordings) -> tuple[str, ...]:
        """What recordings cannot tell, whatever their size, a sentence each."""
        alike = self.family.alike if isinstance(self.family, TaylorRule) else None
        return untold(self._given(recordings), self.nuisance, self.dopamine, alike)

    def _given(self, recordings: Recordings) -> Conditioning:
        return conditioning(recordings, self.odour, self.odours, self.dopamine, self.delay)

    # What is declared -----------------------------------------------------------------------------

    @property
    def nuisance_parameters(self) -> tuple[Coefficient, ...]:
        """Coefficients of circuit and measurement."""
        return nuisance_coefficients(self.nuisance, self.odours, self.gains, self.observation)

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        return (*(self.family.parameters if self.plastic else ()), *self.nuisance_parameters)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def nuisances(self) -> Mapping[str, Distribution]:
        """Coefficients of circuit and measurement, not of the rule, and their usual priors."""
        return {c.name: c.prior for c in self.nuisance_parameters if c.prior is not None}

    @property
    def raw_per_unit(self) -> Tensor:
        return torch.ones(len(self.names), dtype=torch.float64)

    @property
    def layout(self) -> Layout:
        events = [
            Field(n, "event of the trial", dtype="float64") for n in (self.odour, self.dopamine) if n.isidentifier()
        ]
        return Layout(
            (*events, Field("responses", "response of the output neuron", self.unit, per="unit", units=1)), ()
        )

    def rule_text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values = arguments.one_rule("theta", theta, self.names)
        text = self.family.text(torch.tensor([values.get(name, 0.0) for name in self.family.names]), digits)
        words = (
            r"$w_{j}$ is by how much the weight of Kenyon cells $j$ is above the naive one, 1; $x_j$ is their activity when "
            r"dopamine "
            r"$r$ comes."
        )
        return dataclasses.replace(
            text,
            intro="After each trial the weights of Kenyon cells change by:",
            words=words,
            units="Weights are in units of the naive one, changes per trial.",
        )

    def config(self) -> dict[str, object]:
        return {
            "simulator": "mushroom_body",
            "family": self.family.config(),
            "settings": {
                "odour": self.odour,
                "dopamine": self.dopamine,
                "delay": self.delay,
                "observation": self.observation.name,
                "gains": self.gains,
                "nuisance": list(self.nuisance),
            },
            "plastic": self.plastic,
            "odours": list(self.odours),
            "scale": self.scale,
            "unit": self.unit,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MushroomBody | None:
        """The simulator that gave this `config()`; None where its rule is no `TaylorRule`."""
        with arguments.plain_form("a mushroom body"):
            if config["family"]["family"] != f"{TaylorRule.__module__}:{TaylorRule.__qualname__}":
                return None
            told = ("terms", "baseline", "rate", "last", "infer")
            family = TaylorRule(**{name: config["family"][name] for name in told})
            out = cls(family, **{**config["settings"], "nuisance": tuple(config["settings"]["nuisance"])})
            out.plastic, out.odours = bool(config["plastic"]), tuple(config["odours"])
            out.scale, out.unit = float(config["scale"]), str(config["unit"])
            return out

    def _refuse_names_twice(self) -> None:
        names = self.names
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(
                f"the rule has a coefficient {twice!r}, which is also one of circuit or measurement; leave one out."
            )

    # Likelihood and simulations -------------------------------------------------------------------

    def responses(self, theta: Tensor, recordings: Recordings) -> Tensor:
        """The output neuron's response in every trial, `(n, A, T)`, in units of the naive one to the first odour.

        Arguments:
            theta: Rules of each animal `(n, A, D)`. Gradients flow.
            recordings: What the animals were given.
        """
        return self._expected(recordings)(theta)

    def _expected(self, recordings: Recordings) -> Callable[[Tensor], Tensor]:
        """`responses` of these animals; what they were given is read once, for rules by the thousand."""
        given, names = self._given(recordings), [c.name for c in circuit_coefficients(self.nuisance, self.odours)]
        once, which = given.distinct()
        rule, r = (self.rule, self.family.dim) if self.plastic else (None, 0)

        def expected(theta: Tensor) -> Tensor:
            if theta.stride(1) != 0 and theta.shape[1] != 1:
                return responses(theta[..., :r], theta[..., r : r + len(names)], rule, names, given)
            # animals of one rule that were given the same need computing once
            own = theta[:, :1].expand(-1, len(once.odour), -1)
            return responses(own[..., :r], own[..., r : r + len(names)], rule, names, once)[:, which]

        return expected

    def likelihood(self, recordings: Recordings) -> RecordingLikelihood:
        """The exact likelihood of recordings, for rules in any number."""
        self.observation.check(recordings)
        expected = self._expected(recordings)
        return RecordingLikelihood(
            self.names,
            recordings,
            lambda rows: expected(rows)[..., None],
            self.observation,
            self.scale,
        )

    def log_likelihood(self, theta: ArrayLike, recordings: Recordings) -> Tensor:
        """log p(recordings | theta) `(batch,)` of rules `(batch, D)`, summed over animals. Gradients flow."""
        return self.likelihood(recordings).log_prob(arguments.theta_matrix(theta, self.names)).sum(dim=1)

    def recorded(
        self, theta: ArrayLike, recordings: Recordings | None = None, *, seed: Key | None = None
    ) -> Recordings:
        """Recordings of simulated animals, which are given what those of `recordings` were.

        Arguments:
            theta: Rules `(D,)` of all animals, or one of each, `(animals, D)`: animal k is given what `k % len(recordings)`
                was.
            recordings: What they are given; by default those that the simulator is suited to.
            seed: Names the random streams.
        """
        like = self._protocol(recordings)
        rows = arguments.theta_matrix(theta, self.names).double()
        rows = rows.expand(len(like), -1) if len(rows) == 1 else rows
        like = like if len(rows) == len(like) else like.subset([k % len(like) for k in range(len(rows))])
        names = (
            like.learners
            if len(set(like.learners)) == len(like)
            else tuple(f"animal {k + 1}" for k in range(len(rows)))
        )
        values = drawn_values(self.likelihood, like, rows, global_seed() if seed is None else seed)
        return dataclasses.replace(like, learners=names, values=values)

    def _protocol(self, recordings: Recordings | None) -> Recordings:
        like = self.protocol if recordings is None else recordings
        if like is None:
            raise ValueError(
                "it is not known what animals are given: simulator.suited(recordings), or recorded(theta, recordings)."
            )
        return like

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        if options:
            arguments.known("MushroomBody.run's argument", next(iter(options)), ("seed", "trial_types"))
        rows = arguments.theta_matrix(theta, self.names)
        like = self._protocol(None)
        if trial_types is not None:
            types = self.sequence_matrix(trial_types, len(rows))
            own = like.trial_types[torch.arange(len(rows)) % len(like)]
            if types.shape != own.shape or not torch.equal(types, own):
                raise ValueError(
                    "trial_types must be those of the animals that the simulator is suited to, in turn; leave them out, or "
                    "suit it to "
                    "other recordings."
                )
        whole = like.subset([k % len(like) for k in range(len(rows))])
        made = self.recorded(rows, dataclasses.replace(whole, learners=tuple(map(str, range(len(rows))))), seed=seed)
        status = torch.full((len(made),), int(Status.OK), dtype=torch.int8)
        events = {n: made.event(n) for n in (self.odour, self.dopamine) if n.isidentifier()}
        units = {"responses": made.values.float()}
        return Trajectory(status, made.trial_types, events, per_unit=units, type_names=self.type_names)


def _text(argument: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{argument} must be the name of an event, got {value!r:.80}.")
    return value
