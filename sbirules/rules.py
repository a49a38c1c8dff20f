r"""Families of local plasticity rules.

A family says how the eligibility trace of a synapse grows from what that synapse can see (Eq. 4):

    de_ij/dt = f_theta(r_j, xbar_i - x_i, w_ij) - e_ij / tau_e

and with which time constants trace and weight forget. A family is raw and pure: coefficients in, trace
out. Natural units belong to the simulator, which can measure how much change a coefficient causes.

Source: "Meta-learning local learning rules for structured credit assignment with sparse feedback"
(arXiv 2512.09366), Eq. 4 and 5.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules import _check

__all__ = ["Coefficient", "RuleFamily"]


@dataclass(frozen=True)
class Coefficient:
    r"""One named coefficient of a rule family.

    Arguments:
        name: The name users see in priors, posteriors and files.
        term: What it multiplies, in plain text, for `describe`, e.g. `"r_j (xbar_i - x_i)"`.
        latex: The same in LaTeX; `term` if empty.
        low: Smallest legal raw value.
        high: Largest legal raw value.
        linear: Whether the trace is linear in the coefficient, so that natural units have a meaning.
            A coefficient that is not (a threshold, an exponent) keeps unit 1.
        default: Value the coefficient keeps while the natural unit of another one is measured.
        unit: Unit for axis labels, e.g. `"ms"`.
    """

    name: str
    term: str = ""
    latex: str = ""
    low: float = -math.inf
    high: float = math.inf
    linear: bool = True
    default: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"Coefficient name must be a Python identifier, got {self.name!r}.")
        if not self.low < self.high:
            raise ValueError(f"{self.name}: low must be less than high, got low={self.low:g}, high={self.high:g}.")


TIME_CONSTANTS = {
    # tau_w counts trials, and w keeps the share 1 - 1/tau_w of itself per trial, hence at least 1
    "tau_e": Coefficient("tau_e", latex=r"\tau_e", low=0.0, linear=False, default=math.inf, unit="ms"),
    "tau_w": Coefficient("tau_w", latex=r"\tau_w", low=1.0, linear=False, default=math.inf, unit="trials"),
}


class RuleFamily(ABC):
    r"""A parameterised set of local plasticity rules.

    A subclass names its coefficients and writes `drive`, the right-hand side of Eq. 4 without the decay;
    everything else follows. `trace` integrates `drive` step by step; override it where the sum over time
    has a faster form.

    Arguments:
        tau_e: Time constant of the eligibility trace in ms; `inf` (default) for no decay.
        tau_w: Time constant of the weights in trials, at least 1; `inf` (default) for no decay.
        infer: Which of `"tau_e"`, `"tau_w"` are inferred rather than fixed. They become the last
            columns of theta.

    Example:
        >>> class Oja(RuleFamily):
        ...     coefficients = (
        ...         Coefficient("hebb", "r_j d_i"),
        ...         Coefficient("oja", "d_i^2 w_ij"),
        ...     )
        ...
        ...     def drive(self, theta, rate, deviation, weight):
        ...         return theta["hebb"] * rate * deviation + theta["oja"] * deviation**2 * weight
    """

    coefficients: tuple[Coefficient, ...]

    def __init__(self, *, tau_e: float = math.inf, tau_w: float = math.inf, infer: Sequence[str] = ()) -> None:
        if not getattr(self, "coefficients", ()):
            raise ValueError(f"{type(self).__name__}.coefficients must list at least one Coefficient.")
        if isinstance(infer, str) or not isinstance(infer, Sequence):
            raise ValueError(f'infer must be a list such as ["tau_e"], got {infer!r}.')
        for name in infer:
            _check.known("infer", name, tuple(TIME_CONSTANTS))
        self.tau_e = _check.above("tau_e", tau_e, 0.0, infinite=True)
        self.tau_w = _check.above("tau_w", tau_w, 0.0, infinite=True)
        if self.tau_w < 1:
            raise ValueError(f"tau_w is in trials and must be at least 1, got {tau_w!r}.")
        self.infer = tuple(name for name in TIME_CONSTANTS if name in infer)
        taken = [name for name in self.names if name in ("chain", "draw")]
        if taken:
            raise ValueError(
                f"a coefficient cannot be called {taken[0]!r}: ArviZ has that name for a dimension of draws."
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"coefficient names must differ, got {_check.listed(self.names)}.")

    # What the rest of the package reads -----------------------------------------------------------

    @property
    def parameters(self) -> tuple[Coefficient, ...]:
        """All columns of theta: the coefficients, then the inferred time constants."""
        return (*self.coefficients, *(TIME_CONSTANTS[name] for name in self.infer))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of theta."""
        return tuple(p.name for p in self.parameters)

    @property
    def dim(self) -> int:
        """Number of columns of theta."""
        return len(self.parameters)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Legal raw values, by name."""
        return {p.name: (p.low, p.high) for p in self.parameters}

    def config(self) -> dict[str, object]:
        """What identifies the family in a manifest: class and settings, plain types only."""
        return {
            "family": f"{type(self).__module__}:{type(self).__qualname__}",
            "names": list(self.names),
            "tau_e": self.tau_e,
            "tau_w": self.tau_w,
        }

    def split(self, raw: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Columns of raw theta `(batch, D)` by name, each `(batch, 1, 1)`, and `tau_e`, `tau_w` `(batch,)`."""
        columns = dict(zip(self.names, raw.unbind(dim=1), strict=True))
        fixed = {"tau_e": self.tau_e, "tau_w": self.tau_w}
        taus = [columns.pop(name, raw.new_full((len(raw),), fixed[name])) for name in TIME_CONSTANTS]
        return {name: value[:, None, None] for name, value in columns.items()}, taus[0], taus[1]

    def check_raw(self, raw: Tensor) -> None:
        """Raises ValueError if a raw value lies outside its coefficient's bounds."""
        for p, column in zip(self.parameters, raw.unbind(dim=1), strict=True):
            wrong = (column < p.low) | (column > p.high)
            if wrong.any():
                value = column[wrong][0].item()
                raise ValueError(f"{p.name} must lie in [{p.low:g}, {p.high:g}], got {value:g}.")

    # What a family is -----------------------------------------------------------------------------

    @abstractmethod
    def drive(self, theta: Mapping[str, Tensor], rate: Tensor, deviation: Tensor, weight: Tensor) -> Tensor:
        r"""Growth of the trace per ms, the sum in Eq. 4.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.
            rate: Presynaptic rates `r_j` that drove the step, `(batch, 1, N)`.
            deviation: Postsynaptic `xbar_i - x_i`, `(batch, N, 1)`.
            weight: Weights `w_ij`, `(batch, N, N)` as (post, pre).

        Returns:
            A tensor that broadcasts to `(batch, N, N)`, (post, pre).
        """

    def trace(
        self,
        theta: Mapping[str, Tensor],
        rate: Tensor,
        deviation: Tensor,
        weight: Tensor,
        dt: float,
        decay: Tensor | None,
    ) -> Tensor:
        r"""The eligibility trace at the end of an episode, `e(T)` of Eq. 4 with `e(0) = 0`.

        Arguments:
            theta: Raw coefficients by name, each `(batch, 1, 1)`.
            rate: Presynaptic rates that drove each step, `(batch, T, N)`.
            deviation: Postsynaptic deviations of each step, `(batch, T, N)`.
            weight: Weights, constant within the episode, `(batch, N, N)` as (post, pre).
            dt: Step in ms.
            decay: `exp(-dt / tau_e)`, `(batch,)`, or None for a trace that does not decay.

        Returns:
            The trace, `(batch, N, N)` as (post, pre).
        """
        e = torch.zeros_like(weight)
        for t in range(rate.shape[1]):
            growth = self.drive(theta, rate[:, t, None, :], deviation[:, t, :, None], weight)
            e = e + dt * growth if decay is None else decay[:, None, None] * e + dt * growth
        return e

    # Text -----------------------------------------------------------------------------------------

    def describe(self, theta: Tensor | Sequence[float], *, latex: bool = False, digits: int = 3) -> str:
        r"""The rule as an equation with its numbers.

        Arguments:
            theta: One rule, `(D,)`, in the units the numbers should appear in.
            latex: LaTeX (without dollar signs) instead of plain text.
            digits: Significant digits.

        Returns:
            For instance `de_ij/dt = -0.8 r_j^3 (xbar_i - x_i)^3 - e_ij / tau_e,  tau_e = inf ...`.
        """
        row = _check.theta_matrix(theta, self.names)
        if len(row) != 1:
            raise ValueError(f"describe takes one rule of shape ({self.dim},), got {tuple(row.shape)}.")
        values = dict(zip(self.names, row[0].tolist(), strict=True))
        growth = ""
        for c in self.coefficients:
            value = values[c.name]
            if value == 0 and c.linear:
                continue
            term = (c.latex or c.term) if latex else c.term
            # a coefficient that does not multiply a term is listed by name
            number = f"{abs(value):.{digits}g}" + ((r"\," if latex else " ") + term if term else "")
            number = number if c.linear else f"[{c.name} = {value:.{digits}g}]"
            negative = value < 0 and c.linear
            if growth:
                growth += f" {'-' if negative else '+'} {number}"
            else:
                growth = f"{'-' if negative else ''}{number}"
        tau = {n: values.get(n, getattr(self, n)) for n in TIME_CONSTANTS}
        return self._equation(growth or "0", tau, latex, digits)

    @staticmethod
    def _equation(growth: str, tau: Mapping[str, float], latex: bool, digits: int) -> str:
        trace = "" if math.isinf(tau["tau_e"]) else (r" - e_{ij}/\tau_e" if latex else " - e_ij / tau_e")
        weight = "" if math.isinf(tau["tau_w"]) else (r" - w_{ij}/\tau_w" if latex else " - w_ij / tau_w")
        units = {"tau_e": "ms", "tau_w": "trials"}
        known = [
            (rf"\{n[:3]}_{n[-1]} = {v:.{digits}g}\,\mathrm{{{units[n]}}}" if latex
             else f"{n} = {v:.{digits}g} {units[n]}")
            for n, v in tau.items() if math.isfinite(v)
        ]  # fmt: skip
        if latex:
            lines = [
                rf"\dot e_{{ij}} = {growth}{trace}",
                rf"\Delta w_{{ij}} = e_{{ij}}\,(R - \bar R){weight}",
                *known,
            ]
            return r",\quad ".join(lines)
        return "\n".join([f"de_ij/dt = {growth}{trace}", f"dw_ij = e_ij (R - Rbar){weight}", *known])
