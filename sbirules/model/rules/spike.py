r"""Rules of spikes: weights change when a neuron fires, by traces that the spikes of either side leave.

    at a presynaptic spike    dw = eta f_pre(x_post, y_pre, w)          x, y: traces, which step by 1 at a spike and decay with
    at a postsynaptic spike   dw = eta f_post(x_pre, y_post, w)         their time constants; read before they step

Each kind of synapse - from excitatory (E), inhibitory (I) or input (X) neurons, onto E or I - has coefficients of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.distributions import Uniform

from sbirules.model.rules.coefficient import Coefficient
from sbirules.model.rules.family import RuleFamily
from sbirules.model.rules.text import RuleText, number_tex
from sbirules.support import arguments
from sbirules.support.typed import typed

__all__ = ["SYNAPSES", "SpikePairRule", "SpikeRule", "Traces", "TripletRule", "vogels2011"]

# from, onto; the order is that of arrays in simulators
SYNAPSES = ("EE", "EI", "IE", "II", "XE", "XI")
NEURONS = {"E": "excitatory", "I": "inhibitory", "X": "input"}
MOST_MS = 10_000.0
USUAL_MS = ((10.0, 100.0), (50.0, 500.0))  # where time constants of fast and slow traces lie if a prior does not say
# of a pathway's changes, in the order that simulators read them: at a presynaptic spike alone, by the postsynaptic trace, by
# that and the slow presynaptic one; at a postsynaptic spike likewise
GAINS = ("alpha", "kappa", "kappa_slow", "beta", "gamma", "gamma_slow")
TIMES = ("tau_pre", "tau_post", "tau_pre_slow", "tau_post_slow")


@dataclass(frozen=True)
class Traces:
    """What a rule sees at a synapse, all of one shape, as they are just before the spikes of this step.

    Arguments:
        x_pre: Trace of the presynaptic neuron.
        x_post: Trace of the postsynaptic neuron.
        y_pre: Slow trace of the presynaptic neuron.
        y_post: Slow trace of the postsynaptic neuron.
        weight: The weight before the change.
    """

    x_pre: Tensor
    x_post: Tensor
    y_pre: Tensor
    y_post: Tensor
    weight: Tensor


class SpikeRule(RuleFamily):
    """Rules of chosen kinds of synapses, each with the same coefficients: `alpha_EE`, `alpha_IE` and so on.

    A subclass lists `of_synapse`, the coefficients of one kind, and writes `at_pre` and `at_post`. Coefficients called
    `tau_pre`, `tau_post`, `tau_pre_slow` and `tau_post_slow` are the time constants of traces; what is not listed is
    20 ms, slow traces 100 ms. Where a prior says nothing of them they are uniform from 10 to 100 ms, slow ones from 50 to 500.

    Arguments:
        synapses: Kinds of synapses that are plastic, at once.

    Examples:
        >>> class Homeostatic(SpikeRule):
        ...     of_synapse = (Coefficient("up", "1"), Coefficient("down", "x_post"))
        ...
        ...     def at_pre(self, theta, traces):
        ...         return theta["up"] - theta["down"] * traces.x_post * traces.weight
        >>> Homeostatic(["EE"]).names
        ('up_EE', 'down_EE')
    """

    of_synapse: tuple[Coefficient, ...] = ()

    @typed
    def __init__(self, synapses: Sequence[str] = ("EE", "IE")) -> None:
        self.synapses = arguments.strings("synapses", synapses)
        if not self.synapses:
            raise ValueError(f"synapses must name at least one of {arguments.listed(SYNAPSES)}.")
        for name in self.synapses:
            arguments.known("synapses", name, SYNAPSES)
        if not isinstance(self.of_synapse, tuple) or not all(isinstance(c, Coefficient) for c in self.of_synapse):
            raise ValueError(
                f"{type(self).__name__}.of_synapse must be a tuple of Coefficient objects, got {self.of_synapse!r:.80}."
            )
        if len(set(self.synapses)) != len(self.synapses):
            raise ValueError(f"synapses must differ, got {arguments.listed(self.synapses)}.")
        self.coefficients = tuple(
            replace(_in_milliseconds(c), name=f"{c.name}_{s}", symbol=_indexed(c, s))
            for s in self.synapses
            for c in self.of_synapse
        )
        super().__init__()

    def at_pre(self, theta: Mapping[str, Tensor], traces: Traces) -> Tensor | float:
        """Change of weights at a presynaptic spike, over the rate of learning; by default none.

        Arguments:
            theta: Coefficients of the kind of synapse by their short names, `theta["alpha"]` and not `theta["alpha_EE"]`, each
                of the traces' shape.
            traces: What is seen.
        """
        return 0.0

    def at_post(self, theta: Mapping[str, Tensor], traces: Traces) -> Tensor | float:
        """The same at a postsynaptic spike."""
        return 0.0

    def gains(self, values: Mapping[str, float]) -> Mapping[str, float] | None:
        """`GAINS` of a kind of synapse whose changes are those of `TripletRule`, which fast simulators know; else None."""
        return None

    def config(self) -> dict[str, object]:
        return {**super().config(), "synapses": list(self.synapses)}

    def text(self, theta: Tensor, digits: int = 2) -> RuleText:
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        rule = [
            rf"{c.tex} = {number_tex(values[c.name], digits)}" + (r",\quad" if n < self.dim - 1 else "")
            for n, c in enumerate(self.coefficients)
        ]
        return RuleText(
            intro="A weight changes when either of its neurons fires:",
            equations=self._equations(),
            rule=tuple(rule),
            words=(
                r"$x$ are traces of the spikes of a neuron, which step by 1 at a spike and decay with their time constants; "
                rf"indices of coefficients name synapses, {self._kinds()}.{self._own_terms()}"
            ),
            units="Changes are in the unit of weights, times the rate of learning; time constants in ms.",
        )

    def _kinds(self) -> str:
        told = [rf"$\mathrm{{{s}}}$ those from {NEURONS[s[0]]} onto {NEURONS[s[1]]} neurons" for s in self.synapses]
        return ", ".join(told)

    def _own_terms(self) -> str:
        """What coefficients multiply, of a subclass that writes no equation."""
        told = []
        for c in self.of_synapse:
            if c.linear and c.term:
                term, _, side = c.term.partition(" at ")
                when = f" at a {side}synaptic spike" if side in ("pre", "post") else ""
                told.append(f"${c.tex}$ multiplies ${(replace(c, term=term) if when else c).term_tex}${when}")
        return f" In $f$, {', '.join(told)}." if told and type(self)._equations is SpikeRule._equations else ""

    def _equations(self) -> tuple[str, ...]:
        """The subclass's in LaTeX; by default that there is a change at either spike."""
        return (r"\Delta w = \eta\, f_{\mathrm{pre}} \quad \text{or} \quad \eta\, f_{\mathrm{post}}",)

    def describe(self, theta: Tensor | Sequence[float], *, latex: bool = False, digits: int = 3) -> str:
        """The rule with its numbers, a line for each kind of synapse."""
        values, digits = arguments.one_rule("theta", theta, self.names), arguments.digits(digits)
        lines = []
        for s in self.synapses:
            told = {c.name: values[f"{c.name}_{s}"] for c in self.of_synapse}
            lines.append(
                rf"{s}:\ " + r",\ ".join(rf"{c.tex} = {number_tex(told[c.name], digits)}" for c in self.of_synapse)
                if latex
                else f"{s}: " + self._line(told, digits)
            )
        return (r",\quad " if latex else "\n").join(lines)

    def _line(self, values: Mapping[str, float], digits: int) -> str:
        return ", ".join(f"{name} = {value:.{digits}g}" for name, value in values.items())


def _in_milliseconds(c: Coefficient) -> Coefficient:
    """A time constant of a trace with bounds and its usual prior, where its writer gave it none."""
    if c.name not in TIMES or c.low > 0:
        return c
    usual = _time(c.name, "", c.default if c.default > 0 else 20.0)
    return replace(usual, term=c.term, symbol=c.symbol or usual.symbol)


def _indexed(c: Coefficient, synapse: str) -> str:
    """Its symbol with the synapse: below, or beside what stands below."""
    stem = c.tex
    if stem.endswith("}") and "_{" in stem:
        return rf"{stem[:-1]},\mathrm{{{synapse}}}}}"
    return rf"{stem}_{{\mathrm{{{synapse}}}}}"


def _time(name: str, side: str, default: float) -> Coefficient:
    return Coefficient(
        name,
        f"time constant of the {side} trace",
        low=0.1,
        high=MOST_MS,
        linear=False,
        default=default,
        unit="ms",
        log=True,
        symbol=r"\tau_{\mathrm{" + name.removeprefix("tau_").replace("_", r"\ ") + "}}",
        prior=Uniform(*USUAL_MS[name.endswith("slow")], validate_args=False),
    )


ALPHA, BETA = (
    Coefficient("alpha", "at pre", symbol=r"\alpha"),
    Coefficient("beta", "at post", symbol=r"\beta"),
)
KAPPA, GAMMA = (
    Coefficient("kappa", "x_post at pre", symbol=r"\kappa"),
    Coefficient("gamma", "x_pre at post", symbol=r"\gamma"),
)
TAU_PRE, TAU_POST = _time("tau_pre", "presynaptic", 20.0), _time("tau_post", "postsynaptic", 20.0)


class SpikePairRule(SpikeRule):
    r"""Pairs of spikes, and single ones.

        at a presynaptic spike    dw = eta (alpha + kappa x_post)
        at a postsynaptic spike   dw = eta (beta + gamma x_pre)

    Arguments:
        synapses: Kinds of synapses that are plastic, of `SYNAPSES`.

    Examples:
        >>> SpikePairRule(["IE"]).names
        ('alpha_IE', 'beta_IE', 'kappa_IE', 'gamma_IE', 'tau_pre_IE', 'tau_post_IE')

    Source: Confavreux, Ramesh, Goncalves, Macke & Vogels (2023), NeurIPS 36, Eq. 1.
    """

    of_synapse = (ALPHA, BETA, KAPPA, GAMMA, TAU_PRE, TAU_POST)

    def at_pre(self, theta: Mapping[str, Tensor], traces: Traces) -> Tensor | float:
        return theta["alpha"] + theta["kappa"] * traces.x_post

    def at_post(self, theta: Mapping[str, Tensor], traces: Traces) -> Tensor | float:
        return theta["beta"] + theta["gamma"] * traces.x_pre

    def gains(self, values: Mapping[str, float]) -> Mapping[str, float] | None:
        wanted = ("alpha", "kappa", "beta", "gamma")
        return {name: values[name] for name in wanted} if set(wanted) <= set(values) else None

    def _equations(self) -> tuple[str, ...]:
        return (
            r"\text{at a presynaptic spike:}\quad \Delta w = \eta\,(\alpha + \kappa\, x_{\mathrm{post}})",
            r"\text{at a postsynaptic spike:}\quad \Delta w = \eta\,(\beta + \gamma\, x_{\mathrm{pre}})",
        )

    def _line(self, values: Mapping[str, float], digits: int) -> str:
        if set(values) != {c.name for c in SpikePairRule.of_synapse}:
            return super()._line(values, digits)
        v = {name: f"{value:.{digits}g}" for name, value in values.items()}
        return (
            f"pre: {v['alpha']} + {v['kappa']} x_post; post: {v['beta']} + {v['gamma']} x_pre; tau_pre = {v['tau_pre']} ms, "
            f"tau_post = {v['tau_post']} ms"
        )


class TripletRule(SpikeRule):
    r"""Triplets of spikes: a pair counts more after earlier spikes of the neuron that fires.

        at a presynaptic spike    dw = -eta x_post (A2_minus + A3_minus y_pre)
        at a postsynaptic spike   dw =  eta x_pre  (A2_plus  + A3_plus  y_post)

    y are slow traces. Weights have bounds, here as in the source.

    Arguments:
        synapses: Kinds of synapses that are plastic, of `SYNAPSES`.

    Source: Pfister & Gerstner (2006), J. Neurosci. 26:9673, Eq. 3 and 4.
    """

    of_synapse = (
        Coefficient("A2_minus", "-x_post at pre", symbol="A_{2}^{-}"),
        Coefficient("A3_minus", "-x_post y_pre at pre", symbol="A_{3}^{-}"),
        Coefficient("A2_plus", "x_pre at post", symbol="A_{2}^{+}"),
        Coefficient("A3_plus", "x_pre y_post at post", symbol="A_{3}^{+}"),
        _time("tau_pre", "presynaptic", 16.8),
        _time("tau_post", "postsynaptic", 33.7),
        _time("tau_pre_slow", "slow presynaptic", 101.0),
        _time("tau_post_slow", "slow postsynaptic", 125.0),
    )

    def at_pre(self, theta: Mapping[str, Tensor], traces: Traces) -> Tensor | float:
        return -traces.x_post * (theta["A2_minus"] + theta["A3_minus"] * traces.y_pre)

    def at_post(self, theta: Mapping[str, Tensor], traces: Traces) -> Tensor | float:
        return traces.x_pre * (theta["A2_plus"] + theta["A3_plus"] * traces.y_post)

    def gains(self, values: Mapping[str, float]) -> Mapping[str, float] | None:
        if not {"A2_minus", "A3_minus", "A2_plus", "A3_plus"} <= set(values):
            return None
        return {
            "kappa": -values["A2_minus"],
            "kappa_slow": -values["A3_minus"],
            "gamma": values["A2_plus"],
            "gamma_slow": values["A3_plus"],
        }

    def _equations(self) -> tuple[str, ...]:
        return (
            r"\text{at a presynaptic spike:}\quad \Delta w = -\eta\, x_{\mathrm{post}} (A_2^- + A_3^-\, y_{\mathrm{pre}})",
            r"\text{at a postsynaptic spike:}\quad \Delta w = \eta\, x_{\mathrm{pre}} (A_2^+ + A_3^+\, y_{\mathrm{post}})",
        )


@typed
def vogels2011(target_rate: float = 5.0, tau: float = 20.0, synapse: str = "IE") -> dict[str, float]:
    """The inhibitory rule that brings neurons to a rate, as a point of `SpikePairRule`: its coefficients by name.

        at a presynaptic spike    dw = eta (x_post - 2 target_rate tau)         tau in s here, in ms below
        at a postsynaptic spike   dw = eta x_pre

    Arguments:
        target_rate: Rate that postsynaptic neurons are brought to, Hz.
        tau: Time constant of both traces, ms.
        synapse: Kind of synapse.

    Source: Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334:1569, Eq. 1.
    """
    arguments.above("target_rate", target_rate, 0.0)
    arguments.at_least("tau", tau, 0.1)
    if tau > MOST_MS:
        raise ValueError(f"tau is in ms and must be at most {MOST_MS:g}, got {tau:g}.")
    arguments.known("synapse", synapse, SYNAPSES)
    values = {"alpha": -2.0 * target_rate * tau / 1000.0, "beta": 0.0, "kappa": 1.0, "gamma": 1.0}
    return {f"{name}_{synapse}": value for name, value in (*values.items(), ("tau_pre", tau), ("tau_post", tau))}
