"""Settings of `SpikingNetwork`, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from sbirules.model.rules import SYNAPSES
from sbirules.model.summaries.spiking import MOST_DELAYS
from sbirules.support import arguments
from sbirules.support.room import free_memory, refuse_beyond

__all__ = ["BACKENDS", "Settings"]

BACKENDS = ("auto", "numba", "torch")
TIME_CONSTANTS = ("tau_membrane", "tau_excitation", "tau_inhibition", "tau_nmda", "tau_threshold")
OF_A_SYNAPSE = 40  # bytes: weight, ends, places, and what they are drawn from
OF_A_SPIKE = 24
MOST_HERTZ = 500.0
MOST_STEPS = 2_000_000_000
LEAST_JUDGED = 0.1
# in units of the leak conductance; with these, and no plasticity, 1000 neurons fire irregularly at a few hertz
WEIGHTS = {"EE": 0.1, "EI": 0.1, "IE": 0.5, "II": 0.5, "XE": 0.15, "XI": 0.15}
MAX_WEIGHTS = {"EE": 1.0, "EI": 1.0, "IE": 5.0, "II": 5.0, "XE": 1.0, "XI": 1.0}
# in mV of synaptic current: what these conductances drive at 55 mV from the one reversal potential, 25 from the other
MILLIVOLTS = {"E": 55.0, "I": 25.0, "X": 55.0}
SYNAPSE_MODELS = {"conductance": "leak conductance", "current": "mV"}
LEARNING_RATES = {"conductance": 0.01, "current": 0.5}


@dataclass(frozen=True)
class Settings:
    """All that defines a `SpikingNetwork` beside its family and summaries; see there for the meaning."""

    num_excitatory: int = 800
    num_inhibitory: int = 200
    num_inputs: int = 1000
    in_degree_excitatory: int = 80
    in_degree_inhibitory: int = 40
    in_degree_inputs: int = 100
    weights: Mapping[str, float] = field(default_factory=dict)
    max_weights: Mapping[str, float] = field(default_factory=dict)
    weight_spread: float = 0.1
    learning_rate: float | None = None
    input_rate: float = 5.0
    current: float = 0.0
    duration: float = 20.0
    judged: float = 5.0
    bin_length: float = 1.0
    dt: float = 0.1
    delay: float = 1.0
    refractory: float = 5.0
    tau_membrane: float = 20.0
    tau_excitation: float = 5.0
    tau_inhibition: float = 10.0
    resting: float = -60.0
    threshold: float = -50.0
    reset: float = -60.0
    reversal_excitation: float = 0.0
    reversal_inhibition: float = -80.0
    rate_limit: float = 150.0
    memory_delays: Sequence[float] = ()
    pattern_share: float = 0.1
    pattern_rate: float = 50.0
    presentation: float = 0.2
    presentations: int = 10
    synapse_model: str = "conductance"
    nmda_share: float = 0.0
    tau_nmda: float = 100.0
    threshold_jump: float = 0.0
    tau_threshold: float = 5.0
    backend: str = "auto"

    def __post_init__(self) -> None:
        arguments.known("synapse_model", self.synapse_model, tuple(SYNAPSE_MODELS))
        self._check_sizes()
        self._check_numbers()
        self._check_times()
        scale = MILLIVOLTS if self.synapse_model == "current" else dict.fromkeys(MILLIVOLTS, 1.0)
        most = {p: w * scale[p[0]] for p, w in MAX_WEIGHTS.items()}
        object.__setattr__(self, "max_weights", _completed("max_weights", self.max_weights, most))
        # what is not given starts no higher than it may become
        usual = {p: min(w * scale[p[0]], self.max_weights[p]) for p, w in WEIGHTS.items()}
        object.__setattr__(self, "weights", _completed("weights", self.weights, usual))
        for pathway, weight in self.weights.items():
            if weight > self.max_weights[pathway]:
                raise ValueError(
                    f"weights[{pathway!r}] must not exceed max_weights[{pathway!r}] = {self.max_weights[pathway]:g}, got "
                    f"{weight:g}."
                )
        arguments.known("backend", self.backend, BACKENDS)

    def _check_sizes(self) -> None:
        arguments.whole("num_excitatory", self.num_excitatory, 2)
        arguments.whole("num_inhibitory", self.num_inhibitory, 0)
        arguments.whole("num_inputs", self.num_inputs, 0)
        for kind, most in (
            ("excitatory", self.num_excitatory - 1),
            ("inhibitory", max(self.num_inhibitory - 1, 0)),
            ("inputs", self.num_inputs),
        ):
            degree = arguments.whole(f"in_degree_{kind}", getattr(self, f"in_degree_{kind}"), 0)
            if degree > most:
                size = f"num_{kind}" if kind == "inputs" else f"num_{kind} - 1"
                raise ValueError(
                    f"in_degree_{kind} must not exceed {size} = {most}, the neurons that synapses can come from, got {degree}; "
                    f"set it, too, where num_{kind} is smaller than by default."
                )

    def _check_numbers(self) -> None:
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.synapse_model])
        for name in ("weight_spread", "learning_rate", "input_rate", "pattern_rate"):
            arguments.at_least(name, getattr(self, name), 0.0)
        for name in ("input_rate", "pattern_rate"):
            if getattr(self, name) > MOST_HERTZ:
                raise ValueError(f"{name} is in hertz and must not exceed {MOST_HERTZ:g}, got {getattr(self, name):g}.")
        arguments.above("rate_limit", self.rate_limit, 0.0)
        for name in ("current", "resting", "threshold", "reset", "reversal_excitation", "reversal_inhibition"):
            arguments.finite(name, getattr(self, name))
        if not self.reset < self.threshold:
            raise ValueError(
                f"reset must be below threshold = {self.threshold:g} mV, else a neuron that fired fires on, got "
                f"{self.reset:g}."
            )
        if (
            self.synapse_model == "conductance"
            and not self.reversal_inhibition < self.threshold < self.reversal_excitation
        ):
            raise ValueError(
                f"threshold must lie between reversal_inhibition = {self.reversal_inhibition:g} and reversal_excitation = "
                f"{self.reversal_excitation:g} mV, got {self.threshold:g}."
            )
        self._refuse_unused_reversals()
        arguments.share("pattern_share", self.pattern_share)
        arguments.share("nmda_share", self.nmda_share, zero=True)
        arguments.at_least("threshold_jump", self.threshold_jump, 0.0)

    def _refuse_unused_reversals(self) -> None:
        if self.synapse_model == "conductance":
            return
        for name in ("reversal_excitation", "reversal_inhibition"):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f'{name} has no meaning with synapse_model = "current", whose synapses push alike at any potential, got '
                    f"{getattr(self, name):g}."
                )

    def _check_times(self) -> None:
        unused = {"tau_nmda": not self.nmda_share, "tau_threshold": not self.threshold_jump}
        used = [name for name in TIME_CONSTANTS if not unused.get(name)]
        for name in ("duration", "judged", "bin_length", "dt", *TIME_CONSTANTS):
            arguments.above(name, getattr(self, name), 0.0)
        for name in ("delay", "refractory"):
            arguments.at_least(name, getattr(self, name), 0.0)
        shortest = min(used, key=lambda name: float(getattr(self, name)))
        if self.dt > getattr(self, shortest) / 2:
            raise ValueError(
                f"dt must be at most {getattr(self, shortest) / 2:g} ms, half the shortest time constant, {shortest} = "
                f"{getattr(self, shortest):g} ms, for steps to follow membranes and synapses, got {self.dt:g}."
            )
        for name in ("input_rate", "pattern_rate"):
            if getattr(self, name) * self.dt / 1000.0 > 0.5:
                raise ValueError(
                    f"{name} must be at most {500.0 / self.dt:g} Hz with steps of dt = {self.dt:g} ms, in which an input "
                    f"fires at most once, got {getattr(self, name):g}."
                )
        for name, milliseconds in (
            ("delay", self.delay),
            ("refractory", self.refractory),
            ("bin_length", 1000.0 * self.bin_length),
        ):
            steps = milliseconds / self.dt
            if abs(steps - round(steps)) > 1e-6 * max(steps, 1.0):
                raise ValueError(
                    f"{name} must be a whole number of steps of dt = {self.dt:g} ms, got {getattr(self, name):g}; choose "
                    f"another of the two."
                )
        if self.judged > self.duration:
            raise ValueError(f"judged must not exceed duration = {self.duration:g} s, got {self.judged:g}.")
        if self.judged < LEAST_JUDGED:
            raise ValueError(f"judged must be at least {LEAST_JUDGED:g} s, ten bins of 10 ms, got {self.judged:g}.")
        if 3 * self.bin_length > self.duration * (1 + 1e-9):
            raise ValueError(
                f"bin_length must be at most a third of duration = {self.duration:g} s, for drifts over its last third, got "
                f"{self.bin_length:g}."
            )
        self._check_memory()
        if self.total_steps > MOST_STEPS:
            raise ValueError(
                f"duration must be at most {MOST_STEPS:,} steps of dt = {self.dt:g} ms, tests of memory included, got "
                f"{self.total_steps:,}."
            )

    def _check_memory(self) -> None:
        arguments.whole("presentations", self.presentations, 1)
        if isinstance(self.memory_delays, str) or not isinstance(self.memory_delays, Sequence):
            raise ValueError(
                f"memory_delays must be a list of seconds, such as [1.0, 5.0], got {self.memory_delays!r:.80}."
            )
        delays = tuple(arguments.at_least("memory_delays", d, 0.0) for d in self.memory_delays)
        object.__setattr__(self, "memory_delays", delays)
        if len(delays) > MOST_DELAYS:
            raise ValueError(f"memory_delays must be at most {MOST_DELAYS}, got {len(delays)}.")
        if not delays:
            return
        arguments.at_least("presentation", self.presentation, 0.01)
        least = 4 * self.presentation
        if delays[0] < self.presentation:
            raise ValueError(
                f"memory_delays must be at least one presentation, {self.presentation:g} s, for what was shown last to die "
                f"away, got {delays[0]:g}."
            )
        if any(later - earlier < least for earlier, later in pairwise(delays)):
            raise ValueError(
                f"memory_delays must grow by at least four presentations, {least:g} s, for tests not to run into each other, got "
                f"{arguments.listed(f'{d:g}' for d in delays)}."
            )
        if self.presentations * self.presentation * 2 > self.duration:
            raise ValueError(
                f"duration must hold {self.presentations} presentations of {self.presentation:g} s and pauses as long between "
                f"them, {2 * self.presentations * self.presentation:g} s, got {self.duration:g}."
            )
        if self.num_inputs * self.pattern_share < 1:
            raise ValueError(
                f"pattern_share of num_inputs = {self.num_inputs} must be at least one neuron, got {self.pattern_share:g}."
            )

    # Derived --------------------------------------------------------------------------------------

    @property
    def num_units(self) -> int:
        """Excitatory and inhibitory neurons."""
        return self.num_excitatory + self.num_inhibitory

    @property
    def eta(self) -> float:
        """The rate of learning."""
        return float(self.learning_rate or 0.0)

    @property
    def weight_unit(self) -> str:
        """Of weights and of what they add up to."""
        return SYNAPSE_MODELS[self.synapse_model]

    @property
    def in_degrees(self) -> tuple[int, int, int]:
        """Synapses on each neuron from excitatory, inhibitory and input neurons."""
        return self.in_degree_excitatory, self.in_degree_inhibitory, self.in_degree_inputs

    @property
    def num_synapses(self) -> int:
        """All of them."""
        return self.num_units * sum(self.in_degrees)

    def steps(self, seconds: float) -> int:
        """Steps in so many seconds."""
        return round(seconds * 1000.0 / self.dt)

    def delay_steps(self) -> int:
        """Steps from a spike to its arrival."""
        return round(self.delay / self.dt)

    def refractory_steps(self) -> int:
        """Steps after a spike in which a neuron is silent."""
        return round(self.refractory / self.dt)

    @property
    def total_steps(self) -> int:
        """Steps of a run: its duration, and the tests of memory after it."""
        if not self.memory_delays:
            return self.steps(self.duration)
        return self.steps(self.duration) + self.steps(self.memory_delays[-1]) + 3 * self.steps(self.presentation)

    @property
    def bins(self) -> int:
        """Whole bins of `bin_length` in the duration."""
        return max(int(self.duration / self.bin_length + 1e-9), 1)

    def check_room(self) -> None:
        """Raises ValueError if one network does not fit in memory."""
        room = free_memory()
        of_unit = OF_A_SYNAPSE * max(sum(self.in_degrees), 1)
        refuse_beyond("num_excitatory", self.num_units, lambda n: n * of_unit, room, "memory", "one network")
        spikes = OF_A_SPIKE * self.num_units * min(self.rate_limit, 1000.0)
        refuse_beyond("duration", math.ceil(self.duration), lambda n: n * int(spikes), room, "memory", "its spikes")

    def config(self) -> dict[str, object]:
        """Plain types for the manifest; the backend is not among them."""
        out = asdict(self)
        del out["backend"]
        # first, since other settings depend on it: where two differ, it is named
        return {"synapse_model": self.synapse_model, **out, "memory_delays": list(self.memory_delays)}


def _completed(name: str, given: Mapping[str, float], default: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must map synapses to numbers, such as {{'EE': 0.1}}, got {given!r}.")
    for pathway in given:
        arguments.known(name, pathway, SYNAPSES)
    return {**default, **{p: arguments.at_least(f"{name}[{p!r}]", w, 0.0) for p, w in given.items()}}
